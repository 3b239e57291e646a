-- A refresh token is presented. KEYS: its family. ARGV: its hash, the hash of its successor, the nonce that the
-- successor is made with, milliseconds to the next use, milliseconds of grace.
-- Tokens that were replaced stand in r for the grace period, newest last, 77 bytes each: hash (32), nonce (32),
-- when (13 digits). At most 64, so that who rotates without end does not fill the memory.
local RECORD, MOST = 77, 64
local kept = redis.call('HMGET', KEYS[1], 'h', 'r', 's', 'd', 'c', 'x')
if not kept[1] then
  return {'unknown'}
end
local current, replaced, ends = kept[1], kept[2], tonumber(kept[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local oldest = now - tonumber(ARGV[5])

if ARGV[1] == current then
  local from = 1
  while from <= #replaced and (tonumber(string.sub(replaced, from + 64, from + 76)) < oldest
      or #replaced - from + 1 >= MOST * RECORD) do
    from = from + RECORD
  end
  replaced = string.sub(replaced, from) .. current .. ARGV[3] .. string.format('%013.0f', now)
  redis.call('HSET', KEYS[1], 'h', ARGV[2], 'r', replaced)
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(now + tonumber(ARGV[4]), ends)))
  return {'rotated', ARGV[3], kept[3], kept[4], kept[5], kept[6]}
end

for at = 1, #replaced, RECORD do
  if string.sub(replaced, at, at + 31) == ARGV[1] and tonumber(string.sub(replaced, at + 64, at + 76)) >= oldest then
    return {'repeated', string.sub(replaced, at + 32, at + 63), kept[3], kept[4], kept[5], kept[6]}
  end
end
redis.call('DEL', KEYS[1])
return {'reused'}
