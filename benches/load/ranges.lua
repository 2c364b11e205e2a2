-- Has wrk read parts of one object at random, every other one from a multiple of its length on, and
-- count the answers that are not such a part: wrk ... URL -- OBJECT_BYTES PART_BYTES SEED
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(folder .. "report.lua")

local size, part, nth, threads = 0, 0, 0, {}
wrong = 0 -- read from the other side, by its name

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  size, part = tonumber(arguments[1]), tonumber(arguments[2])
  math.randomseed(tonumber(arguments[3]))
end

function request()
  local first
  nth = nth + 1
  if nth % 2 == 0 then
    first = part * math.random(0, size / part - 1)
  else
    first = math.random(0, size - part)
  end
  wrk.headers["Range"] = string.format("bytes=%.0f-%.0f", first, first + part - 1)
  return wrk.format()
end

function response(status, headers, body)
  if status ~= 206 or #body ~= part then
    wrong = wrong + 1
  end
end

function count_wrong()
  local total = 0
  for _, thread in ipairs(threads) do
    total = total + thread:get("wrong")
  end
  return total
end
