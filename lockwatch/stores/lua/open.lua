-- Open reservations of a bucket: a sorted set beside it, members "receipt cost" by when their lease lapses.
-- A reservation whose lease lapsed (its worker was killed) is given back, and leaves the mark "receipt cost -" with a negative
-- score: minus the time up to which a late settle would still count.
local open = {}
open.LEASE = 10000000

function open.add(c, now, cost)
  call('ZADD', c.open, whole(now + open.LEASE), reservation(c.receipt, cost))
  call('PEXPIRE', c.open, milliseconds(open.LEASE + c.span))
end

-- Give back what lapsed: at most 100 reservations in one call.
function open.sweep(c, now)
  local lapsed = call('ZRANGEBYSCORE', c.open, 0, whole(now), 'LIMIT', 0, 100)
  if #lapsed == 0 then return end
  local a = algorithm(c.kind)
  for _, member in ipairs(lapsed) do
    local receipt, cost = match(member, '^(%d+) (%d+)$')
    receipt, cost = tonumber(receipt), tonumber(cost)
    a.open(c, now)
    a.settle(c, receipt, cost, 0)
    call('ZREM', c.open, member)
    call('ZADD', c.open, whole(-(receipt + c.span)), member .. ' -')
  end
  call('ZREMRANGEBYSCORE', c.open, whole(-now), '(0')
  local marks = call('ZCOUNT', c.open, '-inf', '(0')
  if marks > 1000 then call('ZREMRANGEBYRANK', c.open, 1000, marks - 1) end
  call('PEXPIRE', c.open, milliseconds(open.LEASE + c.span))
end

-- End a reservation. Returns what it was: 'open', 'lapsed', or nil when it had ended before.
function open.close(key, receipt, cost)
  local member = reservation(receipt, cost)
  if call('ZREM', key, member) == 1 then return 'open' end
  return call('ZREM', key, member .. ' -') == 1 and 'lapsed' or nil
end
