// Time, Duration and Location as scripts hold them. lua-core.md §13.5.

import { toBytes } from '../../runtime/base/bytes.ts'
import { floatValue, integerValue, TableValue, type Value } from '../../runtime/base/value.ts'
import {
  type Call,
  type Engine,
  type HostClass,
  HostObject,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../../runtime/lua/engine.ts'
import type { ScriptProcess } from '../../runtime/services.ts'
import { badArgument, integerArg, isNumber, objectArg, stringArg, toNumber } from '../support/args.ts'
import { damaged } from '../support/saving.ts'
import { durationFromNumber, formatDuration, HOUR, MINUTE, parseDuration, SECOND } from './duration.ts'
import { addNs, compare, difference, type Instant, instant, round, totalNs, truncate, ZERO_SECONDS } from './instant.ts'
import { DEFAULT_LAYOUT, formatTime, LAYOUTS } from './layout.ts'
import { type Reading, readClock, setClock } from './wall-clock.ts'
import { FixedZone, UTC, type Zone, Zones } from './zones.ts'

const zonesByEngine = new WeakMap<Engine, Zones>()

/** The zones that the scripts of one engine use. */
export function zonesOf(engine: Engine): Zones {
  const zones = zonesByEngine.get(engine) ?? new Zones()
  zonesByEngine.set(engine, zones)
  return zones
}

/** A zone of its own making is told by what makes it, any other by its name: `Local` is the zone of wherever it is read. */
const zoneParts = (zone: Zone): TableValue =>
  new TableValue(
    zone instanceof FixedZone && zone !== UTC ? [zone.name, zone.offsetAt(), zone.abbreviationAt()] : [zone.name],
  )

function zoneOf(parts: Value, engine: Engine): Zone {
  const [name, offset, abbreviation] = parts instanceof TableValue ? parts.array : []
  if (typeof name !== 'string') throw damaged('a zone')
  if (offset === undefined) {
    const zone = zonesOf(engine).load(name)
    if (zone === undefined) throw damaged(`a zone that is known here (${name.slice(0, 100)})`)
    return zone
  }
  if (typeof offset !== 'number' || !Number.isSafeInteger(offset) || typeof abbreviation !== 'string')
    throw damaged('a zone')
  return new FixedZone(name, offset, abbreviation)
}

const engineOf = (owner: unknown): Engine => (owner as ScriptProcess).engine

const locationSaving: ObjectSaving<LocationObject> = {
  save: ({ zone }) => ({ data: [zoneParts(zone)], values: [] }),
  restore: ([zone], owner) => new LocationObject(zoneOf(zone, engineOf(owner))),
}

const durationSaving: ObjectSaving<DurationObject> = {
  save: ({ ns }) => ({ data: [integerValue(ns)], values: [] }),
  restore([ns]) {
    if (typeof ns !== 'bigint' && !(typeof ns === 'number' && Number.isSafeInteger(ns))) throw damaged('a duration')
    return new DurationObject(BigInt(ns))
  },
}

const timeSaving: ObjectSaving<TimeObject> = {
  save: ({ at, zone }) => ({ data: [at.seconds, at.nanos, zoneParts(zone)], values: [] }),
  restore([seconds, nanos, zone], owner) {
    const at = typeof seconds === 'number' && typeof nanos === 'number' ? instant(seconds, nanos) : undefined
    if (at === undefined) throw damaged('a time')
    const engine = engineOf(owner)
    return new TimeObject(at, zoneOf(zone, engine), zonesOf(engine))
  },
}

export class LocationObject extends HostObject {
  readonly zone: Zone
  constructor(zone: Zone) {
    super()
    this.zone = zone
  }
  override get className(): string {
    return 'Location'
  }
  override text(): string {
    return this.zone.name
  }
}

export class DurationObject extends HostObject {
  readonly ns: bigint
  constructor(ns: bigint) {
    super()
    this.ns = ns
  }
  override get className(): string {
    return 'Duration'
  }
  override text(): string {
    return toBytes(formatDuration(this.ns))
  }
}

export class TimeObject extends HostObject {
  readonly at: Instant
  readonly zone: Zone
  /** The zones of the engine: what `in_local` means. */
  readonly zones: Zones
  #reading: Reading | undefined

  constructor(at: Instant, zone: Zone, zones: Zones) {
    super()
    this.at = at
    this.zone = zone
    this.zones = zones
  }

  override get className(): string {
    return 'Time'
  }
  override text(): string {
    return formatTime(DEFAULT_LAYOUT, this.at, this.zone)
  }

  get reading(): Reading {
    this.#reading ??= readClock(this.at, this.zone)
    return this.#reading
  }

  withInstant(at: Instant): TimeObject {
    return new TimeObject(at, this.zone, this.zones)
  }

  withZone(zone: Zone): TimeObject {
    return new TimeObject(this.at, zone, this.zones)
  }
}

/** Nanoseconds: of a number, a text with units, or a Duration; undefined for anything else. */
export function durationOf(value: LuaValue): bigint | undefined {
  if (value instanceof DurationObject) return value.ns
  if (typeof value === 'string') return parseDuration(value)
  if (!isNumber(value)) return undefined
  return typeof value === 'bigint' ? value : durationFromNumber(toNumber(value) as number)
}

/** Like `durationOf`, and raises for what is none. */
export function durationArg(call: Call, index: number, fn: string): bigint {
  const ns = durationOf(call.arg(index))
  if (ns !== undefined) return ns
  const type = call.type(index)
  if (type === 'string' || type === 'number') return badArgument(index, fn, 'invalid duration')
  return badArgument(index, fn, `duration expected, got ${type === 'none' ? 'no value' : type}`)
}

export const locationArg = (call: Call, index: number, fn: string): Zone =>
  objectArg(call, index, fn, LocationObject, 'Location').zone

const timeArg = (call: Call, index: number, fn: string): TimeObject => objectArg(call, index, fn, TimeObject, 'Time')
const self = (call: Call, fn: string): TimeObject => timeArg(call, 1, fn)

/** The result of arithmetic on a Time, unless no Time reaches that far. */
function moved(time: TimeObject, at: Instant | undefined, fn: string): TimeObject {
  return at === undefined ? badArgument(2, fn, 'time out of range') : time.withInstant(at)
}

function addDate(call: Call): Returns {
  const time = self(call, 'add_date')
  const { reading } = time
  const fields = {
    ...reading,
    year: reading.year + integerArg(call, 2, 'add_date'),
    month: reading.month + integerArg(call, 3, 'add_date'),
    day: reading.day + integerArg(call, 4, 'add_date'),
  }
  return moved(time, setClock(fields, time.zone), 'add_date')
}

/** Whole, as an integer where 64 bits hold it. */
function unixNano(call: Call): Returns {
  const ns = totalNs(self(call, 'unix_nano').at)
  return BigInt.asIntN(64, ns) === ns ? integerValue(ns) : floatValue(Number(ns))
}

/** @param change what becomes of the instant for a number of nanoseconds */
function rounding(fn: string, change: (at: Instant, ns: bigint) => Instant): (call: Call) => Returns {
  return (call) => {
    const time = self(call, fn)
    return time.withInstant(change(time.at, objectArg(call, 2, fn, DurationObject, 'Duration').ns))
  }
}

function comparison(fn: string, holds: (order: number) => boolean): (call: Call) => Returns {
  return (call) => holds(compare(self(call, fn).at, timeArg(call, 2, fn).at))
}

/** A method that gives a part of what the clock shows. */
function part(fn: string, key: keyof Reading): (call: Call) => Returns {
  return (call) => self(call, fn).reading[key]
}

export const timeClass: HostClass = {
  name: 'Time',
  saving: timeSaving,
  methods: {
    add: (call) => {
      const time = self(call, 'add')
      return moved(time, addNs(time.at, durationArg(call, 2, 'add')), 'add')
    },
    sub: (call) => new DurationObject(difference(self(call, 'sub').at, timeArg(call, 2, 'sub').at)),
    add_date: addDate,
    after: comparison('after', (order) => order > 0),
    before: comparison('before', (order) => order < 0),
    equal: comparison('equal', (order) => order === 0),
    format: (call) => {
      const time = self(call, 'format')
      return formatTime(stringArg(call, 2, 'format'), time.at, time.zone)
    },
    format_rfc3339: (call) => {
      const time = self(call, 'format_rfc3339')
      return formatTime(LAYOUTS.RFC3339, time.at, time.zone)
    },
    unix: (call) => self(call, 'unix').at.seconds,
    unix_nano: unixNano,
    date: (call) => {
      const { year, month, day } = self(call, 'date').reading
      return [year, month, day]
    },
    clock: (call) => {
      const { hour, minute, second } = self(call, 'clock').reading
      return [hour, minute, second]
    },
    year: part('year', 'year'),
    month: part('month', 'month'),
    day: part('day', 'day'),
    hour: part('hour', 'hour'),
    minute: part('minute', 'minute'),
    second: part('second', 'second'),
    nanosecond: part('nanosecond', 'nanos'),
    weekday: part('weekday', 'weekday'),
    year_day: part('year_day', 'yearDay'),
    is_zero: (call) => {
      const { seconds, nanos } = self(call, 'is_zero').at
      return seconds === ZERO_SECONDS && nanos === 0
    },
    utc: (call) => self(call, 'utc').withZone(UTC),
    in_local: (call) => {
      const time = self(call, 'in_local')
      return time.withZone(time.zones.local)
    },
    in_location: (call) => self(call, 'in_location').withZone(locationArg(call, 2, 'in_location')),
    location: (call) => new LocationObject(self(call, 'location').zone),
    round: rounding('round', round),
    truncate: rounding('truncate', truncate),
  },
  metamethods: {
    tostring: (call) => self(call, 'tostring').text(),
  },
}

const duration = (call: Call, fn: string): bigint => objectArg(call, 1, fn, DurationObject, 'Duration').ns

/** Whole units and a rest, each exact, before they meet in a float. */
function inUnits(ns: bigint, unit: number): LuaValue {
  const size = BigInt(unit)
  return floatValue(Number(ns / size) + Number(ns % size) / unit)
}

export const durationClass: HostClass = {
  name: 'Duration',
  saving: durationSaving,
  methods: {
    nanoseconds: (call) => integerValue(duration(call, 'nanoseconds')),
    microseconds: (call) => integerValue(duration(call, 'microseconds') / 1000n),
    milliseconds: (call) => integerValue(duration(call, 'milliseconds') / 1_000_000n),
    seconds: (call) => inUnits(duration(call, 'seconds'), SECOND),
    minutes: (call) => inUnits(duration(call, 'minutes'), MINUTE),
    hours: (call) => inUnits(duration(call, 'hours'), HOUR),
  },
  metamethods: { tostring: (call) => toBytes(formatDuration(duration(call, 'tostring'))) },
}

export const locationClass: HostClass = {
  name: 'Location',
  saving: locationSaving,
  methods: { string: (call) => locationArg(call, 1, 'string').name },
  metamethods: { tostring: (call) => locationArg(call, 1, 'tostring').name },
}
