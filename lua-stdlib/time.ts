// Module `time`: times, durations, zones, timers. lua-core.md §13. The parts that need no engine are in time/.

import { toText } from '../runtime/base/bytes.ts'
import { type Float, floatValue } from '../runtime/base/value.ts'
import type { Call, Engine, LuaValue, ModuleTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { badArgument, integerArg, processOf, stringArg } from './support/args.ts'
import { fail } from './support/fail.ts'
import { MONTH_NAMES, WEEKDAY_NAMES } from './time/civil.ts'
import { HOUR, MICROSECOND, MILLISECOND, MINUTE, NANOSECOND, SECOND } from './time/duration.ts'
import { instant } from './time/instant.ts'
import { LAYOUTS, parseTime } from './time/layout.ts'
import {
  DurationObject,
  durationClass,
  durationOf,
  LocationObject,
  locationArg,
  locationClass,
  TimeObject,
  timeClass,
  zonesOf,
} from './time/objects.ts'
import { after, sleep, ticker, tickerClass, timer, timerClass, timeWaits, wallTime } from './time/timers.ts'
import { setClock } from './time/wall-clock.ts'
import { FixedZone, UTC, type Zone, type Zones } from './time/zones.ts'

const UNITS = { NANOSECOND, MICROSECOND, MILLISECOND, SECOND, MINUTE, HOUR }

/** `5 * time.SECOND` must not wrap: where integers are small the units are floats. */
function units(engine: Engine): ModuleTable {
  if (engine.integerBits === 64) return UNITS
  return Object.fromEntries(Object.entries(UNITS).map(([name, ns]) => [name, floatValue(ns) as Float]))
}

const CONSTANTS = {
  ...Object.fromEntries(MONTH_NAMES.map((name, i) => [name.toUpperCase(), i + 1])),
  ...Object.fromEntries(WEEKDAY_NAMES.map((name, i) => [name.toUpperCase(), i])),
  ...LAYOUTS,
}

/** No clock is further from UTC; the bound keeps arithmetic exact. */
const OFFSET_SECONDS_MAX = 2 ** 31

function optionalZone(call: Call, index: number, fn: string, zones: Zones): Zone {
  return call.arg(index) === undefined ? zones.local : locationArg(call, index, fn)
}

/** A whole number of nanoseconds, of any size, as seconds and the rest. */
function nanosArg(call: Call, index: number, fn: string): { seconds: number; nanos: number } {
  const given = call.arg(index)
  const ns = typeof given === 'bigint' ? given : BigInt(integerArg(call, index, fn))
  return { seconds: Number(ns / BigInt(SECOND)), nanos: Number(ns % BigInt(SECOND)) }
}

function date(call: Call, zones: Zones): LuaValue {
  const part = (index: number): number => integerArg(call, index, 'date')
  const [year, month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5), part(6)]
  const extra = nanosArg(call, 7, 'date')
  const zone = optionalZone(call, 8, 'date', zones)
  const fields = { year, month, day, hour, minute, second: second + extra.seconds, nanos: extra.nanos }
  const at = setClock(fields, zone)
  return at === undefined ? badArgument(1, 'date', 'time out of range') : new TimeObject(at, zone, zones)
}

function unix(call: Call, zones: Zones): LuaValue {
  const seconds = integerArg(call, 1, 'unix')
  const extra = nanosArg(call, 2, 'unix')
  const at = instant(seconds + extra.seconds, extra.nanos)
  return at === undefined ? badArgument(1, 'unix', 'time out of range') : new TimeObject(at, zones.local, zones)
}

function parse(call: Call, zones: Zones): Returns {
  const layout = stringArg(call, 1, 'parse')
  const value = stringArg(call, 2, 'parse')
  const parsed = parseTime(layout, value, optionalZone(call, 3, 'parse', zones))
  return parsed.ok ? new TimeObject(parsed.at, parsed.zone, zones) : fail('Invalid', parsed.message)
}

function parseDuration(call: Call): Returns {
  const ns = durationOf(call.arg(1))
  if (ns !== undefined) return new DurationObject(ns)
  return fail('Invalid', `invalid duration: a number, a string such as "1h30m" or a Duration expected`)
}

function loadLocation(call: Call, zones: Zones): Returns {
  const name = stringArg(call, 1, 'load_location')
  if (name === '') return fail('Invalid', 'empty location name')
  const zone = zones.load(name)
  return zone === undefined
    ? fail('NotFound', `unknown location ${JSON.stringify(toText(name))}`)
    : new LocationObject(zone)
}

function fixedZone(call: Call): LuaValue {
  const name = stringArg(call, 1, 'fixed_zone')
  const offsetSeconds = integerArg(call, 2, 'fixed_zone')
  if (Math.abs(offsetSeconds) > OFFSET_SECONDS_MAX) badArgument(2, 'fixed_zone', 'offset out of range')
  return new LocationObject(new FixedZone(name, offsetSeconds))
}

function build(engine: Engine): ModuleTable {
  const zones = zonesOf(engine)
  return {
    ...CONSTANTS,
    ...units(engine),
    utc: new LocationObject(UTC),
    localtz: new LocationObject(zones.local),
    now: (call) => wallTime(processOf(call), zones),
    date: (call) => date(call, zones),
    unix: (call) => unix(call, zones),
    parse: (call) => parse(call, zones),
    parse_duration: parseDuration,
    load_location: (call) => loadLocation(call, zones),
    fixed_zone: fixedZone,
    sleep,
    after: after(zones),
    timer: timer(zones),
    ticker: ticker(zones),
  }
}

export const timeModule: LibraryModule = {
  name: 'time',
  description: 'times, durations, timers',
  tags: ['time', 'workflow'],
  build,
  waits: timeWaits,
  classes: [timeClass, durationClass, locationClass, timerClass, tickerClass],
}
