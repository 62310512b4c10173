-- What the algorithms that keep a few numbers share: the value is those numbers as text, then the receipts that were settled last.
local REMEMBERED = 16

-- The first `size` numbers of a value and the receipts after them; nil when there is no value.
local function read_numbers(key, size)
  local text = call('GET', key)
  if not text then return nil end
  local numbers, at = {}, 1
  for i = 1, size do
    local from, to = string.find(text, '%d+', at)
    numbers[i], at = tonumber(sub(text, from, to)), to + 1
  end
  return numbers, sub(text, at)
end

local function write_numbers(key, numbers, settled, lifetime)
  local parts = {}
  for i = 1, #numbers do parts[i] = whole(numbers[i]) end
  call('SET', key, table.concat(parts, ' ') .. settled, 'PX', milliseconds(lifetime))
end

-- The receipts with one more, or nil if it is among them. Open reservations remember that themselves.
local function remember(settled, receipt, c)
  if c.open then return settled end
  local word, kept = ' ' .. whole(receipt), 0
  for known in string.gmatch(settled, ' %d+') do
    if known == word then return nil end
    kept = kept + 1
  end
  if kept >= REMEMBERED then settled = match(settled, '^ %d+(.*)$') end
  return settled .. word
end
