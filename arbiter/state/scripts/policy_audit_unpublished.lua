-- KEYS …, the publisher's lease; ARGV publisher, lease in ms, limit. Gives unpublished entries, oldest first.
local unpublished = tonumber(get('audit_seq') or '0') - tonumber(get('audit_told') or '0')
if unpublished <= 0 then return {} end
local holder = redis.call('GET', KEYS[4])
if holder and holder ~= ARGV[1] then return {} end
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2])
local length = redis.call('LLEN', AUDIT)
local first = math.max(0, length - unpublished)
return redis.call('LRANGE', AUDIT, first, first + tonumber(ARGV[3]) - 1)
