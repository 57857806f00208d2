-- W8: a lock that nobody else wants, acquired and released by one process; and two durable writes, which is what that takes at least.
local store = require("store")
local system = require("system")
local time = require("time")

local function seconds()
    return time.now():unix_nano() / 1e9
end

local function lock_cycle()
    assert(system.lock.acquire("bench-lock"))
    assert(system.lock.release("bench-lock"))
end

local function measured(cycle, count)
    local times = {}
    local from = seconds()
    for i = 1, count do
        local began = seconds()
        cycle()
        times[i] = seconds() - began
    end
    local took = seconds() - from
    table.sort(times)
    return { seconds = took, p50 = times[count // 2 + 1] * 1000 }
end

local function cycles(count)
    return measured(lock_cycle, count)
end

local function writes(count)
    local s = assert(store.get("bench:store"))
    return measured(function()
        assert(s:set("bench-lock", "taken"))
        assert(s:set("bench-lock", "free"))
    end, count)
end

-- The same from a process of another node.
local function elsewhere(node, count)
    local inbox = process.inbox()
    assert(process.spawn("bench:remote", node .. "@bench:host", process.pid(), count))
    return inbox:receive():payload():data()
end

local function remote(boss, count)
    cycles(count // 10)
    process.send(boss, "done", cycles(count))
end

return { cycles = cycles, writes = writes, elsewhere = elsewhere, remote = remote }
