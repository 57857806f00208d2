local io = require("io")
local t = require("expect")

local WANTED = { "one", "", "--set", "zwölf und\tmehr" }

local function main(...)
    local given = table.pack(...)
    local case, done = t.cases()

    case("args are those of the command line", function() t.values({ WANTED, n = 1 }, io.args()) end)
    case("and those of main", function()
        t.equal(given.n, 4)
        t.equal({ table.unpack(given) }, WANTED)
    end)
    case("each call gives a table of its own", function()
        io.args()[1] = "changed"
        t.equal(io.args(), WANTED)
    end)
    case("coroutines see them too", function()
        local seen
        coroutine.spawn(function() seen = io.args() end)
        coroutine.yield()
        t.equal(seen, WANTED)
    end)
    case("they do not count as input", function() t.fails("Internal", "EOF", io.readline()) end)
    return done()
end

return { main = main }
