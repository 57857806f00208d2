-- What each function says to a caller whom policies refuse; every call takes the PID of a process that is there.

local function told(fn, ...)
    local results = { n = 0 }
    local function keep(ok, first, second, ...)
        results = { ok = ok, first = ok and first or nil, error = ok and second or nil, raised = not ok and tostring(first) or nil }
        results.n = select("#", first, second, ...)
    end
    keep(pcall(fn, ...))
    return results
end

local ID, HOST = "proc:idle", "proc:processes"

local function main(pid, wanted)
    local calls = {
        send = function() return process.send(pid, "topic") end,
        cancel = function() return process.cancel(pid) end,
        terminate = function() return process.terminate(pid) end,
        monitor = function() return process.monitor(pid) end,
        unmonitor = function() return process.unmonitor(pid) end,
        link = function() return process.link(pid) end,
        unlink = function() return process.unlink(pid) end,
        spawn = function() return process.spawn(ID, HOST) end,
        spawn_monitored = function() return process.spawn_monitored(ID, HOST) end,
        spawn_linked = function() return process.spawn_linked(ID, HOST) end,
        spawn_linked_monitored = function() return process.spawn_linked_monitored(ID, HOST) end,
        exec = function() return process.exec("proc:who", HOST) end,
        with_context = function() return process.with_context({}) end,
        with_options = function() return process.with_options({}) end,
        network = function() return process.with_options({ network = "proc:net" }) end,
        register = function() return process.registry.register("permissions.own") end,
        register_foreign = function() return process.registry.register("permissions.foreign", pid) end,
        unregister = function() return process.registry.unregister("permissions.foreign") end,
    }
    local answers = {}
    for _, name in ipairs(wanted) do answers[name] = told(calls[name]) end
    return answers
end

return { main = main }
