-- Writing times (lua-core.md §13.3, §13.4): a layout is an example.
local time = require("time")
local t = require("expect")

local EAST = time.fixed_zone("CEST", 2 * 3600)
-- A Thursday in a leap year.
local MOMENT = time.date(2024, 3, 7, 16, 5, 9, 12345600, EAST)

local function written(moment, rows)
    for layout, wanted in pairs(rows) do t.equal(t.count(1, moment:format(layout)), wanted, layout) end
end

local function main()
    local case, done = t.cases()

    case("year, month and day", function()
        written(MOMENT, {
            ["2006"] = "2024", ["06"] = "24", ["01"] = "03", ["1"] = "3", ["Jan"] = "Mar", ["January"] = "March",
            ["02"] = "07", ["2"] = "7", ["_2"] = " 7", ["002"] = "067", ["__2"] = " 67",
        })
        written(time.date(987, 12, 31, 0, 0, 0, 0, time.utc), {
            ["2006"] = "0987", ["06"] = "87", ["1"] = "12", ["_2"] = "31", ["002"] = "365", ["__2"] = "365", ["January"] = "December",
        })
        written(time.date(2024, 1, 5, 0, 0, 0, 0, time.utc), { ["002"] = "005", ["__2"] = "  5" })
    end)
    case("weekdays", function()
        written(MOMENT, { Mon = "Thu", Monday = "Thursday" })
        local names = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
        for i, name in ipairs(names) do
            t.equal(time.date(2024, 3, 2 + i, 0, 0, 0, 0, time.utc):format("Mon"), name)
        end
    end)
    case("months by name", function()
        local names = {
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
        }
        for month, name in ipairs(names) do
            local moment = time.date(2024, month, 1, 0, 0, 0, 0, time.utc)
            t.equal(moment:format("January|Jan"), name .. "|" .. name:sub(1, 3))
        end
    end)
    case("hours", function()
        written(MOMENT, { ["15"] = "16", ["03"] = "04", ["3"] = "4", ["3PM"] = "4PM", ["3 pm"] = "4 pm" })
        written(time.date(2024, 1, 1, 0, 0, 0, 0, time.utc), { ["15"] = "00", ["03"] = "12", ["3PM"] = "12AM" })
        written(time.date(2024, 1, 1, 12, 0, 0, 0, time.utc), { ["15"] = "12", ["03"] = "12", ["3pm"] = "12pm" })
        written(time.date(2024, 1, 1, 9, 0, 0, 0, time.utc), { ["15"] = "09", ["3PM"] = "9AM", ["03 pm"] = "09 am" })
    end)
    case("minutes and seconds", function()
        written(MOMENT, { ["04"] = "05", ["4"] = "5", ["05"] = "09", ["5"] = "9" })
        written(time.date(2024, 1, 1, 0, 45, 59, 0, time.utc), { ["4"] = "45", ["5"] = "59", ["04:05"] = "45:59" })
    end)
    case("fractions of zeros have so many digits", function()
        written(MOMENT, {
            ["05.0"] = "09.0", ["05.00"] = "09.01", ["05.000"] = "09.012", ["05.000000"] = "09.012345",
            ["05.000000000"] = "09.012345600", ["05,000"] = "09,012",
        })
        written(time.date(2024, 1, 1, 0, 0, 0, 999999999, time.utc), { ["05.000"] = "00.999" })
    end)
    case("fractions of nines drop their zeros, and the point when nothing is left", function()
        written(MOMENT, {
            ["05.9"] = "09", ["05.99"] = "09.01", ["05.999999999"] = "09.0123456", ["05,999"] = "09,012",
        })
        written(time.date(2024, 1, 1, 0, 0, 5, 500000000, time.utc), { ["05.999"] = "05.5", ["05.000"] = "05.500" })
        written(time.date(2024, 1, 1, 0, 0, 5, 0, time.utc), { ["05.999999999Z07:00"] = "05Z", ["05.000"] = "05.000" })
    end)
    case("zones", function()
        written(MOMENT, {
            ["MST"] = "CEST", ["-07"] = "+02", ["-0700"] = "+0200", ["-07:00"] = "+02:00", ["-070000"] = "+020000",
            ["-07:00:00"] = "+02:00:00", ["Z07"] = "+02", ["Z0700"] = "+0200", ["Z07:00"] = "+02:00",
        })
        written(MOMENT:utc(), {
            ["MST"] = "UTC", ["-07"] = "+00", ["-0700"] = "+0000", ["-07:00"] = "+00:00", ["-070000"] = "+000000",
            ["-07:00:00"] = "+00:00:00", ["Z07"] = "Z", ["Z0700"] = "Z", ["Z07:00"] = "Z",
        })
        written(MOMENT:in_location(time.fixed_zone("X", -(3 * 3600 + 30 * 60 + 15))), {
            ["-07"] = "-03", ["-0700"] = "-0330", ["-07:00:00"] = "-03:30:15", ["-070000"] = "-033015", ["Z07:00"] = "-03:30",
        })
    end)
    case("everything else is text", function()
        written(MOMENT, {
            [""] = "", ["year: 2006!"] = "year: 2024!", ["2006年01月"] = "2024年03月", ["T"] = "T", ["on the 2nd of January"] = "on the 7nd of March",
            ["\0\255"] = "\0\255",
        })
    end)
    case("the layouts of the module", function()
        local rows = {
            RFC3339 = "2024-03-07T16:05:09+02:00", RFC3339NANO = "2024-03-07T16:05:09.0123456+02:00",
            RFC822 = "07 Mar 24 16:05 CEST", RFC822Z = "07 Mar 24 16:05 +0200", RFC850 = "Thursday, 07-Mar-24 16:05:09 CEST",
            RFC1123 = "Thu, 07 Mar 2024 16:05:09 CEST", RFC1123Z = "Thu, 07 Mar 2024 16:05:09 +0200", KITCHEN = "4:05PM",
            STAMP = "Mar  7 16:05:09", STAMP_MILLI = "Mar  7 16:05:09.012", STAMP_MICRO = "Mar  7 16:05:09.012345",
            STAMP_NANO = "Mar  7 16:05:09.012345600", DATE_TIME = "2024-03-07 16:05:09", DATE_ONLY = "2024-03-07",
            TIME_ONLY = "16:05:09",
        }
        for name, wanted in pairs(rows) do t.equal(MOMENT:format(time[name]), wanted, name) end
        t.equal(MOMENT:utc():format(time.RFC3339), "2024-03-07T14:05:09Z")
    end)
    case("format_rfc3339 and tostring", function()
        t.values({ "2024-03-07T16:05:09+02:00", n = 1 }, MOMENT:format_rfc3339())
        t.equal(tostring(MOMENT), "2024-03-07 16:05:09.0123456 +0200 CEST")
        t.equal(tostring(time.unix(0, 0):utc()), "1970-01-01 00:00:00 +0000 UTC")
    end)
    case("format wants a text", function()
        t.raises("bad argument #2 to 'format' (string expected, got no value)", MOMENT.format, MOMENT)
        t.raises("bad argument #2 to 'format' (string expected, got table)", MOMENT.format, MOMENT, {})
        t.equal(MOMENT:format(2006), "2024")
    end)
    return done()
end

return { main = main }
