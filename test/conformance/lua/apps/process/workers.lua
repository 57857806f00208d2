local ctx = require("ctx")
local security = require("security")

local workers = {}

function workers.who() return { pid = process.pid(), id = process.id() } end

function workers.echo(...) return { n = select("#", ...), ... } end

function workers.idle() channel.new():receive() end

-- Waits for one message, tells what it was, and ends with its value.
function workers.told(to)
    local message = process.inbox():receive()
    local data = message:payload() and message:payload():data()
    if to then process.send(to, "told", message:topic(), message:from(), data) end
    return data
end

-- Ends in the way that `how` names, at once or with the first message.
function workers.ends(how, ...)
    if how == "later" then how = process.inbox():receive():topic() end
    if how == "value" then return "a value" end
    if how == "nothing" then return end
    if how == "args" then return ... end
    if how == "error value" then return errors.new{ message = "as a value", kind = errors.CONFLICT } end
    if how == "text" then return "dropped", "just no" end
    if how == "false text" then return false, "why" end
    if how == "object" then
        return nil, errors.new{ message = "sold out", kind = errors.CONFLICT, retryable = true, details = { sku = "A1" } }
    end
    if how == "nil nil" then return "v", nil end
    if how == "boolean" then return "v", true end
    if how == "number" then return "v", 7 end
    if how == "table" then return "v", { "x" } end
    if how == "raise text" then error("boom") end
    if how == "raise object" then
        error(errors.new{ message = "raised", kind = errors.TIMEOUT, retryable = true, details = { after = 5 } })
    end
    if how == "raise untyped" then error(errors.new("untyped")) end
    if how == "raise table" then error({}) end
    if how == "raise value" then error((...)) end
    if how == "coroutine" then
        coroutine.spawn(function() error("boom in the back") end)
        channel.new():receive()
    end
    if how == "early" then
        local to = ...
        coroutine.spawn(function() process.send(to, "late", "must not run") end)
        return "early"
    end
    if how == "deadlock" then channel.select({}) end
    if how == "terminate" then
        process.terminate(process.pid())
        process.send(..., "late", "must not run")
    end
    error("no such end: " .. tostring(how))
end

-- Answers "get" with everything it was sent before: topic, sender and values of each message.
function workers.collector()
    local seen, inbox = {}, process.inbox()
    while true do
        local message = inbox:receive()
        if message:topic() == "get" then
            process.send(message:from(), "seen", { list = seen })
        else
            local payload = message:payload()
            seen[#seen + 1] = { topic = message:topic(), from = message:from(), value = payload and payload:data() }
        end
    end
end

-- Links to `partner` and says so; reports LINK_DOWN when it traps.
function workers.linker(owner, partner, trap)
    process.set_options({ trap_links = trap })
    local ok, err = process.link(partner)
    process.send(owner, "linked", ok, err)
    local events, inbox = process.events(), process.inbox()
    while true do
        local r = channel.select({ events:case_receive(), inbox:case_receive() })
        if r.channel == events then
            local error_of = r.value.result and r.value.result.error
            process.send(owner, "event", { kind = r.value.kind, from = r.value.from, error = error_of, at = r.value.at })
        elseif r.value:topic() == "unlink" then
            process.send(owner, "unlinked", process.unlink(partner))
        elseif r.value:topic() == "ping" then
            process.send(owner, "pong", process.pid())
        elseif r.value:topic() == "fail" then
            error("told to fail")
        else
            return "returned"
        end
    end
end

function workers.context(key)
    if key ~= nil then return (ctx.get(key)) end
    return (ctx.all())
end

function workers.identified()
    local actor, scope = security.actor(), security.scope()
    return { actor = actor and actor:id(), policies = scope and #scope:policies() }
end

-- Starts what it is told to, and ends without waiting for it.
function workers.caller(how, id, host, ...)
    local results = table.pack and table.pack(process[how](id, host, ...)) or { process[how](id, host, ...) }
    return results[1], results[2]
end

-- Holds a name until it is told to end.
function workers.holder(name, scope)
    local ok, err = process.registry.register(name, nil, scope)
    if not ok then return nil, err end
    process.inbox():receive()
    return "released"
end

-- A name for a process of the same host that has ended.
function workers.registers_dead()
    local pid = process.spawn_monitored("proc:ends", process.pid():match("^{(.*)|"), "value")
    process.events():receive()
    local ok, err = process.registry.register("workers.dead", pid)
    if ok or err:kind() ~= errors.NOT_FOUND then return "registered" end
    return process.registry.lookup("workers.dead") or "not there"
end

return workers
