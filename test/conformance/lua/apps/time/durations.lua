-- Durations as arguments and as objects (lua-core.md §13.1, §13.2, §13.5).
local time = require("time")
local t = require("expect")

local function shown(value)
    return tostring((t.count(1, time.parse_duration(value))))
end

local function main()
    local case, done = t.cases()

    case("a number is nanoseconds", function()
        t.equal(shown(0), "0s")
        t.equal(shown(1), "1ns")
        t.equal(shown(1500), "1.5µs")
        t.equal(shown(5 * time.SECOND), "5s")
        t.equal(shown(-2 * time.MINUTE), "-2m0s")
        t.equal(shown(1.9), "1ns")
        t.equal(shown(1e15), "277h46m40s")
    end)
    case("a text has units", function()
        local rows = {
            ["0"] = "0s", ["+0"] = "0s", ["-0"] = "0s", ["0s"] = "0s", ["5ns"] = "5ns", ["5us"] = "5µs", ["5µs"] = "5µs", ["5ms"] = "5ms",
            ["5s"] = "5s", ["5m"] = "5m0s", ["5h"] = "5h0m0s", ["1h30m"] = "1h30m0s", ["1h0m0.5s"] = "1h0m0.5s",
            ["-1.5s"] = "-1.5s", ["+1.5s"] = "1.5s", ["0.5h"] = "30m0s", [".5s"] = "500ms", ["90m"] = "1h30m0s",
            ["1m1m"] = "2m0s", ["2m250ms"] = "2m0.25s", ["-1h1ns"] = "-1h0m0.000000001s",
            ["1000h"] = "1000h0m0s", ["0.1234567891s"] = "123.456789ms",
        }
        for text, wanted in pairs(rows) do t.equal(shown(text), wanted, text) end
    end)
    case("a Duration is itself", function()
        t.equal(shown(time.parse_duration("1h30m")), "1h30m0s")
    end)
    case("tostring is the shortest exact text", function()
        local rows = {
            ["1h30m"] = "1h30m0s", ["1500ms"] = "1.5s", ["120.25s"] = "2m0.25s", ["0.1s"] = "100ms", ["1000ns"] = "1µs", ["0"] = "0s",
            ["1ns"] = "1ns", ["999ns"] = "999ns", ["1.001ms"] = "1.001ms", ["-1ms"] = "-1ms", ["3600s"] = "1h0m0s",
        }
        for text, wanted in pairs(rows) do t.equal(shown(text), wanted, text) end
    end)
    case("what is no duration is refused", function()
        local texts = {
            "", " ", "soon", "5", "1.5", "s", ".s", ".", "-", "+", "1x", "1h 30m", " 1s", "1s ", "--1s", "1h-30m", "1e3s", "1S", "1d",
            "0x1s", "inf", "nan", "3000000h", "1s\0", string.rep("1", 1000) .. "s",
        }
        for _, text in ipairs(texts) do
            local value, err = time.parse_duration(text)
            t.equal(value, nil, string.format("%q", text))
            t.error(err, "Invalid")
            t.equal(select("#", time.parse_duration(text)), 2)
        end
        t.fails("Invalid", "", time.parse_duration(0 / 0))
    end)
    case("whole units are truncated towards zero", function()
        local d = time.parse_duration("1h30m0.123456789s")
        t.values({ 5400123456789, n = 1 }, d:nanoseconds())
        t.values({ 5400123456, n = 1 }, d:microseconds())
        t.values({ 5400123, n = 1 }, d:milliseconds())
        local minus = time.parse_duration("-1.9999999s")
        t.equal(minus:nanoseconds(), -1999999900)
        t.equal(minus:microseconds(), -1999999)
        t.equal(minus:milliseconds(), -1999)
        t.equal(math.type(minus:milliseconds()), "integer")
        t.equal(math.type(time.parse_duration("5ns"):nanoseconds()), "integer")
        t.equal(math.type(time.parse_duration("5us"):microseconds()), "integer")
    end)
    case("seconds and longer units are floats", function()
        local d = time.parse_duration("1h30m")
        t.values({ 5400, n = 1 }, d:seconds())
        t.values({ 90, n = 1 }, d:minutes())
        t.values({ 1.5, n = 1 }, d:hours())
        for _, unit in ipairs({ "seconds", "minutes", "hours" }) do t.equal(math.type(d[unit](d)), "float", unit) end
        t.equal(time.parse_duration("-1500ms"):seconds(), -1.5)
        t.equal(time.parse_duration("1500us"):seconds(), 0.0015)
        t.equal(tostring(d:seconds()), "5400")
    end)
    case("the three forms mean the same wherever a duration is taken", function()
        local start = time.unix(100, 0)
        for _, form in ipairs({ 1500 * time.MILLISECOND, "1.5s", time.parse_duration("1500ms") }) do
            t.equal(start:add(form):sub(start):milliseconds(), 1500)
        end
    end)
    return done()
end

return { main = main }
