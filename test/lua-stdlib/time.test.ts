import { describe, expect, test } from 'vitest'
import { messageOf } from '../../runtime/base/errors.ts'
import { ErrorValue } from '../../runtime/base/value.ts'
import { runLua, TestNode } from '../tools/lua.ts'

// The fake wall clock starts at 2026-01-02 03:04:05 UTC and moves with fake time.
const run = (source: string): unknown => runLua(source)

/** The message with which the call fails inside pcall. */
const raised = (expression: string): unknown =>
  run(`local ok, e = pcall(function() return ${expression} end); return ok and "no error" or tostring(e)`)

/** How many values a failing call returns, and its error's kind, message and retryable. */
const failure = (expression: string): unknown =>
  run(
    `local n, v, e = select("#", ${expression}), ${expression}; return { n, v == nil, e:kind(), e:message(), e:retryable() }`,
  )

const refusal = (kind: string, text: string): unknown => [2, true, kind, expect.stringContaining(text), false]

const DATE = '2024, 2, 29, 13, 5, 9, 123456789, time.utc'

describe('constants (lua-core.md §13.3)', () => {
  test('units are nanoseconds', () => {
    expect(
      run('return { time.NANOSECOND, time.MICROSECOND, time.MILLISECOND, time.SECOND, time.MINUTE, time.HOUR }'),
    ).toEqual([1, 1e3, 1e6, 1e9, 6e10, 3.6e12])
  })

  test('months count from 1, weekdays from Sunday 0', () => {
    expect(run('return { time.JANUARY, time.DECEMBER, time.SUNDAY, time.SATURDAY }')).toEqual([1, 12, 0, 6])
  })

  test('layouts are example dates', () => {
    const names = ['RFC3339', 'RFC3339NANO', 'RFC822', 'RFC822Z', 'RFC850', 'RFC1123', 'RFC1123Z', 'KITCHEN', 'STAMP']
    const more = ['STAMP_MILLI', 'STAMP_MICRO', 'STAMP_NANO', 'DATE_TIME', 'DATE_ONLY', 'TIME_ONLY']
    expect(run(`return { ${[...names, ...more].map((name) => `time.${name}`).join(', ')} }`)).toEqual([
      ...['2006-01-02T15:04:05Z07:00', '2006-01-02T15:04:05.999999999Z07:00', '02 Jan 06 15:04 MST'],
      ...['02 Jan 06 15:04 -0700', 'Monday, 02-Jan-06 15:04:05 MST', 'Mon, 02 Jan 2006 15:04:05 MST'],
      ...['Mon, 02 Jan 2006 15:04:05 -0700', '3:04PM', 'Jan _2 15:04:05', 'Jan _2 15:04:05.000'],
      ...['Jan _2 15:04:05.000000', 'Jan _2 15:04:05.000000000', '2006-01-02 15:04:05', '2006-01-02', '15:04:05'],
    ])
  })

  test('utc and localtz are Locations', () => {
    expect(run('return { tostring(time.utc), time.utc:string(), tostring(time.localtz) }')).toEqual([
      'UTC',
      'UTC',
      'Local',
    ])
  })
})

describe('making times (lua-core.md §13.2)', () => {
  test('now is the wall clock of the node, in the local zone', () => {
    const source = 'local t = time.now(); return { t:utc():format_rfc3339(), t:location():string() }'
    expect(run(source)).toEqual(['2026-01-02T03:04:05Z', 'Local'])
  })

  test('date takes seven numbers and a location', () => {
    expect(run(`return tostring(time.date(${DATE}))`)).toBe('2024-02-29 13:05:09.123456789 +0000 UTC')
  })

  test('date without a location is local', () => {
    expect(run('return time.date(2024, 1, 1, 0, 0, 0, 0):location():string()')).toBe('Local')
  })

  test('date rolls values out of range over', () => {
    expect(run('return time.date(2023, 13, 32, 25, 61, 61, -1, time.utc):format(time.RFC3339NANO)')).toBe(
      '2024-02-02T02:02:00.999999999Z',
    )
  })

  test.each([
    ['time.date(2024, 1, 1, 0, 0, 0)', "bad argument #7 to 'date' (number expected, got no value)"],
    ['time.date("x", 1, 1, 0, 0, 0, 0)', "bad argument #1 to 'date' (number expected, got string)"],
    ['time.date(2024.5, 1, 1, 0, 0, 0, 0)', 'number has no integer representation'],
    ['time.date(2024, 1, 1, 0, 0, 0, 0, "UTC")', "bad argument #8 to 'date' (Location expected, got string)"],
    ['time.date(1e300, 1, 1, 0, 0, 0, 0)', 'out of range'],
    ['time.unix(1)', "bad argument #2 to 'unix' (number expected, got no value)"],
    ['time.unix({}, 0)', "bad argument #1 to 'unix' (number expected, got table)"],
    ['time.unix(2^60, 0)', 'out of range'],
  ])('%s raises "%s"', (expression, text) => {
    expect(raised(expression)).toContain(text)
  })

  test('unix takes seconds and nanoseconds, which may exceed a second', () => {
    const source = `
      local t = time.unix(1700000000, 2500000000)
      return { t:utc():format(time.RFC3339NANO), t:unix(), t:nanosecond(), t:location():string() }`
    expect(run(source)).toEqual(['2023-11-14T22:13:22.5Z', 1_700_000_002, 500_000_000, 'Local'])
  })

  test('unix takes all nanoseconds since 1970 at once', () => {
    const source = `
      local t = time.unix(1700000000, 0)
      return { time.unix(0, t:unix_nano()):equal(t), time.unix(0, -1):utc():format(time.RFC3339NANO),
        time.date(1970, 1, 1, 0, 0, 0, t:unix_nano(), time.utc):equal(t) }`
    expect(run(source)).toEqual([true, '1969-12-31T23:59:59.999999999Z', true])
  })

  test('a numeric string serves where a number is expected', () => {
    expect(run('return time.unix("10", 0):unix()')).toBe(10)
  })
})

describe('time.parse (lua-core.md §13.2, §13.4)', () => {
  test('reads a value with a zone as that instant', () => {
    const source = `
      local t = time.parse(time.RFC3339, "2024-05-06T07:08:09.5+02:00")
      return { t:utc():format(time.RFC3339NANO), t:format("-07:00"), select("#", time.parse("2006", "2024")) }`
    expect(run(source)).toEqual(['2024-05-06T05:08:09.5Z', '+02:00', 1])
  })

  test('reads a value without a zone in the given location', () => {
    const source = `
      local loc = time.load_location("America/New_York")
      return time.parse(time.DATE_TIME, "2024-07-01 12:00:00", loc):utc():format_rfc3339()`
    expect(run(source)).toBe('2024-07-01T16:00:00Z')
  })

  test('absent parts are year 0, month 1, day 1, midnight', () => {
    expect(run('return time.parse("15", "07", time.utc):format(time.RFC3339)')).toBe('0000-01-01T07:00:00Z')
  })

  test.each([
    ['time.parse(time.DATE_ONLY, "garbage")', 'cannot parse'],
    ['time.parse(time.DATE_ONLY, "2024-13-01")', 'month out of range'],
    ['time.parse(time.DATE_ONLY, "2024-02-30")', 'day out of range'],
    ['time.parse(time.DATE_ONLY, "")', 'cannot parse'],
    ['time.parse(time.DATE_ONLY, "2024-01-01 more")', 'extra text'],
  ])('%s is Invalid', (expression, text) => {
    expect(failure(expression)).toEqual(refusal('Invalid', text))
  })

  test.each([
    ['time.parse(nil, "x")', "bad argument #1 to 'parse' (string expected, got nil)"],
    ['time.parse("2006")', "bad argument #2 to 'parse' (string expected, got no value)"],
    ['time.parse("2006", "2024", 5)', "bad argument #3 to 'parse' (Location expected, got number)"],
  ])('%s raises', (expression, text) => {
    expect(raised(expression)).toContain(text)
  })
})

describe('durations (lua-core.md §13.1, §13.5)', () => {
  test('come from numbers, texts and Durations', () => {
    const source = `
      local d = time.parse_duration("1h30m")
      return { tostring(d), tostring(time.parse_duration(1500)), tostring(time.parse_duration(d)),
        tostring(time.parse_duration("-1.5s")), tostring(time.parse_duration("0")), tostring(time.parse_duration("3µs")),
        select("#", time.parse_duration("1s")) }`
    expect(run(source)).toEqual(['1h30m0s', '1.5µs', '1h30m0s', '-1.5s', '0s', '3µs', 1])
  })

  test('whole units are truncated, seconds and longer are floats', () => {
    const source = `
      local d = time.parse_duration("-1h30m0.123456789s")
      return { d:nanoseconds(), d:microseconds(), d:milliseconds(), d:seconds(), d:minutes(), d:hours(),
        math.type(time.parse_duration("2s"):seconds()), math.type(time.parse_duration("2s"):milliseconds()) }`
    const seconds = -5400.123456789
    expect(run(source)).toEqual([
      ...[-5_400_123_456_789, -5_400_123_456, -5_400_123],
      ...[seconds, seconds / 60, seconds / 3600].map((value) => expect.closeTo(value, 9)),
      ...['float', 'integer'],
    ])
  })

  test.each(['"abc"', '"5"', '""', '0/0', 'nil', '{}', 'true'])('parse_duration(%s) is Invalid', (value) => {
    expect(failure(`time.parse_duration(${value})`)).toEqual(refusal('Invalid', 'invalid duration'))
  })

  test('a method on another receiver raises', () => {
    expect(raised('time.parse_duration("1s").seconds(5)')).toContain('Duration expected, got number')
  })
})

describe('locations (lua-core.md §13.2)', () => {
  test('load_location knows IANA names, UTC and Local', () => {
    const source = `
      local names = {}
      for i, name in ipairs({ "UTC", "Local", "Europe/London", "Asia/Kolkata" }) do
        names[i] = time.load_location(name):string()
      end
      return names`
    expect(run(source)).toEqual(['UTC', 'Local', 'Europe/London', 'Asia/Kolkata'])
  })

  test('an empty name is Invalid, an unknown one NotFound', () => {
    expect(failure('time.load_location("")')).toEqual(refusal('Invalid', 'empty location name'))
    expect(failure('time.load_location("Nowhere/Land")')).toEqual(refusal('NotFound', 'Nowhere/Land'))
    expect(raised('time.load_location({})')).toContain("bad argument #1 to 'load_location'")
  })

  test('fixed_zone has a name and an offset', () => {
    const source = `
      local loc = time.fixed_zone("EAST", 3 * 3600 + 1800)
      return { tostring(loc), tostring(time.unix(0, 0):in_location(loc)) }`
    expect(run(source)).toEqual(['EAST', '1970-01-01 03:30:00 +0330 EAST'])
    expect(raised('time.fixed_zone("X")')).toContain("bad argument #2 to 'fixed_zone' (number expected, got no value)")
    expect(raised('time.fixed_zone("X", 1e18)')).toContain('offset out of range')
  })

  test('a Time moves between zones and stays the same instant', () => {
    const source = `
      local t = time.unix(1720000000, 0)
      local tokyo = t:in_location(time.load_location("Asia/Tokyo"))
      return { tostring(tokyo), tokyo:equal(t), tokyo:utc():hour(), tokyo:in_local():location():string(),
        tokyo:location():string() }`
    expect(run(source)).toEqual(['2024-07-03 18:46:40 +0900 JST', true, 9, 'Local', 'Asia/Tokyo'])
    expect(raised('time.now():in_location("UTC")')).toContain('Location expected, got string')
  })
})

describe('Time methods (lua-core.md §13.5)', () => {
  test('date and clock give three values each', () => {
    const source = `local t = time.date(${DATE}); local y, m, d = t:date(); local h, mi, s = t:clock(); return { y, m, d, h, mi, s }`
    expect(run(source)).toEqual([2024, 2, 29, 13, 5, 9])
  })

  test('every part has a method', () => {
    const source = `
      local t = time.date(${DATE})
      return { t:year(), t:month(), t:day(), t:hour(), t:minute(), t:second(), t:nanosecond(), t:weekday(), t:year_day() }`
    expect(run(source)).toEqual([2024, 2, 29, 13, 5, 9, 123_456_789, 4, 60])
  })

  test('add takes numbers, texts and Durations', () => {
    const source = `
      local t = time.date(${DATE})
      local function shown(u) return u:format("15:04:05.000") end
      return { shown(t:add(1000 * time.MILLISECOND)), shown(t:add("-1h")), shown(t:add(time.parse_duration("1m"))),
        t:add("10000h"):format(time.DATE_ONLY) }`
    expect(run(source)).toEqual(['13:05:10.123', '12:05:09.123', '13:06:09.123', '2025-04-21'])
  })

  test('add keeps nanoseconds over centuries', () => {
    expect(run('return time.date(1800, 1, 1, 0, 0, 0, 1, time.utc):add("2000000h"):format(time.RFC3339NANO)')).toBe(
      '2028-02-28T08:00:00.000000001Z',
    )
  })

  test.each([
    ['time.now():add("soon")', "bad argument #2 to 'add' (invalid duration)"],
    ['time.now():add(0/0)', "bad argument #2 to 'add' (invalid duration)"],
    ['time.now():add({})', "bad argument #2 to 'add' (duration expected, got table)"],
    ['time.now():add()', "bad argument #2 to 'add' (duration expected, got no value)"],
    ['time.now():sub(5)', 'Time expected, got number'],
    ['time.now():after("x")', 'Time expected, got string'],
    ['time.now():before()', 'Time expected, got no value'],
    ['time.now():equal(nil)', 'Time expected, got nil'],
    ['time.now():format()', "bad argument #2 to 'format' (string expected, got no value)"],
    ['time.now():add_date(1, 2)', "bad argument #4 to 'add_date' (number expected, got no value)"],
    ['time.now():add_date(1e300, 0, 0)', 'time out of range'],
    ['time.now():round(5)', 'Duration expected, got number'],
    ['time.now():truncate("1h")', 'Duration expected, got string'],
    ['time.now().unix({})', "bad argument #1 to 'unix' (Time expected, got table)"],
  ])('%s raises', (expression, text) => {
    expect(raised(expression)).toContain(text)
  })

  test('sub gives the Duration between two times', () => {
    const source = `
      local a = time.unix(100, 5)
      return { tostring(time.unix(160, 0):sub(a)), tostring(a:sub(a)), tostring(time.unix(0, 0):sub(a)) }`
    expect(run(source)).toEqual(['59.999999995s', '0s', '-1m40.000000005s'])
  })

  test('add_date is calendar arithmetic with roll-over', () => {
    const source = `
      local t = time.date(2024, 1, 31, 12, 0, 0, 0, time.utc)
      local function shown(u) return u:format("2006-01-02 15") end
      return { shown(t:add_date(0, 1, 0)), shown(t:add_date(1, 1, 0)), shown(t:add_date(0, 0, -31)), shown(t:add_date(-1, -2, 3)) }`
    expect(run(source)).toEqual(['2024-03-02 12', '2025-03-03 12', '2023-12-31 12', '2022-12-04 12'])
  })

  test('comparisons look at the instant, not at the zone; == is identity', () => {
    const source = `
      local a = time.unix(100, 0)
      local b = a:in_location(time.fixed_zone("X", 3600))
      local later = a:add(1)
      return { a:equal(b), a == b, a == a, a:after(later), later:after(a), a:before(later), a:before(b) }`
    expect(run(source)).toEqual([true, false, true, false, true, true, false])
  })

  test('format follows the layout, format_rfc3339 the standard', () => {
    const source = `
      local t = time.date(${DATE})
      return { t:format("Monday, _2 January 2006 3:04 pm"), t:format_rfc3339(), t:format(time.KITCHEN), t:format("") }`
    expect(run(source)).toEqual(['Thursday, 29 February 2024 1:05 pm', '2024-02-29T13:05:09Z', '1:05PM', ''])
  })

  test('unix and unix_nano are whole numbers', () => {
    const source = 'local t = time.unix(1700000000, 0); return { t:unix(), t:unix_nano(), time.unix(3, 7):unix_nano() }'
    expect(run(source)).toEqual([1_700_000_000, 1_700_000_000_000_000_000n, 3_000_000_007])
  })

  test('is_zero holds for the first instant of year 1 only', () => {
    const source = `
      local zero = time.date(1, 1, 1, 0, 0, 0, 0, time.utc)
      return { zero:is_zero(), zero:in_location(time.load_location("Asia/Tokyo")):is_zero(), zero:add(1):is_zero(),
        time.unix(0, 0):is_zero() }`
    expect(run(source)).toEqual([true, true, false, false])
  })

  test('round and truncate take a Duration; half rounds up', () => {
    const source = `
      local t = time.date(2024, 1, 1, 12, 30, 30, 0, time.utc)
      local hour, minute = time.parse_duration("1h"), time.parse_duration("1m")
      local function shown(u) return u:format(time.TIME_ONLY) end
      return { shown(t:round(hour)), shown(t:truncate(hour)), shown(t:round(minute)), shown(t:truncate(minute)),
        shown(t:round(time.parse_duration("0"))) }`
    expect(run(source)).toEqual(['13:00:00', '12:00:00', '12:31:00', '12:30:00', '12:30:30'])
  })

  test('times have no arithmetic and do not leave their process', () => {
    expect(raised('time.now() + 1')).toContain('attempt to perform arithmetic')
    expect(run('return time.now()')).toBeUndefined()
  })
})

describe('time.sleep (lua-core.md §13.2)', () => {
  test('returns nothing, not before the time is up', () => {
    const source = `
      local start = time.now()
      local n = select("#", time.sleep("250ms"))
      time.sleep(50 * time.MILLISECOND)
      time.sleep(time.parse_duration("1s"))
      return { n, time.now():sub(start):milliseconds() }`
    expect(run(source)).toEqual([0, 1300])
  })

  test('lets other coroutines run meanwhile', () => {
    const source = `
      local seen = {}
      coroutine.spawn(function() time.sleep("10ms"); seen[#seen + 1] = "b" end)
      coroutine.spawn(function() seen[#seen + 1] = "a" end)
      time.sleep("20ms")
      return seen`
    expect(run(source)).toEqual(['a', 'b'])
  })

  test('zero and negative durations return at once, without giving up the turn', () => {
    const source = `
      local seen = {}
      coroutine.spawn(function() seen[#seen + 1] = "other" end)
      local n = select("#", time.sleep(0)) + select("#", time.sleep("-1h"))
      seen[#seen + 1] = "self"
      time.sleep(1)
      return { n, seen[1], seen[2] }`
    expect(run(source)).toEqual([0, 'self', 'other'])
  })

  test.each(['"soon"', '"5"', '0/0'])('sleep(%s) is Invalid', (value) => {
    expect(failure(`time.sleep(${value})`)).toEqual(refusal('Invalid', 'invalid duration'))
  })

  test.each(['nil', '{}', 'true', ''])('sleep(%s) raises', (value) => {
    expect(raised(`time.sleep(${value})`)).toContain("bad argument #1 to 'sleep' (duration expected")
  })
})

describe('time.after (lua-core.md §13.2)', () => {
  test('gives a channel that gets one Time and closes', () => {
    const source = `
      local start = time.now()
      local ch = time.after("100ms")
      local t, ok = ch:receive()
      local again, more = ch:receive()
      return { t:sub(start):milliseconds(), ok, again == nil, more }`
    expect(run(source)).toEqual([100, true, true, false])
  })

  test('keeps the Time for a reader who comes late', () => {
    const source = 'local ch = time.after("1ms"); time.sleep("1s"); local t, ok = ch:receive(); return { type(t), ok }'
    expect(run(source)).toEqual(['userdata', true])
  })

  test('limits a select', () => {
    const source = `
      local work, limit = channel.new(), time.after("2s")
      local r = channel.select{ work:case_receive(), limit:case_receive() }
      return r.channel == limit`
    expect(run(source)).toBe(true)
  })
})

describe('waiting for no time at all', () => {
  const rows = ['after', 'timer', 'ticker'].flatMap((name) =>
    ['0', '-1', '"-1s"', '"soon"', 'nil', '{}', '0/0'].map((value) => [name, value] as const),
  )
  test.each(rows)('time.%s(%s) is Invalid and names the function', (name, value) => {
    expect(failure(`time.${name}(${value})`)).toEqual(refusal('Invalid', `time.${name}: duration must be > 0`))
  })
})

describe('Timer (lua-core.md §13.5)', () => {
  test('its channel gets one Time when due and closes; response is the same channel', () => {
    const source = `
      local start = time.now()
      local timer = time.timer("30ms")
      local same = timer:response() == timer:channel()
      local t, ok = timer:channel():receive()
      local _, more = timer:channel():receive()
      return { same, t:sub(start):milliseconds(), ok, more }`
    expect(run(source)).toEqual([true, 30, true, false])
  })

  test('stop: true while pending, and the channel closes without a value; false afterwards', () => {
    const source = `
      local timer = time.timer("30ms")
      local first, second = timer:stop(), timer:stop()
      local v, ok = timer:channel():receive()
      return { first, second, v == nil, ok }`
    expect(run(source)).toEqual([true, false, true, false])
  })

  test('stop after firing is false and leaves the Time to be read', () => {
    const source = `
      local timer = time.timer("1ms")
      time.sleep("10ms")
      local stopped = timer:stop()
      return { stopped, select(2, timer:channel():receive()) }`
    expect(run(source)).toEqual([false, true])
  })

  test('reset: true while pending, and it fires that long from now', () => {
    const source = `
      local start = time.now()
      local timer = time.timer("50ms")
      time.sleep("40ms")
      local wasPending = timer:reset("100ms")
      return { wasPending, timer:channel():receive():sub(start):milliseconds() }`
    expect(run(source)).toEqual([true, 140])
  })

  test('reset after firing or stop is false, and nothing fires (open 18)', () => {
    const source = `
      local stopped = time.timer("50ms")
      stopped:stop()
      local fired = time.timer("1ms")
      time.sleep("5ms")
      fired:channel():receive()
      local a, b = stopped:reset("1ms"), fired:reset("1ms")
      time.sleep("10ms")
      return { a, b, select(2, stopped:channel():receive()), select(2, fired:channel():receive()) }`
    expect(run(source)).toEqual([false, false, false, false])
  })

  test.each(['0', '"-1s"', '"soon"', '{}', ''])('reset(%s) raises', (value) => {
    expect(raised(`time.timer("1s"):reset(${value})`)).toContain("bad argument #2 to 'reset'")
  })

  test('methods on another receiver raise', () => {
    expect(raised('time.timer("1s").stop(time.ticker("1s"))')).toContain('Timer expected')
    expect(raised('time.ticker("1s").stop(time.timer("1s"))')).toContain('Ticker expected')
  })
})

describe('Ticker (lua-core.md §13.5)', () => {
  test('ticks once per interval, first after one interval, without drift', () => {
    const source = `
      local start = time.now()
      local ticker = time.ticker("30ms")
      local at = {}
      for i = 1, 3 do
        at[i] = ticker:channel():receive():sub(start):milliseconds()
        time.sleep("5ms")
      end
      return { ticker:response() == ticker:channel(), at }`
    expect(run(source)).toEqual([true, [30, 60, 90]])
  })

  test('buffers 16 ticks and drops those that find the buffer full', () => {
    const source = `
      local start = time.now()
      local ticker = time.ticker("10ms")
      time.sleep("205ms")
      ticker:stop()
      local count, last = 0, nil
      while true do
        local t, ok = ticker:channel():receive()
        if not ok then break end
        count, last = count + 1, t:sub(start):milliseconds()
      end
      return { count, last }`
    expect(run(source)).toEqual([16, 160])
  })

  test('stop is true every time; ticks in the buffer can still be read', () => {
    const source = `
      local ticker = time.ticker("10ms")
      time.sleep("15ms")
      local a, b = ticker:stop(), ticker:stop()
      time.sleep("50ms")
      local _, first = ticker:channel():receive()
      local _, second = ticker:channel():receive()
      return { a, b, first, second }`
    expect(run(source)).toEqual([true, true, true, false])
  })

  test('an interval below a millisecond counts as one', () => {
    const source = `
      local start = time.now()
      local ticker = time.ticker(1)
      ticker:channel():receive()
      return ticker:channel():receive():sub(start):milliseconds()`
    expect(run(source)).toBe(2)
  })

  test('a process that ends takes its timers along', () => {
    const node = new TestNode({ 'test:main': 'return function() time.ticker("1ms"); return 1 end' })
    expect(node.run('test:main')).toBe(1)
    node.driver.advance(1000)
    expect(node.driver.timerCount).toBe(0)
    node.close()
  })
})

describe('while a chunk loads (lua-core.md §5.3)', () => {
  test.each(['time.sleep(1)', 'time.after(1)', 'time.timer(1)', 'time.ticker(1)'])('%s is refused', (expression) => {
    const node = new TestNode({ 'test:main': `${expression} return function() end` })
    let message = 'no error'
    try {
      node.run('test:main')
    } catch (thrown) {
      message = thrown instanceof ErrorValue ? thrown.message : messageOf(thrown)
    }
    expect(message).toContain('attempt to yield')
    node.close()
  })
})
