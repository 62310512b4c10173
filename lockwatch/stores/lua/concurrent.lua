-- concurrent: how many are in flight. A sorted set of leases, members "receipt 1" by when they lapse.
makers[5] = function()
  local LATER = 1000000
  local leases = {}

  function leases.open(c, now)
    c.now, c.capacity, c.firm, c.reset, c.next = now, c.quota, false, 0, 0
    c.cost = min(c.cost, 1)
    c.used = call('ZCOUNT', c.key, '(' .. whole(now), '+inf')
    c.left = c.quota - c.used
    if c.used > 0 then
      c.reset, c.next = tonumber(call('ZREVRANGE', c.key, 0, 0, 'WITHSCORES')[2]) - now, LATER
    end
  end

  function leases.wait() return LATER end

  function leases.charge(c)
    call('ZREMRANGEBYSCORE', c.key, '-inf', whole(c.now))
    local receipt = c.now
    while call('ZSCORE', c.key, reservation(receipt, 1)) do receipt = receipt + 1 end
    call('ZADD', c.key, whole(c.now + c.span), reservation(receipt, 1))
    call('PEXPIRE', c.key, max(call('PTTL', c.key), milliseconds(c.span)))
    c.left, c.reset, c.next = c.left - 1, max(c.reset, c.span), LATER
    return receipt
  end

  function leases.settle(c, receipt, _, actual)
    if actual > 0 then return 0 end
    local lapses = call('ZSCORE', c.key, reservation(receipt, 1))
    call('ZREM', c.key, reservation(receipt, 1))
    return lapses and tonumber(lapses) > c.now and -1 or 0
  end

  return leases
end
