-- For each key: fields to set, names to remove, the idle lifetime in seconds, and how many bytes may be kept.
-- Replies with a word and a number: stored and the time; gone; ended, when nothing is left; large and the
-- bytes. What is not there is never made: it was ended, or its time has passed.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local HEAD = 57

local function fields_of(data, from, each)
  while from <= #data do
    local key, value
    key, value, from = struct.unpack('>I4c0I4c0', data, from)
    each(key, value)
  end
end

local function names_of(data, each)
  local from = 1
  while from <= #data do
    local key
    key, from = struct.unpack('>I4c0', data, from)
    each(key)
  end
end

local function merged(value, sets, removed)
  local skip, out = {}, {}
  names_of(removed, function(key) skip[key] = true end)
  fields_of(sets, 1, function(key) skip[key] = true end)
  fields_of(value, HEAD + 1, function(key, data)
    if not skip[key] then
      out[#out + 1] = struct.pack('>I4c0I4c0', #key, key, #data, data)
    end
  end)
  out[#out + 1] = sets
  return table.concat(out)
end

local replies = {}
for at, key in ipairs(KEYS) do
  local sets, removed, idle, most = unpack(ARGV, 4 * at - 3, 4 * at)
  local value = redis.call('GET', key)
  local version, created, ends
  if value and #value >= HEAD then
    version, created, ends = struct.unpack('>Bddd', value)
  end
  if version ~= 1 or ends <= now then
    replies[at] = {'gone', '0'}
  else
    local untouched = #sets + #removed == 0
    local fields = untouched and value:sub(HEAD + 1) or merged(value, sets, removed)
    if fields == '' and not untouched then
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
