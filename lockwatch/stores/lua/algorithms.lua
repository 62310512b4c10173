-- Algorithms by number, each made when a batch first needs it. All have one face, for a charge `c`:
--   open(c, now)            read its bucket; sets c.now, c.left, c.reset, c.next, c.capacity, c.firm
--   wait(c)                 how long until c.cost, which is more than is left, fits
--   charge(c, cost, loose)  take `cost`, whatever is left; sets the same; returns the receipt
--   settle(c, receipt, charged, actual)  make a charge count `actual`; returns by how much what counts has changed
local makers, made = {}, {}

-- No bucket ever holds more, whatever is charged afterwards.
local MOST = 2 ^ 42

local function algorithm(number)
  if not made[number] then
    if not makers[number] then load_algorithm(number, makers, MOST) end
    made[number] = makers[number]()
  end
  return made[number]
end
