local security = require("security")
local funcs = require("funcs")
local t = require("expect")
local mail = require("mail")

local function main()
    local case, done = t.cases()
    local pid = assert(process.spawn("proc:idle", mail.host))

    -- What the calls say to somebody with these policies.
    local function told(policies, wanted)
        local list = {}
        for i, name in ipairs(policies) do list[i] = assert(security.policy("proc:" .. name)) end
        local executor = funcs.new():with_actor(security.new_actor("ann")):with_scope(security.new_scope(list))
        return assert(executor:call("proc:refused", pid, wanted))
    end

    local function refused(answer, action, resource)
        t.equal(answer.ok, true, action)
        t.equal(answer.n, 2, action)
        t.equal(answer.first, nil, action)
        t.error(answer.error, "PermissionDenied", "not allowed")
        t.contains(answer.error, action)
        t.contains(answer.error, resource)
        t.equal(answer.error:retryable(), false)
    end

    case("functions on a process", function()
        local names = { "send", "cancel", "terminate", "monitor", "unmonitor", "link", "unlink" }
        local answers = told({ "anything", "no_processes" }, names)
        for _, name in ipairs(names) do refused(answers[name], "process." .. name, pid) end
        t.values({ true, nil, n = 2 }, process.send(pid, "still there"))
    end)
    case("spawning and exec", function()
        local names = { "spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored", "exec" }
        local answers = told({ "anything", "no_processes" }, names)
        for _, name in ipairs(names) do refused(answers[name], name == "exec" and "process.exec" or "process.spawn", "proc:") end
    end)
    case("the host", function()
        local names = { "spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored", "exec" }
        local answers = told({ "anything", "no_host" }, names)
        for _, name in ipairs(names) do refused(answers[name], "process.host", mail.host) end
    end)
    case("the variants, in addition", function()
        local answers = told({ "anything", "no_variants" }, { "spawn_monitored", "spawn_linked", "exec" })
        refused(answers.spawn_monitored, "process.spawn.monitored", "proc:idle")
        refused(answers.spawn_linked, "process.spawn.linked", "proc:idle")
        t.equal(answers.exec.first.id, "proc:who")
    end)
    case("builders raise", function()
        local answers = told({ "anything", "no_processes" }, { "with_context", "with_options" })
        for _, name in ipairs({ "with_context", "with_options" }) do
            t.equal(answers[name].ok, false)
            t.contains(answers[name].raised, "not allowed: process.context on context")
        end
        local network = told({ "anything", "no_network" }, { "with_options", "network" })
        t.equal(network.with_options.ok, true)
        t.equal(network.network.ok, false)
        t.contains(network.network.raised, "not allowed: network.select on proc:net")
    end)
    case("names", function()
        local answers = told({ "anything", "no_processes" }, { "register", "register_foreign", "unregister" })
        refused(answers.register, "process.registry.register", "permissions.own")
        refused(answers.register_foreign, "process.registry.register", "permissions.foreign")
        refused(answers.unregister, "process.registry.unregister", "permissions.foreign")
        answers = told({ "anything", "no_foreign" }, { "register", "register_foreign" })
        t.equal(answers.register.first, true)
        refused(answers.register_foreign, "process.registry.foreign", pid)
    end)
    case("who may, may", function()
        local answers = told({ "anything" }, { "send", "monitor", "unmonitor", "link", "unlink", "cancel", "exec", "register_foreign", "unregister" })
        for name, answer in pairs(answers) do
            t.equal(answer.ok, true, name)
            t.equal(answer.error, nil, name)
        end
    end)
    case("no policy at all allows nothing", function()
        local answers = told({ "names_only" }, { "send", "spawn", "register" })
        refused(answers.send, "process.send", pid)
        refused(answers.spawn, "process.spawn", "proc:idle")
        t.equal(answers.register.first, true)
    end)
    process.terminate(pid)
    return done()
end

return { main = main }
