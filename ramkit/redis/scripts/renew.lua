-- For each key its holder's token and a new time to live. 0: it is no longer the holder's.
local renewed = {}
for at, key in ipairs(KEYS) do
  if redis.call('GETRANGE', key, 0, 15) == ARGV[2 * at - 1] then
    renewed[at] = redis.call('PEXPIRE', key, ARGV[2 * at])
  else
    renewed[at] = 0
  end
end
return renewed
