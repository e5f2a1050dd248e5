-- KEYS head, outbox, timers, waits, opened, turns, phrases of ledgers, of answers, one per ledger, per answer its
-- customer's answers, one per window of capacity.
-- ARGV epoch, owner, seq, activation, answers' ttl in ms, outbox, then seven counts: of head's fields, ledgers,
-- answers, timers, windows, waits, permits; (there before, added) for either phrases; then head's fields and values
-- (`now_ms` first), the ledgers, the answers, (party, instant or '', turn or '') per timer, (used, granted, made, ttl)
-- per window, (member, '0' or '') per wait, (end, party) per permit, and the phrases.
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
local windows_at = 17 + 2 * fields + ledgers + answers + 3 * timers
local function window(i)
  local at = windows_at + 4 * i - 3
  return KEYS[8 + ledgers + answers + i], tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
end
if verdict == 'ok' and ARGV[3] ~= head[3] then
  for i = 1, windows do
    local key, used, granted, made = window(i)
    local there = redis.call('HMGET', key, 'used', 'sealed')
    local is_void = tonumber(made) < tonumber(there[2] or 0) and used > tonumber(there[1] or 0)
    if is_void or used > tonumber(granted) then verdict = 'stale_stock' end
  end
end
if verdict == 'ok' and ARGV[3] ~= head[3] then
  for i = 0, 1 do
    local is_used = i == 0 and ledgers > 0 or i == 1 and answers > 0
    if is_used and redis.call('LLEN', KEYS[7 + i]) ~= tonumber(ARGV[14 + 2 * i]) then verdict = 'regressed' end
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

-- A customer's answers are one value: time (4 bytes), length (3), identity (8), answer, one after another. The last one
-- of an identity stands.
local now_s = tonumber(time[1])
local function tidy(log)
  local entries, count, last, is_tidy, at = {}, 0, {}, true, 1
  while at <= #log do
    local t1, t2, t3, t4, l1, l2, l3 = string.byte(log, at, at + 6)
    local length = l3 and l1 * 65536 + l2 * 256 + l3
    if not length or length < 16 or at + length - 1 > #log then return log end -- damaged: whoever reads it says so
    local identity, age = string.sub(log, at + 7, at + 14), now_s - (((t1 * 256 + t2) * 256 + t3) * 256 + t4)
    local is_over = 1000 * age > tonumber(ARGV[5]) + 1000
    if is_over or last[identity] then is_tidy = false end
    count = count + 1
    last[identity] = count
    entries[count] = {at, at + length - 1, identity, is_over}
    at = at + length
  end
  if is_tidy then return log end
  local kept = {}
  for i, entry in ipairs(entries) do
    if last[entry[3]] == i and not entry[4] then kept[#kept + 1] = string.sub(log, entry[1], entry[2]) end
  end
  return table.concat(kept)
end

local added, logs, stamp = {}, {}, ''
for shift = 3, 0, -1 do stamp = stamp .. string.char(math.floor(now_s / 256 ^ shift) % 256) end
for i = 1, answers do
  local key = KEYS[8 + ledgers + i]
  if not added[key] then logs[#logs + 1] = key end
  added[key] = (added[key] or '') .. stamp .. ARGV[17 + 2 * fields + ledgers + i]
end
-- Short values are written anew each time, at their exact length; long ones once in 4 KiB.
local tidied = {}
for _, key in ipairs(logs) do
  local length = redis.call('STRLEN', key)
  if length < 4096 or math.floor(length / 4096) < math.floor((length + #added[key]) / 4096) then
    tidied[key] = tidy((redis.call('GET', key) or '') .. added[key])
  end
end

local at = 17
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
  keyed[2 * i - 1] = KEYS[8 + i]
  keyed[2 * i] = ARGV[at + i]
end
chunks(nil, 'MSET', keyed)
at = at + ledgers

for _, key in ipairs(logs) do
  if not tidied[key] then
    redis.call('APPEND', key, added[key])
    redis.call('PEXPIRE', key, ARGV[5])
  else
    redis.call('SET', key, tidied[key], 'PX', ARGV[5])
  end
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
  local now_ms, opened, first = ARGV[19], {}, windows_at + 4 * windows + 2 * waits
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

local phrases_at = windows_at + 4 * windows + 2 * waits + 2 * permits
for i = 0, 1 do
  local new, count = {}, tonumber(ARGV[15 + 2 * i])
  for k = 1, count do new[k] = ARGV[phrases_at + k] end
  chunks(KEYS[7 + i], 'RPUSH', new)
  phrases_at = phrases_at + count
end
-- Longer than any answer that refers to them.
if answers > 0 then redis.call('PEXPIRE', KEYS[8], string.format('%.0f', 2 * tonumber(ARGV[5]))) end
return {'ok', time[1], time[2]}
