-- A refresh that travels alone, as most do. What comes of nearly all of them is written out, in no function that would have to be
-- made first; everything else, and whatever fails, is left to `rotate`, which says the same of all.
local ALONE = "^rotate 2 (%d+) %d+ (%d+) %d+ (%d+) %d+ %d '(%S+) '(%S+) '%S+ '(%S+) '(%S+) '(%S+)$"
local match, format, ask = string.match, string.format, redis.pcall
local clock, grace, idle, family, presented, successor, seal, device = match(ARGV[1], ALONE)
local found = ask('HGET', KEYS[1], family)
if type(found) == 'string' then
  local created, absolute, till, generation, rotated, _, current, _, sealed = match(found, LIVE)
  local now, patience = tonumber(clock), 3600000
  if now == 0 then
    local time = ask('TIME')
    now, patience = time[1] * 1000000 + time[2], 0
  end
  grace = tonumber(grace)
  if current == presented and now < tonumber(till) and (generation == '0' or math.max(0, now - rotated) >= grace) then
    local kept = grace > 0 and ask('SET', KEYS[2], seal, 'PX', math.ceil(grace / 1000) + 1000 + patience)
    generation, till = generation + 1, math.min(tonumber(absolute), now + idle)
    if device ~= '-' then sealed = match(sealed, '^%S+') .. " '" .. device end
    local text = format(SAVED, created, absolute, till, generation, now, 0, successor, presented) .. sealed
    if not (kept and kept.err) and type(ask('HSET', KEYS[1], family, text)) == 'number' then
      local lifetime = math.ceil((till - now) / 1000) + patience
      if ask('PTTL', KEYS[1]) < lifetime then ask('PEXPIRE', KEYS[1], lifetime + math.floor(lifetime / 16)) end
      return "'" .. format(TOLD, 1, 0, generation, 0, till - now) .. sealed .. " '-"
    end
  end
end
