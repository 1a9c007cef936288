-- renew: keep a lease that is still ours.
-- KEYS[1] the prospect's hash
-- ARGV    lease field, our token, lease in ms
-- returns 1, or 0 where it is ours no more
local holder, _, epochs = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%S+) (%d+) (%S+)$')
if holder ~= ARGV[2] then
  return 0
end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', now + tonumber(ARGV[3])) .. ' ' .. epochs)
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
