-- Reading times (lua-core.md §13.2, §13.4).
local time = require("time")
local t = require("expect")

local NANO = time.RFC3339NANO

-- Reads in UTC unless the value has a zone of its own; shows the moment in UTC.
local function read(layout, value)
    return (t.count(1, time.parse(layout, value, time.utc))):utc():format(NANO)
end

local function refused(fragment, ...)
    local err = t.fails("Invalid", fragment, time.parse(...))
    t.equal(err:retryable(), false)
    t.truthy(#err:message() > 0)
end

local function main()
    local case, done = t.cases()

    case("parse returns a Time, and nothing else", function()
        local moment = t.count(1, time.parse(time.RFC3339, "2024-05-06T07:08:09+02:00"))
        t.equal(type(moment), "userdata")
        t.equal(moment:unix(), 1714972089)
        t.equal(moment:format("-07:00"), "+02:00")
    end)
    case("the layouts of the module read what they write", function()
        local moment = time.date(2024, 3, 7, 16, 5, 9, 12345678, time.utc)
        for _, name in ipairs({ "RFC3339", "RFC1123", "RFC1123Z", "RFC850", "DATE_TIME" }) do
            local text = moment:format(time[name])
            t.equal(read(time[name], text), "2024-03-07T16:05:09Z", name)
        end
        t.equal(read(NANO, moment:format(NANO)), "2024-03-07T16:05:09.012345678Z")
        t.equal(read(time.RFC822, moment:format(time.RFC822)), "2024-03-07T16:05:00Z")
        t.equal(read(time.RFC822Z, moment:format(time.RFC822Z)), "2024-03-07T16:05:00Z")
        t.equal(read(time.DATE_ONLY, "2024-03-07"), "2024-03-07T00:00:00Z")
        t.equal(read(time.TIME_ONLY, "16:05:09"), "0000-01-01T16:05:09Z")
        t.equal(read(time.KITCHEN, "4:05PM"), "0000-01-01T16:05:00Z")
        t.equal(read(time.STAMP, "Mar  7 16:05:09"), "0000-03-07T16:05:09Z")
        t.equal(read(time.STAMP_MILLI, "Mar  7 16:05:09.012"), "0000-03-07T16:05:09.012Z")
        t.equal(read(time.STAMP_MICRO, "Mar 17 16:05:09.012345"), "0000-03-17T16:05:09.012345Z")
        t.equal(read(time.STAMP_NANO, "Mar 17 16:05:09.012345678"), "0000-03-17T16:05:09.012345678Z")
    end)
    case("absent parts are year 0, month 1, day 1, midnight", function()
        t.equal(read("15", "07"), "0000-01-01T07:00:00Z")
        t.equal(read("2006", "2024"), "2024-01-01T00:00:00Z")
        t.equal(read("2006-01", "2024-05"), "2024-05-01T00:00:00Z")
        t.equal(read("", ""), "0000-01-01T00:00:00Z")
    end)
    case("tokens", function()
        t.equal(read("1/2/2006", "3/7/2024"), "2024-03-07T00:00:00Z")
        t.equal(read("1/2/2006", "12/31/2024"), "2024-12-31T00:00:00Z")
        t.equal(read("2 Jan 06", "7 Mar 24"), "2024-03-07T00:00:00Z")
        t.equal(read("_2 January 2006", " 7 March 2024"), "2024-03-07T00:00:00Z")
        t.equal(read("Monday, _2 Jan 2006", "Thursday, 17 Mar 2024"), "2024-03-17T00:00:00Z")
        t.equal(read("2006 002", "2024 067"), "2024-03-07T00:00:00Z")
        t.equal(read("2006 __2", "2024  67"), "2024-03-07T00:00:00Z")
        t.equal(read("03:04 PM", "12:30 AM"), "0000-01-01T00:30:00Z")
        t.equal(read("3:4:5 pm", "1:2:3 pm"), "0000-01-01T13:02:03Z")
        t.equal(read("3PM", "12PM"), "0000-01-01T12:00:00Z")
        t.equal(read(time.TIME_ONLY, "7:04:05"), "0000-01-01T07:04:05Z")
    end)
    case("names of months and weekdays ignore case", function()
        t.equal(read("Mon, 02 Jan 2006", "tHU, 07 mAR 2024"), "2024-03-07T00:00:00Z")
        t.equal(read("Monday 2 January 2006", "THURSDAY 7 march 2024"), "2024-03-07T00:00:00Z")
    end)
    case("a fraction may follow the seconds though the layout has none", function()
        t.equal(read(time.DATE_TIME, "2024-03-07 16:05:09.5"), "2024-03-07T16:05:09.5Z")
        t.equal(read(time.RFC3339, "2024-03-07T16:05:09.000000001Z"), "2024-03-07T16:05:09.000000001Z")
        t.equal(read(time.TIME_ONLY, "16:05:09,25"), "0000-01-01T16:05:09.25Z")
    end)
    case("fractions of the layout", function()
        t.equal(read("05.000", "09.012"), "0000-01-01T00:00:09.012Z")
        t.equal(read("05.999", "09"), "0000-01-01T00:00:09Z")
        t.equal(read("05.999", "09.5"), "0000-01-01T00:00:09.5Z")
        refused("", "05.000", "09.01")
        refused("", "05.000", "09")
    end)
    case("a zone of the value counts", function()
        t.equal(read("2006-01-02 15:04 -07", "2024-03-07 16:05 +02"), "2024-03-07T14:05:00Z")
        t.equal(read("2006-01-02 15:04 -0700", "2024-03-07 16:05 -0330"), "2024-03-07T19:35:00Z")
        t.equal(read("2006-01-02 15:04 -07:00", "2024-03-07 16:05 +05:45"), "2024-03-07T10:20:00Z")
        t.equal(read("2006-01-02 15:04 -07:00:00", "2024-03-07 16:05 +00:00:30"), "2024-03-07T16:04:30Z")
        t.equal(read("2006-01-02 15:04 -070000", "2024-03-07 16:05 -000030"), "2024-03-07T16:05:30Z")
        t.equal(read(time.RFC3339, "2024-03-07T16:05:09Z"), "2024-03-07T16:05:09Z")
        t.equal(read("15:04 Z07", "16:05 Z"), "0000-01-01T16:05:00Z")
        t.equal(read("15:04 Z0700", "16:05 +0100"), "0000-01-01T15:05:00Z")
        local london = time.load_location("Europe/London")
        t.equal(time.parse(time.RFC1123, "Mon, 01 Jul 2024 12:00:00 UTC", london):unix(), 1719835200)
    end)
    case("a value without zone is read in the given location", function()
        local york = time.load_location("America/New_York")
        local moment = time.parse(time.DATE_TIME, "2024-07-01 12:00:00", york)
        t.equal(moment:utc():format_rfc3339(), "2024-07-01T16:00:00Z")
        t.equal(moment:location():string(), "America/New_York")
        t.equal(time.parse(time.DATE_TIME, "2024-01-01 12:00:00", york):utc():hour(), 17)
        t.equal(time.parse(time.RFC1123, "Mon, 01 Jul 2024 12:00:00 EDT", york):utc():hour(), 16)
    end)
    case("by default in the local zone", function()
        local moment = time.parse(time.DATE_TIME, "2024-07-01 12:00:00")
        t.truthy(moment:equal(time.date(2024, 7, 1, 12, 0, 0, 0)))
        t.equal(moment:location():string(), "Local")
        t.truthy(time.parse(time.DATE_ONLY, "2024-01-15", nil):equal(time.date(2024, 1, 15, 0, 0, 0, 0)))
    end)
    case("what does not look like the layout is refused", function()
        local rows = {
            { time.DATE_ONLY, "garbage" }, { time.DATE_ONLY, "" }, { time.DATE_ONLY, "2024-1-02" }, { time.DATE_ONLY, "2024/01/02" },
            { time.DATE_ONLY, "2024-01-02 more" }, { time.DATE_ONLY, " 2024-01-02" }, { time.DATE_ONLY, "24-01-02" },
            { time.DATE_ONLY, "2024-01" }, { "03:04", "7:00" }, { time.TIME_ONLY, "07:00" }, { "Jan", "Foo" }, { "January", "Mar" },
            { "Mon", "Xyz" }, { "Monday", "Thu" }, { "PM", "XM" }, { "MST", "?" }, { "-0700", "0200" }, { "-07:00", "+0200" },
            { "Z07:00", "z" }, { "2006", "abcd" }, { "2006", "２０２４" }, { "", "x" }, { "x", "" }, { "2006", "2024\0" },
        }
        for _, row in ipairs(rows) do
            local value = time.parse(row[1], row[2])
            t.equal(value, nil, row[1] .. " of " .. row[2])
            refused("", row[1], row[2])
        end
    end)
    case("numbers out of range are refused", function()
        local rows = {
            { time.DATE_ONLY, "2024-13-01", "month" }, { time.DATE_ONLY, "2024-00-01", "month" }, { time.DATE_ONLY, "2024-02-30", "day" },
            { time.DATE_ONLY, "2023-02-29", "day" }, { time.DATE_ONLY, "2024-01-32", "day" }, { time.DATE_ONLY, "2024-01-00", "day" },
            { time.TIME_ONLY, "24:00:00", "hour" }, { time.TIME_ONLY, "00:60:00", "minute" }, { time.TIME_ONLY, "00:00:60", "second" },
            { "3PM", "13PM", "hour" }, { "2006 002", "2023 366", "day" }, { "2006 002", "2024 000", "day" },
        }
        for _, row in ipairs(rows) do
            local value = time.parse(row[1], row[2])
            t.equal(value, nil, row[1] .. " of " .. row[2])
            refused(row[3], row[1], row[2])
        end
        t.equal(read(time.DATE_ONLY, "2024-02-29"), "2024-02-29T00:00:00Z")
        t.equal(read("2006 002", "2024 366"), "2024-12-31T00:00:00Z")
    end)
    case("wrong types raise", function()
        t.raises("bad argument #1 to 'parse' (string expected, got no value)", time.parse)
        t.raises("bad argument #1 to 'parse' (string expected, got nil)", time.parse, nil, "x")
        t.raises("bad argument #1 to 'parse' (string expected, got table)", time.parse, {}, "x")
        t.raises("bad argument #2 to 'parse' (string expected, got no value)", time.parse, "2006")
        t.raises("bad argument #2 to 'parse' (string expected, got boolean)", time.parse, "2006", true)
        t.raises("bad argument #3 to 'parse' (Location expected, got string)", time.parse, "2006", "2024", "UTC")
        t.equal(time.parse(2006, 2024, time.utc):year(), 2024)
    end)
    case("long texts are read in no time, and shortened in the error", function()
        local err = t.fails("Invalid", "", time.parse(time.DATE_ONLY, string.rep("9", 100000)))
        t.truthy(#err:message() < 1000)
        t.fails("Invalid", "", time.parse(string.rep(" ", 10000) .. "2006", string.rep(" ", 10000) .. "x"))
    end)
    return done()
end

return { main = main }
