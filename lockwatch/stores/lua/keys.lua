-- reset: forget buckets. Reply: how many there were.
function scripts.reset(keys)
  local found = 0
  for _, key in ipairs(keys) do found = found + call('DEL', key) end
  return tostring(found)
end

-- secret: the numbers all processes of a namespace share when none were configured; the first to come brings them.
-- KEYS one. Numbers: milliseconds to keep them from now on, then the numbers offered. Reply: the numbers that hold.
function scripts.secret(keys, numbers)
  local lifetime, offered = numbers[1], {}
  for i = 2, #numbers do offered[i - 1] = string.format('%.0f', numbers[i]) end
  call('SET', keys[1], table.concat(offered, ' '), 'NX', 'PX', lifetime)
  call('PEXPIRE', keys[1], lifetime)
  return call('GET', keys[1])
end
