-- A family of refresh tokens begins. KEYS: the family. ARGV: its token's hash, the subject, what the caller keeps
-- with it, milliseconds from one use to the next and at most, and since when it counts as begun.
-- h: the current token's hash; r: those before it (see use.lua); s, d: subject and data; c, x: begin and end.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[6])
local ends = now + tonumber(ARGV[5])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'h', ARGV[1], 'r', '', 's', ARGV[2], 'd', ARGV[3],
  'c', string.format('%.0f', now), 'x', string.format('%.0f', ends))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(now + tonumber(ARGV[4]), ends)))
return 1
