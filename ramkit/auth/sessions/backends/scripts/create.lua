-- For each key: the subject's hash (32 bytes), the fields, and in seconds the idle and the absolute lifetime.
-- Replies with the time; with nothing for a key that was ended before it was made. The head is that of
-- core/record.py.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local replies = {}
for at, key in ipairs(KEYS) do
  local subject, fields, idle, absolute = unpack(ARGV, 4 * at - 3, 4 * at)
  local head = struct.pack('>Bddd', 1, now, now + absolute, now) .. subject
  local milliseconds = math.ceil(math.min(idle, absolute) * 1000)
  local made = redis.call('SET', key, head .. fields, 'NX', 'PX', milliseconds)
  replies[at] = made and string.format('%.6f', now) or ''
end
return replies
