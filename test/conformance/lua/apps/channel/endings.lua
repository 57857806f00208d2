local funcs = require("funcs")
local t = require("expect")

local HOST = "channel:processes"

local function main()
    local case, done = t.cases()

    case("a channel does not cross to another process", function()
        t.values({ nil, nil, n = 2 }, funcs.call("channel:echo", channel.new()))
        t.equal(funcs.call("channel:echo", { ch = channel.new(), n = 1 }), { n = 1 })
    end)
    case("a chunk cannot wait at its top level", function()
        for _, name in ipairs({ "at_top", "sends_at_top", "selects_at_top" }) do
            local err = select(2, t.count(2, funcs.call("channel:" .. name)))
            t.contains(err, "attempt to yield")
            t.contains(err, "channel")
        end
    end)
    case("a select without cases is a deadlock", function()
        local err = select(2, t.count(2, process.exec("channel:stuck", HOST)))
        t.equal(string.sub(err:message(), 1, 9), "deadlock:")
    end)
    case("a process that waits for a channel is idle", function()
        local events = process.events()
        local pid = assert(process.spawn_monitored("channel:idle", HOST))
        t.values({ true, nil, n = 2 }, process.send(pid, "are you there"))
        t.values({ true, nil, n = 2 }, process.terminate(pid))
        t.contains(events:receive().result.error, "process terminated")
    end)
    case("an uncaught error in a spawned coroutine fails the process", function()
        t.fails("Internal", "boom in the back", process.exec("channel:crashing_coroutine", HOST))
    end)
    case("returning ends the other coroutines at once", function()
        local inbox = process.inbox()
        t.values({ "early", nil, n = 2 }, process.exec("channel:early_return", HOST, process.pid()))
        t.equal(channel.select({ inbox:case_receive(), default = true }).default, true)
    end)
    return done()
end

return { main = main }
