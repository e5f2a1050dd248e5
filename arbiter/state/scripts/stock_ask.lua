-- KEYS central entry; ARGV partition, epoch, version, previous, made, sealed, limit ('' for none), used, want, ttl,
-- how many in use open it ('' for never). Gives 'missing', or 'ok', made, granted to the partition, granted to all,
-- used by all, '1' if it is open. An entry that cannot be read is deleted: it is counted anew from the partitions.
local function whole(number) return string.format('%.0f', number) end
local function unreadable()
  redis.call('DEL', KEYS[1])
  return {'missing'}
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {'missing'} end
if kind ~= 'hash' then return unreadable() end
local there = redis.call('HMGET', KEYS[1], 'made', 'granted', 'used', ARGV[1], 'open')
local made, all_granted, all_used = tonumber(there[1]), tonumber(there[2]), tonumber(there[3])
if not made or not all_granted or not all_used then return unreadable() end
if made < tonumber(ARGV[6]) then return {'missing'} end

local epoch, version, granted, used = 0, 0, 0, 0
if there[4] then
  local words = {string.match(there[4], '^(%d+) (%d+) (-?%d+) (-?%d+)$')}
  if not words[1] then return unreadable() end
  epoch, version, granted, used = tonumber(words[1]), tonumber(words[2]), tonumber(words[3]), tonumber(words[4])
end
local my_epoch, my_version, previous = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local is_same = epoch == my_epoch and version == my_version
if is_same or epoch > my_epoch or (epoch == my_epoch and version > my_version) then
  return {'ok', there[1], is_same and whole(granted) or '0', there[2], there[3], there[5] or '0'}
end
-- What was answered before is not here, or more is used than is granted here: this entry has lost writes.
if previous > 0 and ARGV[5] == there[1] and (epoch ~= my_epoch or version ~= previous) then return {'missing'} end
local now_used = tonumber(ARGV[8])
if now_used > granted then return {'missing'} end

local now_granted = now_used + tonumber(ARGV[9])
if ARGV[7] ~= '' then
  local left = tonumber(ARGV[7]) - (all_granted - granted)
  now_granted = math.max(now_used, math.min(now_granted, left))
end
all_granted = whole(all_granted - granted + now_granted)
all_used = whole(all_used - used + now_used)
redis.call('HSET', KEYS[1], 'granted', all_granted, 'used', all_used,
  ARGV[1], table.concat({ARGV[2], ARGV[3], whole(now_granted), ARGV[8]}, ' '))
local open = there[5] or '0'
if ARGV[11] ~= '' and tonumber(all_used) >= tonumber(ARGV[11]) then open = '1' end
redis.call('HSET', KEYS[1], 'open', open)
redis.call('PEXPIRE', KEYS[1], ARGV[10])
return {'ok', there[1], whole(now_granted), all_granted, all_used, open}
