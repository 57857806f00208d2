-- Spawns processes on its own host, monitors each, and counts their ends.

local function main(count)
    local events = process.events()

    local start = os.clock()
    local children = {}
    for i = 1, count do
        children[i] = assert(process.spawn_monitored("mass:child", "mass:processes", i))
    end
    local spawned = os.clock()

    -- All of them are alive now, each waiting for a message.
    for _, child in ipairs(children) do
        process.send(child, "end")
    end

    local exits, sum = 0, 0
    while exits < count do
        local event = events:receive()
        if event.kind == process.event.EXIT then
            exits = exits + 1
            sum = sum + event.result.value
        end
    end

    return {
        spawned = #children,
        exits = exits,
        sum = sum,
        spawn_seconds = spawned - start,
        exit_seconds = os.clock() - spawned,
    }
end

return { main = main }
