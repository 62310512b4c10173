-- Shared by all scripts. One EVALSHA runs a batch of calls: KEYS holds the keys of all of them in order, ARGV one text per
-- call: "<script> <number of keys> <whole numbers...>", then words ('text), if any. The reply is one text, a line per call: its
-- numbers; or "'", numbers and words; or "!" and why that call alone failed. Works on Redis 6.2 to Valkey 9 and on fakeredis: no
-- bit, struct, cmsgpack, FUNCTION or shebang.
local scripts = {}
local byte, char, sub, rep, match, format = string.byte, string.char, string.sub, string.rep, string.match, string.format
local max, min, ceil, floor = math.max, math.min, math.ceil, math.floor
local pcall_redis = redis.pcall
local clock
local patience = 0

-- The server's clock in microseconds, read once: Redis 6.2 and 7.0 let it run while a script does. A test gives its own
-- clock; keys then live an hour longer, because real time does not follow it.
local function now_us(override)
  if override > 0 then
    patience = 3600000
    return override
  end
  if not clock then
    local time = redis.call('TIME')
    clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  return clock
end

-- redis.call, except that a failure fails this call of the batch only.
local function call(...)
  local reply = pcall_redis(...)
  if type(reply) == 'table' and reply.err then error(reply.err, 0) end
  return reply
end

-- Unsigned big-endian numbers of 2 to 7 bytes. Written out: loops and tables here would be half of the time of a check.
local function pack(n, width)
  local g = n % 256; n = (n - g) / 256
  local f = n % 256; n = (n - f) / 256
  if width == 2 then return char(f, g) end
  local e = n % 256; n = (n - e) / 256
  if width == 3 then return char(e, f, g) end
  local d = n % 256; n = (n - d) / 256
  if width == 4 then return char(d, e, f, g) end
  local c = n % 256; n = (n - c) / 256
  if width == 5 then return char(c, d, e, f, g) end
  local b = n % 256
  if width == 6 then return char(b, c, d, e, f, g) end
  return char((n - b) / 256 % 256, b, c, d, e, f, g)
end

local function unpack_at(text, at, width)
  local a, b, c, d, e, f, g = byte(text, at + 1, at + width)
  local n = a * 256 + b
  if c then n = n * 256 + c end
  if d then n = n * 256 + d end
  if e then n = n * 256 + e end
  if f then n = n * 256 + f end
  if g then n = n * 256 + g end
  return n
end

-- A whole number as Redis takes it: a plain tostring keeps 14 digits.
local function whole(n) return format('%.0f', n) end

-- The member that stands for a charge in a set of leases.
local function reservation(receipt, cost) return format('%.0f %.0f', receipt, cost) end

local function milliseconds(microseconds) return max(1, ceil(microseconds / 1000)) + patience end
