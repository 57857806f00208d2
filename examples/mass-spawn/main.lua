-- Lets a spawner do the work on a process host, and prints its figures. Argument: the number of processes, default 10000.

local io = require("io")

local function per_second(count, seconds)
    return string.format("%d in %.2f s, %d a second", count, seconds, count / seconds)
end

local function main(count)
    -- exec spawns a process, waits for its end and returns its result.
    local figures, err = process.exec("mass:spawner", "mass:processes", tonumber(count) or 10000)
    if err then
        return nil, err
    end
    io.print("spawned: " .. per_second(figures.spawned, figures.spawn_seconds))
    io.print("ended:   " .. per_second(figures.exits, figures.exit_seconds))
    io.print("sum of their results: " .. figures.sum)
end

return { main = main }
