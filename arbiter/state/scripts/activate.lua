-- KEYS registry; ARGV version. Gives number, version, digest of what is in force; 'unknown' for no such version.
local digest = redis.call('HGET', KEYS[1], ARGV[1] .. ':digest')
if not digest then return {'unknown'} end
local there = redis.call('HMGET', KEYS[1], 'number', 'active')
local number = there[1] or '0'
if there[2] ~= ARGV[1] then
  number = string.format('%.0f', tonumber(number) + 1)
  redis.call('HSET', KEYS[1], 'number', number, 'active', ARGV[1], 'active_digest', digest)
end
return {number, ARGV[1], digest}
