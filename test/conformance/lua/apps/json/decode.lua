-- json.decode (lua-libraries.md §4.2).
local json = require("json")
local t = require("expect")

-- The value of a text; decode returns it and nil, nothing else.
local function value(text)
    local decoded, err = t.count(2, json.decode(text))
    t.equal(err, nil)
    return decoded
end

local function refused(kind, fragment, ...)
    local err = t.fails(kind, fragment, json.decode(...))
    t.equal(err:retryable(), false)
    t.truthy(#err:message() > 0)
end

local function main()
    local case, done = t.cases()

    case("decode returns the value and nil", function()
        t.values({ 7, nil, n = 2 }, json.decode("7"))
        t.values({ nil, nil, n = 2 }, json.decode("null"))
        t.values({ false, nil, n = 2 }, json.decode("false"))
        t.values({ { 1 }, nil, n = 2 }, json.decode("[1]"))
    end)
    case("scalars", function()
        t.equal(value("true"), true)
        t.equal(value('"x"'), "x")
        t.equal(value(' \t\r\n"x" '), "x")
    end)
    case("objects have string keys, arrays count from 1", function()
        t.equal(value('{"a":1,"b":{"c":[]}}'), { a = 1, b = { c = {} } })
        local object = value('{"1":"x"}')
        t.equal(object["1"], "x")
        t.equal(object[1], nil)
        t.equal(value('[10, "b", [true]]'), { 10, "b", { true } })
        t.equal(value('{"":1}'), { [""] = 1 })
        t.equal(value(" { } "), {})
    end)
    case("null is a member that is not there", function()
        local object = value('{"a":null,"b":1}')
        t.equal(object, { b = 1 })
        t.equal(next(value('{"a":null}')), nil)
    end)
    case("null is a hole in an array: what follows keeps its position", function()
        local array = value("[null,2,null,4]")
        t.equal({ array[1], array[2], array[3], array[4] }, { nil, 2, nil, 4 })
        t.equal(array[5], nil)
    end)
    case("numbers without point and exponent are integers", function()
        for _, text in ipairs({ "0", "-0", "7", "-12", "2147483647", "-2147483648" }) do
            t.equal(math.type(value(text)), "integer", text)
            t.equal(value(text), tonumber(text), text)
        end
    end)
    case("all others are floats", function()
        for _, text in ipairs({ "1.0", "1e2", "1E+2", "-0.0", "1e-2", "12.5e-1", "2.00" }) do
            t.equal(math.type(value(text)), "float", text)
            t.equal(value(text), tonumber(text), text)
        end
    end)
    case("integers beyond 64 bits are the nearest that there is", function()
        local large, small = value("99999999999999999999"), value("-99999999999999999999")
        if math.maxinteger > 2 ^ 31 then
            t.equal(math.type(large), "integer")
            t.equal(large, math.maxinteger)
            t.equal(small, math.mininteger)
            t.equal(value("9007199254740993") - 9007199254740992, 1)
            t.equal(math.type(value("4294967296")), "integer")
        else
            -- Where integers have 32 bits, wider ones arrive as floats: of 2^63 - 1 the nearest is 2^63.
            t.equal(large, 2 ^ 63)
            t.equal(small, -2 ^ 63)
        end
        t.equal(value("4294967296"), 2 ^ 32)
        t.equal(value("-9007199254740991"), -(2 ^ 53 - 1))
        t.equal(value(string.rep("9", 5000)), large)
    end)
    case("strings become UTF-8 bytes", function()
        t.equal(value('"héé 世界 😀"'), "héé 世界 😀")
        t.equal(value([["\u00e9\u4e16\ud83d\ude00"]]), "é世😀")
        t.equal(value([["\"\\\/\b\f\n\r\t\u0000"]]), '"\\/\b\f\n\r\t\0')
        t.equal(value([[{"\u0061":1}]]), { a = 1 })
    end)
    case("what follows the value is ignored", function()
        t.equal(value('{"a":1} junk'), { a = 1 })
        t.equal(value('7 {"'), 7)
        t.equal(value('"x"\255'), "x")
    end)
    case("what is no string is refused", function()
        for _, other in ipairs({ 5, 1.5, true, {}, print }) do refused("Invalid", "string expected", other) end
        refused("Invalid", "string expected", nil)
        refused("Invalid", "string expected")
    end)
    case("an empty text is refused", function()
        refused("Invalid", "empty string", "")
    end)
    case("a text that is no JSON is refused", function()
        local texts = {
            " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:2}",
            "nul", "True", "undefined", "'x'", "\"x", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"",
            "\"\\ud800\\u0041\"", "-", "+1", ".5", "1.", "1e", "1e+", "}", "]", ",", "// note\n1", "\239\187\1911",
        }
        for _, text in ipairs(texts) do
            local _, err = json.decode(text)
            t.truthy(err, string.format("the error of %q", text))
            refused("Internal", "", text)
        end
    end)
    case("a number with a leading zero ends after it", function()
        t.equal(value("01"), 0)
        refused("Internal", "", "[01]")
    end)
    case("two members of one name are refused", function()
        refused("Internal", "", '{"a":1,"a":2}')
        refused("Internal", "", '{"a":null,"a":2}')
        refused("Internal", "", [[{"a":1,"\u0061":2}]])
        t.equal(value('{"a":{"a":1}}'), { a = { a = 1 } })
    end)
    case("bytes that are no UTF-8 are refused", function()
        refused("Internal", "", '"\255"')
        refused("Internal", "", '"\xc3"')
        refused("Internal", "", '"\xed\xa0\x80"')
        refused("Internal", "", '{"\255":1}')
    end)
    case("128 levels are the most", function()
        local deep = value(string.rep("[", 128) .. string.rep("]", 128))
        local levels = 0
        while deep do levels, deep = levels + 1, deep[1] end
        t.equal(levels, 128)
        refused("Internal", "maximum nesting depth", string.rep("[", 129) .. string.rep("]", 129))
        refused("Internal", "maximum nesting depth", string.rep('{"a":', 129) .. "1" .. string.rep("}", 129))
        refused("Internal", "maximum nesting depth", string.rep("[", 100000))
    end)
    case("what was encoded is decoded again", function()
        local given = { name = "Ann\n\0", list = { 1, 2.5, "x", true }, deep = { { a = { b = false } } } }
        t.equal(value((json.encode(given))), given)
    end)
    return done()
end

return { main = main }
