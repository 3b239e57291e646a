-- For each index: a session's hash and how many seconds it may live from now. The expired leave, and the
-- index itself expires with the last of its sessions.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local replies = {}
for at, key in ipairs(KEYS) do
  local member, seconds = ARGV[2 * at - 1], tonumber(ARGV[2 * at])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.6f', now))
  redis.call('ZADD', key, 'GT', string.format('%.6f', now + seconds), member)
  local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  redis.call('PEXPIRE', key, math.ceil((last[2] - now) * 1000) + 1000)
  replies[at] = redis.call('ZCARD', key)
end
return replies
