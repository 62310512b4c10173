-- Runs the calls of a batch in order. An error ends its own call only; the calls after it run.
local taken, lines = 0, {}

-- One key and one plain limit is what most calls are: one pattern reads it.
local ONE = '^(%l+) 1 (%d+) [01] (%d+) (%d+) 0 (%d+)$'

-- What a call of these answers begins with "'". They read their arguments themselves.
local SESSIONS = ' issue rotate revoke sessions standing deny origin '

local function session_script(name)
  if not sessions[name] then
    if name == 'standing' then load_standing() elseif not sessions.rotate then load_sessions() end
    if not sessions[name] then sessions.load_others() end
  end
  return sessions[name]
end

-- enter: admit, if an access token is still believed. KEYS those of standing, then those of admit. Numbers: now, how many of KEYS are
-- for standing, then the charges. Words: those of standing. Reply: that of standing, then that of admit if the token is believed.
local function enter(keys, rest)
  local now, own, numbers, family = match(rest, "^(%d+) (%d) ([%d ]+)('?%S*)$")
  own = tonumber(own)
  local told = session_script('standing')({keys[1], own == 2 and keys[2] or nil}, now .. ' ' .. family)
  if sub(told, 1, 3) ~= '14 ' then return told end
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

local function run(text)
  local script, now, quota, span, cost = match(text, ONE)
  if script == 'admit' or script == 'peek' then
    taken = taken + 1
    return decide_plain(KEYS[taken], tonumber(now), tonumber(quota), tonumber(span), tonumber(cost), script == 'admit')
  end
  local name, count, rest = match(text, '^(%l+) (%d+) ?(.*)$')
  local keys, numbers = {}, {}
  for i = 1, tonumber(count) do keys[i], taken = KEYS[taken + 1], taken + 1 end
  if string.find(SESSIONS, ' ' .. name .. ' ', 1, true) then return "'" .. session_script(name)(keys, rest) end
  if name == 'enter' then return enter(keys, rest) end
  for number in string.gmatch(rest, '%S+') do numbers[#numbers + 1] = tonumber(number) end
  if not scripts.admit then load_charges() end
  if not scripts[name] then scripts.others() end
  return scripts[name](keys, numbers)
end

for i = 1, #ARGV do
  local fine, line = pcall(run, ARGV[i])
  lines[i] = fine and line or '!' .. string.gsub(tostring(line), '%s+', ' ')
end
return table.concat(lines, '\n')
