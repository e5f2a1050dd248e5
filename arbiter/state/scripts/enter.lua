-- KEYS installation; ARGV field, value, … Gives '1' if it was nobody's before, else '0', then all fields and values.
local is_new = redis.call('EXISTS', KEYS[1]) == 0
if is_new then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return {is_new and '1' or '0', unpack(redis.call('HGETALL', KEYS[1]))}
