-- KEYS central entry, its lock; ARGV number, ttl, the number that the lock was taken with, then (partition, epoch,
-- used) of every partition. An entry that is as new stays, what is open stays open. Gives 'ok', or 'late' where
-- somebody else has the lock by now: partitions may be sealed for that one's entry already, and this one be void.
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[3] then return {'late'} end
local there = redis.call('HMGET', KEYS[1], 'made', 'open')
local made = there[1]
if not made or tonumber(made) < tonumber(ARGV[1]) then
  local used, fields = 0, {}
  for i = 4, #ARGV, 3 do
    used = used + tonumber(ARGV[i + 2])
    fields[#fields + 1] = ARGV[i]
    fields[#fields + 1] = table.concat({ARGV[i + 1], '0', ARGV[i + 2], ARGV[i + 2]}, ' ')
  end
  local total = string.format('%.0f', used)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'made', ARGV[1], 'granted', total, 'used', total, 'open', there[2] or '0', unpack(fields))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
redis.call('DEL', KEYS[2])
return {'ok'}
