local fs = require("fs")
local funcs = require("funcs")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("what a call leaves open is closed with it", function()
        for _ = 1, 30 do t.equal((funcs.call("fs:opener", 200)), 200) end
    end)
    case("a process has a bounded number of open files", function()
        t.contains((funcs.call("fs:opener", 300)), "256 LimitExceeded too many open files")
    end)
    case("closing makes room", function()
        local volume = assert(fs.get("fs:data"))
        for _ = 1, 600 do assert(volume:open("one", "w")):close() end
    end)
    return done()
end

return { main = main }
