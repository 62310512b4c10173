-- The refreshes that alone.lua does not write out.
local fine, line = pcall(sessions.rotate, KEYS, sub(ARGV[1], 10))
return fine and "'" .. line or '!' .. string.gsub(tostring(line), '%s+', ' ')
