local registry = require("registry")
local t = require("expect")
local mail = require("mail")

local function changes() return registry.snapshot():changes() end

local HOST = { id = "stop:host", kind = "process.host", data = { lifecycle = { auto_start = true } } }

local function main()
    local case, done = t.cases()
    local events = process.events()
    local ready, event_of, spawned = process.listen("ready"), process.listen("event"), process.listen("spawned")

    case("a stopping host cancels its processes, and takes no more", function()
        t.truthy(changes():create(HOST):apply())
        local pid = assert(process.spawn_monitored("proc:reports_events", "stop:host", process.pid()))
        t.equal(mail.next(ready).pid, pid)
        t.truthy(changes():delete("stop:host"):apply())
        local event = mail.next(event_of)
        t.equal(event.kind, process.event.CANCEL)
        t.equal(event.from, "")
        t.equal(event.reason, "scheduler shutdown")
        t.truthy(math.abs(event.at - os.time()) < 60, "at is now")
        local told = mail.next(spawned)
        t.equal(told.pid, nil)
        t.error(told.error, "Unavailable", "host is shutting down")
        local exit = mail.next(events)
        t.equal(exit.kind, process.event.EXIT)
        t.equal(exit.result.value, "bye: scheduler shutdown")
        t.fails("NotFound", "host not found", process.spawn("proc:idle", "stop:host"))
    end)
    case("a stopping service cancels its process", function()
        local service = {
            id = "stop:service",
            kind = "process.service",
            data = { process = "proc:reports_events", host = "proc:processes", input = { process.pid() }, lifecycle = { auto_start = true } },
        }
        t.truthy(changes():create(service):apply())
        local pid = mail.next(ready).pid
        t.values({ true, nil, n = 2 }, process.monitor(pid))
        t.truthy(changes():delete("stop:service"):apply())
        local event = mail.next(event_of)
        t.equal(event.kind, process.event.CANCEL)
        t.equal(event.from, "")
        t.equal(event.reason, "service stopping")
        t.equal(mail.next(events).result.value, "bye: service stopping")
        local told = mail.next(spawned)
        t.equal(told.error, nil)
        process.terminate(told.pid)
    end)
    case("nothing is left over", function() mail.no_events() end)
    return done()
end

return { main = main }
