-- What the module has (lua-core.md §13.2, §13.3), and that its objects are no numbers (§13).
local time = require("time")
local t = require("expect")

local FUNCTIONS = {
    "after", "date", "fixed_zone", "load_location", "now", "parse", "parse_duration", "sleep", "ticker", "timer", "unix",
}
local METHODS = {
    Time = {
        "add", "sub", "add_date", "after", "before", "equal", "format", "format_rfc3339", "unix", "unix_nano", "date", "clock",
        "year", "month", "day", "hour", "minute", "second", "nanosecond", "weekday", "year_day", "is_zero", "utc", "in_local",
        "in_location", "location", "round", "truncate",
    },
    Duration = { "nanoseconds", "microseconds", "milliseconds", "seconds", "minutes", "hours" },
    Location = { "string" },
    Timer = { "response", "channel", "stop", "reset" },
    Ticker = { "response", "channel", "stop" },
}

local function main()
    local case, done = t.cases()

    case("the functions are there, and no others", function()
        local found = {}
        for name, value in pairs(time) do
            if type(value) == "function" then found[#found + 1] = name end
        end
        table.sort(found)
        t.equal(found, FUNCTIONS)
        t.raises("read-only", function() time.SECOND = 1 end)
    end)
    case("units are nanoseconds", function()
        t.equal(time.NANOSECOND, 1)
        t.equal(time.MICROSECOND, 1000)
        t.equal(time.MILLISECOND, 1000000)
        t.equal(time.SECOND, 1000000000)
        t.equal(time.MINUTE, 60 * 1e9)
        t.equal(time.HOUR, 3600 * 1e9)
    end)
    case("products of units are exact on every engine", function()
        t.equal(5 * time.SECOND, 5e9)
        t.equal(365 * 24 * time.HOUR, 365 * 24 * 3600 * 1e9)
        t.equal(tostring(5 * time.MINUTE), "300000000000")
    end)
    case("months count from 1", function()
        local names = {
            "JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER",
            "DECEMBER",
        }
        for number, name in ipairs(names) do
            t.equal(time[name], number, name)
            t.equal(math.type(time[name]), "integer", name)
        end
    end)
    case("weekdays count from Sunday, which is 0", function()
        local names = { "SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY" }
        for i, name in ipairs(names) do t.equal(time[name], i - 1, name) end
    end)
    case("layouts", function()
        local layouts = {
            RFC3339 = "2006-01-02T15:04:05Z07:00", RFC3339NANO = "2006-01-02T15:04:05.999999999Z07:00",
            RFC822 = "02 Jan 06 15:04 MST", RFC822Z = "02 Jan 06 15:04 -0700", RFC850 = "Monday, 02-Jan-06 15:04:05 MST",
            RFC1123 = "Mon, 02 Jan 2006 15:04:05 MST", RFC1123Z = "Mon, 02 Jan 2006 15:04:05 -0700", KITCHEN = "3:04PM",
            STAMP = "Jan _2 15:04:05", STAMP_MILLI = "Jan _2 15:04:05.000", STAMP_MICRO = "Jan _2 15:04:05.000000",
            STAMP_NANO = "Jan _2 15:04:05.000000000", DATE_TIME = "2006-01-02 15:04:05", DATE_ONLY = "2006-01-02",
            TIME_ONLY = "15:04:05",
        }
        for name, layout in pairs(layouts) do t.equal(time[name], layout, name) end
    end)
    case("utc and localtz are Locations", function()
        t.equal(type(time.utc), "userdata")
        t.values({ "UTC", n = 1 }, time.utc:string())
        t.equal(type(time.localtz), "userdata")
        t.values({ "Local", n = 1 }, time.localtz:string())
    end)
    case("objects are userdata with methods that refuse other receivers", function()
        local objects = {
            Time = time.now(), Duration = time.parse_duration("1s"), Location = time.utc, Timer = time.timer("1h"),
            Ticker = time.ticker("1h"),
        }
        for class, names in pairs(METHODS) do
            local object = objects[class]
            t.equal(type(object), "userdata", class)
            t.equal(type(tostring(object)), "string", class)
            for _, name in ipairs(names) do
                t.equal(type(object[name]), "function", class .. ":" .. name)
                local fragment = "bad argument #1 to '" .. name .. "' (" .. class .. " expected"
                t.raises(fragment, object[name])
                t.raises(fragment, object[name], {})
                t.raises(fragment, object[name], class == "Time" and time.utc or time.now())
            end
            t.equal(object.no_such_method, nil)
            t.raises("", function() object.field = 1 end)
        end
    end)
    case("they have no arithmetic and no order", function()
        local now, second = time.now(), time.parse_duration("1s")
        t.raises("arithmetic", function() return now + second end)
        t.raises("arithmetic", function() return now - now end)
        t.raises("arithmetic", function() return second * 2 end)
        t.raises("arithmetic", function() return -second end)
        t.raises("compare", function() return now < now end)
        t.raises("compare", function() return second <= second end)
    end)
    case("== is identity", function()
        local a, b = time.unix(7, 0), time.unix(7, 0)
        t.equal(a == a, true)
        t.equal(rawequal(a, b), false)
        t.equal(a == b, false)
        t.equal(a:equal(b), true)
        t.equal(time.parse_duration("1s") == time.parse_duration("1s"), false)
    end)
    return done()
end

return { main = main }
