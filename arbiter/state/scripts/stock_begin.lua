-- KEYS central entry, its lock; ARGV sealed, ms that the lock may last. Gives 'ok' if there is an entry newer than
-- sealed, 'busy' while somebody makes one, else 'yours', the number for the entry to be made (microseconds), ms.
local made = redis.call('HGET', KEYS[1], 'made')
if made and tonumber(made) >= tonumber(ARGV[1]) then return {'ok'} end
local time = redis.call('TIME')
local number = tonumber(time[1]) * 1000000 + tonumber(time[2])
if number <= tonumber(ARGV[1]) then number = tonumber(ARGV[1]) + 1 end
local mine = string.format('%.0f', number)
if not redis.call('SET', KEYS[2], mine, 'NX', 'PX', ARGV[2]) then return {'busy'} end
return {'yours', mine, string.format('%.0f', math.floor(number / 1000))}
