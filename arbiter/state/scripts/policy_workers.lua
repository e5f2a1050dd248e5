-- KEYS …, the workers; ARGV how long a report is kept in ms. Gives the time, then names and reports in turn. What is no
-- report is deleted: whoever lives writes its own again.
if redis.call('TYPE', KEYS[4]).ok ~= 'hash' then redis.call('DEL', KEYS[4]) end
local told = redis.call('HGETALL', KEYS[4])
local kept = {whole(now)}
for i = 1, #told, 2 do
  local at = tonumber(string.match(told[i + 1], '^(%d+) ') or '0')
  if at + tonumber(ARGV[1]) <= now then
    redis.call('HDEL', KEYS[4], told[i])
  else
    kept[#kept + 1] = told[i]
    kept[#kept + 1] = told[i + 1]
  end
end
return kept
