-- A supervisor in Lua: keeps one child running, pauses before each restart, and gives up after `restarts_max` restarts.

local time = require("time")

local function start_child()
    -- A monitor tells of the child's end, whatever the reason. It is in place before the child runs its first instruction.
    return assert(process.spawn_monitored("crash:divider", "crash:processes", "a child"))
end

local function main(restarts_max)
    local events = process.events()
    local child = start_child()
    local restarts = 0
    while true do
        local event = events:receive()
        if event.kind == process.event.CANCEL then
            process.cancel(child, event.reason)
            return
        end
        if event.kind == process.event.EXIT and event.from == child then
            local failure = event.result.error -- nil when the child returned normally
            if not failure then
                return
            end
            print("keeper: the child failed: " .. failure)
            if restarts == restarts_max then
                -- An error that is not retryable ends the service for good; any other failure would have the node restart it.
                error(errors.new({ message = "the child failed too often", kind = errors.UNAVAILABLE, retryable = false }))
            end
            restarts = restarts + 1
            time.sleep("100ms")
            child = start_child()
            print("keeper: restart " .. restarts .. " of " .. restarts_max)
        end
    end
end

return { main = main }
