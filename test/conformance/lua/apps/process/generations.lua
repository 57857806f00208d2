local ctx = require("ctx")

local count = 0

local function describe()
    return { pid = process.pid(), id = process.id(), options = process.get_options(), tenant = (ctx.get("tenant")), count = count }
end

-- Takes a name, an option and a local count, then goes on as `id` when it is told to.
local function first(owner, name, id, ...)
    count = count + 1
    leftover = "a global"
    if name then process.registry.register(name) end
    process.set_options({ trap_links = true })
    local old = process.listen("unread")
    coroutine.spawn(function()
        old:receive()
        channel.new():receive()
    end)
    local go = process.listen("go")
    process.send(owner, "ready", describe())
    go:receive()
    process.upgrade(id, ...)
    process.send(owner, "ready", "upgrade returned")
end

local function second(owner, ...)
    count = count + 1
    process.send(owner, "second", {
        who = describe(), leftover = leftover, args = { n = select("#", ...), ... },
    })
    local unread = {}
    local inbox, events = process.inbox(), process.events()
    while true do
        local r = channel.select({ inbox:case_receive(), events:case_receive() })
        if r.channel == events then
            process.send(owner, "second", { event = r.value.kind, reason = r.value.reason, from = r.value.from })
        elseif r.value:topic() == "report" then
            process.send(owner, "second", { unread = unread })
        elseif r.value:topic() == "end" then
            return "second ends"
        else
            local payload = r.value:payload()
            unread[#unread + 1] = { r.value:topic(), payload and payload:data() }
        end
    end
end

-- Reports each event that comes, until it is told to end.
local function reports_events(owner)
    local inbox, events = process.inbox(), process.events()
    process.send(owner, "ready", describe())
    while true do
        local r = channel.select({ inbox:case_receive(), events:case_receive() })
        if r.channel == inbox then return "told to end" end
        process.send(owner, "event", r.value)
        if r.value.kind == process.event.CANCEL then
            local pid, err = process.spawn("proc:idle", process.pid():match("^{(.*)|"))
            process.send(owner, "spawned", { pid = pid, error = err })
            return "bye: " .. r.value.reason
        end
    end
end

return { first = first, second = second, reports_events = reports_events }
