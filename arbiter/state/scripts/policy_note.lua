-- ARGV action, by, reason. Gives 'ok'.
audit({action = ARGV[1], by = ARGV[2], reason = ARGV[3]})
return {'ok'}
