-- The globals that are always there, and those that never are (lua-core.md §2.2).
local t = require("expect")

before = "set by the chunk"

local function main()
    local case, done = t.cases()

    case("functions", function()
        for _, name in ipairs({ "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset",
            "require", "select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall", "print", "subscribe",
            "unsubscribe", "integer", "number", "boolean" }) do
            t.equal(type(_G[name]), "function", name)
        end
        t.equal(_VERSION, "Lua 5.3")
    end)
    case("tables, which require knows too", function()
        for _, name in ipairs({ "string", "table", "math", "coroutine", "os", "errors", "process", "channel", "payload" }) do
            t.equal(type(_G[name]), "table", name)
            t.truthy(require(name) == _G[name], name)
        end
    end)
    case("what is not there", function()
        for _, name in ipairs({ "load", "loadstring", "loadfile", "dofile", "collectgarbage", "rawlen", "debug", "utf8", "package", "io",
            "time", "json", "_TYPES" }) do
            t.equal(_G[name], nil, name)
            t.raises("not found", require, name)
        end
        for _, name in ipairs({ "execute", "exit", "remove", "rename", "tmpname", "getenv", "setlocale" }) do
            t.equal(os[name], nil, name)
        end
        t.equal(string.dump, nil)
    end)
    case("each process has its own", function()
        t.equal(before, "set by the chunk")
        t.truthy(_G._G == _G)
        x_of_this_test = 1
        t.equal(rawget(_G, "x_of_this_test"), 1)
        _G.x_of_this_test = nil
        t.equal(x_of_this_test, nil)
        local real = print
        print = nil
        t.equal(print, real)
        type_before, type = type, function() return "mine" end
        t.equal(type(1), "mine")
        type = type_before
    end)
    return done()
end

return { main = main }
