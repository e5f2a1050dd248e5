-- KEYS head, outbox, timers, waits, opened; ARGV owner, generation, then (field, id) per topic. Gives verdict, seconds,
-- microseconds, head's fields, outbox, and how many ids were new to a head that there was. The verdict `differs` goes
-- without what follows the fields; `damaged` is followed by the key and what is wrong with it, and nothing was written.
local time = redis.call('TIME')
local function damaged(key, what) return {'damaged', time[1], time[2], key, what} end
for i, kind in ipairs({'hash', 'string', 'zset', 'zset', 'zset'}) do
  local there = redis.call('TYPE', KEYS[i]).ok
  if there ~= 'none' and there ~= kind then
    return damaged(KEYS[i], string.format('a %s and should be a %s', there, kind))
  end
end
local outbox = redis.call('GET', KEYS[2])
if outbox == '' then return damaged(KEYS[2], 'empty, although it is deleted where there is nothing to publish') end
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'generation', 'claims')
local is_there = redis.call('EXISTS', KEYS[1]) == 1
for i, field in ipairs({'epoch', 'generation', 'claims'}) do
  local value = head[({1, 3, 4})[i]]
  if is_there and not (value and string.match(value, '^%d+$')) then
    return damaged(KEYS[1], 'without a number as its ' .. field)
  end
end
if head[3] and tonumber(head[3]) > tonumber(ARGV[2]) then
  return {'fenced', time[1], time[2]}
end
for i = 3, #ARGV, 2 do
  local there = redis.call('HGET', KEYS[1], ARGV[i])
  if there and there ~= ARGV[i + 1] then
    return {'differs', time[1], time[2], redis.call('HGETALL', KEYS[1])}
  end
end
local adopted = 0
if not is_there then
  redis.call('HSET', KEYS[1], 'epoch', '1', 'owner', ARGV[1], 'seq', '0', 'generation', ARGV[2],
    'activation', '0', 'now_ms', '0', 'claims', '1')
elseif head[2] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'generation', ARGV[2])
else
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'generation', ARGV[2])
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
  redis.call('HINCRBY', KEYS[1], 'claims', 1)
end
for i = 3, #ARGV, 2 do
  adopted = adopted + redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
end
if not is_there then adopted = 0 end
return {'ok', time[1], time[2], redis.call('HGETALL', KEYS[1]), outbox or '', tostring(adopted)}
