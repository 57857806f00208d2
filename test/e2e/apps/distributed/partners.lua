local ctx = require("ctx")
local security = require("security")

local partners = {}

function partners.who() return { pid = process.pid(), id = process.id() } end

function partners.idle() channel.new():receive() end

-- Ends with what it is given.
function partners.told() return process.inbox():receive():payload():data() end

-- Sends back what it gets, under the same topic.
function partners.echo()
    local inbox = process.inbox()
    while true do
        local m = inbox:receive()
        local given = m:payload()
        if given == nil then process.send(m:from(), m:topic())
        elseif type(given) == "table" then
            local values = {}
            for i, each in ipairs(given) do values[i] = each:data() end
            process.send(m:from(), m:topic(), { n = #given, table.unpack(values, 1, #given) })
        else process.send(m:from(), m:topic(), given:data()) end
    end
end

-- Ends in the way that `how` names, at once or with the first message.
function partners.ends(how)
    if how == "later" then how = process.inbox():receive():topic() end
    if how == "value" then return { list = { 1, 2 }, n = 1.5 } end
    if how == "nothing" then return end
    if how == "error value" then return errors.new{ message = "as a value", kind = errors.CONFLICT } end
    if how == "text" then return "dropped", "just no" end
    if how == "object" then
        return nil, errors.new{ message = "sold out", kind = errors.CONFLICT, retryable = true, details = { sku = "A1" } }
    end
    if how == "raise text" then error("boom") end
    if how == "raise object" then error(errors.new{ message = "raised", kind = errors.TIMEOUT, retryable = true }) end
    if how == "deadlock" then channel.select({}) end
    if how == "function" then return print end
    error("no such end: " .. tostring(how))
end

-- Answers "get" with the topics and first values of everything before it.
function partners.collector()
    local inbox, seen = process.inbox(), {}
    while true do
        local m = inbox:receive()
        if m:topic() == "get" then
            process.send(m:from(), "got", seen)
        else
            local value = m:payload() and m:payload():data()
            seen[#seen + 1] = m:topic() .. "=" .. tostring(value)
        end
    end
end

-- Sends so many messages and ends.
function partners.flood(to, count)
    for i = 1, count do assert(process.send(to, "flood", i)) end
    return count
end

-- Does `what` with a process, tells its owner so, and then of every event; ends when told "end", fails when told "fail".
function partners.watcher(owner, what, target, trap)
    process.set_options({ trap_links = trap })
    local events, inbox = process.events(), process.inbox()
    process.send(owner, "done", (process[what](target)))
    while true do
        local r = channel.select({ events:case_receive(), inbox:case_receive() })
        if r.channel == events then
            local why = r.value.result and r.value.result.error
            process.send(owner, "event", r.value.kind, r.value.from, why and why:message() or "clean")
        elseif r.value:topic() == "end" then return "ended"
        elseif r.value:topic() == "fail" then error("told to fail", 0)
        else process.send(owner, "done", (process[r.value:topic()](target))) end
    end
end

-- Spawns, tells its PID, and ends as it is told.
function partners.spawner(owner, how, entry, host, ...)
    local pid, err = process[how](entry, host, ...)
    process.send(owner, "spawned", pid or err)
    if process.inbox():receive():topic() == "fail" then error("told to fail", 0) end
end

function partners.polite()
    local event = process.events():receive()
    return { kind = event.kind, from = event.from, reason = event.reason }
end

function partners.inherited()
    local actor, scope = security.actor(), security.scope()
    return { context = (ctx.all()), actor = actor and actor:id(), meta = actor and actor:meta(), policies = scope and #scope:policies() }
end

-- What every way of spawning says.
function partners.tries(entry, host)
    local said = {}
    for _, how in ipairs({ "spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored", "exec" }) do
        local result, err = process[how](entry, host)
        said[how] = err and (err:kind() .. " " .. err:message()) or type(result)
    end
    return said
end

return partners
