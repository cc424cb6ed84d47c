"""What a runner has Redis do in one step: take what is due, set what comes next, give back what it did not use.

Scripts as in `scripts`, where their keys are described.
"""

from __future__ import annotations

# Take up to `limit` ids that are due, earliest first, and hide each until `held`, so that another runner
# looks elsewhere. Whoever takes an id may still lose the claim: PostgreSQL decides. A pause whose end has
# come is lifted. An id that should not be here is dropped, one that is here too early is put where it
# belongs.
#   KEYS   epoch, then the due queues
#   ARGV   prefix, epoch, now, limit, held
#   returns nil where the epoch is not that one, or a queue was of another kind; else JSON, which a client reads faster
#   than as many answers: [earliest score left or "", then per id: id, number of its queue from 1, next_run, digest,
#   old score]
TAKE = """
local prefix, now, limit, held = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if redis.pcall('GET', KEYS[1]) ~= ARGV[2] then return false end

local found, is_whole = {}, true
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'zset' and kind ~= 'none' then
    redis.call('DEL', KEYS[i])
    is_whole = false
  end
end
if not is_whole then return false end
if limit > 0 then
  for i = 2, #KEYS do
    local rows = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
    for j = 1, #rows, 2 do found[#found + 1] = {i, rows[j], rows[j + 1], tonumber(rows[j + 1])} end
  end
end
if #KEYS > 2 then table.sort(found, function(a, b) return a[4] < b[4] end) end

local function number(text)
  return text and string.find(text, '^%d+$') and tonumber(text)
end

local answer, hidden, pcall, unpack = {''}, {}, redis.pcall, unpack
local statuses, dues = prefix .. 'schedule:status:', #(prefix .. 'schedule:due:') + 1
local queues = {}
for i = 2, #KEYS do queues[i], hidden[i] = string.sub(KEYS[i], dues), {} end
for n = 1, math.min(#found, limit) do
  local i, id, score = found[n][1], found[n][2], found[n][3]
  local status = statuses .. id
  local state, digest, next_run, queue, ends = unpack(
    pcall('HMGET', status, 'state', 'digest', 'next_run', 'queue', 'until'))
  local look = number(id) and number(next_run)
  if state == 'paused' and number(ends) then
    if look and number(ends) <= now then
      redis.call('HSET', status, 'state', 'active')
      redis.call('HDEL', status, 'reason', 'until')
    elseif look then
      look = math.max(look, number(ends))
    end
  elseif state ~= 'active' then
    look = nil
  end
  if not look or not digest or queue ~= queues[i] then
    redis.call('ZREM', KEYS[i], id)
  elseif look > now then
    redis.call('ZADD', KEYS[i], string.format('%.0f', look), id)
  else
    local list, k = hidden[i], #answer
    list[#list + 1], list[#list + 2] = held, id
    answer[k + 1], answer[k + 2], answer[k + 3] = id, i - 1, next_run
    answer[k + 4], answer[k + 5] = digest, score
  end
end

for i = 2, #KEYS do
  for first = 1, #hidden[i], 2000 do
    redis.call('ZADD', KEYS[i], unpack(hidden[i], first, math.min(first + 1999, #hidden[i])))
  end
end
local earliest
for i = 2, #KEYS do
  local first = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  if first[2] and (not earliest or tonumber(first[2]) < tonumber(earliest)) then earliest = first[2] end
end
answer[1] = earliest or ''
return cjson.encode(answer)
"""

# Set the next instant of each, only where state, digest, queue and next_run are still what the runner saw.
#   ARGV   prefix, JSON of id, queue, digest, next_run seen, next_run, when to look, and so on: flat
#   returns the number of those that were set
ADVANCE = """
local prefix, moved = ARGV[1], 0
local statuses, dues = prefix .. 'schedule:status:', prefix .. 'schedule:due:'
local call, pcall, unpack = redis.call, redis.pcall, unpack
local flat, queued = cjson.decode(ARGV[2]), {}
for n = 1, #flat, 6 do
  local id, queue, digest, seen, next_run, look = unpack(flat, n, n + 5)
  local status = statuses .. id
  local now = pcall('HMGET', status, 'state', 'digest', 'queue', 'next_run')
  if now[1] == 'active' and now[2] == digest and now[3] == queue and now[4] == seen then
    if next_run ~= '' then call('HSET', status, 'next_run', next_run)
    else call('HDEL', status, 'next_run') end
    if next_run ~= '' and look ~= '' then
      local list = queued[queue]
      if not list then
        list = {}
        queued[queue] = list
      end
      list[#list + 1], list[#list + 2] = look, id
    else
      call('ZREM', dues .. queue, id)
    end
    moved = moved + 1
  end
end
for queue, list in pairs(queued) do
  for first = 1, #list, 2000 do
    call('ZADD', dues .. queue, unpack(list, first, math.min(first + 1999, #list)))
  end
end
return moved
"""

# Put ids that were taken back to `score`, only where they are still queued for the same instant of the same
# digest.
#   ARGV   prefix, JSON of [id, queue, digest, next_run, score]
#   returns the number of those that were put back
GIVE_BACK = """
local prefix, returned = ARGV[1], 0
for _, item in ipairs(cjson.decode(ARGV[2])) do
  local id, queue, digest, next_run, score = unpack(item)
  local due = prefix .. 'schedule:due:' .. queue
  local now = redis.pcall('HMGET', prefix .. 'schedule:status:' .. id, 'digest', 'next_run')
  if now[1] == digest and now[2] == next_run and redis.call('ZSCORE', due, id) then
    redis.call('ZADD', due, score, id)
    returned = returned + 1
  end
end
return returned
"""
