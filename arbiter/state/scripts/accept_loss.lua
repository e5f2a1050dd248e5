-- KEYS head, losses; ARGV epoch, owner, partition, then fields and values of the head.
local verdict = stands(redis.call('HMGET', KEYS[1], 'epoch', 'owner'), ARGV[1], ARGV[2])
if verdict == 'ok' then
  redis.call('HSET', KEYS[1], unpack(ARGV, 4))
  local id = string.match(redis.call('HGET', KEYS[2], ARGV[3]) or '', '^%S+')
  redis.call('HDEL', KEYS[2], ARGV[3])
  if id and id == redis.call('HGET', KEYS[2], 'open') then redis.call('HDEL', KEYS[2], 'open') end
end
return {verdict}
