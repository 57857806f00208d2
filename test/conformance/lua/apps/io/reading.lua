-- io.read; the input stands in app.yaml. A read may bring less than it asked for, never more.
local io = require("io")
local t = require("expect")

-- Exactly so many bytes, in as many reads as it takes.
local function exactly(count)
    local text = ""
    while #text < count do
        local part, err = t.count(2, io.read(count - #text))
        t.equal(err, nil)
        t.truthy(#part >= 1 and #part <= count - #text, "length of what was read")
        text = text .. part
    end
    return text
end

local function main()
    local case, done = t.cases()

    case("read brings up to so many bytes", function()
        t.equal(exactly(1), "a")
        t.equal(exactly(3), "bcd")
        local text = t.count(2, io.read("1"))
        t.equal(text .. exactly(1), "ef")
    end)
    case("what a read left belongs to the next line", function()
        t.values({ "gh", nil, n = 2 }, io.readline())
    end)
    case("what a line left belongs to the next read", function()
        t.equal(exactly(2), "li")
        t.equal(io.readline(), "ne")
    end)
    case("without a number, or with none above 0, it is 1024", function()
        t.equal(exactly(1), "r")
        local text = t.count(2, io.read())
        while #text < 3 do text = text .. (t.count(2, io.read(#text % 2 - 1))) end
        t.equal(text, "est")
    end)
    case("then comes EOF", function()
        for _, count in ipairs({ 1, 0, -1, 1024 }) do
            local err = t.fails("Internal", "EOF", io.read(count))
            t.equal(err:message(), "EOF")
        end
    end)
    case("also for a line", function() t.fails("Internal", "EOF", io.readline()) end)
    return done()
end

return { main = main }
