-- sliding-counter: approximate, two counters aligned to the clock. What the last window admitted counts by the part of it that a
-- sliding window would still cover. Value: span, number of the window, admitted in it, in the one before, newest stamp.
makers[2] = function()
  local counter = {}

  -- What counts of the window before, when this one is `elapsed` old. The memory store computes the same, in doubles too.
  local function weighed(previous, elapsed, span) return ceil(previous * (span - elapsed) / span) end

  -- How old this window is when no more than `room` of the one before counts.
  local function drained(previous, room, span, elapsed)
    if weighed(previous, elapsed, span) <= room then return elapsed end
    local at = max(elapsed, min(span, span - floor(room * span / previous)))
    while weighed(previous, at, span) > room do at = at + 1 end
    return at
  end

  local function roll(c, now)
    local elapsed = now % c.span
    local index = (now - elapsed) / c.span
    if index == c.index + 1 then
      c.previous, c.current = c.current, 0
    elseif index ~= c.index then
      c.previous, c.current = 0, 0
    end
    c.index, c.elapsed = index, elapsed
  end

  local function used(c) return c.current + weighed(c.previous, c.elapsed, c.span) end

  local function save(c)
    if c.current + c.previous == 0 then return call('DEL', c.key) end
    write_numbers(c.key, {c.span, c.index, c.current, c.previous, c.last}, c.settled, 2 * c.span - c.elapsed)
  end

  -- The window changed, or the clock was set back: what counts, counts as admitted now.
  local function restart(c, now, span)
    local wanted = c.span
    c.span = span
    roll(c, max(now, c.last))
    local kept = used(c)
    c.span, c.index, c.last = wanted, -2, now
    roll(c, now)
    c.current = kept
    if kept == 0 then c.last, c.settled = 0, '' end
    save(c)
  end

  local function tell(c)
    local waiting = weighed(c.previous, c.elapsed, c.span)
    c.left, c.reset, c.next = c.quota - c.current - waiting, 0, 0
    if c.current > 0 then
      c.reset = 2 * c.span - c.elapsed
      c.next = c.span - c.elapsed + drained(c.current, c.current - 1, c.span, 0)
    end
    if waiting > 0 then
      c.reset = max(c.reset, c.span - c.elapsed)
      c.next = drained(c.previous, waiting - 1, c.span, c.elapsed) - c.elapsed
    end
  end

  function counter.open(c, now)
    c.capacity, c.firm = c.quota, false
    c.index, c.current, c.previous, c.last, c.settled = -2, 0, 0, 0, ''
    local numbers, settled = read_numbers(c.key, 5)
    if numbers then
      c.index, c.current, c.previous, c.last, c.settled = numbers[2], numbers[3], numbers[4], numbers[5], settled
      if c.last > now and c.last - now <= c.span then now = c.last end
      if numbers[1] ~= c.span or c.last > now then restart(c, now, numbers[1]) end
    end
    c.now = now
    roll(c, now)
    tell(c)
  end

  function counter.wait(c)
    local room = c.quota - c.cost - c.current
    if room >= 0 then return drained(c.previous, room, c.span, c.elapsed) - c.elapsed end
    return c.span - c.elapsed + drained(c.current, c.quota - c.cost, c.span, 0)
  end

  function counter.charge(c, cost, loose)
    c.last = loose and max(c.now, c.last + 1) or c.now
    c.now = c.last
    roll(c, c.now)
    c.current = min(c.current + cost, MOST)
    save(c)
    tell(c)
    return c.last
  end

  function counter.settle(c, receipt, charged, actual)
    local behind = c.index - (receipt - receipt % c.span) / c.span
    if receipt > c.last or behind > 1 or c.current + c.previous == 0 then return 0 end
    local settled = remember(c.settled, receipt, c)
    if not settled then return 0 end
    local field = (actual > charged or behind < 1) and 'current' or 'previous'
    local change = max(actual - charged, -c[field])
    -- The counts are of this moment now: a clock that steps back from here must not find them in its future.
    c[field], c.settled, c.last = min(c[field] + change, MOST), settled, max(c.last, c.now)
    save(c)
    return change
  end

  return counter
end
