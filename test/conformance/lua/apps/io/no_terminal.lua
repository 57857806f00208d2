local io = require("io")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("output", function()
        t.fails("Unavailable", "no terminal context", io.write("x"))
        t.fails("Unavailable", "no terminal context", io.print("x"))
        t.fails("Unavailable", "no terminal context", io.eprint("x"))
        t.fails("Unavailable", "no terminal context", io.flush())
    end)
    case("input", function()
        t.fails("Unavailable", "no terminal context", io.read())
        t.fails("Unavailable", "no terminal context", io.readline())
        t.fails("Unavailable", "no terminal context", io.raw(true))
    end)
    case("arguments", function() t.values({ {}, n = 1 }, io.args()) end)
    return done()
end

return { main = main }
