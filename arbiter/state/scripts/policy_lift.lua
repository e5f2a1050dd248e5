-- ARGV grace, switch, by, reason. Gives 'ok' and what is in force, or why not.
settle(tonumber(ARGV[1]))
local kills, lifted = {}, nil
for _, kill in ipairs(listed()) do
  if kill.id == ARGV[2] and kill.ends > now then lifted = kill else kills[#kills + 1] = kill end
end
if not lifted then return {'unknown_kill'} end
audit({action = 'kill_lifted', by = ARGV[3], reason = ARGV[4], number = renumber(), kill = lifted.id,
  target = lifted.target, target_name = lifted.name})
drop(lifted.id)
keep(planned(), kills, tonumber(ARGV[1]))
return {'ok', unpack(view())}
