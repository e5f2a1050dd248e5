-- KEYS …, the publisher's lease; ARGV publisher, number of the last published entry, entries to keep. Gives 'ok'.
local published, seq = tonumber(get('audit_told') or '0'), tonumber(get('audit_seq') or '0')
if tonumber(ARGV[2]) > published and tonumber(ARGV[2]) <= seq then
  published = tonumber(ARGV[2])
  set('audit_told', whole(published))
end
redis.call('LTRIM', AUDIT, -math.max(tonumber(ARGV[3]), seq - published), -1)
if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
return {'ok'}
