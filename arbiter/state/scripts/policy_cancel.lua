-- ARGV grace, version, by, reason. Gives 'ok', or why not.
settle(tonumber(ARGV[1]))
local plan = planned()
local left = without(plan, function(entry) return entry.version == ARGV[2] and entry.from > now end)
if #left == #plan then return {'not_planned'} end
if not lasts(left) then return {'nothing_after'} end
audit(about(ARGV[2], {action = 'cancelled', by = ARGV[3], reason = ARGV[4]}))
keep(left, listed(), tonumber(ARGV[1]))
return {'ok'}
