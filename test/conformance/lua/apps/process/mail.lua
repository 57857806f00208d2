-- Waiting that ends: a test that waits for something that does not come says so.

local time = require("time")

local HOST = "proc:processes"
local mail = { host = HOST }

-- What the channel gives next, with the second result of `receive`.
function mail.next(ch)
    local limit = time.after("5s")
    local r = channel.select({ ch:case_receive(), limit:case_receive() })
    if r.channel == limit then error("nothing came within 5 s", 2) end
    return r.value, r.ok
end

-- The channel has nothing to give.
function mail.none(ch)
    local r = channel.select({ ch:case_receive(), default = true })
    if not r.default then error("something came: " .. tostring(r.value), 2) end
end

-- No event has come that was not read. A CANCEL of one's own stands behind whatever came before it.
function mail.no_events()
    local events = process.events()
    assert(process.cancel(process.pid(), "marker"))
    local event = mail.next(events)
    if event.reason ~= "marker" then error("unexpected event " .. event.kind .. " from " .. event.from, 2) end
end

-- A process that waits for messages; `ended` ends one and reads the EXIT.
function mail.monitored(entry, ...)
    return assert(process.spawn_monitored(entry or "proc:idle", HOST, ...))
end

-- The PID of a process that is no more.
function mail.dead()
    local pid = mail.monitored("proc:ends", "value")
    mail.next(process.events())
    return pid
end

function mail.stop(pid)
    process.terminate(pid)
end

return mail
