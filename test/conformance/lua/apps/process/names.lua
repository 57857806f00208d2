local t = require("expect")
local mail = require("mail")

local registry = process.registry
local CLUSTER = {
    EVENTUAL = { registry.EVENTUAL, "eventual registry not available" },
    CONSISTENT = { registry.CONSISTENT, "global registry not available" },
    STRONG = { registry.STRONG, "global registry not available" },
}

local function main()
    local case, done = t.cases()
    local events = process.events()
    local me = process.pid()

    case("scopes are constants", function()
        t.equal({ registry.LOCAL, registry.EVENTUAL, registry.CONSISTENT, registry.STRONG }, { 0, 1, 2, 3 })
    end)
    case("register, look up, unregister", function()
        t.values({ true, n = 1 }, registry.register("names.a"))
        t.values({ me, n = 1 }, registry.lookup("names.a"))
        t.values({ true, n = 1 }, registry.unregister("names.a"))
        t.fails("NotFound", "name not registered", registry.lookup("names.a"))
    end)
    case("with the scope named, with a PID named", function()
        t.values({ true, n = 1 }, registry.register("names.a", nil, registry.LOCAL))
        t.values({ true, n = 1 }, registry.unregister("names.a", registry.LOCAL))
        t.values({ true, n = 1 }, registry.register("names.a", me))
        t.values({ true, n = 1 }, registry.unregister("names.a", nil))
        local pid = mail.monitored()
        t.values({ true, n = 1 }, registry.register("names.other", pid, registry.LOCAL))
        t.equal((registry.lookup("names.other")), pid)
        process.terminate(pid)
        mail.next(events)
        t.fails("NotFound", "name not registered", registry.lookup("names.other"))
    end)
    case("a name bound to the same PID", function()
        t.values({ true, n = 1 }, registry.register("names.a"))
        t.values({ true, n = 1 }, registry.register("names.a"))
        t.values({ true, n = 1 }, registry.register("names.a", me))
        t.values({ true, n = 1 }, registry.unregister("names.a"))
        t.values({ false, n = 1 }, registry.unregister("names.a"))
    end)
    case("a name bound to another PID", function()
        local pid = mail.monitored()
        assert(registry.register("names.a", pid))
        local err = t.fails("AlreadyExists", "name already registered", registry.register("names.a"))
        t.equal(err:details().existing_pid, pid)
        t.equal((registry.lookup("names.a")), pid)
        process.terminate(pid)
        mail.next(events)
    end)
    case("a process may hold many names", function()
        for i = 1, 20 do assert(registry.register("names.many." .. i)) end
        for i = 1, 20 do t.equal((registry.lookup("names.many." .. i)), me) end
        for i = 1, 20 do t.values({ true, n = 1 }, registry.unregister("names.many." .. i)) end
    end)
    case("names vanish with their owner", function()
        local pid = assert(process.spawn_monitored("proc:holder", mail.host, "names.held"))
        process.send(pid, "end")
        mail.next(events)
        t.fails("NotFound", "name not registered", registry.lookup("names.held"))
        t.fails("NotFound", "could not resolve 'names.held' as PID or registered name", process.send("names.held", "topic"))
    end)
    case("anyone may unregister a local name", function()
        local pid = mail.monitored()
        assert(registry.register("names.foreign", pid))
        t.values({ true, n = 1 }, registry.unregister("names.foreign"))
        t.fails("NotFound", "name not registered", registry.lookup("names.foreign"))
        process.terminate(pid)
        mail.next(events)
    end)
    case("names of any text", function()
        for _, name in ipairs({ "größe", "with space", "a:b", "a{b", "a@b", "5" }) do
            t.values({ true, n = 1 }, registry.register(name))
            t.values({ me, n = 1 }, registry.lookup(name))
            t.values({ true, n = 1 }, registry.unregister(name))
        end
    end)
    case("pid is no string", function()
        for _, pid in ipairs({ {}, true, print, channel.new() }) do
            t.fails("Invalid", "pid must be a string", registry.register("names.a", pid))
        end
        t.fails("Invalid", "pid must be a string", registry.register("names.a", false))
    end)
    case("pid is no PID", function()
        for _, pid in ipairs({ "", "nonsense", "{}", "{a}", "{|b}", "{a|}" }) do
            t.fails("Invalid", "invalid pid", registry.register("names.a", pid))
        end
    end)
    case("pid of no process", function()
        t.fails("NotFound", "process not found", registry.register("names.a", mail.dead()))
        t.fails("NotFound", "process not found", registry.register("names.a", "{proc:processes|mh2k9z3c.1zzzz}"))
        t.fails("NotFound", "host not found", registry.register("names.a", "{proc:nowhere|0.100}"))
        t.fails("NotFound", "host not found", registry.register("names.a", "{n9@proc:processes|0.100}"))
        t.fails("NotFound", "name not registered", registry.lookup("names.a"))
        t.values({ "not there", nil, n = 2 }, process.exec("proc:registers_dead", mail.host))
    end)
    case("scope is no number, or none that there is", function()
        for _, scope in ipairs({ "local", {}, true, 4, -1, 1.5 }) do
            t.fails("Invalid", "scope", registry.register("names.a", nil, scope))
        end
        t.fails("NotFound", "name not registered", registry.lookup("names.a"))
    end)
    for name, scope in pairs(CLUSTER) do
        case(name .. " on a node without a cluster", function()
            t.fails("Internal", scope[2], registry.register("names.a", nil, scope[1]))
            t.fails("Internal", scope[2], registry.register("names.a", me, scope[1]))
            t.fails("NotFound", "name not registered", registry.lookup("names.a"))
            assert(registry.register("names.a"))
            t.values({ false, n = 1 }, registry.unregister("names.a", scope[1]))
            t.values({ me, n = 1 }, registry.lookup("names.a"))
            t.values({ true, n = 1 }, registry.unregister("names.a"))
        end)
    end
    case("unregister of what is not there", function()
        t.values({ false, n = 1 }, registry.unregister("names.none"))
        t.values({ false, n = 1 }, registry.unregister(""))
    end)
    case("a name of another type raises", function()
        for _, fn in ipairs({ "register", "lookup", "unregister" }) do
            t.raises("bad argument #1 to '" .. fn .. "' (string expected, got no value)", registry[fn])
            t.raises("bad argument #1 to '" .. fn .. "' (string expected, got table)", registry[fn], {})
        end
    end)
    case("names() tells what there is, by name, of those that begin with the text", function()
        for _, name in ipairs({ "list.b", "list.a", "lost" }) do assert(registry.register(name)) end
        t.equal(registry.names("list."), {
            { name = "list.a", pid = me, scope = "local" },
            { name = "list.b", pid = me, scope = "local" },
        })
        t.equal(#registry.names("list.c"), 0)
        for _, name in ipairs({ "list.b", "list.a", "lost" }) do registry.unregister(name) end
    end)
    case("a lookup of the log needs a cluster", function()
        t.fails("Internal", "global registry not available", registry.lookup("names.a", { linearizable = true }))
        t.fails("NotFound", "name not registered", registry.lookup("names.a", { linearizable = false }))
    end)
    case("names that cannot be", function()
        for _, name in ipairs({ "", string.rep("x", 256), "{almost", "@pid", "a\0b", "line\n", "a\127", "a\255", "a\194\133" }) do
            local err = t.fails("Invalid", "name ", registry.register(name))
            t.equal(err:retryable(), false)
            t.fails("NotFound", "name not registered", registry.lookup(name))
            t.values({ false, n = 1 }, registry.unregister(name))
        end
    end)
    case("names of one byte and of 255", function()
        t.values({ true, n = 1 }, registry.register("x"))
        t.values({ true, n = 1 }, registry.unregister("x"))
        t.values({ true, n = 1 }, registry.register(string.rep("x", 255)))
        t.values({ true, n = 1 }, registry.unregister(string.rep("x", 255)))
    end)
    return done()
end

return { main = main }
