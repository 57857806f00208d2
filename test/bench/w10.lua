-- W10: names of the cluster, each for another live process, one after the other; then lookups on the node that registered and on another.
local time = require("time")

local registry = process.registry

local function seconds()
    return time.now():unix_nano() / 1e9
end

local function idle()
    process.inbox():receive()
end

local function registrations(scope, warm, count)
    local pids = {}
    for i = 1, warm + count do pids[i] = assert(process.spawn("bench:idle", "bench:host")) end
    local number = registry[scope]
    for i = 1, warm do assert(registry.register(scope .. "/warm/" .. i, pids[i], number)) end
    local from = seconds()
    for i = 1, count do assert(registry.register(scope .. "/" .. i, pids[warm + i], number)) end
    return seconds() - from
end

local function lookups(scope, names, count)
    local all = {}
    for i = 1, names do
        local name = scope .. "/" .. i
        while not registry.lookup(name) do time.sleep("10ms") end
        all[i] = name
    end
    local lookup = registry.lookup
    local from = seconds()
    for i = 1, count do
        if not lookup(all[i % names + 1]) then error("lost a name") end
    end
    return seconds() - from
end

local function elsewhere(node, ...)
    local inbox = process.inbox()
    assert(process.spawn("bench:remote", node .. "@bench:host", process.pid(), ...))
    return inbox:receive():payload():data()
end

local function remote(boss, ...)
    process.send(boss, "done", lookups(...))
end

return { idle = idle, registrations = registrations, lookups = lookups, elsewhere = elsewhere, remote = remote }
