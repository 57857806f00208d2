local registry = require("registry")
local t = require("expect")
local mail = require("mail")

local function changes() return registry.snapshot():changes() end

-- Tells its version and its state; takes on new code when it hears of it.
local SOURCE = [[
local lib = require("lib")
local function main(owner, state)
    process.set_options({ upgradable = %s })
    local events, inbox = process.events(), process.inbox()
    process.send(owner, "version", { version = lib.version(), state = state, pid = process.pid(), id = process.id() })
    while true do
        local r = channel.select({ inbox:case_receive(), events:case_receive() })
        if r.channel == inbox then
            if r.value:topic() == "end" then return end
            process.send(owner, "version", { version = lib.version(), state = state })
        elseif r.value.kind == process.event.OUTDATED then
            local event = r.value
            process.upgrade(nil, owner, { sources = event.sources, at = event.at, kind = event.kind })
        end
    end
end
return { main = main }
]]

-- Looks at its events when it is told to.
local PATIENT = [[
local function main(owner)
    process.set_options({ upgradable = true })
    local events, inbox = process.events(), process.inbox()
    process.send(owner, "version", "waiting")
    inbox:receive()
    local event = events:receive()
    local more = channel.select({ events:case_receive(), default = true })
    process.send(owner, "version", { kind = event.kind, sources = event.sources, more = not more.default })
end
return { main = main }
]]

local function library(n)
    return {
        id = "gen:lib",
        kind = "library.lua",
        data = { source = "local deep = require('deep') return { version = function() return " .. n .. " + deep end }", imports = { deep = "gen:deep" } },
    }
end

local function deep(n) return { id = "gen:deep", kind = "library.lua", data = { source = "return " .. n } } end

local function program(upgradable)
    return {
        id = "gen:p",
        kind = "process.lua",
        data = { source = string.format(SOURCE, upgradable), imports = { lib = "gen:lib" } },
    }
end

local function main()
    local case, done = t.cases()
    local events = process.events()
    local me = process.pid()
    local ready, second, version = process.listen("ready"), process.listen("second"), process.listen("version")

    -- ---- another entry
    case("PID, name, monitors, links, options and unread mail stay; code, globals and coroutines go", function()
        process.set_options({ trap_links = true })
        local pid = assert(process.with_context({ tenant = "acme" }):spawn_linked_monitored(
            "proc:first", mail.host, me, "upgrading.name", "proc:second", me, 1, nil, { "x" }))
        local before = mail.next(ready)
        t.equal(before.pid, pid)
        t.equal(before.id, "proc:first")
        t.equal(before.tenant, "acme")
        process.send(pid, "unread", 1)
        process.send(pid, "unread", 2)
        process.send(pid, "unread", 3)
        process.send(pid, "note", "kept")
        process.cancel(pid, "kept too")
        process.send(pid, "go")
        local told = mail.next(second)
        t.equal(told.who, {
            pid = pid, id = "proc:second", options = { trap_links = true, upgradable = false }, tenant = "acme", count = 1,
        })
        t.equal(told.leftover, nil)
        t.equal(told.args, { n = 3, [1] = 1, [3] = { "x" } })
        t.equal(mail.next(second), { event = process.event.CANCEL, reason = "kept too", from = me })
        process.send("upgrading.name", "report")
        local unread = mail.next(second).unread
        -- The first of them was read by the old code.
        t.equal(unread, { { "unread", 2 }, { "unread", 3 }, { "note", "kept" } })
        mail.no_events()
        process.send(pid, "end")
        local event = mail.next(events)
        t.equal(event.kind, process.event.EXIT)
        t.equal(event.result.value, "second ends")
        mail.no_events()
    end)
    case("nil and \"\" mean the caller's own entry", function()
        for _, id in ipairs({ false, "" }) do
            local pid = mail.monitored("proc:first", me, nil, id or nil, me)
            mail.next(ready)
            process.send(pid, "go")
            local again = mail.next(ready)
            t.equal(again.pid, pid)
            t.equal(again.id, "proc:first")
            t.equal(again.count, 1)
            process.terminate(pid)
            mail.next(events)
        end
    end)
    case("code that cannot be loaded fails the process", function()
        local function failing(id)
            local pid = mail.monitored("proc:first", me, "upgrading.failing", id)
            mail.next(ready)
            process.send(pid, "go")
            local event = mail.next(events)
            t.equal(event.from, pid)
            t.equal(string.sub(event.result.error:message(), 1, 7), "upgrade")
            t.fails("NotFound", "name not registered", process.registry.lookup("upgrading.failing"))
            return event.result.error
        end
        t.error(failing("proc:nothing"), "NotFound", "factory not found")
        t.error(failing("proc:data"), "NotFound", "factory not found")
        t.error(failing("proc:function"), "NotFound", "factory not found")
        t.error(failing("proc:no_method"), "NotFound", 'method "absent" not found in module')
        t.error(failing("proc:raises_text"), "Internal", "broken chunk")
        t.error(failing("proc:raises_object"), "Conflict", "closed today")
        t.error(failing("proc:broken_import"), "Internal", "broken library")
    end)
    case("an id of another type raises", function()
        t.raises("bad argument #1 to 'upgrade' (string expected, got table)", process.upgrade, {})
        t.raises("bad argument #1 to 'upgrade' (string expected, got boolean)", process.upgrade, true)
    end)

    -- ---- new versions of the same entry
    case("OUTDATED for the entry itself and for libraries, directly and indirectly", function()
        t.truthy(changes():create(deep(0)):create(library(10)):create(program("true")):apply())
        local pid = mail.monitored("gen:p", me, "first")
        t.equal(mail.next(version), { version = 10, state = "first", pid = pid, id = "gen:p" })
        t.truthy(changes():update(library(20)):apply())
        local told = mail.next(version)
        t.equal(told.pid, pid)
        t.equal(told.version, 20)
        t.equal(told.state.kind, process.event.OUTDATED)
        t.equal(told.state.sources, { "gen:lib" })
        t.truthy(math.abs(told.state.at - os.time()) < 60, "at is now")
        t.truthy(changes():update(deep(5)):apply())
        told = mail.next(version)
        t.equal(told.version, 25)
        t.equal(told.state.sources, { "gen:deep" })
        t.truthy(changes():update(program("true")):apply())
        told = mail.next(version)
        t.equal(told.state.sources, { "gen:p" })
        process.terminate(pid)
        mail.next(events)
    end)
    case("several changes in one are one event", function()
        local pid = mail.monitored("gen:p", me, "first")
        mail.next(version)
        t.truthy(changes():update(library(30)):update(deep(1)):update(program("true")):apply())
        local sources = mail.next(version).state.sources
        table.sort(sources)
        t.equal(sources, { "gen:deep", "gen:lib", "gen:p" })
        process.terminate(pid)
        mail.next(events)
    end)
    case("changes before the event is read are one event with all sources", function()
        t.truthy(changes():create({ id = "gen:patient", kind = "process.lua", data = { source = PATIENT, imports = { lib = "gen:lib" } } }):apply())
        local pid = mail.monitored("gen:patient", me)
        mail.next(version)
        t.truthy(changes():update(library(31)):apply())
        t.truthy(changes():update(deep(0)):apply())
        t.truthy(changes():update(library(30)):apply())
        t.truthy(changes():update(deep(1)):apply())
        process.send(pid, "look")
        local told = mail.next(version)
        t.equal(told.kind, process.event.OUTDATED)
        table.sort(told.sources)
        t.equal(told.sources, { "gen:deep", "gen:lib" })
        t.equal(told.more, false)
        mail.next(events)
        t.truthy(changes():delete("gen:patient"):apply())
    end)
    case("without upgradable there is no OUTDATED, and the code stays", function()
        t.truthy(changes():update(program("false")):apply())
        local pid = mail.monitored("gen:p", me, "first")
        t.equal(mail.next(version).version, 31)
        t.truthy(changes():update(library(40)):apply())
        process.send(pid, "ask")
        t.equal(mail.next(version), { version = 31, state = "first" })
        t.equal(process.get_options().upgradable, false)
        process.terminate(pid)
        mail.next(events)
        t.truthy(changes():delete("gen:p"):delete("gen:lib"):delete("gen:deep"):apply())
    end)
    case("nothing is left over", function() mail.no_events() end)
    return done()
end

return { main = main }
