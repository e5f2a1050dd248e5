-- ARGV grace, version, by, reason. Gives 'ok' and what is in force, or why not. The same version again changes nothing.
settle(tonumber(ARGV[1]))
local version = ARGV[2]
local digest = get(version .. ':digest')
if not digest then return {'unknown'} end
if not get('active') then return {'nothing_in_force'} end
local there = redis.call('HMGET', REGISTRY, 'shadow', 'shadow_digest')
if there[1] ~= version or there[2] ~= digest then
  local number = put_beside(version)
  audit(about(version, {action = 'shadow_began', by = ARGV[3], reason = ARGV[4], number = number}))
end
return {'ok', unpack(view())}
