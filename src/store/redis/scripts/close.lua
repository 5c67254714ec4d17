-- The stream is not the one that was read: the store was rolled back. Nobody reads or writes sessions until all proxies have
-- given back what they hold.
-- KEYS: epoch, since when it waits (from when somebody looks at it next)
-- ARGV: the epoch that was rolled back
-- Returns 1, or 0 if the epoch is another one.
local epoch = redis.call('GET', KEYS[1])
if epoch == 'closed:' .. ARGV[1] then return 1 end
if epoch ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'closed:' .. ARGV[1])
redis.call('DEL', KEYS[2])
return 1
