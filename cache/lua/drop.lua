-- drop: erase all of a prospect: every partition's record, and every lease, so that no fetch under way is stored.
-- KEYS[1] the prospect's hash
-- returns how many records there were
local records = 0
local kind = redis.call('TYPE', KEYS[1])
kind = type(kind) == 'table' and kind.ok or kind
if kind == 'hash' then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 1) == 'r' then
      records = records + 1
    end
  end
end
redis.call('DEL', KEYS[1])
return records
