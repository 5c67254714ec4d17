-- Makes sure that there is no record of a session. A primary that was demoted can still be read and knows nothing of what came
-- after it; so this is a write, which it refuses, though it changes nothing.
-- KEYS: epoch, session record
-- ARGV: epoch
-- Returns 'yes', 'conflict' (there is one), 'closed' (the epoch was rolled back) or 'amnesia'.
local epoch = redis.call('GET', KEYS[1]) or ''
if epoch ~= ARGV[1] then return epoch == 'closed:' .. ARGV[1] and 'closed' or 'amnesia' end
if redis.call('GET', KEYS[2]) then return 'conflict' end
redis.call('DEL', KEYS[2])
return 'yes'
