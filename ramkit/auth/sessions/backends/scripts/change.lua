-- For each key: fields to set, names to remove, the idle lifetime in seconds, and how many bytes may be kept.
-- Replies with a word and a number: stored and the time; gone; ended, when nothing is left; large and the
-- bytes. What is not there is never made: it was ended, or its time has passed. The layout is that of
-- core/record.py.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local HEAD = 57

local function each_field(data, index, each)
  local count = struct.unpack('>I4', data, index)
  local from = index + 4 + 8 * count
  local first = data:byte(from)
  from = from + (first == 0xdf and 5 or first == 0xde and 3 or 1)
  for number = 0, count - 1 do
    local key, value = struct.unpack('>I4I4', data, index + 4 + 8 * number)
    each(data:sub(from, from + key - 1), data:sub(from + key, from + key + value - 1))
    from = from + key + value
  end
end

local function map(count)
  if count < 16 then
    return string.char(0x80 + count)
  elseif count < 65536 then
    return '\222' .. struct.pack('>I2', count)
  end
  return '\223' .. struct.pack('>I4', count)
end

-- The fields with the change, and how many they are.
local function merged(value, sets, removed)
  local new, index, body = {}, {}, {}
  local at = 1
  while at <= #removed do
    local key
    key, at = struct.unpack('>I4c0', removed, at)
    new[key] = false
  end
  each_field(sets, 1, function(key, data) new[key] = data end)
  local function add(key, data)
    index[#index + 1] = struct.pack('>I4I4', #key, #data)
    body[#body + 1] = key .. data
  end
  each_field(value, HEAD + 1, function(key, data)
    if new[key] == nil then
      add(key, data)
    end
  end)
  each_field(sets, 1, add)
  local count = #index
  return struct.pack('>I4', count) .. table.concat(index) .. map(count) .. table.concat(body), count
end

local replies = {}
for at, key in ipairs(KEYS) do
  local sets, removed, idle, most = unpack(ARGV, 4 * at - 3, 4 * at)
  local value = redis.call('GET', key)
  local version, created, ends
  if value and #value >= HEAD + 5 then
    version, created, ends = struct.unpack('>Bddd', value)
  end
  if version ~= 1 or ends <= now then
    replies[at] = {'gone', '0'}
  else
    local untouched = #removed == 0 and struct.unpack('>I4', sets) == 0
    local fields, count = value:sub(HEAD + 1), 1
    if not untouched then
      fields, count = merged(value, sets, removed)
    end
    if count == 0 then
      redis.call('DEL', key)
      replies[at] = {'ended', '0'}
    elseif HEAD + #fields > tonumber(most) and not untouched then
      replies[at] = {'large', tostring(HEAD + #fields)}
    else
      local head = struct.pack('>Bddd', 1, created, ends, now) .. value:sub(26, HEAD)
      local milliseconds = math.ceil(math.min(idle, ends - now) * 1000)
      redis.call('SET', key, head .. fields, 'PX', milliseconds)
      replies[at] = {'stored', string.format('%.6f', now)}
    end
  end
end
return replies
