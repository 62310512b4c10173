-- The common case of admit and peek, written out: one sliding window, nothing that could be given back. admit.lua says the same of all.
local PLAIN = '%d %.0f %.0f %.0f %.0f 0'

function decide_plain(key, now, quota, span, cost, write)
  now = now_us(now)
  local asked, w, left, reset, upcoming = now, ring.open(key), quota, 0, 0
  if w then
    w, now = ring.steady(w, now, span)
    ring.expire(w, now, span)
    if w.count > 0 then left, reset, upcoming = quota - ring.used(w), w.last + span - asked, now + span - w.age - asked end
  end
  if cost > left and cost > 0 then
    if cost > quota then return format(PLAIN, 0, max(0, left), -1, reset, upcoming) end
    local retry = now + span - ring.release(w, now, cost - left) - asked
    return format(PLAIN, w.loose and 2 or 0, max(0, left), retry, reset, upcoming)
  end
  if write and cost > 0 then
    w = w or ring.fresh(key)
    ring.add(w, now, span, quota, cost)
    left, reset = left - cost, w.last + span - asked
    if upcoming == 0 then upcoming = reset end
  end
  return format(PLAIN, 1, max(0, left), 0, reset, upcoming)
end
