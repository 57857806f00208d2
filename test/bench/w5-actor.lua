-- W5: each compute test inside an actor: the median of the first three runs, and of the last three of as many as are asked for.
local time = require("time")

local function median_of_three(took, from)
    local three = { took[from], took[from + 1], took[from + 2] }
    table.sort(three)
    return three[2]
end

local function main(name, runs)
    for _, test in ipairs(require("w5")) do
        if test[1] == name then
            local took = {}
            for i = 1, runs do
                local start = time.now():unix_nano()
                test[2]()
                took[i] = (time.now():unix_nano() - start) / 1e9
            end
            return { first = median_of_three(took, 1), last = median_of_three(took, runs - 2) }
        end
    end
    error("no test " .. name)
end

return { main = main }
