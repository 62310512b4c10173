-- Sessions. A subject is one hash; each field is a session (a family: one login and every refresh token that follows from it):
--   live     A created absolute until generation rotated replays current previous 'grant 'device
--   revoked  R created until why
-- Times are microseconds of the store's clock; `until` of a revoked one is when it may be forgotten. `current` and `previous` are
-- hashes of refresh tokens, `grant` and `device` are sealed: the store can open nothing. Replies hold durations from now.
-- What came of it: 1 rotated, 2 fresh, 3 replay, 4 throttled, 5 reuse, 6 healed, 7 revoked, 8 expired, 9 unknown, 10 ahead,
-- 11 denied, 12 issued, 13 full, 14 live. Why revoked: 1 recent, 2 stale, 3 fork, 4 asked for, 5 subject, 6 evicted, 7 disabled.
-- They take their arguments as text: reading it with one pattern is faster than splitting it.

-- standing: whether an access token is still believed. KEYS the denial of its id and, with a family, the subject. Numbers: now.
-- Words: family, if any. Reply: what came of it, why.
function sessions.standing(keys, text)
  if call('EXISTS', keys[1]) == 1 then return '11 0' end
  if not keys[2] then return '14 0' end
  local now, family = match(text, "^(%d+) '(%S+)$")
  local found = call('HGET', keys[2], family)
  if not found then return '9 0' end
  local state, third = match(found, '^(%u) %d+ %d+ (%d+)')
  if state == 'R' then return '7 ' .. third end
  return now_us(tonumber(now)) < tonumber(third) and '14 0' or '8 0'
end

-- enter: admit, if an access token is still believed. KEYS those of standing, then those of admit. Numbers: now, how many of KEYS are
-- for standing, then the charges. Words: those of standing. Reply: that of standing, then that of admit if the token is believed.
function sessions.enter(keys, rest)
  local now, own, numbers, family = match(rest, "^(%d+) (%d) ([%d ]+)('?%S*)$")
  own = tonumber(own)
  local told = sessions.standing({keys[1], own == 2 and keys[2] or nil}, now .. ' ' .. family)
  if sub(told, 1, 3) ~= '14 ' then return told end
  if not decide_plain then load_window() end
  local quota, span, cost = match(numbers, '^[01] (%d+) (%d+) 0 (%d+) ?$')
  if quota then
    return told .. ' ' .. decide_plain(keys[own + 1], tonumber(now), tonumber(quota), tonumber(span), tonumber(cost), true)
  end
  local others, list = {}, {tonumber(now)}
  for i = own + 1, #keys do others[i - own] = keys[i] end
  for number in string.gmatch(numbers, '%S+') do list[#list + 1] = tonumber(number) end
  if not scripts.admit then load_charges() end
  return told .. ' ' .. scripts.admit(others, list)
end
