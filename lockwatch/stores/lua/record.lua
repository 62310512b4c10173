-- How a session that lives is written, as standing.lua describes it, and what is told of one.
local LIVE = "^A (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (.*)$"
local SAVED = 'A %s %s %.0f %.0f %.0f %.0f %s %s '
local TOLD = '%d %d %.0f %.0f %.0f '
