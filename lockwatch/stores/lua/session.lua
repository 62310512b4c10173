-- Sessions, as standing.lua describes them: everything but refreshes and checks.

-- The arguments of a call: numbers, then words.
local function arguments(text)
  local found = {}
  for word in string.gmatch(text, '%S+') do found[#found + 1] = tonumber(word) or sub(word, 2) end
  return found
end

local function older(a, b)
  if a[2] == b[2] then return a[1] < b[1] end
  return a[2] < b[2]
end

-- Everything a subject has: sessions that live, longest unused first, and the revoked, first forgotten first; what is over goes.
local function all(key, now)
  local fields, live, ended = call('HGETALL', key), {}, {}
  for i = 1, #fields, 2 do
    local s, revoked = read(fields[i + 1])
    if (s or revoked).till <= now then
      call('HDEL', key, fields[i])
    elseif s then
      live[#live + 1] = {fields[i], s.rotated, s}
    else
      ended[#ended + 1] = {fields[i], revoked.till}
    end
  end
  table.sort(live, older)
  table.sort(ended, older)
  return live, ended
end

-- Room for one more session of at most `most`: what to say of the evicted, or nil when that is not allowed.
local function room(key, now, most, evict, tombstone)
  if call('HLEN', key) < most then return '' end
  local live, ended = all(key, now)
  if #live >= most and evict == 0 then return nil end
  local evicted = {}
  for i = 1, #live - most + 1 do
    revoke(key, live[i][1], live[i][3], now, 6, tombstone)
    evicted[i] = " '" .. live[i][1]
  end
  for i = 1, #ended - most do call('HDEL', key, ended[i][1]) end
  return table.concat(evicted)
end

-- issue: KEYS the subject. Numbers: now, idle, absolute, most, evict (0: refuse instead), tombstone.
-- Words: family, hash of its refresh token, grant, device. Reply: what came of it, until; words: families evicted.
function sessions.issue(keys, text)
  local a = arguments(text)
  local now = now_us(a[1])
  local evicted = room(keys[1], now, a[4], a[5], a[6])
  if not evicted then return '13 0' end
  local s = {
    created = whole(now), absolute = whole(now + a[3]), till = now + min(a[2], a[3]), generation = 0, rotated = now,
    replays = 0, current = a[8], previous = '-', sealed = "'" .. a[9] .. " '" .. a[10],
  }
  save(keys[1], a[7], s, now)
  return format('12 %.0f', s.till - now) .. evicted
end

-- revoke: KEYS the subject, and seals to forget. Numbers: now, why, tombstone, age: spare what is younger (0: nothing).
-- Words: families; none: all. Reply: how many; words: which.
function sessions.revoke(keys, text)
  local a, found, families = arguments(text), {}, {}
  local now = now_us(a[1])
  for i = 5, #a do families[i - 4] = a[i] end
  if #families == 0 then families = call('HKEYS', keys[1]) end
  for _, family in ipairs(families) do
    local field = call('HGET', keys[1], family)
    local s = field and read(field)
    if s and s.till > now and (a[4] == 0 or now - tonumber(s.created) >= a[4]) then
      revoke(keys[1], family, s, now, a[2], a[3])
      found[#found + 1] = family
    end
  end
  for i = 2, #keys do call('DEL', keys[i]) end
  table.sort(found)
  return #found .. (#found > 0 and " '" .. table.concat(found, " '") or '')
end

-- sessions: KEYS the subject. Numbers: now. Reply: per session, longest unused first: age, since the last refresh, until,
-- generation; words, per session: family, grant, device.
function sessions.sessions(keys, text)
  local now = now_us(arguments(text)[1])
  local live, numbers, words = all(keys[1], now), {}, {}
  for i, found in ipairs(live) do
    local s = found[3]
    numbers[i] = format('%.0f %.0f %.0f %.0f', max(0, now - s.created), max(0, now - s.rotated), s.till - now, s.generation)
    words[i] = "'" .. found[1] .. ' ' .. s.sealed
  end
  return table.concat(numbers, ' ') .. ' ' .. table.concat(words, ' ')
end

-- deny: KEYS denials. Numbers: now, for how long. Reply: 1.
function sessions.deny(keys, text)
  local a = arguments(text)
  now_us(a[1])
  for _, key in ipairs(keys) do call('SET', key, '1', 'PX', milliseconds(a[2])) end
  return '1'
end

-- origin: which server answers here. KEYS one. Numbers: now, lifetime, a number to mark the store with.
-- Value: mark changes server at: how often another server began to answer, which one did last, since when we know.
-- Reply: mark (another one than before: everything was lost), changes, how long ago the last one was noticed.
function sessions.origin(keys, text)
  local a = arguments(text)
  local now, info = now_us(a[1]), pcall_redis('INFO', 'server')
  local server = type(info) == 'string' and match(info, 'run_id:(%w+)') or '-'
  local mark, changes, before, at = match(call('GET', keys[1]) or '', '^(%d+) (%d+) (%S+) (%d+)$')
  if not mark then mark, changes, before, at = whole(a[3]), 0, server, now end
  if before ~= server then changes, at = changes + 1, now end
  call('SET', keys[1], format('%s %d %s %.0f', mark, changes, server, at), 'PX', milliseconds(a[2]))
  return format('%s %d %.0f', mark, changes, max(0, now - at))
end
