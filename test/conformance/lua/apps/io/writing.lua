-- What comes out stands in app.yaml.
local io = require("io")
local t = require("expect")

local function main()
    t.values({ true, n = 1 }, io.write("a", "b", 1, true, "\n"))
    t.values({ true, n = 1 }, io.write())
    t.values({ true, n = 1 }, io.write(""))
    t.values({ true, n = 1 }, io.print())
    t.values({ true, n = 1 }, io.print(1, nil, false))
    local shown = setmetatable({}, { __tostring = function() return "<me>" end })
    t.values({ true, n = 1 }, io.print(2.5, 6 / 2, shown, errors.new("sold out")))
    t.values({ true, n = 1 }, io.eprint())
    t.values({ true, n = 1 }, io.eprint("to", "standard error"))
    t.values({ true, n = 1 }, io.write("last without newline"))
    t.values({ true, n = 1 }, io.flush())
end

return { main = main }
