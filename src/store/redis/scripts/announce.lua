-- Says which keys this proxy has, for as long as its lease runs, and answers what the other living proxies have said.
-- KEYS: the announcements. ARGV: this proxy, its announcement (empty: it takes back what it said), the lease in milliseconds.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local others = {}
local known = redis.call('HGETALL', KEYS[1])
for place = 1, #known, 2 do
  local until_ms, said = string.match(known[place + 1], '^(%d+) (.*)$')
  if not until_ms or tonumber(until_ms) < now_ms then
    redis.call('HDEL', KEYS[1], known[place])
  elseif known[place] ~= ARGV[1] then
    table.insert(others, said)
  end
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return others
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', now_ms + ARGV[3], ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return others
