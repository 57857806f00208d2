-- os.date (lua-libraries.md §14).
local time = require("time")
local t = require("expect")

-- Saturday 15 June 2024, 14:30:45 UTC; and Friday 5 January 2024, 03:04:05 UTC.
local JUNE, JANUARY = 1718461845, 1704423845

local function utc(format, at)
    return (t.count(1, os.date("!" .. format, at)))
end

local function at_noon(year, month, day)
    return time.date(year, month, day, 12, 0, 0, 0, time.utc):unix()
end

local function main()
    local case, done = t.cases()

    case("each specifier", function()
        local rows = {
            a = { "Sat", "Fri" }, A = { "Saturday", "Friday" }, b = { "Jun", "Jan" }, B = { "June", "January" },
            c = { "Sat Jun 15 14:30:45 2024", "Fri Jan  5 03:04:05 2024" }, d = { "15", "05" }, H = { "14", "03" }, I = { "02", "03" },
            j = { "167", "005" }, m = { "06", "01" }, M = { "30", "04" }, p = { "PM", "AM" }, S = { "45", "05" }, U = { "24", "01" },
            w = { "6", "5" }, W = { "24", "01" }, x = { "06/15/24", "01/05/24" }, X = { "14:30:45", "03:04:05" }, y = { "24", "24" },
            Y = { "2024", "2024" }, z = { "+0000", "+0000" }, Z = { "UTC", "UTC" }, ["%"] = { "%", "%" },
        }
        for letter, wanted in pairs(rows) do
            t.equal(utc("%" .. letter, JUNE), wanted[1], "%" .. letter .. " in June")
            t.equal(utc("%" .. letter, JANUARY), wanted[2], "%" .. letter .. " in January")
        end
    end)
    case("specifiers among text", function()
        t.equal(utc("%Y-%m-%dT%H:%M:%S", JUNE), "2024-06-15T14:30:45")
        t.equal(utc("100%% on %A: 日本 %d\n", JUNE), "100% on Saturday: 日本 15\n")
        t.equal(utc("%%d", JUNE), "%d")
        t.equal(utc("", JUNE), "")
        t.equal(utc("no specifier", JUNE), "no specifier")
        t.equal(utc("\0\255%d", JUNE), "\0\25515")
    end)
    case("unknown specifiers are copied as they are", function()
        t.equal(utc("%Q %f %5 %- %é %", JUNE), "%Q %f %5 %- %é %")
        t.equal(utc("%Ey %Od", JUNE), "%Ey %Od")
    end)
    case("hours of the half day", function()
        t.equal(utc("%I %p", at_noon(2024, 1, 1)), "12 PM")
        t.equal(utc("%I %p", at_noon(2024, 1, 1) + 3600), "01 PM")
        t.equal(utc("%I %p", at_noon(2024, 1, 1) - 12 * 3600), "12 AM")
        t.equal(utc("%I %p", at_noon(2024, 1, 1) - 3600), "11 AM")
    end)
    case("weeks are ISO weeks, with both specifiers", function()
        local rows = {
            { "53", 2021, 1, 3 }, { "01", 2021, 1, 4 }, { "01", 2018, 12, 31 }, { "53", 2020, 12, 31 }, { "52", 2022, 1, 1 },
            { "52", 2023, 1, 1 }, { "01", 2024, 1, 1 }, { "09", 2024, 2, 29 }, { "53", 2026, 12, 31 },
        }
        for _, row in ipairs(rows) do
            local at = at_noon(row[2], row[3], row[4])
            t.equal(utc("%U %W", at), row[1] .. " " .. row[1], os.date("!%x", at))
        end
    end)
    case("%j counts from 001", function()
        t.equal(utc("%j", at_noon(2024, 1, 1)), "001")
        t.equal(utc("%j", at_noon(2024, 12, 31)), "366")
        t.equal(utc("%j", at_noon(2023, 12, 31)), "365")
    end)
    case("the format is by default %c, the time is now", function()
        t.equal(os.date(nil, JUNE), os.date("%c", JUNE))
        t.equal(#(t.count(1, os.date())), 24)
        t.truthy(tonumber(os.date("%Y")) >= 2024)
        local before = os.time()
        local now = os.time(os.date("*t"))
        t.truthy(now >= before)
    end)
    case("times before 1970, with fractions, and as text", function()
        t.equal(utc("%c", -1), "Wed Dec 31 23:59:59 1969")
        t.equal(utc("%X", JUNE + 0.9), "14:30:45")
        t.equal(utc("%X", tostring(JUNE)), "14:30:45")
        t.equal(utc("%Y", 4102444800), "2100")
    end)
    case("without ! the zone is the local one", function()
        local here = time.unix(JUNE, 0)
        t.equal(os.date("%Y-%m-%d %H:%M:%S", JUNE), here:format(time.DATE_TIME))
        t.equal(os.date("%z", JUNE), here:format("-0700"))
        t.equal(os.date("%Z", JUNE), here:format("MST"))
        t.equal(os.date("%z", JANUARY), time.unix(JANUARY, 0):format("-0700"))
        t.equal(os.date("%a %d %b", JUNE), here:format("Mon 02 Jan"))
    end)
    case("*t and !*t give a table", function()
        local utc_fields = t.count(1, os.date("!*t", JUNE))
        t.equal(utc_fields, {
            year = 2024, month = 6, day = 15, hour = 14, min = 30, sec = 45, wday = 7, yday = 167, isdst = false,
        })
        for name, value in pairs(utc_fields) do
            if name ~= "isdst" then t.equal(math.type(value), "integer", name) end
        end
        local here, fields = time.unix(JUNE, 0), t.count(1, os.date("*t", JUNE))
        t.equal({ fields.year, fields.month, fields.day }, { here:date() })
        t.equal({ fields.hour, fields.min, fields.sec }, { here:clock() })
        t.equal({ fields.wday, fields.yday }, { here:weekday() + 1, here:year_day() })
        t.equal(os.date("!*t", at_noon(2024, 6, 16)).wday, 1)
        t.equal(os.date("!*t", at_noon(2024, 1, 1)).yday, 1)
    end)
    case("isdst tells summer time", function()
        t.equal(os.date("!*t", JUNE).isdst, false)
        -- In summer the clocks are ahead of what they show in the other half of the year, on either half of the globe.
        local summer, winter = time.unix(JUNE, 0), time.unix(JANUARY, 0)
        local function offset(moment)
            local sign, hours, minutes = moment:format("-0700"):match("([+-])(%d%d)(%d%d)")
            return (hours * 60 + minutes) * (sign == "-" and -1 or 1)
        end
        t.equal(os.date("*t", JUNE).isdst, offset(summer) > offset(winter))
        t.equal(os.date("*t", JANUARY).isdst, offset(winter) > offset(summer))
    end)
    case("date raises for wrong types", function()
        t.raises("bad argument #1 to 'date' (string expected, got table)", os.date, {})
        t.raises("bad argument #1 to 'date' (string expected, got boolean)", os.date, true)
        t.raises("bad argument #2 to 'date' (number expected, got string)", os.date, "%c", "now")
        t.raises("bad argument #2 to 'date' (number expected, got table)", os.date, "%c", {})
        t.raises("", os.date, "%c", 0 / 0)
        t.raises("", os.date, "%c", 1e300)
    end)
    return done()
end

return { main = main }
