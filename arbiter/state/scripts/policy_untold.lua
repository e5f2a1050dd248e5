-- KEYS …, the teller's lease; ARGV teller, lease in ms, limit. Gives entries that are not on the topic, oldest first.
local untold = tonumber(get('audit_seq') or '0') - tonumber(get('audit_told') or '0')
if untold <= 0 then return {} end
local holder = redis.call('GET', KEYS[4])
if holder and holder ~= ARGV[1] then return {} end
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2])
local length = redis.call('LLEN', AUDIT)
local first = math.max(0, length - untold)
return redis.call('LRANGE', AUDIT, first, first + tonumber(ARGV[3]) - 1)
