-- fixed-window: a window starts with its first admission. Across its end, twice the quota may pass.
-- Value: start of the window, admitted in it, newest stamp, 1 if a charge may be given back.
makers[4] = function()
  local fixed = {}

  local function save(c)
    if c.used == 0 then return call('DEL', c.key) end
    write_numbers(c.key, {c.start, c.used, c.last, c.loosened}, c.settled, c.start + c.span - c.now)
  end

  local function tell(c)
    c.left, c.reset = c.quota - c.used, c.used > 0 and c.start + c.span - c.now or 0
    c.next = c.reset
  end

  local function empty(c) c.start, c.used, c.loosened, c.settled = 0, 0, 0, '' end

  function fixed.open(c, now)
    c.now, c.last, c.capacity = now, 0, c.quota
    empty(c)
    local numbers, settled = read_numbers(c.key, 4)
    if numbers then
      c.start, c.used, c.last, c.loosened, c.settled = numbers[1], numbers[2], numbers[3], numbers[4], settled
      if c.last - now > c.span then
        c.start, c.last = now, now
        save(c)
      end
      c.now = max(now, c.last)
      if c.now >= c.start + c.span then empty(c) end
    end
    c.firm = c.loosened == 0
    tell(c)
  end

  function fixed.wait(c) return c.reset end

  function fixed.charge(c, cost, loose)
    local stamp = (loose or c.loosened == 1) and max(c.now, c.last + 1) or c.now
    if c.used == 0 or stamp >= c.start + c.span then
      empty(c)
      c.start = stamp
    end
    c.used, c.last = min(c.used + cost, MOST), stamp
    if loose then c.loosened = 1 end
    save(c)
    tell(c)
    return stamp
  end

  function fixed.settle(c, receipt, charged, actual)
    if c.used == 0 or receipt < c.start or receipt > c.last then return 0 end
    local settled = remember(c.settled, receipt, c)
    if not settled then return 0 end
    local change = max(actual - charged, -c.used)
    c.used, c.settled = min(c.used + change, MOST), settled
    save(c)
    return change
  end

  return fixed
end
