-- A heartbeat, unless another proxy has just written one; and with it, what is old leaves the stream.
-- The entry just written always stays, so that there is one to go on from.
-- Proxies need not agree on how long entries matter (a new configuration rolls from one to the next): the longest time that any
-- of them has asked for lately counts. It is forgotten after twice as long, when nothing of that age matters any more.
-- KEYS: epoch, revocations, when the last heartbeat was written, how long entries are kept
-- ARGV: epoch, nonce, not sooner than (ms) after the last one, how long entries matter to this proxy (ms)
-- Returns 1; 0 if the epoch is another one, -1 if it was rolled back.
local epoch = redis.call('GET', KEYS[1])
if epoch ~= ARGV[1] then return epoch == 'closed:' .. ARGV[1] and -1 or 0 end
local keep = tonumber(ARGV[4])
local longest = tonumber(redis.call('GET', KEYS[4]) or '')
if not longest or keep > longest or (keep == longest and redis.call('PTTL', KEYS[4]) < keep * 1.5) then
  redis.call('SET', KEYS[4], ARGV[4], 'PX', string.format('%.0f', keep * 2))
end
keep = math.max(keep, longest or 0)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('GET', KEYS[3]) or '')
if last and last <= now and now - last < tonumber(ARGV[3]) then return 1 end

redis.call('XADD', KEYS[2], '*', 'nonce', ARGV[2])
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(now - keep, 0)))
redis.call('SET', KEYS[3], string.format('%.0f', now))
return 1
