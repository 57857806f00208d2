-- Without a terminal: functions, and processes of other hosts (lua-core.md §20).
local io = require("io")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("the module has eight functions, and no files", function()
        local names = {}
        for name, value in pairs(io) do
            t.equal(type(value), "function", name)
            names[#names + 1] = name
        end
        table.sort(names)
        t.equal(names, { "args", "eprint", "flush", "print", "raw", "read", "readline", "write" })
        t.equal(io.open, nil)
        t.equal(io.stdout, nil)
        t.raises("read-only", function() io.write = nil end)
    end)
    case("declared, it is a global as well", function()
        t.equal(rawequal(_G.io, io), true)
    end)
    case("each function is Unavailable in a function call", function()
        t.fails("Unavailable", "no terminal context", io.write("x"))
        t.fails("Unavailable", "no terminal context", io.print("x"))
        t.fails("Unavailable", "no terminal context", io.eprint("x"))
        t.fails("Unavailable", "no terminal context", io.flush())
        t.fails("Unavailable", "no terminal context", io.read())
        t.fails("Unavailable", "no terminal context", io.read(5))
        t.fails("Unavailable", "no terminal context", io.readline())
        t.fails("Unavailable", "no terminal context", io.raw())
        local err = t.fails("Unavailable", "no terminal context", io.raw(false))
        t.equal(err:retryable(), false)
    end)
    case("but args, which is empty", function()
        t.values({ {}, n = 1 }, io.args())
    end)
    case("so in a process of another host", function()
        t.values({ "3 cases", nil, n = 2 }, process.exec("io:no_terminal", "io:processes"))
    end)
    return done()
end

return { main = main }
