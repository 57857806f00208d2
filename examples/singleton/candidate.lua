-- Stands for election until it is the clock; then it ticks for as long as it is.

local system = require("system")
local time = require("time")

local NAME = "clock"
local registry = process.registry

--- Whether this process is the clock now. One process of the cluster at most has the name.
local function stand()
    local ok, err = registry.register(NAME, nil, registry.CONSISTENT)
    if not ok and err:kind() ~= errors.ALREADY_EXISTS and not err:retryable() then
        error(err)
    end
    return ok == true
end

local function main()
    local events = process.events()
    local rounds = time.ticker("500ms"):channel()
    local is_clock, ticks = false, 0
    while true do
        local got = channel.select({ events:case_receive(), rounds:case_receive() })
        if got.channel == events then
            local reason = tostring(got.value.reason)
            if not reason:find("name revoked", 1, true) then
                return
            end
            -- This node was out of touch for too long, and another one may be the clock by now.
            print("not the clock any more")
            is_clock = false
        elseif is_clock then
            ticks = ticks + 1
            if ticks % 4 == 0 then
                print("tick " .. ticks .. " on " .. system.node.id())
            end
        elseif stand() then
            is_clock = true
            print("the clock is on " .. system.node.id())
        end
    end
end

return { main = main }
