-- Runs the calls of a batch in order. An error ends its own call only; the calls after it run.
local taken, lines = 0, {}

-- One key and one plain limit is what most calls are: one pattern reads it.
local ONE = '^(%l+) 1 (%d+) [01] (%d+) (%d+) 0 (%d+)$'

-- What a call of these answers begins with "'". They read their arguments themselves.
local SESSIONS = ' issue rotate revoke sessions standing enter deny origin '

local GUARDS = ' burst told ban bans acquaint acquainted report publish '

local function session_script(name)
  if not sessions[name] then
    if name == 'standing' or name == 'enter' then load_standing() elseif not sessions.rotate then load_sessions() end
    if not sessions[name] then sessions.load_others() end
  end
  return sessions[name]
end

local function run(text)
  local script, now, quota, span, cost = match(text, ONE)
  if script == 'admit' or script == 'peek' then
    taken = taken + 1
    if not decide_plain then load_window() end
    return decide_plain(KEYS[taken], tonumber(now), tonumber(quota), tonumber(span), tonumber(cost), script == 'admit')
  end
  local name, count, rest = match(text, '^(%l+) (%d+) ?(.*)$')
  local keys, numbers = {}, {}
  for i = 1, tonumber(count) do keys[i], taken = KEYS[taken + 1], taken + 1 end
  if string.find(SESSIONS, ' ' .. name .. ' ', 1, true) then return "'" .. session_script(name)(keys, rest) end
  if string.find(GUARDS, ' ' .. name .. ' ', 1, true) then
    if not guards.burst then load_guards() end
    return "'" .. guards[name](keys, rest)
  end
  for number in string.gmatch(rest, '%S+') do numbers[#numbers + 1] = tonumber(number) end
  if not scripts.admit then
    if not decide_plain then load_window() end
    load_charges()
  end
  if not scripts[name] then scripts.others() end
  return scripts[name](keys, numbers)
end

for i = 1, #ARGV do
  local fine, line = pcall(run, ARGV[i])
  lines[i] = fine and line or '!' .. string.gsub(tostring(line), '%s+', ' ')
end
return table.concat(lines, '\n')
