-- Networks that users logged in from. KEYS a sorted set of one user: networks by when they were last seen.

-- acquaint: a user logged in from a network. Numbers: now, for how long it is known, networks at most. Words: network. Reply: 1.
function guards.acquaint(keys, text)
  local a = read_arguments(text)
  local now, lifetime, most = now_us(a[1]), a[2], a[3]
  call('ZADD', keys[1], whole(now), a[4])
  call('ZREMRANGEBYSCORE', keys[1], '-inf', whole(now - lifetime))
  call('ZREMRANGEBYRANK', keys[1], 0, -(most + 1))
  call('PEXPIRE', keys[1], milliseconds(lifetime))
  return '1'
end

-- acquainted: whether a user logged in from a network. Numbers: now, for how long it is known. Words: network. Reply: 1 or 0.
function guards.acquainted(keys, text)
  local a = read_arguments(text)
  local seen = call('ZSCORE', keys[1], a[3])
  return seen and tonumber(seen) > now_us(a[1]) - a[2] and '1' or '0'
end
