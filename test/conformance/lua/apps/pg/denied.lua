local pg = require("pg")
local funcs = require("funcs")
local security = require("security")
local t = require("expect")

-- Runs as an actor that may open scopes and nothing else.
local function try()
    local case, done = t.cases()
    local grp = assert(pg.open("pg:scope"))
    local denied = "not allowed: pg."
    case("every method asks", function()
        t.fails("PermissionDenied", denied .. "join on a", grp:join("a"))
        t.fails("PermissionDenied", denied .. "join on a", grp:join({ "a", "b" }))
        t.fails("PermissionDenied", denied .. "leave on a", grp:leave("a"))
        t.fails("PermissionDenied", denied .. "get_members on a", grp:get_members("a"))
        t.fails("PermissionDenied", denied .. "get_local_members on a", grp:get_local_members("a"))
        t.fails("PermissionDenied", denied .. "which_groups", grp:which_groups())
        t.fails("PermissionDenied", denied .. "which_local_groups", grp:which_local_groups())
        t.fails("PermissionDenied", denied .. "broadcast on a", grp:broadcast("a", "x"))
        t.fails("PermissionDenied", denied .. "broadcast_local on a", grp:broadcast_local("a", "x"))
        local _, _, err = t.count(3, grp:monitor("a"))
        t.error(err, "PermissionDenied", denied .. "monitor on a")
        _, _, err = t.count(3, grp:events())
        t.error(err, "PermissionDenied", denied .. "events")
    end)
    return done()
end

local function as(policy)
    return funcs.new():with_actor(security.new_actor("someone")):with_scope(security.new_scope({ policy }))
end

local function main()
    local open = assert(security.policy("pg:only-open"))
    return as(open):call("pg:try")
end

return { main = main, try = try }
