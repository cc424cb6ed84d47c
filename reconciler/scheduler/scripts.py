"""What Redis does in one step: the Lua scripts of `SchedulerService`, each with its contract above it.

Keys, all with the prefix in front: `schedule:status:{id}` is a hash (state, digest, next_run, queue, reason,
until; what is absent has no field), `schedule:due:{queue}` a sorted set of ids by the moment to look at them,
`schedule:configs` the set of all ids, `schedule:epoch` a token. Moments are epoch milliseconds.

The keys of single configs are built inside the scripts from the prefix, which Redis Cluster does not allow. Many
items come as one JSON array of arrays of strings, "" for nothing: a nil would end what Lua unpacks. Only
commands of Redis 5 and older.

Whatever somebody has SET under one of these names is no reason to stop: a key of another kind counts as missing, and
whoever writes there removes it first.
"""

from __future__ import annotations

# In the set of ids; there once a rebuild has removed all that does not belong, gone when somebody deletes
# the set.
COMPLETE = "complete"

# Compare each entry with what is here and write only what differs. An id is in one queue only; the score of one
# that is unchanged and queued stays as it is, since a runner may be holding it. `when to look` "" means: not
# queued. Only a pause has a reason and an end. What is unchanged costs one call: queues are mended together (NX
# leaves a score alone).
#   ARGV   prefix, JSON of id, queue, state, digest, next_run, reason, until, when to look, and so on: flat, which
#          cjson reads in half the time; a moment, or nothing: a score later than it and than when to look is set back
#   returns the number of entries that differed
ALIGN = """
local prefix, changed, ids, latest = ARGV[1], 0, {}, tonumber(ARGV[3])
local configs = prefix .. 'schedule:configs'
local function cleared(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
local keys, queued, unqueued = {}, {}, {}
local fields = {'state', 'digest', 'next_run', 'queue', 'reason', 'until'}
local flat = cjson.decode(ARGV[2])
for n = 1, #flat, 8 do
  local id, queue, state, digest, next_run, reason, ends, look = unpack(flat, n, n + 7)
  local status, due, h = prefix .. 'schedule:status:' .. id, keys[queue], nil
  if not due then
    due = prefix .. 'schedule:due:' .. queue
    keys[queue], queued[due], unqueued[due] = due, {}, {}
    cleared(due, 'zset')
  end
  if state == 'paused' or reason ~= '' then
    h = redis.pcall('HMGET', status, 'state', 'digest', 'next_run', 'queue', 'reason', 'until')
  else
    h = redis.pcall('HMGET', status, 'state', 'digest', 'next_run', 'queue')
  end
  if h[1] ~= state or h[2] ~= digest or (h[3] or '') ~= next_run or h[4] ~= queue
      or (h[5] or '') ~= reason or (h[6] or '') ~= ends then
    if h[4] and h[4] ~= queue then redis.pcall('ZREM', prefix .. 'schedule:due:' .. h[4], id) end
    local row = {}
    for i, value in ipairs({state, digest, next_run, queue, reason, ends}) do
      if value ~= '' then
        row[#row + 1] = fields[i]
        row[#row + 1] = value
      end
    end
    redis.call('DEL', status)
    redis.call('HSET', status, unpack(row))
    if look ~= '' then redis.call('ZADD', due, look, id) else redis.call('ZREM', due, id) end
    changed = changed + 1
  elseif latest and look ~= ''
      and (tonumber(redis.call('ZSCORE', due, id)) or 0) > math.max(latest, tonumber(look)) then
    redis.call('ZADD', due, look, id)
    changed = changed + 1
  elseif look ~= '' then
    local list = queued[due]
    list[#list + 1] = look
    list[#list + 1] = id
  else
    local list = unqueued[due]
    list[#list + 1] = id
  end
  ids[#ids + 1] = id
end
for due, list in pairs(queued) do
  if #list > 0 then changed = changed + redis.call('ZADD', due, 'NX', unpack(list)) end
end
for due, list in pairs(unqueued) do
  if #list > 0 then changed = changed + redis.call('ZREM', due, unpack(list)) end
end
if #ids > 0 then
  cleared(configs, 'set')
  redis.call('SADD', configs, unpack(ids))
end
return changed
"""

# Which configs are not kept here as they should be, judged by all but their instant. Whether one is suspended only its
# spec can say: those count as differing.
#   ARGV   prefix, JSON of id, digest, "1" where it is paused, end of the pause, and so on: flat
#   returns their ids
DIFFERING = """
local prefix, differing, same = ARGV[1], {}, {}
local flat = cjson.decode(ARGV[2])
for n = 1, #flat, 4 do
  local id, digest, paused, ends = unpack(flat, n, n + 3)
  local h = redis.pcall('HMGET', prefix .. 'schedule:status:' .. id, 'state', 'digest', 'queue', 'next_run', 'until')
  local is_paused = h[1] == 'paused'
  local is_due = h[3] and type(redis.pcall('ZSCORE', prefix .. 'schedule:due:' .. h[3], id)) == 'string'
  if h[2] ~= digest or not h[3]
      or h[1] == 'suspended' or is_paused ~= (paused ~= '') or is_paused and (h[5] or '') ~= ends
      or h[1] == 'active' and h[4] and not is_due then
    differing[#differing + 1] = id
  else
    same[#same + 1] = id
  end
end
local configs = prefix .. 'schedule:configs'
local kind = redis.call('TYPE', configs).ok
if kind ~= 'set' and kind ~= 'none' then redis.call('DEL', configs) end
if #same > 0 then redis.call('SADD', configs, unpack(same)) end
return differing
"""

# Set the state of one config that is known here: stop (suspended, not queued), or pause (not queued, or
# queued for the end of the pause, at the earliest for the instant it was queued for).
#   ARGV   prefix, id, state, reason, until
#   returns 1, or 0 where the config is not known
HALT = """
local prefix, id, state, reason, ends = unpack(ARGV)
local status = prefix .. 'schedule:status:' .. id
local queue, next_run = unpack(redis.pcall('HMGET', status, 'queue', 'next_run'))
if not queue then return 0 end
local due = prefix .. 'schedule:due:' .. queue
redis.call('HSET', status, 'state', state)
redis.call('HDEL', status, 'reason', 'until')
if reason ~= '' then redis.call('HSET', status, 'reason', reason) end
if ends ~= '' then redis.call('HSET', status, 'until', ends) end
if state == 'suspended' then redis.call('HDEL', status, 'next_run') end
local score = redis.call('ZSCORE', due, id) or next_run
if ends ~= '' and score then
  redis.call('ZADD', due, string.format('%.0f', math.max(tonumber(score), tonumber(ends))), id)
else
  redis.call('ZREM', due, id)
end
return 1
"""

# Forget configs.
#   ARGV   prefix, JSON of ids
#   returns the number of those that were known
FORGET = """
local prefix, known = ARGV[1], 0
for _, id in ipairs(cjson.decode(ARGV[2])) do
  local status = prefix .. 'schedule:status:' .. id
  local queue = redis.pcall('HGET', status, 'queue')
  if type(queue) == 'string' then redis.pcall('ZREM', prefix .. 'schedule:due:' .. queue, id) end
  redis.pcall('SREM', prefix .. 'schedule:configs', id)
  known = known + redis.call('DEL', status)
end
return known
"""

# The beginning of a rebuild: a mark that goes if Redis is emptied meanwhile. What is no epoch, and no set of ids,
# goes now.
#   KEYS   epoch, set of ids, mark
#   ARGV   for how many ms the mark is kept
BEGIN = """
local epoch = redis.pcall('GET', KEYS[1])
if epoch and (type(epoch) ~= 'string' or not string.find(epoch, '^%x+$')) then redis.call('DEL', KEYS[1]) end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'set' and kind ~= 'none' then redis.call('DEL', KEYS[2]) end
redis.call('SET', KEYS[3], '', 'PX', ARGV[1])
return 1
"""

# The end of a rebuild: mark the set of ids complete, and set the epoch where there is none. `mark` was put
# here when the rebuild began: without it Redis was emptied meanwhile, and what came before that is missing.
#   KEYS   epoch, set of ids, mark
#   ARGV   a new epoch, the member that marks the set
#   returns the epoch in force, or nil where the mark is gone
SETTLE = """
if redis.call('DEL', KEYS[3]) == 0 then return false end
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
"""
