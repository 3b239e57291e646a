-- For each key a token of 16 bytes and a time to live in milliseconds. 1: it is the caller's; 0: it is
-- someone's, and marked as waited for (by a 17th byte).
local got = {}
for at, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[2 * at - 1], 'NX', 'PX', ARGV[2 * at]) then
    got[at] = 1
  else
    if redis.call('STRLEN', key) == 16 then
      redis.call('APPEND', key, 'w')
    end
    got[at] = 0
  end
end
return got
