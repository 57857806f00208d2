local registry = require("registry")
local funcs = require("funcs")
local time = require("time")
local t = require("expect")

local function fn(source)
    return { id = "dyn:f", kind = "function.lua", data = { method = "main", source = source } }
end

local function changes() return registry.snapshot():changes() end

local function main()
    local case, done = t.cases()

    case("create, update and delete take effect", function()
        local c = changes()
        t.truthy(c:create(fn("return { main = function(x) return x * 2 end }")) == c)
        local version, err = t.count(2, c:apply())
        t.equal(err, nil)
        t.truthy(version:id() > 1)
        t.equal(funcs.call("dyn:f", 21), 42)
        t.equal(registry.get("dyn:f").data.method, "main")
        t.truthy(changes():update(fn("return { main = function(x) return x * 3 end }")):apply())
        t.equal(funcs.call("dyn:f", 21), 63)
        t.truthy(changes():delete("dyn:f"):apply())
        t.fails("NotFound", "no handler registered for target", funcs.call("dyn:f"))
        t.fails("NotFound", "entry not found", registry.get("dyn:f"))
    end)
    case("processes, libraries and modules made at run time", function()
        local c = changes()
        c:create{ id = "dyn:lib", kind = "library.lua", data = { source = "return { twice = function(n) return 2 * n end }" } }
        c:create{
            id = "dyn:p",
            kind = "process.lua",
            data = {
                source = 'local lib = require("lib") local time = require("time") return { main = function(n) return lib.twice(n) end }',
                method = "main",
                modules = { "time" },
                imports = { lib = "dyn:lib" },
            },
        }
        t.truthy(c:apply())
        t.equal(process.exec("dyn:p", "reg:processes", 4), 8)
        t.fails("Conflict", "dyn:p needs it", changes():delete("dyn:lib"):apply())
        t.truthy(changes():delete({ ns = "dyn", name = "p" }):delete("dyn:lib"):apply())
        t.fails("NotFound", "factory not found", process.spawn("dyn:p", "reg:processes"))
    end)
    case("malformed entries are refused at once", function()
        t.fails("Invalid", "table", changes():create("x"))
        t.fails("Invalid", "id", changes():create({ kind = "registry.entry" }))
        t.fails("Invalid", "id", changes():create({ id = "noname", kind = "registry.entry" }))
        t.fails("Invalid", "kind", changes():create({ id = "a:b" }))
        t.fails("Invalid", "meta", changes():create({ id = "a:b", kind = "registry.entry", meta = "x" }))
        t.fails("Invalid", "data", changes():update({ id = "a:b", kind = "registry.entry", data = 5 }))
        t.fails("Invalid", "delete takes", changes():delete({ ns = "a" }))
    end)
    case("all or nothing", function()
        local before = registry.current_version():id()
        local good = { id = "dyn:good", kind = "registry.entry" }
        t.fails("Invalid", "no changes to apply", changes():apply())
        t.fails("AlreadyExists", "entry already exists", changes():create(good):create({ id = "reg:dog", kind = "registry.entry" }):apply())
        t.fails("NotFound", "entry does not exist", changes():create(good):update({ id = "dyn:none", kind = "registry.entry" }):apply())
        t.fails("NotFound", "cannot delete non-existent entry", changes():create(good):delete("dyn:none"):apply())
        t.fails("Invalid", "cannot change entry kind", changes():create(good):update({ id = "reg:dog", kind = "function.lua" }):apply())
        t.fails("Invalid", "Lua syntax", changes():create(good):create(fn("return (")):apply())
        t.fails("Invalid", "unknown kind", changes():create(good):create({ id = "dyn:k", kind = "no.such" }):apply())
        t.fails("Invalid", "file://", changes():create(fn("file://x.lua")):apply())
        t.fails("NotFound", "entry not found", registry.get("dyn:good"))
        t.equal(registry.current_version():id(), before)
    end)
    case("services come and go with their entries", function()
        local c = changes()
        c:create{
            id = "dyn:keeper",
            kind = "process.lua",
            data = { source = 'return { main = function() process.registry.register("dyn.keeper") process.events():receive() end }' },
        }
        c:create{
            id = "dyn:keeper.service",
            kind = "process.service",
            data = { process = "dyn:keeper", host = "reg:processes", lifecycle = { auto_start = true } },
        }
        t.truthy(c:apply())
        local pid
        for _ = 1, 100 do
            pid = process.registry.lookup("dyn.keeper")
            if pid then break end
            time.sleep("5ms")
        end
        t.truthy(pid, "the service's process")
        t.truthy(changes():delete("dyn:keeper.service"):delete("dyn:keeper"):apply())
        t.fails("NotFound", "not registered", process.registry.lookup("dyn.keeper"))
    end)
    case("a service that cannot start takes the change back", function()
        local c = changes()
        c:create{ id = "dyn:bad", kind = "process.lua", data = { source = 'error("no way")' } }
        c:create{
            id = "dyn:bad.service",
            kind = "process.service",
            data = { process = "dyn:bad", host = "reg:processes", lifecycle = { auto_start = true } },
        }
        local result, err = c:apply()
        t.equal(result, nil)
        t.contains(err, "no way")
        t.fails("NotFound", "entry not found", registry.get("dyn:bad"))
        t.fails("NotFound", "factory not found", process.spawn("dyn:bad", "reg:processes"))
    end)
    case("what a service requires cannot be deleted, and it goes on", function()
        local c = changes()
        c:create{ id = "dyn:base", kind = "process.host", data = { lifecycle = {} } }
        c:create{
            id = "dyn:waiter",
            kind = "process.lua",
            data = { source = 'return { main = function() process.registry.register("dyn.waiter") process.events():receive() end }' },
        }
        c:create{
            id = "dyn:waiter.service",
            kind = "process.service",
            data = {
                process = "dyn:waiter",
                host = "reg:processes",
                lifecycle = { auto_start = true, requires = { "dyn:base" } },
            },
        }
        t.truthy(c:apply())
        local pid
        for _ = 1, 100 do
            pid = process.registry.lookup("dyn.waiter")
            if pid then break end
            time.sleep("5ms")
        end
        t.truthy(pid, "the service's process")
        t.fails("Conflict", "cannot delete dyn:base: dyn:waiter.service needs it", changes():delete("dyn:base"):apply())
        t.equal(registry.get("dyn:base").kind, "process.host")
        t.equal(process.registry.lookup("dyn.waiter"), pid)
        t.truthy(changes():delete("dyn:waiter.service"):delete("dyn:waiter"):delete("dyn:base"):apply())
    end)
    case("what any field of another entry names cannot be deleted, nor made something else", function()
        local c = changes()
        c:create{ id = "dyn:driver", kind = "queue.driver.memory" }
        c:create{ id = "dyn:queue", kind = "queue.queue", data = { driver = "driver" } }
        c:create{ id = "dyn:storage", kind = "env.storage.memory" }
        c:create{ id = "dyn:router", kind = "env.storage.router", data = { storages = { "dyn:storage" } } }
        c:create{ id = "dyn:variable", kind = "env.variable", data = { storage = "router" } }
        t.truthy(c:apply())
        for needed, by in pairs({ driver = "queue", storage = "router", router = "variable" }) do
            local err = t.fails("Conflict", "cannot delete dyn:" .. needed .. ": dyn:" .. by .. " needs it", changes():delete("dyn:" .. needed):apply())
            t.equal(err:details(), { id = "dyn:" .. needed, needed_by = "dyn:" .. by })
        end
        t.fails("Conflict", "cannot make dyn:storage a registry.entry: dyn:router needs it",
            changes():delete("dyn:storage"):create{ id = "dyn:storage", kind = "registry.entry" }:apply())
        t.truthy(changes():delete("dyn:storage"):create{ id = "dyn:storage", kind = "env.storage.memory", meta = { new = true } }:apply())
        t.equal(registry.get("dyn:storage").meta.new, true)
        t.truthy(changes():delete("dyn:variable"):delete("dyn:router"):delete("dyn:storage"):delete("dyn:queue"):delete("dyn:driver"):apply())
    end)
    case("what is wrong is told with the id of its entry", function()
        local good = { id = "dyn:good", kind = "registry.entry" }
        local c = changes():create(good):create({ id = "dyn:bare", kind = "process.lua" }):create({ id = "dyn:k", kind = "no.such" })
        local err = t.fails("Invalid", "dyn:bare source: required field is missing", c:apply())
        t.contains(err, "dyn:k kind: unknown kind")
        t.equal(#err:details().problems, 2)
    end)
    case("data of a registry.entry is free, and lost nowhere", function()
        local data = { id = 5, namespace = "n", source = "file://x", lifecycle = "l", imports = { "a" }, list = { 1, 2 } }
        t.truthy(changes():create{ id = "dyn:free", kind = "registry.entry", data = data }:apply())
        local entry = registry.get("dyn:free")
        t.equal(entry.data, data)
        t.truthy(changes():update(entry):apply())
        t.equal(registry.get("dyn:free"), entry)
        for _, field in ipairs({ "name", "kind", "meta" }) do
            t.fails("Invalid", "data cannot have a field " .. field, changes():create{ id = "dyn:no", kind = "registry.entry", data = { [field] = "x" } }:apply())
        end
        t.fails("Invalid", "data is a table of named fields, not a list", changes():create{ id = "dyn:no", kind = "registry.entry", data = { 1 } }:apply())
        t.truthy(changes():delete("dyn:free"):apply())
    end)
    case("a version that was the last is followed by the next", function()
        local before = registry.current_version()
        t.values({ nil, n = 1 }, before:next())
        local after = changes():create(fn("return { main = function() return 1 end }")):apply()
        t.equal(t.count(1, before:next()):id(), after:id())
        t.equal(t.count(1, after:previous()):id(), before:id())
        t.values({ nil, n = 1 }, after:next())
        t.truthy(changes():delete("dyn:f"):apply())
        t.truthy(after:next():next() == nil)
    end)
    case("apply_version goes back and forth", function()
        local before = registry.current_version()
        local after = changes():create(fn("return { main = function() return 1 end }")):apply()
        t.values({ true, nil, n = 2 }, registry.apply_version(before))
        t.equal(registry.current_version():id(), before:id())
        t.fails("NotFound", "no handler registered", funcs.call("dyn:f"))
        t.values({ true, nil, n = 2 }, registry.apply_version(after))
        t.equal(funcs.call("dyn:f"), 1)
        t.values({ true, nil, n = 2 }, registry.apply_version(before))
        t.raises("registry.Version expected", registry.apply_version, 3)
    end)
    return done()
end

return { main = main }
