-- GCRA (ramkit/limits/core.py) for many calls at once, one after the other. Of each call ARGV has how many of
-- KEYS are its own, then for each the increment and the limit, in microseconds. Its keys are charged if all
-- of them admit it. Returns for each call its keys' backlogs as they were before.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('MGET', unpack(KEYS))
local tats, changed, replies = {}, {}, {}
local first, arg = 0, 1

local function move(key, tat)
  if not tats[key] then
    changed[#changed + 1] = key
  end
  tats[key] = tat
end

while arg <= #ARGV do
  local count, backlogs, admitted = tonumber(ARGV[arg]), {}, true
  for n = 1, count do
    local tat = tats[KEYS[first + n]] or tonumber(kept[first + n] or 0) or 0
    local limit = tonumber(ARGV[arg + 2 * n])
    local backlog = tat - now
    if backlog < 0 then
      backlog = 0
    elseif backlog > limit then
      backlog = limit
      move(KEYS[first + n], now + limit)
    end
    backlogs[n] = backlog
    admitted = admitted and backlog + ARGV[arg + 2 * n - 1] <= limit
  end
  if admitted then
    for n = 1, count do
      move(KEYS[first + n], now + backlogs[n] + ARGV[arg + 2 * n - 1])
    end
  end
  replies[#replies + 1] = backlogs
  first, arg = first + count, arg + 1 + 2 * count
end

for _, key in ipairs(changed) do
  local tat = tats[key]
  if tat > now then
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
  end
end
return replies
