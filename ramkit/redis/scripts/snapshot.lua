-- ARGV: incarnation, the id that the snapshot covers, its bytes. Returns 1, or 0 for another
-- incarnation's or an older one.
local head = first()
if not head or field(head, 'i') ~= ARGV[1] or before(last()[1], ARGV[2]) then
  return 0
end
local kept = redis.call('HMGET', snapshot, 'i', 'e')
if kept[1] == ARGV[1] and kept[2] and not before(kept[2], ARGV[2]) then
  return 0
end
redis.call('HSET', snapshot, 'i', ARGV[1], 'e', ARGV[2], 'b', ARGV[3])
return 1
