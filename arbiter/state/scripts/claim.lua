-- KEYS head, outbox; ARGV owner, generation, then (field, id) per topic. Gives verdict, seconds, microseconds, head's
-- fields, outbox, and how many ids were new to a head that there was. The verdict `differs` goes without what follows
-- the fields.
local time = redis.call('TIME')
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'generation')
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
if not head[1] then
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
if not head[1] then adopted = 0 end
return {'ok', time[1], time[2], redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2]) or '', tostring(adopted)}
