-- ARGV grace, by, reason. Gives 'ok' and what is in force, or why not.
settle(tonumber(ARGV[1]))
local version = get('shadow')
if not version or version == '' then return {'no_shadow'} end
local number = put_beside('')
audit(about(version, {action = 'shadow_ended', by = ARGV[2], reason = ARGV[3], number = number}))
return {'ok', unpack(view())}
