-- admit: charge every bucket, or none of them when one refuses that may. peek: the same, charging none.
-- KEYS, per charge: its bucket; after that of a HELD charge (not concurrent) its open reservations.
-- Numbers: now (0: the server's), then per charge mode, quota, span, burst, cost. mode = algorithm * 32 + flags:
--   1 SHADOW never refuses; 2 LOOSE may be given back; 4 HELD is LOOSE, with a lease; 8 PENALTY is charged when another refuses;
--   16 LOOK may refuse, is never charged
-- Reply, per charge: verdict (1 allowed, 0 refused and nothing but time or a reset changes that, 2 refused), remaining, retry_after
-- (-1: never), reset_after, next_after (microseconds), receipt (0: none).
local SIX = '%d %.0f %.0f %.0f %.0f %.0f'

-- Numbers and keys as charges; `size` numbers each, all of which begin with mode, quota, span and burst.
local function read_charges(keys, numbers, size)
  local charges, taken = {}, 0
  for i = 2, #numbers, size do
    local mode = numbers[i]
    local flags = mode % 32
    local held = flags % 8 >= 4
    taken = taken + 1
    local c = {
      kind = (mode - flags) / 32, key = keys[taken], quota = numbers[i + 1], span = numbers[i + 2], burst = numbers[i + 3],
      shadow = flags % 2 == 1, loose = held or flags % 4 >= 2, penalty = flags % 16 >= 8, look = flags >= 16,
      at = i + 4, cost = numbers[i + 4], receipt = 0, retry = 0,
      -- Set later, named here so that the table does not grow.
      now = 0, verdict = 0, left = 0, reset = 0, next = 0, capacity = 0, firm = false, window = false,
    }
    if held and c.kind ~= 5 then taken, c.open = taken + 1, keys[taken + 1] end
    charges[#charges + 1] = c
  end
  return charges
end

-- What a charge would get now.
local function judge(c, now)
  local a = algorithm(c.kind)
  if c.open then open.sweep(c, now) end
  a.open(c, now)
  if c.cost <= c.left or c.cost == 0 then
    c.verdict = 1
  elseif c.cost > c.capacity then
    c.verdict, c.retry = 0, -1
  else
    c.verdict, c.retry = c.firm and 0 or 2, a.wait(c)
  end
end

local function charge(c, now)
  local receipt = algorithm(c.kind).charge(c, c.cost, c.loose)
  if c.loose or c.kind == 5 then c.receipt = receipt end
  if c.open then open.add(c, now, c.cost) end
end

-- A time to wait, from the clock as it is: a bucket whose clock was set back stands still until it has caught up.
local function told(wait, c, now) return wait > 0 and wait + c.now - now or wait end

local function decide(keys, numbers, write)
  local now, charges, lines, refused, penalised = now_us(numbers[1]), read_charges(keys, numbers, 5), {}, false, false
  for _, c in ipairs(charges) do
    judge(c, now)
    local refuses = c.verdict ~= 1 and not c.shadow
    refused, penalised = refused or (refuses and not c.penalty), penalised or (refuses and c.penalty)
  end
  for i, c in ipairs(charges) do
    local due = write and c.penalty == refused and (refused or not penalised)
    if due and c.verdict == 1 and c.cost > 0 and not c.look then charge(c, now) end
    lines[i] = format(SIX, c.verdict, max(0, c.left), told(c.retry, c, now), told(c.reset, c, now), told(c.next, c, now), c.receipt)
  end
  return table.concat(lines, ' ')
end

function scripts.admit(keys, numbers) return decide(keys, numbers, true) end
function scripts.peek(keys, numbers) return decide(keys, numbers, false) end
