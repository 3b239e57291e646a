-- KEYS: the lease, the stream of wake-ups. ARGV: the holder's token, the lease's name.
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then
  return 0
end
local waited = redis.call('STRLEN', KEYS[1]) > 16
redis.call('DEL', KEYS[1])
if waited then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1024, '*', 'k', ARGV[2])
end
return 1
