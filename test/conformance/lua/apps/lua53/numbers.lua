-- Numbers (Lua 5.3 manual §3.1, §3.4.1-3, §6.7), as far as they do not depend on the width of an integer.
local t = require("expect")

local function main()
    local case, done = t.cases()
    local type_of = math.type
    local max, min = math.maxinteger, math.mininteger

    -- The same value of the same subtype.
    local function is(actual, wanted)
        t.equal(actual, wanted)
        t.equal(type_of(actual), type_of(wanted))
    end

    case("literals", function()
        is(0x10, 16) is(0xfF, 255) is(0xA.8p0, 10.5) is(0x.8, 0.5) is(0x1p-2, 0.25) is(0x10p1, 32.0)
        is(1e2, 100.0) is(.5, 0.5) is(5., 5.0) is(3e-1, 0.3) is(1E+1, 10.0) is(0e12, 0.0) is(0xep1, 28.0)
        is(-0x10, -16)
    end)
    case("integer and float arithmetic", function()
        is(3 + 4, 7) is(3 + 4.0, 7.0) is(3 - 4, -1) is(3 * 4, 12) is(3.0 * 4, 12.0) is(8 / 2, 4.0) is(2 ^ 3, 8.0) is(-3, 0 - 3)
        is(7 // 2, 3) is(-7 // 2, -4) is(7 // -2, -4) is(-7 // -2, 3) is(7.0 // 2, 3.0) is(-7 // 2.0, -4.0) is(7.5 // 2, 3.0)
        is(7 % 3, 1) is(-7 % 3, 2) is(7 % -3, -2) is(-7 % -3, -1) is(7.5 % 2, 1.5) is(-7.5 % 2, 0.5) is(5 % 3.0, 2.0)
        is(2 ^ -1, 0.5) is(2 ^ 0.5 * 2 ^ 0.5 // 1, 2.0) is(-2 ^ 2, -4.0) is(2 ^ 3 ^ 2, 512.0)
        is(1 // 0.0, math.huge) is(-1 // 0.0, -math.huge) is(-1 % math.huge, math.huge) is(1 % math.huge, 1.0) is(1 % -math.huge, -math.huge)
        is(min % -1, 0) is(min // -1, min) is(min % -2, 0)
        t.raises("attempt to divide by zero", function() return 1 // 0 end)
        t.raises("attempt to perform 'n%0'", function() return 1 % 0 end)
    end)
    case("integers wrap around", function()
        is(max + 1, min) is(min - 1, max) is(max * 2, -2) is(min * -1, min) is(-min, min) is(max * max, 1)
        t.equal({ max // 1 | 0, min // 1 | 0 }, { max, min })
        t.truthy(max + 1.0 > max and min - 1.0 <= min)
    end)
    case("comparison", function()
        t.truthy(1 == 1.0 and 1 < 1.5 and 1.5 < 2 and -1 > -1.5 and not (1 < 1.0) and 1 <= 1.0 and 0 == -0.0)
        t.truthy(max < math.huge and min > -math.huge and max + 0.0 <= math.huge and not (max < -math.huge))
        t.truthy(max < max + 1.5 and (max - 1) < max and min < min + 1)
        local nan = 0 / 0
        t.truthy(nan ~= nan and not (nan < nan) and not (nan <= nan) and not (nan > 1) and not (1 >= nan) and not (nan == 1))
        t.truthy("2" > "10" and "a" ~= 1)
    end)
    case("zero and minus zero", function()
        local zero, minus = 0.0, -0.0
        t.truthy(zero == minus and 1 / zero > 0 and 1 / minus < 0)
        local keys = { [minus] = 1 }
        t.equal({ keys[zero], keys[0], keys[minus] }, { 1, 1, 1 })
        keys[0] = 2
        t.equal({ keys[-0.0], next(keys) }, { 2, 0, 2 })
    end)
    case("bitwise operators", function()
        is(0xF0 | 0x0F, 0xFF) is(0xF0 & 0x3C, 0x30) is(0xF0 ~ 0xFF, 0x0F) is(~0, -1) is(~-1, 0) is(~5, -6)
        is(1 << 4, 16) is(16 >> 4, 1) is(16 << -4, 1) is(1 >> -4, 16) is(1 << 100, 0) is(-1 >> 100, 0) is(1 << -100, 0)
        is(-1 >> 1, max) is(min >> 1 << 1, min) is(max << 1, -2)
        is(2.0 | 1, 3) is("3" | 0, 3) is("0x10" & 0xFF, 16) is(2.0 ^ 3 | 0, 8) is("2.0" << 1, 4)
        is(1 | 2 & 3 ~ 4, 7) is(1 << 2 + 1, 8) is(-1 & 255, 255)
        t.raises("number has no integer representation", function() return 1.5 | 1 end)
        t.raises("number has no integer representation", function() return 1e100 & 1 end)
        t.raises("number has no integer representation", function() return "1.5" | 1 end)
        t.raises("attempt to perform bitwise operation on a table value", function() return {} | 1 end)
        t.raises("attempt to perform bitwise operation on a string value", function() return "a" | 1 end)
        t.raises("attempt to perform bitwise operation on a nil value", function() return ~nil end)
    end)
    case("precedence", function()
        t.equal({ 2 + 3 * 4 ^ 2 // 5, -3 ^ 2, not nil == true, 1 .. 2 == "12", 2 ^ -1 * 4 }, { 11, -9, true, true, 2 })
        t.equal({ 1 + 1 .. "", "a" .. 1 + 2, 5 - 3 - 1, 2 * 3 % 4 }, { "2", "a3", 1, 2 })
        t.equal({ 1 or error(), nil and error(), false or nil, nil or false, 1 and 2 }, { 1, nil, nil, false, 2 })
        t.equal({ 1 < 2 == true, #"abc" + 1, -"2" + 0, ~0 & 3 << 1 | 1 }, { true, 4, -2, 7 })
    end)
    case("tonumber", function()
        is(tonumber("10"), 10) is(tonumber("10."), 10.0) is(tonumber("  0x1F\n"), 31) is(tonumber("-0x10"), -16) is(tonumber("1e1"), 10.0)
        is(tonumber("0x.1"), 0.0625) is(tonumber("0xA.8p1"), 21.0) is(tonumber(3.5), 3.5) is(tonumber("+5"), 5) is(tonumber(".5e1"), 5.0)
        for _, text in ipairs({ "", " ", "-", "+", ".", "e1", "1e", "1e+", "0x", "0xg", "1 2", "1a", "--1", "- 1", "+-1", "inf", "nan", "0x1p", "1\0", "1,5" }) do
            t.values({ nil, n = 1 }, tonumber(text))
        end
        for _, value in ipairs({ {}, true, print }) do t.equal(tonumber(value), nil) end
        is(tonumber("1010", 2), 10) is(tonumber("zZ", 36), 1295) is(tonumber(" -ff ", 16), -255) is(tonumber("7", 8), 7)
        for _, row in ipairs({ { "8", 8 }, { "2", 2 }, { "", 10 }, { "1.0", 10 }, { "0x10", 10 }, { "1 1", 10 }, { "-", 10 } }) do
            t.equal(tonumber(row[1], row[2]), nil, row[1])
        end
        t.raises("base out of range", tonumber, "1", 1)
        t.raises("base out of range", tonumber, "1", 37)
        t.raises("string expected, got number", tonumber, 10, 10)
        t.raises("value expected", tonumber)
    end)
    case("floor, ceil, tointeger, type", function()
        is(math.floor(3.4), 3) is(math.ceil(3.4), 4) is(math.floor(-3.4), -4) is(math.ceil(-3.4), -3) is(math.floor(5), 5)
        is(math.floor(1e50), 1e50) is(math.ceil(-1e50), -1e50) is(math.floor(math.huge), math.huge) is(math.floor(max), max) is(math.ceil(min + 0.0), min)
        is(math.tointeger(3.0), 3) is(math.tointeger(min + 0.0), min) is(math.tointeger("34.0"), 34)
        t.equal({ math.tointeger(3.5), math.tointeger(1e100), math.tointeger("x"), math.tointeger({}), math.tointeger(0 / 0) }, {})
        t.equal({ type_of(1), type_of(1.0), type_of("1"), type_of(nil) }, { "integer", "float" })
        t.raises("value expected", math.type)
        t.raises("number expected", math.floor, {})
    end)
    case("max, min, abs, fmod, modf, ult", function()
        is(math.max(3), 3) is(math.max(3, 5.5, 1), 5.5) is(math.min(3, -9.5, 1), -9.5) is(math.max(min, max), max) is(math.max(1, 2.0), 2.0)
        is(math.abs(-3), 3) is(math.abs(-3.5), 3.5) is(math.abs(min), min)
        is(math.fmod(7, 3), 1) is(math.fmod(-7, 3), -1) is(math.fmod(7, -3), 1) is(math.fmod(7.5, 2), 1.5) is(math.fmod(min, -1), 0)
        t.values({ 3, 0.5, n = 2 }, math.modf(3.5))
        t.values({ -3, -0.5, n = 2 }, math.modf(-3.5))
        t.values({ math.huge, 0, n = 2 }, math.modf(math.huge))
        t.values({ 3, 0, n = 2 }, math.modf(3))
        t.equal({ math.ult(1, 2), math.ult(-1, 1), math.ult(1, -1), math.ult(2, 2) }, { true, false, true, false })
        t.equal({ type_of((math.modf(3.5))), type_of((select(2, math.modf(3)))) }, { "integer", "float" })
        t.raises("value expected", math.max)
        t.raises("zero", math.fmod, 3, 0)
        t.truthy(math.fmod(3, 0.0) ~= math.fmod(3, 0.0))
    end)
    case("functions of analysis", function()
        local function near(a, b) t.truthy(math.abs(a - b) < 1e-12, a .. " near " .. b) end
        near(math.sin(math.pi / 2), 1) near(math.cos(math.pi), -1) near(math.tan(math.pi / 4), 1) near(math.asin(1), math.pi / 2)
        near(math.acos(-1), math.pi) near(math.atan(1), math.pi / 4) near(math.atan(1, -1), 3 * math.pi / 4) near(math.atan(-1, -1), -3 * math.pi / 4)
        near(math.exp(1), 2.718281828459045) near(math.log(math.exp(2)), 2) near(math.log(8, 2), 3) near(math.log(1000, 10), 3) near(math.log(9, 3), 2)
        near(math.sqrt(2) ^ 2, 2) near(math.deg(math.pi), 180) near(math.rad(90), math.pi / 2)
        t.equal({ math.exp(0), math.sqrt(16), math.log(1), type_of(math.sqrt(16)) }, { 1, 4, 0, "float" })
        t.truthy(math.sqrt(-1) ~= math.sqrt(-1) and math.log(0) == -math.huge)
    end)
    case("numeric for", function()
        local function run(from, to, step)
            local out = {}
            for i = from, to, step do
                out[#out + 1] = i
                if #out > 20 then break end
            end
            return out
        end
        t.equal({ run(1, 3, 1), run(3, 1, -1), run(1, 0, 1), run(1, 2, 0.5), run(10, 1, -4), run(1, 1, 5) },
            { { 1, 2, 3 }, { 3, 2, 1 }, {}, { 1, 1.5, 2 }, { 10, 6, 2 }, { 1 } })
        t.equal({ run(max - 2, max - 1, 1), run(min + 2, min + 1, -1) }, { { max - 2, max - 1 }, { min + 2, min + 1 } })
        t.equal({ run(1, 3.9, 1), run(3, 1.1, -1), run(1, -math.huge, 1), run(1, 3, max - 1), run(-1, -3, min + 1) }, { { 1, 2, 3 }, { 3, 2 }, {}, { 1 }, { -1 } })
        t.equal({ type_of(run(1, 2, 1)[1]), type_of(run(1.0, 2, 1)[1]), type_of(run(1, 2, 1.0)[1]), type_of(run(1, 2.0, 1)[1]) },
            { "integer", "float", "float", "integer" })
        for i = 1, 2 do local before = i i = i * 10 t.truthy(i == before * 10) end
        t.raises("'for' initial value must be a number", run, "x", 1, 1)
        t.raises("'for' limit must be a number", run, 1, {}, 1)
        t.raises("'for' step must be a number", run, 1, 1, false)
    end)
    case("keys that are numbers", function()
        local keys = { [1] = "int", [1.5] = "half", [2 ^ 53] = "large" }
        t.equal({ keys[1.0], keys[3 / 2], keys[2 ^ 53], keys["1"] }, { "int", "half", "large" })
        keys[2.0] = "two"
        for k in pairs(keys) do t.truthy(k ~= 2 or type_of(k) == "integer") end
        t.equal(#{ [1.0] = 1, [2.0] = 2 }, 2)
    end)
    return done()
end

return { main = main }
