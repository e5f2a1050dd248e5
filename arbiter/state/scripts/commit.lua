-- KEYS head, outbox, timers, waits, opened, turns, one per ledger, one per answer, one per window of capacity.
-- ARGV epoch, owner, seq, activation, answers' ttl in ms, outbox, then seven counts: of head's fields, ledgers,
-- answers, timers, windows, waits, permits; then head's fields and values (`now_ms` first), the ledgers, the answers,
-- (party, instant or '', turn or '') per timer, (used, granted, made, ttl) per window, (member, '0' or '') per wait,
-- and (end, party) per permit.
local time = redis.call('TIME')
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'seq', 'activation')
local verdict = stands(head, ARGV[1], ARGV[2])
if verdict == 'ok' and ARGV[3] ~= head[3] then
  if tonumber(ARGV[3]) ~= tonumber(head[3]) + 1 then
    verdict = 'regressed'
  elseif tonumber(ARGV[4]) < tonumber(head[4]) then
    verdict = 'stale_policy'
  end
end
local fields, ledgers, answers, timers = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local windows, waits, permits = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local windows_at = 13 + 2 * fields + ledgers + answers + 3 * timers
local function window(i)
  local at = windows_at + 4 * i - 3
  return KEYS[6 + ledgers + answers + i], tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
end
if verdict == 'ok' and ARGV[3] ~= head[3] then
  for i = 1, windows do
    local key, used, granted, made = window(i)
    local there = redis.call('HMGET', key, 'used', 'sealed')
    local is_void = tonumber(made) < tonumber(there[2] or 0) and used > tonumber(there[1] or 0)
    if is_void or used > tonumber(granted) then verdict = 'stale_stock' end
  end
end
if verdict ~= 'ok' or ARGV[3] == head[3] then
  return {verdict, time[1], time[2]}
end
-- A key of another type would fail in the middle of the writes: here, before the first one, it fails all of it.
if timers > 0 then
  redis.call('ZCARD', KEYS[3])
  redis.call('HLEN', KEYS[6])
end
if waits > 0 then redis.call('ZCARD', KEYS[4]) end
if permits > 0 then redis.call('ZCARD', KEYS[5]) end

local at = 13
-- `unpack` fails at about 8,000 values (LUAI_MAXCSTACK), so everything goes in chunks of at most 2,000.
local function chunks(key, command, values)
  local count = #values
  for first = 1, count, 2000 do
    if key then
      redis.call(command, key, unpack(values, first, math.min(first + 1999, count)))
    else
      redis.call(command, unpack(values, first, math.min(first + 1999, count)))
    end
  end
end

local changed = {'seq', ARGV[3], 'activation', ARGV[4]}
for i = 1, 2 * fields do changed[4 + i] = ARGV[at + i] end
at = at + 2 * fields
redis.call('HSET', KEYS[1], unpack(changed))

if ARGV[6] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[6]) end

local keyed = {}
for i = 1, ledgers do
  keyed[2 * i - 1] = KEYS[6 + i]
  keyed[2 * i] = ARGV[at + i]
end
chunks(nil, 'MSET', keyed)
at = at + ledgers

for i = 1, answers do
  redis.call('SET', KEYS[6 + ledgers + i], ARGV[at + i], 'PX', ARGV[5])
end
at = at + answers

-- Sorted sets take (score, member), hashes (field, value); '' removes.
local function values(key, count, first, width, field, is_score)
  local set, unset = {}, {}
  for i = 0, count - 1 do
    local member, value = ARGV[first + width * i], ARGV[first + width * i + field]
    if value == '' then
      unset[#unset + 1] = member
    else
      set[#set + 1] = is_score and value or member
      set[#set + 1] = is_score and member or value
    end
  end
  chunks(key, is_score and 'ZADD' or 'HSET', set)
  chunks(key, is_score and 'ZREM' or 'HDEL', unset)
end
values(KEYS[3], timers, at + 1, 3, 1, true)
values(KEYS[6], timers, at + 1, 3, 2, false)
values(KEYS[4], waits, windows_at + 4 * windows + 1, 2, 1, true)

if permits > 0 then
  local now_ms, opened, first = ARGV[15], {}, windows_at + 4 * windows + 2 * waits
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now_ms)
  for i = 1, 2 * permits do opened[i] = ARGV[first + i] end
  for from = 1, 2 * permits, 2000 do
    redis.call('ZADD', KEYS[5], 'GT', unpack(opened, from, math.min(from + 1999, 2 * permits)))
  end
end

for i = 1, windows do
  local key, used, _, _, ttl = window(i)
  redis.call('HSET', key, 'used', string.format('%.0f', used))
  redis.call('PEXPIRE', key, ttl)
end
return {'ok', time[1], time[2]}
