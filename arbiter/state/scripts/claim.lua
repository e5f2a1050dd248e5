-- KEYS head, outbox; ARGV owner, generation. Gives verdict, seconds, microseconds, head's fields, outbox.
local time = redis.call('TIME')
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'generation')
if head[3] and tonumber(head[3]) > tonumber(ARGV[2]) then
  return {'fenced', time[1], time[2]}
end
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
return {'ok', time[1], time[2], redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2]) or ''}
