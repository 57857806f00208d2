-- io.readline; the input stands in app.yaml.
local io = require("io")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("a line comes without its end", function() t.values({ "first", nil, n = 2 }, io.readline()) end)
    case("also when that is CR LF", function() t.values({ "second", nil, n = 2 }, io.readline()) end)
    case("an empty line is a line", function() t.values({ "", nil, n = 2 }, io.readline()) end)
    case("of several CRs the last is the end's", function() t.values({ " \r", nil, n = 2 }, io.readline()) end)
    case("other coroutines run while it waits", function()
        local ran = false
        coroutine.spawn(function() ran = true end)
        t.values({ "zwölf", nil, n = 2 }, io.readline())
        t.equal(ran, true)
    end)
    case("a last line may lack its end", function() t.values({ "rest of it", nil, n = 2 }, io.readline()) end)
    case("then comes EOF, as often as one asks", function()
        for _ = 1, 3 do
            local err = t.fails("Internal", "EOF", io.readline())
            t.equal(err:message(), "EOF")
            t.equal(err:retryable(), false)
        end
        t.fails("Internal", "EOF", io.read())
    end)
    return done()
end

return { main = main }
