-- Gives a revocation back to a store that has lost it, and ends the session's record if the store has one.
-- KEYS: session record, the subject's sessions, revocations
-- ARGV: expected record ('' if there is nothing to end), ended record, when Redis may forget it (ms), session id,
--       when it ended (ms), nonce
-- Returns 1, or 0 if the record is another one by now.
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[3], '*', 'sid', ARGV[4], 'ended_at_ms', ARGV[5], 'nonce', ARGV[6])
if ARGV[1] ~= '' then
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
  redis.call('ZREM', KEYS[2], ARGV[4])
end
return 1
