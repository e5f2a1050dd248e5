-- KEYS what is written to see whether that works; ARGV ms that it is kept. A script, as commits are: a user may be allowed
-- to write and not to run one.
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return {'ok'}
