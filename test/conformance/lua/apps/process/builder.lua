local security = require("security")
local t = require("expect")
local mail = require("mail")

local VARIANTS = { "spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored" }

local function main()
    local case, done = t.cases()
    local events = process.events()
    local me = process.pid()
    process.set_options({ trap_links = true })
    local base = process.with_context({})

    case("a builder is made by with_context or with_options", function()
        t.equal(type(t.count(1, process.with_context({ a = 1 }))), "userdata")
        t.equal(type(t.count(1, process.with_options({}))), "userdata")
        t.raises("bad argument #1 to 'with_context' (table expected, got no value)", process.with_context)
        t.raises("bad argument #1 to 'with_context' (table expected, got string)", process.with_context, "x")
        t.raises("bad argument #1 to 'with_options' (table expected, got no value)", process.with_options)
        t.raises("bad argument #1 to 'with_options' (table expected, got number)", process.with_options, 5)
        for _, limit in ipairs({ 5, -1, "8", "little", true, "1KiB", 2^53 * 4, 0 / 0 }) do
            t.raises('memory_limit must be bytes or a size such as "32MiB", at least 1MiB', process.with_options, { memory_limit = limit })
        end
        for _, limit in ipairs({ "8MiB", 2^23, 8388608 }) do
            t.equal(type(process.with_options({ memory_limit = limit })), "userdata")
        end
    end)
    case("each method gives one new builder, and leaves the old as it was", function()
        local steps = {
            function(b) return b:with_context({ a = 1 }) end,
            function(b) return b:with_options({ any = 1 }) end,
            function(b) return b:with_actor(security.new_actor("ann")) end,
            function(b) return b:with_scope(security.new_scope()) end,
            function(b) return b:with_name("builder.never") end,
            function(b) return b:with_message("topic", 1) end,
        }
        for _, step in ipairs(steps) do
            local made = t.count(1, step(base))
            t.equal(type(made), "userdata")
            t.equal(rawequal(made, base), false)
        end
        t.equal(base:exec("proc:context", mail.host), {})
        t.fails("NotFound", "name not registered", process.registry.lookup("builder.never"))
    end)
    case("with_context adds to what is inherited; the given ones win; a base may be reused", function()
        local a = process.with_context({ tenant = "acme", level = 1 })
        local b = a:with_context({ level = 2, deep = { x = { 1, 2 } } })
        t.equal(a:exec("proc:context", mail.host), { tenant = "acme", level = 1 })
        t.equal(b:exec("proc:context", mail.host), { tenant = "acme", level = 2, deep = { x = { 1, 2 } } })
        t.equal(b:with_context({}):exec("proc:context", mail.host, "tenant"), "acme")
    end)
    case("a child inherits its spawner's context", function()
        local a = process.with_context({ tenant = "acme" })
        t.equal(a:exec("proc:caller", mail.host, "exec", "proc:context", mail.host), { tenant = "acme" })
    end)
    case("context keys are strings, values plain", function()
        t.raises("context keys must be strings", process.with_context, { "x" })
        t.raises("context keys must be strings", process.with_context, { [true] = "x" })
        t.raises("context keys must be strings", function() base:with_context({ [2.5] = "x" }) end)
        t.equal(process.with_context({ f = print, n = 1, ch = channel.new() }):exec("proc:context", mail.host), { n = 1 })
    end)
    case("unknown options are kept and ignored", function()
        t.values({ "a value", nil, n = 2 }, process.with_options({ colour = "red", [1] = 2 }):exec("proc:ends", mail.host, "value"))
        t.values({ "a value", nil, n = 2 }, base:with_options({ network = "proc:net" }):exec("proc:ends", mail.host, "value"))
    end)
    case("with_actor and with_scope", function()
        local scope = security.new_scope({ security.policy("proc:anything") })
        local named = base:with_actor(security.new_actor("ann")):with_scope(scope)
        t.equal(named:exec("proc:identified", mail.host), { actor = "ann", policies = 1 })
        t.equal(base:exec("proc:identified", mail.host), {})
        t.equal(named:exec("proc:caller", mail.host, "exec", "proc:identified", mail.host), { actor = "ann", policies = 1 })
        t.raises("bad argument #2 to 'with_actor'", function() base:with_actor("ann") end)
        t.raises("bad argument #2 to 'with_scope'", function() base:with_scope({}) end)
    end)
    case("with_name registers the child before its code runs", function()
        local pid, err = t.count(2, base:with_name("builder.name"):spawn_monitored("proc:told", mail.host))
        t.equal(err, nil)
        t.values({ pid, n = 1 }, process.registry.lookup("builder.name"))
        process.send("builder.name", "topic", "by name")
        t.equal(mail.next(events).result.value, "by name")
        t.fails("NotFound", "name not registered", process.registry.lookup("builder.name"))
    end)
    case("with_name: empty, or no string, raises", function()
        for _, name in ipairs({ "", 5, true, {} }) do
            t.raises("", function() base:with_name(name) end)
        end
        t.raises("", function() base:with_name() end)
        t.raises("", function() base:with_name(nil) end)
    end)
    case("with_name: what cannot be a name is an error of the spawn", function()
        for _, name in ipairs({ "@pid", "{almost", "a\0b" }) do
            t.fails("Invalid", "name cannot", base:with_name(name):spawn_monitored("proc:idle", mail.host))
        end
        mail.no_events()
    end)
    case("with_message comes first, in order, from nobody", function()
        local seen = process.listen("seen")
        local pid = base:with_message("a", 1):with_message("b"):with_message("a", { 3 }):spawn("proc:collector", mail.host)
        process.send(pid, "c", 4)
        process.send(pid, "get")
        t.equal(mail.next(seen).list, {
            { topic = "a", from = "", value = 1 },
            { topic = "b", from = "" },
            { topic = "a", from = "", value = { 3 } },
            { topic = "c", from = me, value = 4 },
        })
        process.terminate(pid)
        process.unlisten(seen)
    end)
    case("with_message: several values, as a message has them", function()
        t.equal(base:with_message("a", "x"):exec("proc:told", mail.host), "x")
    end)
    case("with_message: reserved topics, and other types, raise", function()
        t.raises("@", function() base:with_message("@pid/inbox", 1) end)
        t.raises("bad argument #2 to 'with_message' (string expected, got no value)", function() base:with_message() end)
        t.raises("bad argument #2 to 'with_message' (string expected, got table)", function() base:with_message({}) end)
    end)
    case("the values of with_message are taken when it is called", function()
        local value = { 1 }
        local b = base:with_message("a", value)
        value[2] = 2
        t.equal(b:exec("proc:told", mail.host), { 1 })
    end)
    case("every variant spawns, monitors and links as its name says", function()
        for _, variant in ipairs(VARIANTS) do
            local pid, err = t.count(2, base[variant](base, "proc:ends", mail.host, "later"))
            t.equal(err, nil)
            process.send(pid, "raise text")
            local wanted = {}
            if string.find(variant, "monitored") then wanted[process.event.EXIT] = pid end
            if string.find(variant, "linked") then wanted[process.event.LINK_DOWN] = pid end
            local got = {}
            for _ in pairs(wanted) do
                local event = mail.next(events)
                got[event.kind] = event.from
            end
            t.equal(got, wanted, variant)
        end
        mail.no_events()
    end)
    case("exec gives the result or the error, and two values", function()
        t.values({ "a value", nil, n = 2 }, base:exec("proc:ends", mail.host, "value"))
        local err = t.fails("Conflict", "sold out", base:exec("proc:ends", mail.host, "object"))
        t.equal(err:details(), { sku = "A1" })
        t.fails("Invalid", "process ID required", base:exec("", mail.host))
        t.fails("Invalid", "invalid process ID format (namespace:name required)", base:exec("ends", mail.host))
        t.fails("Invalid", "host ID required", base:exec("proc:ends", ""))
    end)
    case("too few arguments raise", function()
        for _, variant in ipairs(VARIANTS) do
            local text = variant .. " requires at least id and host arguments"
            t.raises(text, function() base[variant](base) end)
            t.raises(text, function() base[variant](base, "proc:idle") end)
        end
        t.raises("exec requires id and host arguments", function() base:exec() end)
        t.raises("exec requires id and host arguments", function() base:exec("proc:idle") end)
    end)
    case("errors of the spawn are nil, err", function()
        for _, variant in ipairs(VARIANTS) do
            t.fails("NotFound", "host not found", base[variant](base, "proc:idle", "proc:nowhere"))
            t.fails("NotFound", "factory not found", base[variant](base, "proc:nothing", mail.host))
            t.fails("NotFound", 'method "absent" not found in module', base[variant](base, "proc:no_method", mail.host))
            t.fails("Unavailable", "host is not running", base[variant](base, "proc:idle", "proc:asleep"))
        end
    end)
    case("a name is free again when the named child could not start", function()
        t.fails("Internal", "broken chunk", base:with_name("builder.broken"):spawn("proc:raises_text", mail.host))
        t.fails("NotFound", "name not registered", process.registry.lookup("builder.broken"))
        t.fails("NotFound", "factory not found", base:with_name("builder.broken"):spawn("proc:nothing", mail.host))
        t.fails("NotFound", "name not registered", process.registry.lookup("builder.broken"))
    end)
    case("methods want a builder", function()
        for _, method in ipairs({ "with_context", "with_options", "with_actor", "with_scope", "with_name", "with_message", "spawn", "exec" }) do
            t.equal(type(base[method]), "function")
            t.raises("bad argument #1 to '" .. method .. "' (SpawnBuilder expected, got table)", base[method], {}, "x", "y")
        end
    end)

    -- ---- spawn or signal
    case("a taken name: nothing is started, the messages go to its holder", function()
        local seen = process.listen("seen")
        local holder = assert(base:with_name("builder.taken"):spawn("proc:collector", mail.host))
        local pid, err = t.count(2, base:with_name("builder.taken"):with_message("m", 1):with_message("m", 2):spawn("proc:ends", mail.host, "raise text"))
        t.equal(pid, holder)
        t.equal(err, nil)
        process.send(holder, "get")
        t.equal(mail.next(seen).list, { { topic = "m", from = "", value = 1 }, { topic = "m", from = "", value = 2 } })
        process.unlisten(seen)
        mail.no_events()
        t.equal(base:with_name("builder.taken"):spawn_monitored("proc:idle", mail.host), holder)
        t.fails("AlreadyExists", "already monitoring pid", process.monitor(holder))
        t.equal(base:with_name("builder.taken"):spawn_linked("proc:idle", mail.host), holder)
        process.terminate(holder)
        local kinds = {}
        for _ = 1, 2 do
            local event = mail.next(events)
            t.equal(event.from, holder)
            kinds[event.kind] = true
        end
        t.equal(kinds, { [process.event.EXIT] = true, [process.event.LINK_DOWN] = true })
        mail.no_events()
    end)
    case("a taken name: monitoring the holder twice is no error", function()
        local holder = assert(base:with_name("builder.twice"):spawn_monitored("proc:idle", mail.host))
        t.values({ holder, nil, n = 2 }, base:with_name("builder.twice"):spawn_monitored("proc:idle", mail.host))
        process.terminate(holder)
        t.equal(mail.next(events).from, holder)
        mail.no_events()
    end)
    case("a taken name: it does not matter whether there could be a new process", function()
        local holder = assert(base:with_name("builder.single"):spawn("proc:collector", "proc:single"))
        t.fails("LimitExceeded", "max_processes", base:spawn("proc:collector", "proc:single"))
        for _, host in ipairs({ "proc:single", "proc:asleep", "proc:nowhere" }) do
            t.values({ holder, nil, n = 2 }, base:with_name("builder.single"):with_message("m", host):spawn("proc:nothing", host))
        end
        local seen = process.listen("seen")
        process.send(holder, "get")
        local texts = {}
        for i, message in ipairs(mail.next(seen).list) do texts[i] = message.value end
        t.equal(texts, { "proc:single", "proc:asleep", "proc:nowhere" })
        process.unlisten(seen)
        process.terminate(holder)
    end)
    case("a taken name of a process on another host", function()
        local holder = assert(base:with_name("builder.elsewhere"):spawn("proc:told", "proc:narrow"))
        t.values({ holder, nil, n = 2 }, base:with_name("builder.elsewhere"):with_message("m", "over there"):spawn_monitored("proc:idle", mail.host))
        t.equal(mail.next(events).result.value, "over there")
    end)
    case("one's own name", function()
        assert(process.registry.register("builder.me"))
        t.values({ me, nil, n = 2 }, base:with_name("builder.me"):with_message("self", 7):spawn("proc:idle", mail.host))
        local message = mail.next(process.inbox())
        t.equal(message:topic(), "self")
        t.equal(message:from(), "")
        process.registry.unregister("builder.me")
    end)
    return done()
end

return { main = main }
