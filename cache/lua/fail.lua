-- fail: give a lease back that is still ours. With a time, who asks or waits within it learns that the fetch failed.
-- KEYS[1] the prospect's hash
-- ARGV    lease field, our token, how long the failure is shared, in ms; 0: not at all
local holder = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%S+) ')
if holder ~= ARGV[2] then
  return 0
end
if tonumber(ARGV[3]) == 0 then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 1
end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], 'failed ' .. string.format('%.0f', now + tonumber(ARGV[3])) .. ' -')
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
