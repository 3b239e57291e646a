-- Removes at most ARGV[1] of the messages that the snapshot covers, never the first message nor the
-- one at the snapshot's own place. Returns how many.
local head = first()
local kept = redis.call('HMGET', snapshot, 'i', 'e')
if not head or not kept[2] or field(head, 'i') ~= kept[1] then
  return 0
end
local ids = {}
for at, entry in ipairs(redis.call('XRANGE', stream, '(' .. head[1], '(' .. kept[2], 'COUNT', ARGV[1])) do
  ids[at] = entry[1]
end
if #ids > 0 then
  redis.call('XDEL', stream, unpack(ids))
end
return #ids
