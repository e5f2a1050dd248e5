-- Goes before the scripts about policies. KEYS registry (a hash), audit (a list), the highest activation that was
-- ordered or that a worker has seen (a number), …
-- The registry has <version>:<field> of every version; `plan`, all activations ("id version from until state;" each,
-- where state 0 has yet to begin, 2 too and then recalls, 1 has begun); `entry`, the activation in force, with `number`,
-- `active` (its version) and `active_digest`; `kills`, the numbers of the switches, with kill:<number> of each; `shadow`
-- (a version, or empty) and `shadow_digest`, with `shadow_number`, when it changed last, and `shadow_moves`, how often
-- in a row; `next`, when something happens by itself; stopped:<number>:<outcome>, how many requests a switch stopped, as
-- workers report it. Everything is text.
local REGISTRY, AUDIT, FAR = KEYS[1], KEYS[2], 253402300799999
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function whole(number) return string.format('%.0f', number) end
local function get(field) return redis.call('HGET', REGISTRY, field) end
local function set(...) redis.call('HSET', REGISTRY, ...) end
local function raise(field) return whole(redis.call('HINCRBY', REGISTRY, field, 1)) end

-- 0 where it cannot be read: a report writes it anew, and an order to stop must not wait for that.
local function highest()
  if redis.call('TYPE', KEYS[3]).ok ~= 'string' then return 0 end
  return tonumber(redis.call('GET', KEYS[3])) or 0
end

-- The number of a new activation. A registry that workers know to have been ahead has lost something: it goes on above
-- what they saw only where a person `restores` it by putting a version in force, and stands still until then.
local function renumber(restores)
  local number, seen = tonumber(get('number') or '0'), highest()
  if seen > number then
    if not restores then return whole(number) end
    set('number', whole(seen))
  end
  local number = raise('number')
  -- Known of from now on, whether or not a worker runs to meet it.
  redis.call('SET', KEYS[3], number)
  return number
end

-- What is there and is no list is set aside, for whoever looks into it: no order waits for that.
local function audit(entry)
  local kind = redis.call('TYPE', AUDIT).ok
  if kind ~= 'list' and kind ~= 'none' then redis.call('RENAME', AUDIT, AUDIT .. ':damaged') end
  entry.seq, entry.at_ms = raise('audit_seq'), entry.at_ms or whole(now)
  redis.call('RPUSH', AUDIT, cjson.encode(entry))
end

-- An audit entry about a version: `more` with what is known of it.
local function about(version, more)
  local known = redis.call('HMGET', REGISTRY, version .. ':name', version .. ':digest')
  more.version, more.name, more.digest = version, known[1], known[2]
  return more
end

local function planned()
  local plan = {}
  for id, version, from, until_, state in string.gmatch(get('plan') or '', '(%d+) (%d+) (%d+) (%d+) (%d);') do
    plan[#plan + 1] = {id = id, version = version, from = tonumber(from), until_ = tonumber(until_), state = state}
  end
  return plan
end

-- Of what began and did not end, what began last; of two at once what was ordered last.
local function winner(plan, at)
  local best
  for _, entry in ipairs(plan) do
    if entry.from <= at and at < entry.until_ and (not best or entry.from >= best.from) then best = entry end
  end
  return best
end

-- Whether something is in force whenever a planned activation ends.
local function lasts(plan)
  for _, entry in ipairs(plan) do
    if entry.until_ < FAR and entry.until_ > now and not winner(plan, entry.until_) then return false end
  end
  return true
end

local function without(plan, drops)
  local kept = {}
  for _, entry in ipairs(plan) do
    if not drops(entry) then kept[#kept + 1] = entry end
  end
  return kept
end

local function listed()
  local kills = {}
  for id in string.gmatch(get('kills') or '', '%d+') do
    local kill = cjson.decode(get('kill:' .. id))
    kill.ends = tonumber(kill.until_ms)
    kills[#kills + 1] = kill
  end
  return kills
end

-- Forget a switch and what it stopped.
local function drop(kill)
  local fields = {'kill:' .. kill}
  for _, outcome in ipairs({'recalled', 'deferred', 'rejected'}) do
    fields[#fields + 1] = 'stopped:' .. kill .. ':' .. outcome
  end
  redis.call('HDEL', REGISTRY, unpack(fields))
end

-- Write plan and switches back, and when something next happens by itself.
local function keep(plan, kills, grace)
  local texts, ids, next_at = {}, {}, FAR
  for i, entry in ipairs(plan) do
    texts[i] = table.concat({entry.id, entry.version, whole(entry.from), whole(entry.until_), entry.state}, ' ') .. ';'
    if entry.from > now then next_at = math.min(next_at, entry.from) end
    if entry.until_ > now then next_at = math.min(next_at, entry.until_) end
  end
  for i, kill in ipairs(kills) do
    ids[i] = kill.id
    next_at = math.min(next_at, kill.ends + grace)
  end
  set('plan', table.concat(texts), 'kills', table.concat(ids, ' '), 'next', whole(next_at))
end

-- Let `entry` be in force from now on; gives the activation's number.
local function put_in_force(entry, restores)
  local number = renumber(restores)
  if entry.state == '2' then set('recalls', number) end
  entry.state = '1'
  set('entry', entry.id, 'active', entry.version, 'active_digest', get(entry.version .. ':digest'))
  return number
end

-- Do what is due by now: planned activations begin and end, switches that ended are forgotten.
local function settle(grace)
  if now < tonumber(get('next') or FAR) then return end
  local plan, kills, there, ended = planned(), {}, get('entry'), nil
  for _, entry in ipairs(plan) do
    if entry.id == there and entry.until_ <= now then ended = entry end
  end
  local best = winner(plan, now)
  if best and best.id ~= there then
    local action = best.state == '1' and 'resumed' or 'began'
    local number = put_in_force(best)
    if ended then audit(about(ended.version, {action = 'ended', by = 'arbiter', at_ms = whole(ended.until_)})) end
    audit(about(best.version, {action = action, by = 'arbiter', number = number}))
  end
  for _, kill in ipairs(listed()) do
    if kill.ends + grace <= now then
      audit({action = 'kill_ended', by = 'arbiter', at_ms = kill.until_ms, kill = kill.id, target = kill.target,
        target_name = kill.name})
      drop(kill.id)
    else
      kills[#kills + 1] = kill
    end
  end
  keep(without(plan, function(entry) return entry.until_ <= now end), kills, grace)
end

-- How many of the last numbers were given only because the shadow changed.
local function shadow_moves()
  local there = redis.call('HMGET', REGISTRY, 'number', 'shadow_number', 'shadow_moves')
  return there[1] and there[1] == there[2] and there[3] or '0'
end

-- Let `version` (empty for none) be evaluated beside what is in force; gives the activation's number.
local function put_beside(version)
  local moves = whole(tonumber(shadow_moves()) + 1)
  local number = renumber()
  local digest = version ~= '' and get(version .. ':digest') or ''
  set('shadow', version, 'shadow_digest', digest, 'shadow_number', number, 'shadow_moves', moves)
  return number
end

-- What is in force, as the store's `_activation` reads it.
local function view()
  local there = redis.call('HMGET', REGISTRY, 'number', 'active', 'active_digest', 'recalls', 'shadow', 'shadow_digest',
    'kills')
  local reply = {there[1] or '', there[2] or '', there[3] or '', there[4] or '0', there[5] or '', there[6] or '',
    shadow_moves()}
  for id in string.gmatch(there[7] or '', '%d+') do reply[#reply + 1] = get('kill:' .. id) end
  return reply
end
