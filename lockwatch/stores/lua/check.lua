-- A check of one plain limit that travels alone: what dispatch.lua makes of it, without the functions that a batch may need besides.
-- Redis makes those of a script anew for each call of it.
local script, now, quota, span, cost = match(ARGV[1], '^(%l+) 1 (%d+) [01] (%d+) (%d+) 0 (%d+)$')
local fine, line = pcall(decide_plain, KEYS[1], tonumber(now), tonumber(quota), tonumber(span), tonumber(cost), script == 'admit')
return fine and line or '!' .. string.gsub(tostring(line), '%s+', ' ')
