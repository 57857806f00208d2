local crypto = require("crypto")
local funcs = require("funcs")
local time = require("time")
local t = require("expect")

local function hex(bytes) return (bytes:gsub(".", function(c) return string.format("%02x", c:byte()) end)) end

local at_load = crypto.pbkdf2("passwd", "salt", 1, 8)

local function main()
    local case, done = t.cases()

    case("raw bytes: RFC 7914 §11", function()
        local key, err = t.count(2, crypto.pbkdf2("passwd", "salt", 1, 64))
        t.equal(err, nil)
        t.equal(hex(key), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
            .. "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783")
    end)
    case("it may be called while a chunk loads", function() t.equal(hex(at_load), "55ac046e56e3089f") end)
    case("sha512, and lengths", function()
        t.equal(#crypto.pbkdf2("p", "s", 2, 100, "sha512"), 100)
        t.truthy(crypto.pbkdf2("p", "s", 2, 32, "sha512") ~= crypto.pbkdf2("p", "s", 2, 32))
        t.equal(crypto.pbkdf2("p", "s", 2, 32, "sha256"), crypto.pbkdf2("p", "s", 2, 32))
    end)
    case("what it refuses", function()
        t.fails("Invalid", "password cannot be empty", crypto.pbkdf2("", "s", 1, 1))
        t.fails("Invalid", "salt cannot be empty", crypto.pbkdf2("p", "", 1, 1))
        t.fails("Invalid", "iterations must be positive", crypto.pbkdf2("p", "s", 0, 1))
        t.fails("Invalid", "iterations must be positive", crypto.pbkdf2("p", "s", -5, 1))
        t.fails("Invalid", "iterations exceeds maximum", crypto.pbkdf2("p", "s", 10000001, 1))
        t.fails("Invalid", "iterations exceeds maximum", crypto.pbkdf2("p", "s", 10000000, 1048576))
        t.fails("Invalid", "key length must be positive", crypto.pbkdf2("p", "s", 1, 0))
        t.fails("Invalid", "key length exceeds maximum", crypto.pbkdf2("p", "s", 1, 1048577))
        t.fails("Invalid", "unsupported hash function", crypto.pbkdf2("p", "s", 1, 1, "md5"))
        t.raises("number expected", crypto.pbkdf2, "p", "s", "x", 1)
        t.raises("string expected", crypto.pbkdf2, nil, "s", 1, 1)
        t.raises("number has no integer representation", crypto.pbkdf2, "p", "s", 1.5, 1)
    end)
    case("the host goes on meanwhile", function()
        local future = assert(funcs.async("crypto:slow"))
        local ticks = 0
        while not future:is_complete() do
            ticks = ticks + 1
            time.sleep("1ms")
        end
        t.equal(future:result():data(), 32)
        t.truthy(ticks > 3, ticks)
    end)
    return done()
end

return { main = main }
