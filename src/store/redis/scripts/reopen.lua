-- Opens a new epoch in a store that has none, once every proxy has had the time to merge back what it holds.
-- KEYS: epoch, since when the epoch is missing
-- ARGV: how long proxies have (ms), the new epoch
-- Returns the epoch, or nothing while proxies still have time.
local epoch = redis.call('GET', KEYS[1])
if epoch then return epoch end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = tonumber(redis.call('GET', KEYS[2]) or '')
if not since or since > now then
  redis.call('SET', KEYS[2], string.format('%.0f', now))
  return false
end
if now - since < tonumber(ARGV[1]) then return false end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return ARGV[2]
