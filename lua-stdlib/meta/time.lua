---@meta time

---Moments, durations, zones, timers. A duration is nanoseconds, a text such as "1h30m", or a Duration.
---@class time
---@field JANUARY integer
---@field FEBRUARY integer
---@field MARCH integer
---@field APRIL integer
---@field MAY integer
---@field JUNE integer
---@field JULY integer
---@field AUGUST integer
---@field SEPTEMBER integer
---@field OCTOBER integer
---@field NOVEMBER integer
---@field DECEMBER integer
---@field SUNDAY integer
---@field MONDAY integer
---@field TUESDAY integer
---@field WEDNESDAY integer
---@field THURSDAY integer
---@field FRIDAY integer
---@field SATURDAY integer
---@field NANOSECOND number nanoseconds
---@field MICROSECOND number nanoseconds
---@field MILLISECOND number nanoseconds
---@field SECOND number nanoseconds
---@field MINUTE number nanoseconds
---@field HOUR number nanoseconds
---@field RFC3339 string a layout
---@field RFC3339NANO string a layout
---@field RFC822 string a layout
---@field RFC822Z string a layout
---@field RFC850 string a layout
---@field RFC1123 string a layout
---@field RFC1123Z string a layout
---@field KITCHEN string a layout
---@field STAMP string a layout
---@field STAMP_MILLI string a layout
---@field STAMP_MICRO string a layout
---@field STAMP_NANO string a layout
---@field DATE_TIME string a layout
---@field DATE_ONLY string a layout
---@field TIME_ONLY string a layout
---@field utc Location
---@field localtz Location
local time = {}

---@alias DurationLike number|string|Duration

---The present moment, in the local zone.
---@return Time
function time.now() end

---Numbers beyond their range roll over.
---@param year integer
---@param month integer
---@param day integer
---@param hour integer
---@param minute integer
---@param second integer
---@param nanosecond integer
---@param zone? Location
---@return Time
function time.date(year, month, day, hour, minute, second, nanosecond, zone) end

---@param seconds integer
---@param nanoseconds integer
---@return Time
function time.unix(seconds, nanoseconds) end

---@param layout string
---@param text string
---@param zone? Location
---@return Time?
---@return Error?
function time.parse(layout, text, zone) end

---@param value DurationLike
---@return Duration?
---@return Error?
function time.parse_duration(value) end

---An IANA name, "UTC" or "Local".
---@param name string
---@return Location?
---@return Error?
function time.load_location(name) end

---@param name string
---@param offset integer seconds
---@return Location
function time.fixed_zone(name, offset) end

---May wait.
---@param duration DurationLike
function time.sleep(duration) end

---A channel that gets one Time and then closes.
---@param duration DurationLike
---@return Channel?
---@return Error?
function time.after(duration) end

---@param duration DurationLike
---@return Timer?
---@return Error?
function time.timer(duration) end

---@param interval DurationLike
---@return Ticker?
---@return Error?
function time.ticker(interval) end

---@class Time
local Time = {}

---@param duration DurationLike
---@return Time
function Time:add(duration) end

---@param other Time
---@return Duration
function Time:sub(other) end

---@param years integer
---@param months integer
---@param days integer
---@return Time
function Time:add_date(years, months, days) end

---@param other Time
---@return boolean
function Time:after(other) end

---@param other Time
---@return boolean
function Time:before(other) end

---@param other Time
---@return boolean
function Time:equal(other) end

---@param layout string
---@return string
function Time:format(layout) end

---@return string
function Time:format_rfc3339() end

---@return integer
function Time:unix() end

---@return integer
function Time:unix_nano() end

---@return integer year
---@return integer month
---@return integer day
function Time:date() end

---@return integer hour
---@return integer minute
---@return integer second
function Time:clock() end

---@return integer
function Time:year() end

---@return integer
function Time:month() end

---@return integer
function Time:day() end

---@return integer
function Time:hour() end

---@return integer
function Time:minute() end

---@return integer
function Time:second() end

---@return integer
function Time:nanosecond() end

---@return integer
function Time:weekday() end

---@return integer
function Time:year_day() end

---@return boolean
function Time:is_zero() end

---@return Time
function Time:utc() end

---@return Time
function Time:in_local() end

---@param zone Location
---@return Time
function Time:in_location(zone) end

---@return Location
function Time:location() end

---@param duration Duration
---@return Time
function Time:round(duration) end

---@param duration Duration
---@return Time
function Time:truncate(duration) end

---@class Duration
local Duration = {}

---@return integer
function Duration:nanoseconds() end

---@return integer
function Duration:microseconds() end

---@return integer
function Duration:milliseconds() end

---@return number
function Duration:seconds() end

---@return number
function Duration:minutes() end

---@return number
function Duration:hours() end

---@class Location
local Location = {}

---@return string
function Location:string() end

---@class Timer
local Timer = {}

---@return Channel
function Timer:response() end

---@return Channel
function Timer:channel() end

---@return boolean pending
function Timer:stop() end

---@param duration DurationLike
---@return boolean pending
function Timer:reset(duration) end

---@class Ticker
local Ticker = {}

---@return Channel
function Ticker:response() end

---@return Channel
function Ticker:channel() end

---@return boolean
function Ticker:stop() end

return time
