// Library `os`, the few members that scripts may have: clocks and dates. lua-libraries.md §14.

import type { Call, Engine, LuaTable, LuaValue, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import {
  badArgument,
  numberArg,
  optionalNumber,
  optionalString,
  processOf,
  tableArg,
  toNumber,
} from './support/args.ts'
import { MONTH_NAMES, modulo, WEEKDAY_NAMES } from './time/civil.ts'
import { instant, instantFromMs } from './time/instant.ts'
import { type Reading, readClock, setClock } from './time/wall-clock.ts'
import { isSummerTime, UTC, type Zone, Zones } from './time/zones.ts'

/** What `os.platform` says. */
const PLATFORM = 'moonmesh'

const two = (value: number): string => String(value).padStart(2, '0')
const clockHour = (hour: number): number => modulo(hour - 1, 12) + 1

function offsetText(seconds: number): string {
  const minutes = Math.floor(Math.abs(seconds) / 60)
  return `${seconds < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}${two(minutes % 60)}`
}

/** ISO 8601: weeks start on Monday, week 1 has the year's first Thursday. */
function isoWeek({ weekday, yearDay, year }: Reading): number {
  const week = Math.floor((yearDay - modulo(weekday - 1, 7) + 9) / 7)
  if (week < 1) return weeksIn(year - 1)
  return week > weeksIn(year) ? 1 : week
}

function weeksIn(year: number): number {
  const lastWeekday = (y: number): number =>
    modulo(y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400), 7)
  return lastWeekday(year) === 4 || lastWeekday(year - 1) === 3 ? 53 : 52
}

type Specifier = (reading: Reading, abbreviation: string) => string

const weekdayName = (reading: Reading): string => WEEKDAY_NAMES[reading.weekday] as string
const monthName = (reading: Reading): string => MONTH_NAMES[reading.month - 1] as string
const clock = ({ hour, minute, second }: Reading): string => `${two(hour)}:${two(minute)}:${two(second)}`

const SPECIFIERS: Readonly<Record<string, Specifier>> = {
  a: (r) => weekdayName(r).slice(0, 3),
  A: weekdayName,
  b: (r) => monthName(r).slice(0, 3),
  B: monthName,
  c: (r) =>
    `${weekdayName(r).slice(0, 3)} ${monthName(r).slice(0, 3)} ${String(r.day).padStart(2)} ${clock(r)} ${r.year}`,
  d: (r) => two(r.day),
  H: (r) => two(r.hour),
  I: (r) => two(clockHour(r.hour)),
  j: (r) => String(r.yearDay).padStart(3, '0'),
  m: (r) => two(r.month),
  M: (r) => two(r.minute),
  p: (r) => (r.hour < 12 ? 'AM' : 'PM'),
  S: (r) => two(r.second),
  U: (r) => two(isoWeek(r)),
  w: (r) => String(r.weekday),
  W: (r) => two(isoWeek(r)),
  x: (r) => `${two(r.month)}/${two(r.day)}/${two(modulo(r.year, 100))}`,
  X: clock,
  y: (r) => two(modulo(r.year, 100)),
  Y: (r) => String(r.year),
  z: (r) => offsetText(r.offsetSeconds),
  Z: (_r, abbreviation) => abbreviation,
  '%': () => '%',
}

function dateTable(engine: Engine, reading: Reading, isDst: boolean): LuaTable {
  const table = engine.newTable()
  const fields: Record<string, LuaValue> = {
    year: reading.year,
    month: reading.month,
    day: reading.day,
    hour: reading.hour,
    min: reading.minute,
    sec: reading.second,
    wday: reading.weekday + 1,
    yday: reading.yearDay,
    isdst: isDst,
  }
  for (const [name, value] of Object.entries(fields)) engine.set(table, name, value)
  return table
}

function date(call: Call, zones: Zones): Returns {
  const format = optionalString(call, 1, 'date') ?? '%c'
  const seconds = Math.floor(optionalNumber(call, 2, 'date', processOf(call).env.wallMs() / 1000))
  const isUtc = format.startsWith('!')
  const zone: Zone = isUtc ? UTC : zones.local
  const at = instant(seconds, 0)
  if (at === undefined) badArgument(2, 'date', 'time out of range')
  const reading = readClock(at, zone)
  const wanted = isUtc ? format.slice(1) : format
  if (wanted.startsWith('*t')) return dateTable(call.engine, reading, isSummerTime(zone, seconds, reading.year))
  return wanted.replace(/%([a-zA-Z%])/g, (whole, letter: string) => {
    const specifier = Object.hasOwn(SPECIFIERS, letter) ? SPECIFIERS[letter] : undefined
    return specifier === undefined ? whole : specifier(reading, zone.abbreviationAt(seconds))
  })
}

function time(call: Call, zones: Zones): Returns {
  const nowMs = processOf(call).env.wallMs()
  if (call.arg(1) === undefined) return Math.floor(nowMs / 1000)
  const table = tableArg(call, 1, 'time')
  const today = readClock(instantFromMs(nowMs), zones.local)
  const field = (name: string, fallback: number): number => {
    const value = call.engine.get(table, name)
    if (value === undefined) return fallback
    const number = toNumber(value)
    if (number === undefined || !Number.isInteger(number)) badArgument(1, 'time', `field '${name}' is not an integer`)
    return number
  }
  const at = setClock(
    {
      year: field('year', today.year),
      month: field('month', today.month),
      day: field('day', today.day),
      hour: field('hour', 0),
      minute: field('min', 0),
      second: field('sec', 0),
      nanos: 0,
    },
    zones.local,
  )
  return at === undefined ? badArgument(1, 'time', 'time out of range') : at.seconds
}

export const osModule: LibraryModule = {
  name: 'os',
  description: 'dates and the clock',
  tags: ['time', 'workflow'],
  isAlwaysPresent: true,
  build: () => {
    const zones = new Zones()
    return {
      time: (call) => time(call, zones),
      date: (call) => date(call, zones),
      clock: (call) => processOf(call).env.nowMs() / 1000,
      difftime: (call) => numberArg(call, 1, 'difftime') - numberArg(call, 2, 'difftime'),
      platform: PLATFORM,
    }
  },
}
