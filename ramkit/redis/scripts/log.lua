#!lua flags=allow-oom
-- What has to be said must not fail because caches have filled the memory; a log is trimmed.
-- A log: a stream whose first message is its incarnation (i), for ever; every other message (m) carries
-- the id of its predecessor (p). The snapshot, a hash, covers the messages up to e of incarnation i.
local stream, snapshot = KEYS[1], KEYS[2]

local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function before(a, b)
  local ams, aseq = parse(a)
  local bms, bseq = parse(b)
  return ams < bms or (ams == bms and aseq < bseq)
end

local function field(entry, name)
  for at = 1, #entry[2], 2 do
    if entry[2][at] == name then
      return entry[2][at + 1]
    end
  end
  return false
end

local function first()
  return redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
end

local function last()
  return redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
end

-- max(last + 1, time), where a sequence number has 22 bits
local function following(id)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local ms, seq = 0, 0
  if id then
    ms, seq = parse(id)
    seq = seq + 1
    if seq >= 4194304 then
      ms, seq = ms + 1, 0
    end
  end
  if ms < now then
    ms, seq = now, 0
  end
  return string.format('%.0f-%.0f', ms, seq)
end

local function create(incarnation)
  local final = last()
  local id = following(final and final[1])
  redis.call('DEL', stream, snapshot)
  redis.call('XADD', stream, id, 'i', incarnation)
  return id
end
