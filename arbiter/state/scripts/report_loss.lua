-- KEYS losses; ARGV partition, loss, name, then ids that nothing new may share. Gives the loss's id.
-- The hash has `<id> <loss>` of each partition, and `open`, the id that is shared now.
local there = redis.call('HMGET', KEYS[1], ARGV[1], 'open')
local id, loss = string.match(there[1] or '', '^(%S+) (.*)$')
if loss == ARGV[2] then return {id} end
id = there[2] or ARGV[3]
for i = 4, #ARGV do
  if ARGV[i] == id then id = ARGV[3] end
end
redis.call('HSET', KEYS[1], ARGV[1], id .. ' ' .. ARGV[2], 'open', id)
return {id}
