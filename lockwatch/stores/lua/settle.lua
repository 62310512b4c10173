-- settle: make charges count what they turned out to cost. KEYS as for admit. Numbers: now, then per item mode, quota, span, burst,
-- receipt, charged, actual. Reply, per item: what changed (negative: given back). Settling twice changes nothing the second time.
local function settle_one(c, now, receipt, charged, actual)
  actual = min(actual, MOST)
  local a = algorithm(c.kind)
  local state = 'open'
  if c.open then state = open.close(c.open, receipt, charged) end
  if not state or receipt == 0 or (state == 'lapsed' and actual == 0) or (state == 'open' and actual == charged) then return 0 end
  a.open(c, now)
  if state == 'open' then return a.settle(c, receipt, charged, actual) end
  if receipt + c.span <= now then return 0 end
  a.charge(c, actual, false)
  return actual
end

function scripts.settle(keys, numbers)
  local now, changes = now_us(numbers[1]), {}
  for i, c in ipairs(read_charges(keys, numbers, 7)) do
    changes[i] = whole(settle_one(c, now, numbers[c.at], numbers[c.at + 1], numbers[c.at + 2]))
  end
  return table.concat(changes, ' ')
end

-- renew: extend leases that are still there. KEYS, per item: a set of open reservations, or a concurrent bucket.
-- Numbers: now, then per item receipt, cost, lease. Reply, per item: 1 or 0.
function scripts.renew(keys, numbers)
  local now, found = now_us(numbers[1]), {}
  for i, key in ipairs(keys) do
    local receipt, cost, lease = numbers[i * 3 - 1], numbers[i * 3], numbers[i * 3 + 1]
    local member = reservation(receipt, cost)
    local lapses = call('ZSCORE', key, member)
    if not lapses then
      member = reservation(receipt, 1)
      lapses = call('ZSCORE', key, member)
    end
    lapses = lapses and tonumber(lapses) > now and max(tonumber(lapses), now + lease)
    found[i] = lapses and 1 or 0
    if lapses then
      call('ZADD', key, whole(lapses), member)
      call('PEXPIRE', key, max(call('PTTL', key), milliseconds(lease)))
    end
  end
  return table.concat(found, ' ')
end
