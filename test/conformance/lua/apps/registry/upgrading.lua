local registry = require("registry")
local time = require("time")
local t = require("expect")

local UPGRADABLE = [[
local lib = require("lib")
local function main(state)
    process.set_options({ upgradable = true })
    local inbox, events = process.inbox(), process.events()
    while true do
        local r = channel.select({ inbox:case_receive(), events:case_receive() })
        if r.channel == events then
            if r.value.kind ~= process.event.OUTDATED then return state end
            process.upgrade(nil, table.concat(r.value.sources, ","))
        end
        process.send(r.value:from(), "answer", lib.version, state)
    end
end
return { main = main }
]]

local function lib(n)
    return { id = "up:lib", kind = "library.lua", data = { source = "return { version = " .. n .. " }" } }
end

local function changes() return registry.snapshot():changes() end

local function main()
    local case, done = t.cases()
    local answers = process.listen("answer")

    case("an upgradable process hears of new code and takes it on, with its PID and its state", function()
        local c = changes():create(lib(1))
        c:create{ id = "up:p", kind = "process.lua", data = { source = UPGRADABLE, imports = { lib = "up:lib" } } }
        t.truthy(c:apply())
        local pid = assert(process.spawn("up:p", "reg:processes", "first"))
        process.send(pid, "ask")
        t.equal((answers:receive()), { 1, "first" })
        t.truthy(changes():update(lib(2)):apply())
        time.sleep("20ms")
        process.send(pid, "ask")
        t.equal((answers:receive()), { 2, "up:lib" })
        process.cancel(pid)
    end)
    case("a process that did not ask keeps its code", function()
        local pid = assert(process.spawn_monitored("up:p", "reg:processes", "state"))
        process.send(pid, "ask")
        t.equal((answers:receive()), { 2, "state" })
        process.terminate(pid)
        process.events():receive()
    end)
    t.truthy(changes():delete("up:p"):delete("up:lib"):apply())
    return done()
end

return { main = main }
