-- A heartbeat, unless another proxy has just written one; and with it, what is old leaves the stream.
-- The entry just written always stays, so that there is one to go on from.
-- KEYS: epoch, revocations, when the last heartbeat was written
-- ARGV: epoch, nonce, not sooner than (ms) after the last one, how long entries are kept (ms)
-- Returns 1, or 0 if the epoch is another one.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('GET', KEYS[3]) or '')
if last and last <= now and now - last < tonumber(ARGV[3]) then return 1 end

redis.call('XADD', KEYS[2], '*', 'nonce', ARGV[2])
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(now - tonumber(ARGV[4]), 0)))
redis.call('SET', KEYS[3], string.format('%.0f', now))
return 1
