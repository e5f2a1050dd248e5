-- ARGV grace, by, reason, number. Gives 'ok' and what is in force, or why not.
settle(tonumber(ARGV[1]))
local there = get('entry')
if not there then return {'nothing_before'} end
if get('number') ~= ARGV[4] then return {'moved'} end
local plan = without(planned(), function(entry) return entry.id == there end)
local best = winner(plan, now)
if not best or not lasts(plan) then return {'nothing_before'} end
local number = put_in_force(best, true)
audit(about(best.version, {action = 'rolled_back', by = ARGV[2], reason = ARGV[3], number = number}))
keep(plan, listed(), tonumber(ARGV[1]))
return {'ok', unpack(view())}
