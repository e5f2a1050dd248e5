-- KEYS head; ARGV epoch, owner, how many records the owner is about to try.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
local verdict = stands(head, ARGV[1], ARGV[2])
if verdict == 'ok' then redis.call('HSET', KEYS[1], 'tried', ARGV[3]) end
return {verdict}
