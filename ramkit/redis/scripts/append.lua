-- ARGV: message, an incarnation for a log that is not there.
-- Returns incarnation, id, predecessor's id, time in seconds and microseconds.
local head = first()
local incarnation = head and field(head, 'i')
local previous
if incarnation then
  previous = last()[1]
else
  incarnation = ARGV[2]
  previous = create(incarnation)
end
local id = following(previous)
redis.call('XADD', stream, id, 'p', previous, 'm', ARGV[1])
local time = redis.call('TIME')
return {incarnation, id, previous, time[1], time[2]}
