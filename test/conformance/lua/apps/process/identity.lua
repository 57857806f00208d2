local funcs = require("funcs")
local t = require("expect")
local mail = require("mail")

local function main()
    local case, done = t.cases()

    case("process is always there, and cannot be changed", function()
        t.equal(type(process), "table")
        t.truthy(require("process") == process)
        t.raises("", function() process.pid = nil end)
        t.raises("", function() process.event.EXIT = "x" end)
        t.raises("", function() process.registry.LOCAL = 9 end)
    end)
    case("pid and id of a process", function()
        local who = process.exec("proc:who", mail.host)
        t.equal(who.id, "proc:who")
        t.truthy(string.find(who.pid, "^{proc:processes|[%w.]+}$"), who.pid)
    end)
    case("pid and id of a function's run", function()
        t.values({ "proc:identity", n = 1 }, process.id())
        local pid = t.count(1, process.pid())
        t.truthy(string.find(pid, "^{proc:identity#lua%.%d+|[%w.]+}$"), pid)
        t.equal(process.pid(), pid)
        local who = funcs.call("proc:function")
        t.equal(who.id, "proc:function")
        t.truthy(string.find(who.pid, "^{proc:function#lua%.%d+|[%w.]+}$"), who.pid)
    end)
    case("no two processes share a PID", function()
        local seen = {}
        for _ = 1, 50 do
            local pid = process.exec("proc:who", mail.host).pid
            t.equal(seen[pid], nil)
            seen[pid] = true
        end
    end)
    case("a run of a function has a mailbox, events, and may spawn and monitor", function()
        local pid = mail.monitored("proc:told", process.pid())
        local told = process.listen("told")
        t.values({ true, nil, n = 2 }, process.send(pid, "hello", 42))
        t.equal((mail.next(told)), { "hello", process.pid(), 42 })
        t.equal(mail.next(process.events()).result.value, 42)
    end)
    case("kinds of events are constants", function()
        t.equal(process.event.EXIT, "pid.exit")
        t.equal(process.event.LINK_DOWN, "pid.link.down")
        t.equal(process.event.CANCEL, "pid.cancel")
        t.equal(process.event.OUTDATED, "pid.outdated")
    end)
    return done()
end

return { main = main }
