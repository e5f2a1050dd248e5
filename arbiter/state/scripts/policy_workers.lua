-- KEYS …, the workers; ARGV how long a report is kept in ms. Gives the time, then names and reports in turn.
local told = redis.call('HGETALL', KEYS[4])
local kept = {whole(now)}
for i = 1, #told, 2 do
  if tonumber(string.match(told[i + 1], '^%d+')) + tonumber(ARGV[1]) <= now then
    redis.call('HDEL', KEYS[4], told[i])
  else
    kept[#kept + 1] = told[i]
    kept[#kept + 1] = told[i + 1]
  end
end
return kept
