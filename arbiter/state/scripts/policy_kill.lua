-- ARGV grace, target, name, until ('' if given as a span), span in ms, '1' with what is legally due, by, reason, longest
-- span, most switches. Gives 'ok', the switch and what is in force, or why not.
settle(tonumber(ARGV[1]))
local ends = tonumber(ARGV[4]) or now + tonumber(ARGV[5])
if ends <= now then return {'empty_span'} end
if ends > now + tonumber(ARGV[9]) then return {'too_long'} end
local kills, there = listed(), nil
for _, kill in ipairs(kills) do
  if kill.target == ARGV[2] and kill.name == ARGV[3] then there = kill end
end
if not there and #kills >= tonumber(ARGV[10]) then return {'full'} end
local kill = {id = there and there.id or raise('kill_seq'), target = ARGV[2], name = ARGV[3], until_ms = whole(ends),
  includes_legal = ARGV[6] == '1', by = ARGV[7], reason = ARGV[8]}
local packed = cjson.encode(kill)
local is_same = there ~= nil
for field, value in pairs(kill) do is_same = is_same and there[field] == value end
if not is_same then
  set('kill:' .. kill.id, packed)
  kill.ends = ends
  if there then there.ends = ends else kills[#kills + 1] = kill end
  local number, seen = renumber(), highest()
  -- A registry that has lost something may be restored, without this order: then that one must not look whole.
  if seen > tonumber(number) then redis.call('SET', KEYS[3], whole(seen + 1)) end
  audit({action = 'killed', by = kill.by, reason = kill.reason, number = number, kill = kill.id,
    target = kill.target, target_name = kill.name, until_ms = kill.until_ms, includes_legal = kill.includes_legal})
  keep(planned(), kills, tonumber(ARGV[1]))
end
return {'ok', packed, unpack(view())}
