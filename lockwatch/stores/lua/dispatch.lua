-- Runs the calls of a batch in order. An error ends its own call only; the calls after it run.
local taken, lines = 0, {}

local function run(text)
  local words = string.gmatch(text, '%S+')
  local script, count = words(), tonumber(words())
  local keys, numbers = {}, {}
  for i = 1, count do keys[i] = KEYS[taken + i] end
  taken = taken + count
  for word in words do numbers[#numbers + 1] = tonumber(word) end
  return scripts[script](keys, numbers)
end

for i = 1, #ARGV do
  local fine, line = pcall(run, ARGV[i])
  lines[i] = fine and line or '!' .. string.gsub(tostring(line), '%s+', ' ')
end
return table.concat(lines, '\n')
