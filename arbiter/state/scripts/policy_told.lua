-- KEYS …, the teller's lease; ARGV teller, number of the last entry that is on the topic, entries to keep. Gives 'ok'.
local told, seq = tonumber(get('audit_told') or '0'), tonumber(get('audit_seq') or '0')
if tonumber(ARGV[2]) > told and tonumber(ARGV[2]) <= seq then
  told = tonumber(ARGV[2])
  set('audit_told', whole(told))
end
redis.call('LTRIM', AUDIT, -math.max(tonumber(ARGV[3]), seq - told), -1)
if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
return {'ok'}
