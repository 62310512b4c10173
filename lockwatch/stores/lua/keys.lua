-- reset: forget buckets and open reservations. Reply: how many there were.
function scripts.reset(keys)
  local found = 0
  for _, key in ipairs(keys) do found = found + call('DEL', key) end
  return tostring(found)
end

-- secret: the numbers all processes of a namespace share when none were configured; the first to come brings them.
-- KEYS one. Numbers: milliseconds to keep them from now on, then the numbers offered. Reply: the numbers that hold.
function scripts.secret(keys, numbers)
  local lifetime, offered = numbers[1], {}
  for i = 2, #numbers do offered[i - 1] = whole(numbers[i]) end
  call('SET', keys[1], table.concat(offered, ' '), 'NX', 'PX', lifetime)
  call('PEXPIRE', keys[1], lifetime)
  return call('GET', keys[1])
end

-- workers: say that a worker lives, and forget those that were silent. KEYS one. Numbers: now, its number, microseconds of silence
-- after which one is forgotten. Reply: how many live.
function scripts.workers(keys, numbers)
  local now, lifetime = now_us(numbers[1]), numbers[3]
  call('ZADD', keys[1], whole(now), whole(numbers[2]))
  call('ZREMRANGEBYSCORE', keys[1], '-inf', whole(now - lifetime))
  call('ZREMRANGEBYSCORE', keys[1], '(' .. whole(now + lifetime), '+inf')
  call('PEXPIRE', keys[1], milliseconds(lifetime))
  return tostring(call('ZCARD', keys[1]))
end

-- epoch: a counter that every process watches. KEYS one. Numbers: how much to add (0: only read), milliseconds to keep it.
-- Reply: the counter, 0 when there is none.
function scripts.epoch(keys, numbers)
  if numbers[1] > 0 then call('INCRBY', keys[1], whole(numbers[1])) end
  local count = call('GET', keys[1])
  if count then call('PEXPIRE', keys[1], numbers[2]) end
  return count or '0'
end

-- entries: the newest admissions of a sorted-set bucket that count. KEYS one. Numbers: now, span, how many at most.
-- Reply: the stamp of each unit of cost, newest first.
function scripts.entries(keys, numbers)
  local horizon = now_us(numbers[1]) - numbers[2]
  local found = call('ZREVRANGEBYSCORE', keys[1], '+inf', '(' .. whole(horizon), 'LIMIT', 0, whole(numbers[3]))
  for i = 1, #found do found[i] = match(found[i], '^%d+') end
  return table.concat(found, ' ')
end
