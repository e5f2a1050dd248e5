-- ARGV action, by, reason, selection, letters (or nothing). Gives 'ok'.
local letters = tonumber(ARGV[5])
audit({action = ARGV[1], by = ARGV[2], reason = ARGV[3], selection = letters and ARGV[4], letters = letters})
return {'ok'}
