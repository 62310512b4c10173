-- sorted-set: exact. A member "stamp:n" for each unit of cost, scored by its stamp; every charge has a stamp of its own.
makers[1] = function()
  local CHUNK = 500
  local set = {}

  local function member(stamp, n) return format('%.0f:%.0f', stamp, n) end

  local function add(key, stamp, cost)
    for from = 0, cost - 1, CHUNK do
      local pairs_of = {}
      for n = from, min(from + CHUNK, cost) - 1 do
        pairs_of[#pairs_of + 1] = whole(stamp)
        pairs_of[#pairs_of + 1] = member(stamp, n)
      end
      call('ZADD', key, unpack(pairs_of))
    end
  end

  local function count(key, horizon) return call('ZCOUNT', key, '(' .. whole(horizon), '+inf') end

  -- The stamp of the member so far from the newest, 1 being that itself.
  local function stamp_at(key, place) return tonumber(call('ZREVRANGE', key, place - 1, place - 1, 'WITHSCORES')[2]) end

  -- A clock that was set back: what counted when it was right counts as admitted now.
  local function restart(c, now, last)
    local used = count(c.key, last - c.span)
    call('DEL', c.key)
    add(c.key, now, used)
    call('PEXPIRE', c.key, milliseconds(c.span))
  end

  function set.open(c, now)
    c.now, c.capacity, c.left, c.reset, c.next, c.used, c.last, c.firm = now, c.quota, c.quota, 0, 0, 0, 0, false
    local last = stamp_at(c.key, 1)
    if not last then return end
    if last - now > c.span then
      restart(c, now, last)
      last = now
    end
    c.now, c.last = max(now, last), last
    c.used = count(c.key, c.now - c.span)
    if c.used > 0 then
      c.left, c.reset, c.next = c.quota - c.used, last + c.span - c.now, stamp_at(c.key, c.used) + c.span - c.now
    end
  end

  function set.wait(c) return stamp_at(c.key, c.used - (c.cost - c.left) + 1) + c.span - c.now end

  function set.charge(c, cost)
    local stamp = max(c.now, c.last + 1)
    cost = min(cost, max(c.quota, 1))
    call('ZREMRANGEBYSCORE', c.key, '-inf', whole(c.now - c.span))
    add(c.key, stamp, cost)
    call('PEXPIRE', c.key, milliseconds(c.span))
    c.left, c.reset = c.left - cost, stamp + c.span - c.now
    c.next = c.used > 0 and c.next or c.reset
    return stamp
  end

  function set.settle(c, receipt, charged, actual)
    if receipt <= c.now - c.span or not call('ZSCORE', c.key, member(receipt, charged - 1)) then return 0 end
    local kept = min(actual, charged - 1)
    -- First what is more: its stamp has to be another.
    if actual > kept then set.charge(c, actual - kept) end
    for from = kept, charged - 1, CHUNK do
      local members = {}
      for n = from, min(from + CHUNK, charged) - 1 do members[#members + 1] = member(receipt, n) end
      call('ZREM', c.key, unpack(members))
    end
    return actual - charged
  end

  return set
end
