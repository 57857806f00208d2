local security = require("security")
local funcs = require("funcs")
local events = require("events")
local t = require("expect")

-- In strict mode whoever acts for nobody may do nothing that is asked about.
local function main()
    local case, done = t.cases()

    case("functions of processes", function()
        t.fails("PermissionDenied", "not allowed: process.spawn", process.spawn("strict:idle", "strict:processes"))
        t.fails("PermissionDenied", "not allowed: process.exec", process.exec("strict:idle", "strict:processes"))
        t.fails("PermissionDenied", "not allowed: process.send", process.send(process.pid(), "topic"))
        t.fails("PermissionDenied", "not allowed: process.registry.register", process.registry.register("name"))
        t.raises("not allowed: process.context", process.with_context, { a = 1 })
    end)
    case("functions of libraries", function()
        t.fails("PermissionDenied", "not allowed: funcs.call", funcs.call("strict:all"))
        t.fails("PermissionDenied", "not allowed: funcs.context", funcs.new():with_context({ a = 1 }))
        t.fails("PermissionDenied", "not allowed: events.send", events.send("s", "k", "p"))
        t.fails("PermissionDenied", "not allowed: events.subscribe", events.subscribe("s"))
        t.raises("not allowed", security.new_actor, "root")
        t.equal(security.can("anything", "at all"), false)
    end)
    case("what is not asked about works", function() t.equal(type(process.pid()), "string") end)
    return done()
end

return { main = main }
