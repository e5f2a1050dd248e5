-- KEYS …, the workers (a hash: name to "time report"); ARGV name, report, highest activation that the worker has seen, then
-- triples of a switch, what it did, and how often since the last report. Gives the highest activation that any has seen.
if redis.call('TYPE', KEYS[4]).ok ~= 'hash' then redis.call('DEL', KEYS[4]) end
redis.call('HSET', KEYS[4], ARGV[1], whole(now) .. ' ' .. ARGV[2])
if tonumber(ARGV[3]) > highest() then redis.call('SET', KEYS[3], ARGV[3]) end
for i = 4, #ARGV, 3 do
  if get('kill:' .. ARGV[i]) then
    redis.call('HINCRBY', REGISTRY, 'stopped:' .. ARGV[i] .. ':' .. ARGV[i + 1], ARGV[i + 2])
  end
end
return {whole(highest())}
