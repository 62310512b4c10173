-- Runs the calls of a batch in order. An error ends its own call only; the calls after it run.
local taken, lines = 0, {}

-- One key and one limit is what most calls are: one pattern reads it.
local ONE = '^(%l+) 1 (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$'

local function run(text)
  local keys, numbers = {}, {}
  local script, a, b, c, d, e, f = match(text, ONE)
  if script then
    taken = taken + 1
    return scripts[script]({KEYS[taken]}, {tonumber(a), tonumber(b), tonumber(c), tonumber(d), tonumber(e), tonumber(f)})
  end
  local words = string.gmatch(text, '%S+')
  script = words()
  for i = 1, tonumber(words()) do keys[i], taken = KEYS[taken + 1], taken + 1 end
  for word in words do numbers[#numbers + 1] = tonumber(word) end
  return scripts[script](keys, numbers)
end

for i = 1, #ARGV do
  local fine, line = pcall(run, ARGV[i])
  lines[i] = fine and line or '!' .. string.gsub(tostring(line), '%s+', ' ')
end
return table.concat(lines, '\n')
