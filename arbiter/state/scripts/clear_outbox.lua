-- KEYS head, outbox; ARGV epoch, owner, seq. An older seq is fine: that outbox was replaced by the next commit.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'seq')
local verdict = stands(head, ARGV[1], ARGV[2])
if verdict == 'ok' then
  if tonumber(head[3]) < tonumber(ARGV[3]) then verdict = 'regressed' end
  if head[3] == ARGV[3] then redis.call('DEL', KEYS[2]) end
end
return {verdict}
