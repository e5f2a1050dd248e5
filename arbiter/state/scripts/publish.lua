-- KEYS registry; ARGV name, digest, author, document. Gives version and the record's fields.
local newest = redis.call('HGET', KEYS[1], 'newest') or '0'
local fields = {'name', 'digest', 'author', 'published_at_ms', 'document'}
if redis.call('HGET', KEYS[1], newest .. ':digest') ~= ARGV[2] then
  local time = redis.call('TIME')
  local now_ms = time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000))
  newest = string.format('%.0f', tonumber(newest) + 1)
  local values = {ARGV[1], ARGV[2], ARGV[3], now_ms, ARGV[4]}
  local changed = {'newest', newest}
  for i, field in ipairs(fields) do
    changed[#changed + 1] = newest .. ':' .. field
    changed[#changed + 1] = values[i]
  end
  redis.call('HSET', KEYS[1], unpack(changed))
end
local reply = {newest}
for i, field in ipairs(fields) do reply[i + 1] = redis.call('HGET', KEYS[1], newest .. ':' .. field) end
return reply
