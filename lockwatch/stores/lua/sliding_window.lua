-- sliding-window: exact. No window of any position holds more than the quota. The ring of window.lua as an algorithm.
makers[0] = function()
  local DEPTH = 4096
  local HEADER, offset, age_of, through, first, header, entry = ring.parts()
  local window = {}

  function window.open(c, now)
    local w = ring.open(c.key)
    c.now, c.capacity, c.left, c.reset, c.next = now, c.quota, c.quota, 0, 0
    if w then
      w, c.now = ring.steady(w, now, c.span)
      ring.expire(w, c.now, c.span)
      if w.count > 0 then
        c.left, c.reset, c.next = c.quota - ring.used(w), w.last + c.span - c.now, c.span - w.age
      end
    end
    c.window, c.firm = w, not (w and w.loose)
  end

  function window.wait(c) return c.span - ring.release(c.window, c.now, c.cost - c.left) end

  function window.charge(c, cost, loose)
    local w = c.window or ring.fresh(c.key)
    local upcoming = w.count > 0 and c.span - w.age
    ring.add(w, c.now, c.span, c.quota, min(cost, MOST - ring.used(w)), loose)
    c.left, c.reset = c.quota - ring.used(w), w.last + c.span - c.now
    c.next = upcoming or c.reset
    return w.last
  end

  -- Which admission that counts a receipt names, and its cost. One very far back is not looked at: what follows it is rewritten.
  local function find(w, now, receipt)
    local i = first(w, function(i) return age_of(w, i, now) <= now - receipt end)
    if i == w.count or w.count - i > DEPTH or age_of(w, i, now) ~= now - receipt then return nil end
    return i, through(w, i) - (i > 0 and through(w, i - 1) or 0)
  end

  function window.settle(c, receipt, charged, actual)
    local w = c.window
    if not w or w.count == 0 or receipt > w.last or receipt <= c.now - c.span then return 0 end
    local i, cost = find(w, c.now, receipt)
    if cost ~= charged then return 0 end
    -- What is left of it differs from what was charged, so that whoever settles it again finds it settled.
    local kept = min(actual, charged - 1)
    ring.lower(w, i, c.now, kept, charged - kept)
    if actual > kept then
      window.open(c, c.now)
      window.charge(c, actual - kept, true)
    end
    return actual - charged
  end

  -- Make the i-th admission `kept` large, `less` smaller than it was. All after it are rewritten with their totals.
  function ring.lower(w, i, now, kept, less)
    local parts = {}
    for j = kept > 0 and i or i + 1, w.count - 1 do
      local when = now - age_of(w, j, now)
      parts[#parts + 1] = entry(when, w.stamp, w.base + through(w, j) - less, w.total)
    end
    if kept == 0 then
      w.count = w.count - 1
      if w.count == 0 then return call('DEL', w.key) end
      if i == w.count then w.last = now - age_of(w, i - 1, now) end
    end
    w.sum = (w.sum - less) % 256 ^ 6
    local text, size = table.concat(parts), w.stamp + w.total
    local at, fits = offset(w, i), (w.slots - (w.head + i) % w.slots) * size
    call('SETRANGE', w.key, at, sub(text, 1, fits))
    if #text > fits then call('SETRANGE', w.key, HEADER, sub(text, fits + 1)) end
    call('SETRANGE', w.key, 0, header(w))
  end

  return window
end
