-- For each key, marked as waited for: its remaining milliseconds, or -2 when nobody has it.
local left = {}
for at, key in ipairs(KEYS) do
  if redis.call('STRLEN', key) == 16 then
    redis.call('APPEND', key, 'w')
  end
  left[at] = redis.call('PTTL', key)
end
return left
