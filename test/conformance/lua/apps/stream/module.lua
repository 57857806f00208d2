local stream = require("stream")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("the module is an empty, read-only table", function()
        t.equal(type(stream), "table")
        t.equal(next(stream), nil)
        t.truthy(not pcall(function() stream.new = 1 end))
    end)
    return done()
end

return { main = main }
