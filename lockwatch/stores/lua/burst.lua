-- What guards the application against attackers. Scripts here read their arguments themselves, as those of sessions do.

local function read_arguments(text)
  local found = {}
  for word in string.gmatch(text, '%S+') do found[#found + 1] = tonumber(word) or sub(word, 2) end
  return found
end

-- burst: count requests of one client, allowed or not. KEYS its ring, and the mark that somebody is told of its burst.
-- Numbers: now, threshold, window, how many requests, for how long a claim to tell holds (0: nobody tells).
-- Value: how many requests ever, number of the window, requests in it, requests in the one before, newest time; then a ring of the
-- times of the newest threshold - 1 requests. Reply: whether the threshold is reached, requests in the window (exact at the
-- threshold, an estimate from two windows above it), whether the caller is to tell.
function guards.burst(keys, text)
  local HEAD, STAMP = 30, 7
  local a = read_arguments(text)
  local now, threshold, window, more, claim = now_us(a[1]), a[2], a[3], a[4], a[5]
  local head = call('GETRANGE', keys[1], 0, HEAD - 1)
  local slots, total, index, current, before = threshold - 1, 0, 0, 0, 0
  if #head == HEAD then
    local last = unpack_at(head, 23, STAMP)
    if last <= now + window then  -- a clock that steps back stands still, for at most one window
      now = max(now, last)
      total, index = unpack_at(head, 0, 6), unpack_at(head, 6, 7)
      current, before = unpack_at(head, 13, 5), unpack_at(head, 18, 5)
    end
  end
  local reached, oldest = more >= threshold, total + more - threshold
  if not reached and oldest >= 0 then
    local place = HEAD + oldest % slots * STAMP
    reached = unpack_at(call('GETRANGE', keys[1], place, place + STAMP - 1), 0, STAMP) > now - window
  end
  local here = floor(now / window)
  if here ~= index then before, current = here == index + 1 and current or 0, 0 end
  current = current + more
  local estimate = floor(before * (1 - now % window / window)) + current
  local fresh = min(more, slots)
  local first = slots > 0 and (total + more - fresh) % slots or 0
  local ahead = min(fresh, slots - first)
  call('SETRANGE', keys[1], 0, pack(total + more, 6) .. pack(here, 7) .. pack(current, 5) .. pack(before, 5) .. pack(now, STAMP))
  if ahead > 0 then call('SETRANGE', keys[1], HEAD + first * STAMP, rep(pack(now, STAMP), ahead)) end
  if fresh > ahead then call('SETRANGE', keys[1], HEAD, rep(pack(now, STAMP), fresh - ahead)) end
  call('PEXPIRE', keys[1], milliseconds(window))
  local tell = reached and claim > 0 and call('SET', keys[2], '1', 'NX', 'PX', milliseconds(claim))
  return format('%d %.0f %d', reached and 1 or 0, reached and max(threshold, estimate) or min(threshold - 1, estimate), tell and 1 or 0)
end

-- told: a burst was told of, so that nobody tells again for a while. KEYS the mark. Numbers: now, for how long. Reply: 1.
function guards.told(keys, text)
  local a = read_arguments(text)
  now_us(a[1])
  call('SET', keys[1], '1', 'PX', milliseconds(a[2]))
  return '1'
end
