"""The Lua of the redis backend: each script is one step that no other client comes between.

All keys have one hash tag, so that a cluster keeps them in one slot. A document is stored as its
version, a space, and its JSON; the versions come from one counter, so a document that was deleted
and made anew never has a version that somebody still holds.
"""

COMMIT = r"""
local jobs, fires, due, look, ledger, recent, open, failed, versions, keys =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]

local function version_of(key, name)
  local stored = redis.call('HGET', key, name)
  if not stored then return '0' end
  return string.match(stored, '^%d+') or '0'
end

local function store(key, name, document)
  local version = redis.call('INCR', versions)
  redis.call('HSET', key, name, string.format('%d ', version) .. document)
  return version
end

local function mark(key, member, score)
  if score == '' then redis.call('ZREM', key, member)
  else redis.call('ZADD', key, score, member) end
end

local at = 1
local function take()
  at = at + 1
  return ARGV[at - 1]
end

local done = {}
for _ = 1, tonumber(take()) do
  local job, inserts, fits = nil, {}, true
  if take() == 'job' then
    job = {name = take(), version = take(), document = take(), due = take()}
    fits = version_of(jobs, job.name) == job.version
  end
  for i = 1, tonumber(take()) do
    inserts[i] = {id = take(), version = take(), document = take(), entry = take(),
                  job = take(), group = take(), due = take(), scheduled = take(), failed = take()}
    fits = fits and version_of(fires, inserts[i].id) == inserts[i].version
  end
  local shared = {}
  for i = 1, tonumber(take()) do
    shared[i] = {name = take(), version = take(), value = take()}
    fits = fits and version_of(keys, shared[i].name) == shared[i].version
  end
  local versions_now = {}
  if fits then
    for _, key in ipairs(shared) do store(keys, key.name, key.value) end
    if job then
      versions_now[1] = store(jobs, job.name, job.document)
      mark(due, job.name, job.due)
    else
      versions_now[1] = 0
    end
    for i, fire in ipairs(inserts) do
      local taken = false
      if fire.version == '0' then
        local found = redis.call('ZRANGEBYLEX', ledger, '[' .. fire.entry, '(' .. fire.entry .. '~',
                                 'LIMIT', 0, 1)
        taken = #found > 0
      end
      if taken then
        versions_now[i + 1] = 0
      else
        versions_now[i + 1] = store(fires, fire.id, fire.document)
        if fire.version == '0' then
          redis.call('ZADD', ledger, 0, fire.entry .. fire.id)
          redis.call('ZADD', recent, fire.scheduled, fire.id)
        end
        mark(look, fire.id, fire.due)
        mark(failed, fire.id, fire.failed)
        for _, group in ipairs({fire.job, fire.group}) do
          if group ~= '' then
            if fire.due == '' then redis.call('ZREM', open, group .. fire.id)
            else redis.call('ZADD', open, 0, group .. fire.id) end
          end
        end
      end
    end
  end
  done[#done + 1] = versions_now
end
return done
"""

REMOVE = r"""
local jobs, fires, due, look, ledger, recent, open, failed =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
for i = 3, #ARGV, 3 do
  local id, entry, group = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  redis.call('HDEL', fires, id)
  for _, key in ipairs({look, recent, failed}) do redis.call('ZREM', key, id) end
  redis.call('ZREM', ledger, entry .. id)
  redis.call('ZREM', open, ARGV[2] .. id, group .. id)
end
redis.call('ZREM', due, ARGV[1])
return redis.call('HDEL', jobs, ARGV[1])
"""

DROP = r"""
local fires, ledger, recent, failed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
for i = 1, #ARGV, 2 do
  local id, entry = ARGV[i], ARGV[i + 1]
  redis.call('HDEL', fires, id)
  redis.call('ZREM', recent, id)
  redis.call('ZREM', failed, id)
  redis.call('ZREM', ledger, entry .. id)
end
return #ARGV / 2
"""

FORGET = r"""
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
"""

ACQUIRE = r"""
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'NX', 'PX', ARGV[1])
return token
"""

RENEW = r"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

RELEASE = r"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
