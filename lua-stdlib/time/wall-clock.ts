// What a clock and a calendar on the wall of some zone show at an instant, and the instant at which they show something.

import { type CivilDate, civilFromDays, daysFromCivil, modulo, SECONDS_PER_DAY, weekdayOf, yearDayOf } from './civil.ts'
import { type Instant, instant } from './instant.ts'
import { toUtc, type Zone } from './zones.ts'

export interface Reading extends CivilDate {
  readonly hour: number
  readonly minute: number
  readonly second: number
  readonly nanos: number
  /** 0 is Sunday. */
  readonly weekday: number
  /** 1..366 */
  readonly yearDay: number
  /** East of UTC. */
  readonly offsetSeconds: number
}

export function readClock(at: Instant, zone: Zone): Reading {
  const offsetSeconds = zone.offsetAt(at.seconds)
  const local = at.seconds + offsetSeconds
  const days = Math.floor(local / SECONDS_PER_DAY)
  const secondOfDay = modulo(local, SECONDS_PER_DAY)
  const date = civilFromDays(days)
  return {
    ...date,
    hour: Math.floor(secondOfDay / 3600),
    minute: Math.floor((secondOfDay % 3600) / 60),
    second: secondOfDay % 60,
    nanos: at.nanos,
    weekday: weekdayOf(days),
    yearDay: yearDayOf(date),
    offsetSeconds,
  }
}

/** Whole numbers of any size: what is out of range rolls over into the next larger unit. */
interface ClockFields {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  readonly second: number
  readonly nanos: number
}

/** Undefined when the instant is out of reach. */
export function setClock(fields: ClockFields, zone: Zone): Instant | undefined {
  const { year, month, day, hour, minute, second, nanos } = fields
  const days = daysFromCivil(year, month, day)
  const local = instant(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second, nanos)
  return local && instant(toUtc(zone, local.seconds), local.nanos)
}
