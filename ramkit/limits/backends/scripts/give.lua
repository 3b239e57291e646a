-- For each key, take back an increment (microseconds) of what it was charged.
local time, given = redis.call('TIME'), {}
local now = time[1] * 1000000 + time[2]
for at, key in ipairs(KEYS) do
  local tat = (tonumber(redis.call('GET', key) or 0) or 0) - ARGV[at]
  if tat > now then
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
  else
    redis.call('DEL', key)
  end
  given[at] = 1
end
return given
