-- os.time, os.clock, os.difftime, os.platform (lua-libraries.md §14).
local time = require("time")
local t = require("expect")

-- Midnight of today, of the day it was before and after `fn` ran.
local function today(fn)
    for _ = 1, 10 do
        local before = os.date("*t")
        local value = fn()
        if os.date("*t").day == before.day then return before, value end
    end
    error("the day never lasted long enough")
end

local function main()
    local case, done = t.cases()

    case("the library has five members, without any line in modules", function()
        local names = {}
        for name in pairs(os) do names[#names + 1] = name end
        table.sort(names)
        t.equal(names, { "clock", "date", "difftime", "platform", "time" })
        for _, name in ipairs({ "execute", "exit", "remove", "rename", "tmpname", "getenv", "setlocale" }) do
            t.equal(os[name], nil, name)
        end
        t.equal(require("os") == os, true)
        t.raises("read-only", function() os.time = nil end)
    end)
    case("time is the present in whole unix seconds", function()
        local before = time.now():unix()
        local now = t.count(1, os.time())
        t.equal(math.type(now), "integer")
        t.truthy(now >= before)
        t.truthy(now > 1700000000)
        t.count(1, os.time(nil))
    end)
    case("time reads a table in the local zone", function()
        local wanted = time.date(2024, 6, 15, 14, 30, 45, 0):unix()
        t.values({ wanted, n = 1 }, os.time({ year = 2024, month = 6, day = 15, hour = 14, min = 30, sec = 45 }))
        t.equal(math.type(os.time({ year = 2024, month = 6, day = 15 })), "integer")
        t.equal(os.time({ year = "2024", month = "6", day = 15.0 }), time.date(2024, 6, 15, 0, 0, 0, 0):unix())
        t.equal(os.time({ year = 1960, month = 1, day = 1 }), time.date(1960, 1, 1, 0, 0, 0, 0):unix())
    end)
    case("a missing hour, minute or second is 0", function()
        local midnight = time.date(2024, 6, 15, 0, 0, 0, 0):unix()
        t.equal(os.time({ year = 2024, month = 6, day = 15 }), midnight)
        t.equal(os.time({ year = 2024, month = 6, day = 15, min = 5 }), midnight + 300)
        t.equal(os.time({ year = 2024, month = 6, day = 15, sec = 7 }), midnight + 7)
    end)
    case("a missing year, month or day is today's", function()
        local now, midnight = today(function() return os.time({}) end)
        t.equal(midnight, time.date(now.year, now.month, now.day, 0, 0, 0, 0):unix())
        local d, at = today(function() return os.time({ hour = 12 }) end)
        t.equal(at, time.date(d.year, d.month, d.day, 12, 0, 0, 0):unix())
        d, at = today(function() return os.time({ year = 2020, month = 5 }) end)
        t.equal(at, time.date(2020, 5, d.day, 0, 0, 0, 0):unix())
        d, at = today(function() return os.time({ day = 1 }) end)
        t.equal(at, time.date(d.year, d.month, 1, 0, 0, 0, 0):unix())
    end)
    case("what is out of range normalises", function()
        t.equal(os.time({ year = 2024, month = 13, day = 1 }), os.time({ year = 2025, month = 1, day = 1 }))
        t.equal(os.time({ year = 2024, month = 3, day = 0 }), os.time({ year = 2024, month = 2, day = 29 }))
        t.equal(os.time({ year = 2024, month = 1, day = 1, hour = 25 }), os.time({ year = 2024, month = 1, day = 2, hour = 1 }))
        t.equal(os.time({ year = 2024, month = 1, day = 1, sec = -1 }),
            os.time({ year = 2023, month = 12, day = 31, hour = 23, min = 59, sec = 59 }))
    end)
    case("time takes back what date gave", function()
        for _, at in ipairs({ 0, 1718461845, 1700000000, 951782400 }) do t.equal(os.time(os.date("*t", at)), at) end
    end)
    case("time raises for anything but a table", function()
        t.raises("bad argument #1 to 'time' (table expected, got string)", os.time, "now")
        t.raises("bad argument #1 to 'time' (table expected, got number)", os.time, 5)
        t.raises("bad argument #1 to 'time' (table expected, got boolean)", os.time, true)
        t.raises("bad argument #1 to 'time'", os.time, { year = "this" })
        t.raises("bad argument #1 to 'time'", os.time, { year = 2024.5 })
        t.raises("", os.time, { year = 1e300 })
    end)
    case("clock is seconds with a fraction, from a clock that never goes back", function()
        local before = t.count(1, os.clock())
        t.equal(type(before), "number")
        t.truthy(before >= 0)
        time.sleep("2ms")
        t.truthy(os.clock() - before >= 0.002, "2 ms later")
        local isFraction = false
        for _ = 1, 100 do isFraction = isFraction or os.clock() % 1 ~= 0 end
        t.equal(isFraction, true)
    end)
    case("difftime is the first less the second", function()
        t.values({ 2, n = 1 }, os.difftime(5, 3))
        t.equal(os.difftime(3, 5), -2)
        t.equal(os.difftime(5.5, 3), 2.5)
        t.equal(os.difftime(os.time({ year = 2024, month = 1, day = 2 }), os.time({ year = 2024, month = 1, day = 1 })), 86400)
        t.raises("bad argument #1 to 'difftime' (number expected, got no value)", os.difftime)
        t.raises("bad argument #2 to 'difftime' (number expected, got no value)", os.difftime, 5)
        t.raises("bad argument #1 to 'difftime' (number expected, got table)", os.difftime, {}, 5)
    end)
    case("platform names the runtime", function()
        t.equal(type(os.platform), "string")
        t.truthy(#os.platform > 0)
    end)
    return done()
end

return { main = main }
