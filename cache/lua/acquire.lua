-- acquire: take the lease of one partition of a prospect, unless there is something better.
-- KEYS[1] the prospect's hash
-- ARGV    record field, lease field, tag of the record just seen ('' for none), our token, lease in ms, our epochs,
--         '1' where those were asked for just now, how long a failure is shared in ms
-- returns {'record', it} | {'busy'} | {'failed'} | {'other'} a lease of other epochs | {'granted'}
--         Where our epochs are the newer ones, that lease is of a fetch that a purge overtook: nobody waits for it.
--         An end that is further off than any that we set is none: the clock was set back, or it is not ours.
local kind = redis.call('TYPE', KEYS[1])
kind = type(kind) == 'table' and kind.ok or kind
if kind ~= 'hash' and kind ~= 'none' then
  redis.call('DEL', KEYS[1]) -- not ours
end
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record and string.sub(record, 42, 53) ~= ARGV[3] then
  return {'record', record}
end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local lease = redis.call('HGET', KEYS[1], ARGV[2])
if lease then
  local holder, ends, epochs = string.match(lease, '^(%S+) (%d+) (%S+)$')
  local left = holder and tonumber(ends) - now or 0
  if holder == 'failed' then
    if left > 0 and left <= tonumber(ARGV[8]) then
      return {'failed'}
    end
  elseif left > 0 and left <= tonumber(ARGV[5]) and holder ~= ARGV[4] then
    if epochs == ARGV[6] then
      return {'busy'}
    end
    if ARGV[7] ~= '1' then
      return {'other'}
    end
  end
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4] .. ' ' .. string.format('%.0f', now + tonumber(ARGV[5])) .. ' ' .. ARGV[6])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[5]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return {'granted'}
