local system = require("system")
local t = require("expect")

local function number(...)
    local value, err = t.count(2, ...)
    t.equal(err, nil)
    t.equal(type(value), "number")
    return value
end

local function main()
    local case, done = t.cases()

    case("memory", function()
        local stats = t.count(2, system.memory.stats())
        for _, name in ipairs({
            "alloc", "total_alloc", "sys", "heap_alloc", "heap_sys", "heap_idle", "heap_in_use", "heap_released",
            "heap_objects", "stack_in_use", "stack_sys", "mspan_in_use", "mspan_sys", "num_gc", "next_gc",
        }) do
            t.equal(type(stats[name]), "number", name)
        end
        t.truthy(stats.total_alloc >= stats.alloc or stats.total_alloc > 0)
        t.truthy(number(system.memory.allocated()) > 0)
        t.truthy(number(system.memory.heap_objects()) > 0)
        number(system.memory.get_limit())
        number(system.memory.set_limit(1000000))
        t.equal(system.memory.get_limit(), 1000000)
        t.equal(system.memory.set_limit(-1), 1000000)
        t.fails("Invalid", "memory limit value required", system.memory.set_limit())
        t.fails("Invalid", "memory limit value required", system.memory.set_limit(0 / 0))
        system.memory.set_limit(math.maxinteger - 1)
        t.equal(system.memory.set_limit(-1), math.maxinteger - 1)
        t.fails("Invalid", "must be non-negative or -1", system.memory.set_limit(-5))
    end)
    case("gc", function()
        t.values({ true, nil, n = 2 }, system.gc.collect())
        t.values({ 100, nil, n = 2 }, system.gc.get_percent())
        t.values({ 100, nil, n = 2 }, system.gc.set_percent(50))
        t.equal(system.gc.get_percent(), 50)
        t.fails("Invalid", "percent value required", system.gc.set_percent())
    end)
    case("runtime and process", function()
        t.truthy(number(system.runtime.goroutines()) >= 1)
        local cpus = number(system.runtime.cpu_count())
        t.truthy(cpus >= 1)
        t.equal(number(system.runtime.max_procs()), cpus)
        t.equal(system.runtime.max_procs(3), cpus)
        t.equal(system.runtime.max_procs(), 3)
        t.fails("Invalid", "must be positive", system.runtime.max_procs(0))
        t.truthy(number(system.process.pid()) > 0)
        t.equal(type((t.count(2, system.process.hostname()))), "string")
        t.equal(type((t.count(2, system.process.cwd()))), "string")
    end)
    case("node and cluster, standalone", function()
        t.values({ "sys-node", nil, n = 2 }, system.node.id())
        t.fails("Internal", "local node address not available", system.node.addr())
        t.values({ "non-member", nil, n = 2 }, system.node.role())
        t.values({ { { id = "sys-node", is_local = true } }, nil, n = 2 }, system.cluster.members())
        t.values({ "", nil, n = 2 }, system.cluster.leader())
        t.values({ 1, nil, n = 2 }, system.cluster.size())
        for _, name in ipairs({ "is_leader", "is_member", "role", "term", "commit_index", "stats" }) do
            t.fails("Internal", "raft not available", system.raft[name]())
        end
        t.fails("Internal", "lock service not available", system.lock.acquire("x"))
        t.fails("Internal", "lock service not available", system.lock.release("x"))
    end)
    case("supervisor", function()
        local state = t.count(2, system.supervisor.state("sys:sleeper.service"))
        t.equal(state.id, "sys:sleeper.service")
        t.equal(state.status, "running")
        t.equal(state.desired, "running")
        t.equal(state.retry_count, 0)
        t.equal(type(state.last_update), "number")
        t.equal(type(state.started_at), "number")
        t.truthy(#t.count(2, system.supervisor.states()) >= 2)
        t.fails("Invalid", "service ID required", system.supervisor.state(""))
        t.fails("Internal", "service not found", system.supervisor.state("sys:none"))
    end)
    case("hosts", function()
        local hosts = t.count(2, system.hosts.list())
        local found
        for _, host in ipairs(hosts) do
            if host.id == "sys:processes" then found = host end
        end
        for _, name in ipairs({ "workers", "processes", "executed", "stolen", "queue_depth" }) do
            t.equal(type(found[name]), "number", name)
        end
        local processes = t.count(2, system.hosts.processes("sys:processes"))
        t.equal(#processes, 1)
        t.equal(processes[1].source, "sys:sleeper")
        t.equal(processes[1].host, "sys:processes")
        t.equal(processes[1].state, "idle")
        t.equal(type(processes[1].steps), "number")
        t.equal(type(processes[1].started_at), "number")
        t.values({ {}, nil, n = 2 }, system.hosts.processes("sys:none"))
        t.fails("Invalid", "host ID required", system.hosts.processes(""))
    end)
    case("modules", function()
        local modules, err = t.count(2, system.modules())
        t.equal(err, nil)
        local classes = {}
        for _, module in ipairs(modules) do
            t.truthy(#module.description > 0, "description of " .. module.name)
            t.truthy(#module.class > 0, "classes of " .. module.name)
            classes[module.name] = table.concat(module.class, " ")
        end
        for name, wanted in pairs({
            store = "storage io nondeterministic",
            fs = "storage io nondeterministic",
            system = "process nondeterministic",
            env = "process nondeterministic",
            eval_runner = "process nondeterministic",
            process = "process nondeterministic",
            json = "encoding deterministic",
            yaml = "encoding deterministic",
            base64 = "encoding deterministic",
            compress = "encoding deterministic",
            uuid = "nondeterministic workflow",
            hash = "encoding security deterministic",
            crypto = "security nondeterministic workflow",
            logger = "io",
            metrics = "io nondeterministic",
            security = "security nondeterministic",
            io = "io nondeterministic",
            os = "time workflow",
            expr = "deterministic",
            text = "deterministic",
            queue = "io nondeterministic",
            stream = "io nondeterministic",
        }) do
            t.equal(classes[name], wanted, name)
        end
    end)
    case("exit wants a whole number", function() t.raises("number", system.exit, "soon") end)
    return done()
end

return { main = main }
