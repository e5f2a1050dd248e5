-- ARGV name, digest, author, the author's key, reason, document, tests. Gives the version.
local newest = get('newest') or '0'
local there = redis.call('HMGET', REGISTRY, newest .. ':digest', newest .. ':tests')
if there[1] ~= ARGV[2] or there[2] ~= ARGV[7] then
  newest = raise('newest')
  local names = {'name', 'digest', 'author', 'author_key', 'reason', 'document', 'tests'}
  local changed = {newest .. ':published_at_ms', whole(now)}
  for i, name in ipairs(names) do
    changed[#changed + 1] = newest .. ':' .. name
    changed[#changed + 1] = ARGV[i]
  end
  set(unpack(changed))
  audit(about(newest, {action = 'published', by = ARGV[3], reason = ARGV[5]}))
end
return {newest}
