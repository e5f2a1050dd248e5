-- KEYS head, what the partition uses; ARGV number, ttl. From now on grants of older central entries are void here.
-- Gives 'absent' for a partition without a head, or whose keys are no hashes; else 'ok', epoch, used, and the newest
-- number it is sealed for.
local kind = redis.call('TYPE', KEYS[2]).ok
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' or (kind ~= 'hash' and kind ~= 'none') then return {'absent'} end
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return {'absent'} end
local there = redis.call('HMGET', KEYS[2], 'used', 'sealed')
local sealed = there[2] or '0'
if not tonumber(there[1] or '0') or not tonumber(sealed) then return {'absent'} end
if tonumber(sealed) < tonumber(ARGV[1]) then
  sealed = ARGV[1]
  redis.call('HSET', KEYS[2], 'sealed', sealed)
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return {'ok', epoch, there[1] or '0', sealed}
