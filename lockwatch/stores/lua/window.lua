-- The exact sliding window, packed: one string per bucket, a header and a ring of admissions.
--
-- Header, 40 bytes: stamp width (8 more once a charge may be given back) and total width (1 each), slots in the ring, slot of the
-- oldest admission, admissions (4 each), span, time of the newest (7 each), total before the oldest, total after the newest (6 each).
-- Slot: when (microseconds) and the running total after it, both modulo 256^width. The moduli are at least four windows and
-- two quotas, and everything that counts is younger than two windows, so ages and differences are exact.
-- A ring starts at 8 slots and doubles; 100/minute takes 6 bytes an admission, 1,000/hour 7. A cost is one slot, not many.
local HEADER = 40
local READ = 1024
local LOOSE = 8
local TOTALS = 256 ^ 6

local function stamp_width(span)
  if span <= 1073741824 then return 4 elseif span <= 274877906944 then return 5
  elseif span <= 70368744177664 then return 6 end
  return 7
end

local function total_width(quota)
  if quota <= 16384 then return 2 elseif quota <= 4194304 then return 3
  elseif quota <= 1073741824 then return 4 end
  return 6
end

function ring.open(key)
  local text = call('GETRANGE', key, 0, READ - 1)
  if text == '' then return nil end
  -- All of the header in one call; a call per field takes twice as long.
  local stamp, total, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, A, B, C, D, E, F, G, H, I, J, K, L
    = byte(text, 1, HEADER)
  local loose = stamp >= LOOSE
  return {
    key = key, text = text, stamp = loose and stamp - LOOSE or stamp, total = total, age = 0, loose = loose,
    slots = ((a * 256 + b) * 256 + c) * 256 + d,
    head = ((e * 256 + f) * 256 + g) * 256 + h,
    count = ((i * 256 + j) * 256 + k) * 256 + l,
    span = (((((m * 256 + n) * 256 + o) * 256 + p) * 256 + q) * 256 + r) * 256 + s,
    last = (((((t * 256 + u) * 256 + v) * 256 + w) * 256 + x) * 256 + y) * 256 + z,
    base = ((((A * 256 + B) * 256 + C) * 256 + D) * 256 + E) * 256 + F,
    sum = ((((G * 256 + H) * 256 + I) * 256 + J) * 256 + K) * 256 + L,
  }
end

function ring.fresh(key)
  return {key = key, text = '', stamp = 0, total = 0, slots = 0, head = 0, count = 0, span = 0, last = 0, base = 0, sum = 0}
end

local function offset(w, i) return HEADER + ((w.head + i) % w.slots) * (w.stamp + w.total) end

-- The text that holds slot i, and where in it.
local function locate(w, i)
  local at, size = offset(w, i), w.stamp + w.total
  if at + size <= #w.text then return w.text, at end
  return call('GETRANGE', w.key, at, at + size - 1), 0
end

-- How long ago the i-th admission that counts was; 0 is the oldest.
local function age_of(w, i, now)
  local text, at = locate(w, i)
  return (now - unpack_at(text, at, w.stamp)) % 256 ^ w.stamp
end

-- How much was admitted from the oldest that counts up to and with the i-th.
local function through(w, i)
  local text, at = locate(w, i)
  return (unpack_at(text, at + w.stamp, w.total) - w.base) % 256 ^ w.total
end

-- The first of the admissions that count for which `holds(i)`; it holds for none before and all after. Gallops from the oldest.
local function first(w, holds)
  local low, step = 0, 1
  while low + step - 1 < w.count and not holds(low + step - 1) do
    low, step = low + step, step * 2
  end
  local high = min(low + step - 1, w.count)
  while low < high do
    local middle = (low + high - (low + high) % 2) / 2
    if holds(middle) then high = middle else low = middle + 1 end
  end
  return low
end

function ring.used(w) return (w.sum - w.base) % TOTALS end

-- Forget what is at least a span old. Only in `w`: nothing is written before something is admitted.
function ring.expire(w, now, span)
  if w.last + min(span, w.span) <= now then
    w.count, w.base, w.sum, w.head, w.loose = 0, 0, 0, 0, false
    return
  end
  w.age = age_of(w, 0, now)
  if w.age < span then return end
  local dropped = first(w, function(i) return age_of(w, i, now) < span end)
  w.base = (w.base + through(w, dropped - 1)) % TOTALS
  w.head, w.count = (w.head + dropped) % w.slots, w.count - dropped
  w.age = age_of(w, 0, now)
end

-- The age of the admission that has to expire for `need` to be free again.
function ring.release(w, now, need)
  return age_of(w, first(w, function(i) return through(w, i) >= need end), now)
end

local function header(w)
  return char(w.loose and w.stamp + LOOSE or w.stamp, w.total) .. pack(w.slots, 4) .. pack(w.head, 4) .. pack(w.count, 4) .. pack(w.span, 7)
    .. pack(w.last, 7) .. pack(w.base, 6) .. pack(w.sum, 6)
end

local function entry(at, stamp, sum, total)
  return pack(at % 256 ^ stamp, stamp) .. pack(sum % 256 ^ total, total)
end

-- How many slots the next ring has.
local function larger(w, quota)
  if w.count < w.slots then return w.slots end
  local slots = 8
  while slots < w.count + 1 do slots = slots * 2 end
  return max(w.count + 1, min(slots, quota))
end

-- The admissions that count, oldest first, unrolled from the ring: two copies, however many they are.
local function unrolled(w, size)
  if w.count == 0 then return '' end
  local text = #w.text < READ and w.text or call('GETRANGE', w.key, 0, -1)
  local from = HEADER + w.head * size
  local tail = sub(text, from + 1, min(from + w.count * size, HEADER + w.slots * size))
  return tail .. sub(text, HEADER + 1, HEADER + w.count * size - #tail)
end

-- A larger ring, or slots of another width (a limit that changed): a new string of exactly the right size.
local function rebuild(w, now, stamp, total, quota)
  local slots, entries = larger(w, quota), nil
  if w.stamp == stamp and w.total == total then
    entries = unrolled(w, stamp + total)
  else
    local parts = {}
    for i = 0, w.count - 1 do parts[i + 1] = entry(now - age_of(w, i, now), stamp, through(w, i), total) end
    entries, w.sum, w.base = table.concat(parts), ring.used(w), 0
  end
  w.stamp, w.total, w.slots, w.head = stamp, total, slots, 0
  w.text = rep('\0', HEADER) .. entries .. rep('\0', (slots - w.count) * (stamp + total))
end

-- Record an admission and set the key to expire when nothing in it counts any more. Once one may be given back, each has a
-- stamp of its own, which names it.
function ring.add(w, now, span, quota, cost, loose)
  if loose or w.loose then now, w.loose = max(now, w.last + 1), true end
  local stamp, total = stamp_width(span), total_width(max(quota, ring.used(w) + cost))
  local whole = #w.text < READ
  if w.stamp ~= stamp or w.total ~= total or w.count >= w.slots then
    rebuild(w, now, stamp, total, quota)
    whole = true
  end
  w.last, w.span, w.sum, w.count = now, span, (w.sum + cost) % TOTALS, w.count + 1
  local at, added = offset(w, w.count - 1), entry(now, stamp, w.sum, total)
  local lifetime = milliseconds(span)
  if whole then
    call('SET', w.key, header(w) .. sub(w.text, HEADER + 1, at) .. added .. sub(w.text, at + #added + 1), 'PX', lifetime)
  else
    call('SETRANGE', w.key, at, added)
    call('SETRANGE', w.key, 0, header(w))
    call('PEXPIRE', w.key, lifetime)
  end
end

-- A clock that stepped back stands still until it has caught up, for at most a window: then what counts, counts as admitted now.
function ring.steady(w, now, span)
  if now >= w.last then return w, now end
  if w.last - now <= span then return w, w.last end
  local used = ring.used(w)
  ring.add(ring.fresh(w.key), now, span, used, used, w.loose)
  return ring.open(w.key), now
end

-- For what changes admissions of the past.
function ring.parts() return HEADER, offset, age_of, through, first, header, entry end
