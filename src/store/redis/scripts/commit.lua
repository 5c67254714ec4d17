-- One commit: compare the whole record, swap it, publish the ending. All of it or nothing.
-- KEYS: epoch, session record, the subject's sessions, revocations
-- ARGV: epoch ('' for none), expected record ('' for none), next record, when Redis may forget it (ms), session id,
--       its absolute end (ms), '1' if it lives, when it ended (ms; '' if this commit does not end it), a nonce if it does
-- Returns 'yes', 'conflict', 'closed' (the epoch was rolled back) or 'amnesia'.
local epoch = redis.call('GET', KEYS[1]) or ''
if epoch ~= ARGV[1] then return epoch == 'closed:' .. ARGV[1] and 'closed' or 'amnesia' end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 'conflict' end

-- Published first: a fault between the two must not leave an ended session of which nobody hears.
if ARGV[8] ~= '' then
  redis.call('XADD', KEYS[4], '*', 'sid', ARGV[5], 'ended_at_ms', ARGV[8], 'nonce', ARGV[9], 'record', ARGV[3])
end
redis.call('SET', KEYS[2], ARGV[3], 'PXAT', ARGV[4])

-- A rotation leaves the list as it is: only who comes, goes or gets another end has it looked after.
local changed
if ARGV[7] == '1' then
  changed = redis.call('ZADD', KEYS[3], 'CH', ARGV[6], ARGV[5])
else
  changed = redis.call('ZREM', KEYS[3], ARGV[5])
end
if changed == 0 then return 'yes' end
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', time[1] .. '000')
local last = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', KEYS[3], string.format('%.0f', tonumber(last[2]) + 60000)) end
return 'yes'
