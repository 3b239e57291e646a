-- For each key, what it held. An empty string stays for a while in its place, so that a session which is
-- listed and not made yet is never made. ARGV: milliseconds. A Redis whose memory is full lets go all the same.
local replies = {}
for at, key in ipairs(KEYS) do
  replies[at] = redis.call('GET', key)
  redis.call('DEL', key)
  redis.pcall('SET', key, '', 'PX', ARGV[at])
end
return replies
