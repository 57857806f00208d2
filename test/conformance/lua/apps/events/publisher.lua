local events = require("events")

local function main(system, count)
    for i = 1, count do
        assert(events.send(system, "tick", "n" .. i, i))
    end
    return count
end

return { main = main }
