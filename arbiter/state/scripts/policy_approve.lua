-- ARGV version, digest, approver, the approver's key, reason. Gives 'ok' or why not. The first approval stands.
local version = ARGV[1]
local there = redis.call('HMGET', REGISTRY, version .. ':digest', version .. ':author', version .. ':author_key',
  version .. ':approver', version .. ':document', version .. ':tests')
if not there[1] then return {'unknown'} end
if there[1] ~= ARGV[2] then return {'digest'} end
local function spelt(name) return string.lower(string.match(name, '^%s*(.-)%s*$')) end
if there[3] == ARGV[4] or spelt(there[2]) == spelt(ARGV[3]) then return {'same_person'} end
if not there[4] then
  set(version .. ':approver', ARGV[3], version .. ':approval_reason', ARGV[5], version .. ':approved_at_ms', whole(now),
    version .. ':approved_digest', there[1], version .. ':approved_sha', redis.sha1hex(there[5] .. '\n' .. there[6]))
  audit(about(version, {action = 'approved', by = ARGV[3], reason = ARGV[5]}))
end
return {'ok'}
