local io = require("io")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("read", function() t.fails("Internal", "EOF", io.read()) end)
    case("readline", function() t.fails("Internal", "EOF", io.readline()) end)
    case("in two coroutines at once", function()
        local ends = channel.new(2)
        for _ = 1, 2 do
            coroutine.spawn(function() ends:send(select(2, io.readline()):kind()) end)
        end
        t.equal({ (ends:receive()), (ends:receive()) }, { "Internal", "Internal" })
    end)
    return done()
end

return { main = main }
