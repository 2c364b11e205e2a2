-- Has wrk request many objects, one after the other and again from the first: wrk ... URL -- COUNT FIRST
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(folder .. "report.lua")

local count, nth = 1, 0

function init(arguments)
  count, nth = tonumber(arguments[1]), tonumber(arguments[2])
end

function request()
  nth = nth + 1
  return wrk.format("GET", wrk.path .. (nth - 1) % count .. ".webp")
end
