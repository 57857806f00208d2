-- main -> square -> sum. The last stage is the slow one; the first must not run away from it.

local io = require("io")
local outlet = require("outlet")

local ITEMS = 100
local WINDOW = 4

local function main()
    -- Linked: when a stage fails, the whole pipeline fails.
    local sum = assert(process.spawn_linked("pipeline:sum", "pipeline:processes", process.pid()))
    local square = assert(process.spawn_linked("pipeline:square", "pipeline:processes", sum, WINDOW))

    local out = outlet.new(square, WINDOW)
    for number = 1, ITEMS do
        out:send(number)
    end
    out:finish()

    local total = process.listen("total"):receive()
    io.print("sum of the squares of 1.." .. ITEMS .. " = " .. total)
    io.print("unfinished items: at most " .. out.in_flight_max)
    io.print("the first stage had to wait: " .. tostring(out.waits > ITEMS / 2))
end

return { main = main }
