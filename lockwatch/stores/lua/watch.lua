-- What processes tell each other about attacks. KEYS of both scripts: the inbox (a list of tallies), counters (a hash: `end` tallies
-- ever, `news` items ever), who judges, the state of the judge (how many tallies are in it, and 'the state), the news (a list of
-- "number 'item"), what is to be told (a hash, item by id), and what was made known (a sorted set of ids).
local DAY = 86400000

-- Who judges now, nil for nobody.
local function judge(key, now)
  local who, till = match(call('GET', key) or '', '^(%d+) (%d+)$')
  return who and tonumber(till) > now and who or nil
end

-- report: leave a tally, ask to judge, hear the news. Numbers: now, my number, lease, tallies kept, tallies read, news heard, most
-- tallies in the reply; then the tally, if any: numbers and 'words. Reply: whether I judge, whether that is new, tallies read now, how
-- many wait, news heard now, how many tallies follow, how many items to be told follow; the numbers of the tallies. Words: the state, if
-- judging is new; those of the tallies; items to be told, if judging is new: id and item; news.
function guards.report(keys, text)
  local head, tally = match(text, '^(%d+ %d+ %d+ %d+ %d+ %d+ %d+) ?(.*)$')
  local a = read_arguments(head)
  local now, me, read, heard = now_us(a[1]), whole(a[2]), a[5], a[6]
  if tally ~= '' then
    call('RPUSH', keys[1], tally)
    call('HINCRBY', keys[2], 'end', 1)
    call('LTRIM', keys[1], -a[4], -1)
    call('PEXPIRE', keys[1], DAY / 24)
    call('PEXPIRE', keys[2], 90 * DAY)
  end
  local counters = call('HMGET', keys[2], 'end', 'news')
  local last, news = tonumber(counters[1] or 0), tonumber(counters[2] or 0)
  local numbers, words = {}, {}
  local holder, fresh, told = judge(keys[3], now), 0, 0
  local judges = not holder or holder == me
  if judges then
    call('SET', keys[3], me .. ' ' .. whole(now + a[3]), 'PX', milliseconds(a[3]))
    local kept = call('LLEN', keys[1])
    if not holder then
      fresh = 1
      local upto, state = match(call('GET', keys[4]) or '', "^(%d+) ('%S+)$")
      read = tonumber(upto or 0)
      words[1] = state or "'-"
    end
    if read > last then read = last - kept end
    read = max(read, last - kept)
    local at = kept - (last - read)
    for _, entry in ipairs(call('LRANGE', keys[1], at, at + a[7] - 1)) do
      local mine, said = match(entry, "^([%d ]+) ('.*)$")
      numbers[#numbers + 1], words[#words + 1] = mine, said
      read = read + 1
    end
    if fresh == 1 then
      local items = call('HGETALL', keys[6])
      for i = 1, #items do words[#words + 1] = "'" .. items[i] end
      told = #items / 2
    end
  end
  if heard > news then heard = 0 end
  if heard < news then
    for _, entry in ipairs(call('LRANGE', keys[5], -(news - heard), -1)) do
      local number, item = match(entry, "^(%d+) ('%S+)$")
      if tonumber(number) > heard then words[#words + 1] = item end
    end
  end
  local line = format('%d %d %.0f %.0f %.0f %d %d', judges and 1 or 0, fresh, read, last - read, news, #numbers, told)
  if #numbers > 0 then line = line .. ' ' .. table.concat(numbers, ' ') end
  if #words > 0 then line = line .. ' ' .. table.concat(words, ' ') end
  return line
end

-- publish: what the judge has to say; refused when somebody else judges by now. Numbers: now, my number, tallies that are in the state
-- (0: there is no state), how many items, how many were told. Words: the state, if there is one; id and item of each; ids that were told.
-- Reply: whether I judge, then for each item whether it is new.
function guards.publish(keys, text)
  local a = read_arguments(text)
  local now, me, upto, items, told = now_us(a[1]), whole(a[2]), a[3], a[4], a[5]
  if judge(keys[3], now) ~= me then return '0' end
  local at, fresh = 6, {}
  if upto > 0 then
    call('SET', keys[4], format("%.0f '%s", upto, a[at]), 'PX', 90 * DAY)
    local last = tonumber(call('HGET', keys[2], 'end') or 0)
    if last <= upto then call('DEL', keys[1]) else call('LTRIM', keys[1], upto - last, -1) end
    at = at + 1
  end
  for i = 1, items do
    local id, item = a[at], a[at + 1]
    at = at + 2
    fresh[i] = call('ZADD', keys[7], 'NX', whole(now), id)
    if fresh[i] == 1 then
      local number = call('HINCRBY', keys[2], 'news', 1)
      call('RPUSH', keys[5], format("%.0f '%s", number, item))
      call('HSET', keys[6], id, item)
    end
  end
  for i = 1, told do call('HDEL', keys[6], a[at + i - 1]) end
  call('LTRIM', keys[5], -200, -1)
  call('ZREMRANGEBYRANK', keys[7], 0, -10001)
  call('PEXPIRE', keys[2], 90 * DAY)
  call('PEXPIRE', keys[5], DAY)
  call('PEXPIRE', keys[6], 7 * DAY)
  call('PEXPIRE', keys[7], 90 * DAY)
  return table.concat({1, unpack(fresh)}, ' ')
end
