-- gcra: a bucket of `burst` tokens that refills `quota` of them per `span`. Kept is what is missing, in units of which a token is
-- span / g and of which quota / g come back each microsecond (g is their greatest common divisor), so nothing is ever rounded.
-- Value: refill per microsecond, units of a token, units missing, when that was, newest receipt, 1 if a charge may be given back.
-- A receipt is when its charge has been refilled; what of it is still missing can be given back, no more.
makers[3] = function()
  local LIMIT = 2 ^ 53 - 1
  local gcra = {}

  local function divided_up(a, b)
    local rest = a % b
    return rest == 0 and a / b or (a - rest) / b + 1
  end

  local function save(c)
    if c.debt == 0 then return call('DEL', c.key) end
    local numbers = {c.refill, c.token, c.debt, c.now, c.newest, c.loosened}
    write_numbers(c.key, numbers, c.settled, divided_up(c.debt, c.refill))
  end

  local function units(c)
    local a, b = c.quota, c.span
    while b > 0 do a, b = b, a % b end
    c.refill, c.token = c.quota / a, c.span / a
  end

  local function tell(c)
    local room = c.burst * c.token - c.debt
    c.left = (room - room % c.token) / c.token
    c.reset, c.next = divided_up(c.debt, c.refill), 0
    if c.left < c.burst then c.next = divided_up((max(0, c.left) + 1) * c.token - room, c.refill) end
  end

  -- What is missing now. Other units (a limit that changed) and a clock that was set back are written at once.
  local function read(c, now)
    local numbers, settled = read_numbers(c.key, 6)
    if not numbers then return end
    local refill, token, at = numbers[1], numbers[2], numbers[4]
    if at > now and at - now <= c.span then now = at end
    c.debt, c.now, c.newest, c.loosened, c.settled = numbers[3], now, numbers[5], numbers[6], settled
    if at <= now then c.debt = max(0, c.debt - (now - at) * refill) end
    local other = refill ~= c.refill or token ~= c.token
    if other then c.debt = min(ceil(c.debt * c.token / token), LIMIT) end
    if (other or at > now) and c.debt > 0 then save(c) end
    if c.debt == 0 then c.loosened, c.settled = 0, '' end
  end

  function gcra.open(c, now)
    c.now, c.debt, c.newest, c.loosened, c.settled, c.capacity = now, 0, 0, 0, '', 0
    c.left, c.reset, c.next, c.firm = 0, 0, 0, true
    if c.quota == 0 then return end
    units(c)
    c.capacity = c.burst
    read(c, now)
    c.firm = c.loosened == 0
    tell(c)
  end

  function gcra.wait(c) return divided_up(c.debt + c.cost * c.token - c.burst * c.token, c.refill) end

  function gcra.charge(c, cost, loose)
    if c.quota == 0 then return 0 end
    c.debt = min(c.debt + cost * c.token, LIMIT)
    if loose then
      c.newest, c.loosened = max(c.now + divided_up(c.debt, c.refill), c.newest + 1), 1
    end
    save(c)
    tell(c)
    return c.newest
  end

  function gcra.settle(c, receipt, charged, actual)
    if c.debt == 0 or receipt <= c.now or receipt > c.newest then return 0 end
    local settled = remember(c.settled, receipt, c)
    if not settled then return 0 end
    c.settled = settled
    if actual > charged then
      gcra.charge(c, actual - charged, false)
      return actual - charged
    end
    local less = min((charged - actual) * c.token, (receipt - c.now) * c.refill, c.debt)
    c.debt = c.debt - less
    save(c)
    return -divided_up(less, c.token)
  end

  return gcra
end
