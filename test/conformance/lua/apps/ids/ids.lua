local funcs = require("funcs")
local registry = require("registry")
local t = require("expect")

-- Names of any script, in ids, aliases and methods.
local function main()
    local case, done = t.cases()

    case("processes, functions, libraries, hosts", function()
        t.equal(process.id(), "zé:tést")
        t.equal(require("líb").n, 3)
        t.values({ "zé:idlé", nil, n = 2 }, process.exec("zé:idlé", "zé:hôte"))
        t.values({ "zé:idlé", nil, n = 2 }, funcs.call("zé:idlé"))
        t.equal(registry.get("zé:líb").kind, "library.lua")
        local err = t.fails("NotFound", "factory not found: zé:none", process.spawn("zé:none", "zé:hôte"))
        t.equal(err:details().factory_id, "zé:none")
        t.contains(select(2, process.spawn("zé:idlé", "zé:nowhere")), "host not found: zé:nowhere")
    end)
    return done()
end

return { main = main }
