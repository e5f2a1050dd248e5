-- KEYS head; ARGV epoch, owner, the owner's notes, '1' if it ends in good order.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
local verdict = stands(head, ARGV[1], ARGV[2])
if verdict == 'ok' then
  redis.call('HSET', KEYS[1], 'notes', ARGV[3])
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'claims', '0') end
end
return {verdict}
