-- admit: charge every bucket, or none of them when one refuses that may. peek: the same, charging none.
-- KEYS one bucket per limit. Numbers: now (0: the server's), then quota, span, cost, shadow (1: may not refuse) per key.
-- Reply, per key: verdict (1 allowed), remaining, retry_after (-1: never), reset_after, next_after; microseconds.
local FIVE = '%d %.0f %.0f %.0f %.0f'

-- What `cost` would get now: verdict, its line of the reply, the opened window, the time to record it at.
local function judge(key, now, quota, span, cost)
  local w, left, reset, upcoming = ring.open(key), quota, 0, 0
  if w then
    w, now = ring.steady(w, now, span)
    ring.expire(w, now, span)
    if w.count > 0 then
      left, reset, upcoming = quota - ring.used(w), w.last + span - now, span - w.age
    end
  end
  if cost <= left or (cost == 0 and left < quota) then
    return 1, format(FIVE, 1, max(0, left), 0, reset, upcoming), w, now
  end
  local retry = cost <= quota and span - ring.release(w, now, cost - left) or -1
  return 0, format(FIVE, 0, max(0, left), retry, reset, upcoming), w, now
end

local function charge(key, w, now, quota, span, cost)
  w = w or ring.fresh(key)
  local upcoming = w.count > 0 and span - w.age or span
  ring.add(w, now, span, quota, cost)
  return format(FIVE, 1, quota - ring.used(w), 0, span, upcoming)
end

local function decide_one(key, numbers, write)
  local quota, span, cost = numbers[2], numbers[3], numbers[4]
  local verdict, line, w, now = judge(key, now_us(numbers[1]), quota, span, cost)
  if write and verdict == 1 and cost > 0 then return charge(key, w, now, quota, span, cost) end
  return line
end

local function decide(keys, numbers, write)
  if #keys == 1 then return decide_one(keys[1], numbers, write) end
  local now, lines, verdicts, windows, clocks, refused = now_us(numbers[1]), {}, {}, {}, {}, false
  for i = 1, #keys do
    verdicts[i], lines[i], windows[i], clocks[i] = judge(keys[i], now, numbers[i * 4 - 2], numbers[i * 4 - 1], numbers[i * 4])
    refused = refused or (verdicts[i] == 0 and numbers[i * 4 + 1] == 0)
  end
  for i = 1, (write and not refused) and #keys or 0 do
    local cost = numbers[i * 4]
    if verdicts[i] == 1 and cost > 0 then
      lines[i] = charge(keys[i], windows[i], clocks[i], numbers[i * 4 - 2], numbers[i * 4 - 1], cost)
    end
  end
  return table.concat(lines, ' ')
end

function scripts.admit(keys, numbers) return decide(keys, numbers, true) end
function scripts.peek(keys, numbers) return decide(keys, numbers, false) end
