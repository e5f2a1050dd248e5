-- ARGV grace, version, by, reason, from ('' for now), until ('' for never), '1' without approval, '1' with recall, most
-- planned. Gives 'ok' and what is in force, or why not.
settle(tonumber(ARGV[1]))
local version, most = ARGV[2], tonumber(ARGV[9])
local there = redis.call('HMGET', REGISTRY, version .. ':digest', version .. ':approved_digest',
  version .. ':approved_sha', version .. ':document', version .. ':tests')
if not there[1] then return {'unknown'} end
if ARGV[7] ~= '1' and not there[2] then return {'not_approved'} end
local sha = redis.sha1hex((there[4] or '') .. '\n' .. (there[5] or ''))
if there[2] and (there[2] ~= there[1] or there[3] ~= sha) then return {'changed'} end
local from, until_ = tonumber(ARGV[5]) or now, tonumber(ARGV[6]) or FAR
if from < now then return {'past'} end
if until_ <= from then return {'empty_span'} end

local plan, is_now = planned(), from == now
local is_whole = highest() <= tonumber(get('number') or '0')
for _, entry in ipairs(plan) do
  local is_there
  if is_now then is_there = entry.id == get('entry') else is_there = entry.from == from end
  if entry.version == version and is_there and entry.until_ == until_ and ARGV[8] ~= '1' and is_whole then
    return {'ok', unpack(view())}
  end
end
local entry = {id = whole(tonumber(get('entry_seq') or '0') + 1), version = version, from = from, until_ = until_,
  state = ARGV[8] == '1' and '2' or '0'}
plan[#plan + 1] = entry
if not lasts(plan) then return {'nothing_after'} end
if #plan > most then
  -- Room is made by forgetting the oldest to come back to; what is yet to come is kept.
  local oldest
  for _, one in ipairs(plan) do
    local is_old = one.from <= now and one.until_ == FAR and one.id ~= get('entry') and one.id ~= entry.id
    if is_old and not oldest then oldest = one.id end
  end
  if not oldest then return {'full'} end
  plan = without(plan, function(one) return one.id == oldest end)
  if not lasts(plan) then return {'full'} end
end

set('entry_seq', entry.id)
local told = about(version, {action = 'scheduled', by = ARGV[3], reason = ARGV[4], from_ms = whole(from)})
if is_now then
  told.action, told.number = 'activated', put_in_force(entry, true)
end
if until_ < FAR then told.until_ms = whole(until_) end
if not there[2] then told.is_alone = true end
if ARGV[8] == '1' then told.recalls = true end
audit(told)
keep(plan, listed(), tonumber(ARGV[1]))
return {'ok', unpack(view())}
