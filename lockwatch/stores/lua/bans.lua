-- Bans. KEYS of both scripts: the records (a hash), their order (a sorted set by version), and when they may be forgotten (another).
-- A record, by the id of its subject: version, when it was made, until when it holds (0: lifted), which ban of the subject it is, and
-- 'what it says, sealed. Every change gives it a new version, so that whoever has heard up to one version asks for what came after.

-- ban: KEYS as above. Numbers: now, how (0: a rule, 1: somebody says for how long, 2: lift), duration, growth in percent, duration at
-- most, for how long a ban that is over makes the next one longer, records at most, a number to mark new records with.
-- Words: id, what it says. Reply: how long it holds from now, which ban of the subject it is, whether this changed anything.
function guards.ban(keys, text)
  local a = read_arguments(text)
  local now, how, duration, growth, most, memory, room = now_us(a[1]), a[2], a[3], a[4], a[5], a[6], a[7]
  local id, sealed = a[9], a[10]
  for _, over in ipairs(call('ZRANGEBYSCORE', keys[3], '-inf', whole(now), 'LIMIT', 0, 20)) do
    call('HDEL', keys[1], over)
    call('ZREM', keys[2], over)
    call('ZREM', keys[3], over)
  end
  local found = call('HGET', keys[1], id)
  local before, times = match(found or '', '^%d+ %d+ (%d+) (%d+)')
  before, times = tonumber(before or 0), tonumber(times or 0)
  local holds, till = before > now, 0
  if how == 2 then
    times = 0
  else
    if not holds or times == 0 then times = times + 1 end
    if how == 0 then duration = min(most, duration * (growth / 100) ^ (times - 1)) end
    till = now + floor(duration)
    if how == 0 then
      till = max(till, before)
      if till == before then return format('%.0f %d 0', before - now, times) end
    end
  end
  if not found and call('ZCARD', keys[2]) >= room then
    local first = call('ZRANGE', keys[3], 0, 0)[1] or call('ZRANGE', keys[2], 0, 0)[1]
    call('HDEL', keys[1], first)
    call('ZREM', keys[2], first)
    call('ZREM', keys[3], first)
  end
  call('HSETNX', keys[1], 'mark', whole(a[8]))
  local version = call('HINCRBY', keys[1], 'version', 1)
  local forgotten = max(till, now) + memory
  call('HSET', keys[1], id, format("%.0f %.0f %.0f %d '%s", version, now, till, times, sealed))
  call('ZADD', keys[2], version, id)
  call('ZADD', keys[3], whole(forgotten), id)
  for i = 1, 3 do call('PEXPIRE', keys[i], max(call('PTTL', keys[i]), milliseconds(forgotten - now))) end
  return format('%.0f %d %d', max(0, till - now), times, (how == 2 and holds or how < 2) and 1 or 0)
end

-- bans: what changed. KEYS as above. Numbers: now, the mark and the version up to which all is known, changes at most.
-- Reply: mark (0: there are none; another one than was given: all is told anew), the version up to which this tells, whether there is
-- more; then for each change how long it still holds (0: over), how long ago it was made, which ban of the subject it is.
-- Words: what each says.
function guards.bans(keys, text)
  local a = read_arguments(text)
  local now, mark, after = now_us(a[1]), call('HGET', keys[1], 'mark'), a[3]
  if not mark then return '0 0 0' end
  if tonumber(mark) ~= a[2] then after = 0 end
  local ids = call('ZRANGEBYSCORE', keys[2], '(' .. whole(after), '+inf', 'LIMIT', 0, a[4] + 1)
  local more, numbers, words = #ids > a[4], {}, {}
  for i = 1, min(#ids, a[4]) do
    local version, made, till, times, sealed = match(call('HGET', keys[1], ids[i]) or '', "^(%d+) (%d+) (%d+) (%d+) '(%S+)$")
    if version then
      after = tonumber(version)
      numbers[#numbers + 1] = format('%.0f %.0f %s', max(0, tonumber(till) - now), max(0, now - tonumber(made)), times)
      words[#words + 1] = " '" .. sealed
    else  -- the server has evicted the record
      call('ZREM', keys[2], ids[i])
      call('ZREM', keys[3], ids[i])
    end
  end
  return mark .. format(' %.0f %d ', after, more and 1 or 0) .. table.concat(numbers, ' ') .. table.concat(words)
end
