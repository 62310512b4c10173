-- Sessions, as standing.lua describes them: what all scripts need, and refreshes.
local ROTATE = "^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d) '(%S+) '(%S+) '(%S+) '(%S+) '(%S+) '(%S+)$"
local PARENT = 12

-- A session that lives, or false and what is left of one that was revoked. `created` and `absolute` stay as they are written.
local function read(text)
  local created, absolute, till, generation, rotated, replays, current, previous, sealed = match(text, LIVE)
  if created then
    return {
      created = created, absolute = absolute, till = tonumber(till), generation = tonumber(generation), rotated = tonumber(rotated),
      replays = tonumber(replays), current = current, previous = previous, sealed = sealed,
    }
  end
  local began, forgotten, why = match(text, '^R (%d+) (%d+) (%d+)$')
  return false, {created = began, till = tonumber(forgotten), why = why}
end

-- Write a field; the subject lives as long as the longest of its sessions, and a little longer, so that few writes have to say so.
local function write(key, family, text, left)
  call('HSET', key, family, text)
  local lifetime = milliseconds(left)
  if call('PTTL', key) < lifetime then call('PEXPIRE', key, lifetime + floor(lifetime / 16)) end
end

local function save(key, family, s, now)
  local text = format(SAVED, s.created, s.absolute, s.till, s.generation, s.rotated, s.replays, s.current, s.previous) .. s.sealed
  write(key, family, text, s.till - now)
end

local function told(outcome, why, s, now, seal)
  return format(TOLD, outcome, why, s.generation, max(0, now - s.rotated), max(0, s.till - now)) .. s.sealed .. " '" .. (seal or '-')
end

-- The session moves on to the successor; the token that was presented may be repeated within the grace.
local function advance(outcome, keys, family, s, now, idle, grace, seal, device)
  s.rotated, s.replays, s.till = now, 0, min(tonumber(s.absolute), now + idle)
  if device ~= '-' then s.sealed = match(s.sealed, '^%S+') .. " '" .. device end
  if grace > 0 then call('SET', keys[2], seal, 'PX', milliseconds(grace + 1000000)) end
  save(keys[1], family, s, now)
  return told(outcome, 0, s, now)
end

local function revoke(key, family, s, now, why, tombstone)
  local till = min(s.till, now + tombstone)
  write(key, family, 'R ' .. s.created .. ' ' .. whole(till) .. ' ' .. why, till - now)
  if call('HLEN', key) == 1 then call('PEXPIRE', key, milliseconds(till - now)) end
end

local function reuse(keys, s, now, family, why, tombstone)
  revoke(keys[1], family, s, now, why, tombstone)
  call('DEL', keys[2])
  return told(5, why, s, now)
end

-- rotate: KEYS the subject, the seal of the family. Numbers: now, generation of the token, grace, most replays, idle, tombstone,
-- healing (0: ask first, 1: yes, 2: no). Words: family, hash of the token, start of its parent's hash, hash of the successor,
-- the sealed successor, device ('-': as before).
-- Reply: what came of it, why, generation, since the last rotation, until; words: grant, device, seal of a replay.
function sessions.rotate(keys, text)
  local clock, generation, grace, most, idle, tombstone, healing, family, presented, parent, successor, seal, device
    = match(text, ROTATE)
  local now, found = now_us(tonumber(clock)), call('HGET', keys[1], family)
  if not found then return '9 0 0 0 0' end
  local s, revoked = read(found)
  if not s then return '7 ' .. revoked.why .. ' 0 0 0' end
  if now >= s.till then return told(8, 0, s, now) end
  grace, generation = tonumber(grace), tonumber(generation)
  local graceful = max(0, now - s.rotated) < grace
  if presented == s.current then
    if s.generation > 0 and graceful then return told(2, 0, s, now) end
    s.previous, s.current, s.generation = presented, successor, s.generation + 1
    return advance(1, keys, family, s, now, idle, grace, seal, device)
  end
  if presented == s.previous then
    if not graceful then return reuse(keys, s, now, family, 1, tombstone) end
    local kept = call('GET', keys[2])
    if not kept or s.replays >= tonumber(most) then return told(4, 0, s, now) end
    s.replays = s.replays + 1
    save(keys[1], family, s, now)
    return told(3, 0, s, now, kept)
  end
  if generation < s.generation then return reuse(keys, s, now, family, 2, tombstone) end
  -- Made by us, and newer than what is here: the store lost a rotation. Or it did not, and somebody has our key.
  if generation > s.generation + 1 or (generation > s.generation and parent == sub(s.current, 1, PARENT)) then
    if healing == '0' then return told(10, 0, s, now) end
    if healing == '1' then
      s.previous, s.current, s.generation = presented, successor, generation + 1
      return advance(6, keys, family, s, now, idle, grace, seal, device)
    end
  end
  return reuse(keys, s, now, family, 3, tombstone)
end
