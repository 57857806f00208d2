local base64 = require("base64")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("encode", function()
        t.values({ "", n = 1 }, base64.encode(""))
        t.values({ "Zg==", n = 1 }, base64.encode("f"))
        t.values({ "Zm9vYmFy", n = 1 }, base64.encode("foobar"))
        t.equal(base64.encode("\0\255\128"), "AP+A")
        t.fails("Invalid", "string expected", base64.encode(5))
        t.fails("Invalid", "string expected", base64.encode())
    end)
    case("decode", function()
        t.values({ "", n = 1 }, base64.decode(""))
        t.values({ "foobar", n = 1 }, base64.decode("Zm9v\r\nYmFy\n"))
        t.equal(base64.decode("AP+A"), "\0\255\128")
        t.fails("Invalid", "string expected", base64.decode({}))
        t.fails("Invalid", "illegal base64", base64.decode("Zg"))
        t.fails("Invalid", "illegal base64", base64.decode("Zg="))
        t.fails("Invalid", "illegal base64", base64.decode("Z==="))
        t.fails("Invalid", "illegal base64", base64.decode("Zm 9v"))
        t.fails("Invalid", "illegal base64", base64.decode("Zm9v!Zm9v"))
    end)
    return done()
end

return { main = main }
