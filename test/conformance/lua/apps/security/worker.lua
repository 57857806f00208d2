local security = require("security")
local funcs = require("funcs")
local events = require("events")
local registry = require("registry")
local store = require("store")
local queue = require("queue")
local env = require("env")
local system = require("system")

-- What each library says to a caller who may do nothing of it.
local function main()
    local function told(first, err) return err and { kind = err:kind(), text = err:message() } or { first = first } end
    local ok, raised = pcall(store.get, "sec:memory")
    return {
        spawn = told(process.spawn("sec:who", "sec:processes")),
        send = told(process.send(process.pid(), "topic")),
        call = told(funcs.call("sec:worker")),
        event = told(events.send("s", "k", "p")),
        entry = told(registry.get("sec:who")),
        list = #registry.find({}),
        env = told(env.get("ANY")),
        system = told(system.node.id()),
        queue = told(queue.publish("sec:none", "x")),
        store = { ok = ok, text = tostring(raised) },
        pid = process.pid(),
    }
end

return { main = main }
