-- put: store what was fetched under a lease that is still ours, and give the lease back.
-- KEYS[1] the prospect's hash
-- ARGV    record field, lease field, our token, record, its keep-until in ms of Redis's clock
-- returns 'stored' | 'lost' (purged, taken over, evicted) | 'lapsed'
local holder, ends = string.match(redis.call('HGET', KEYS[1], ARGV[2]) or '', '^(%S+) (%d+) ')
if holder ~= ARGV[3] then
  return 'lost'
end
redis.call('HDEL', KEYS[1], ARGV[2])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local keep = tonumber(ARGV[5])
if tonumber(ends) <= now or keep <= now then
  return 'lapsed'
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
if redis.call('PTTL', KEYS[1]) < keep - now then
  redis.call('PEXPIREAT', KEYS[1], ARGV[5])
end
return 'stored'
