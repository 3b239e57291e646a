-- ARGV: the id that the reader has folded ('' for none), the incarnation that it knows, one for a log
-- that has to begin anew, how many messages at most, an id that its incarnation had ('' for none).
-- Returns incarnation, last id, time in seconds and microseconds, then either 0, '', '' and the messages
-- after the reader's, or 1, where to begin, the snapshot ('' for none) and the messages after it.
local from, known, fresh, count, witness = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local function reply(incarnation, reset, base, bytes, messages)
  local time = redis.call('TIME')
  return {incarnation, last()[1], time[1], time[2], reset, base, bytes, messages}
end

local function renew()
  return reply(fresh, 1, create(fresh), '', {})
end

local function after(id)
  return redis.call('XRANGE', stream, '(' .. id, '+', 'COUNT', count)
end

local function chained(messages, id)
  return #messages == 0 or field(messages[1], 'p') == id
end

local head = first()
local incarnation = head and field(head, 'i')
if not incarnation then
  return renew()
end

local kept = redis.call('HMGET', snapshot, 'i', 'e', 'b')
local covered = kept[1] == incarnation and kept[2]

if witness ~= '' and known == incarnation and (not covered or before(covered, witness))
  and #redis.call('XRANGE', stream, witness, witness) == 0 then
  return renew()
end

if from ~= '' and known == incarnation then
  local messages = after(from)
  if #messages == 0 and last()[1] == from then
    return reply(incarnation, 0, '', '', messages)
  end
  if #messages > 0 and chained(messages, from) then
    return reply(incarnation, 0, '', '', messages)
  end
  -- What follows the reader's place is not there: trimmed, then a snapshot covers it; or the reader has
  -- seen messages that a failover or a restore took back.
  if before(last()[1], from) or not covered or before(covered, from) then
    return renew()
  end
end

local base = covered or head[1]
local messages = after(base)
if not chained(messages, base) or before(last()[1], base) then
  return renew()
end
return reply(incarnation, 1, base, covered and kept[3] or '', messages)
