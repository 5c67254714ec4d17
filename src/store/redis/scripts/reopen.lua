-- How a partition stands: open in an epoch; or waiting, because it lost its epoch or was closed, until every proxy has had
-- the time to give back what it holds. Whoever looks last opens a new epoch.
-- The time counts in one run of the server only. A snapshot can have been taken while the partition waited: what it says of that
-- is of another loss. (Where INFO is forbidden, such a snapshot must be older than the time at most.)
-- KEYS: epoch, since when it waits, the proxies that are giving back (by until when they are believed)
-- ARGV: how long proxies have after a loss (ms), after a rollback (ms), at most (ms), the new epoch, this proxy,
--       '1' if it still has something to give back
-- Returns the epoch, and since when it waits: 0 if it is open.
local epoch = redis.call('GET', KEYS[1])
local closed = epoch and string.sub(epoch, 1, 7) == 'closed:'
if epoch and not closed then return {epoch, 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
local waited, in_run = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%w+)$')
local since = tonumber(waited)
if not since or since > now or in_run ~= run then since = now end
-- Nobody has looked for so long: it begins anew.
redis.call('SET', KEYS[2], string.format('%.0f %s', since, run), 'PX', ARGV[3])
if ARGV[6] == '1' then
  redis.call('ZADD', KEYS[3], now + 3000, ARGV[5])
else
  redis.call('ZREM', KEYS[3], ARGV[5])
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
local busy = ARGV[6] == '1' or (redis.call('ZCARD', KEYS[3]) > 0 and now - since < tonumber(ARGV[3]))
if busy or now - since < tonumber(closed and ARGV[2] or ARGV[1]) then return {epoch or '', since} end
redis.call('SET', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2], KEYS[3])
return {ARGV[4], 0}
