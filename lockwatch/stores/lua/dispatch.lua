-- Runs the calls of a batch in order. An error ends its own call only; the calls after it run.
local taken, lines = 0, {}

-- One key and one plain limit is what most calls are: one pattern reads it.
local ONE = '^(%l+) 1 (%d+) [01] (%d+) (%d+) 0 (%d+)$'

local function run(text)
  local script, now, quota, span, cost = match(text, ONE)
  if script == 'admit' or script == 'peek' then
    taken = taken + 1
    return decide_plain(KEYS[taken], tonumber(now), tonumber(quota), tonumber(span), tonumber(cost), script == 'admit')
  end
  local keys, numbers, words = {}, {}, string.gmatch(text, '%S+')
  script = words()
  for i = 1, tonumber(words()) do keys[i], taken = KEYS[taken + 1], taken + 1 end
  for word in words do numbers[#numbers + 1] = tonumber(word) end
  if not scripts.admit then load_charges() end
  if not scripts[script] then scripts.others() end
  return scripts[script](keys, numbers)
end

for i = 1, #ARGV do
  local fine, line = pcall(run, ARGV[i])
  lines[i] = fine and line or '!' .. string.gsub(tostring(line), '%s+', ' ')
end
return table.concat(lines, '\n')
