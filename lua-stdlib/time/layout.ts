// The layout language (lua-core.md §13.4): a layout is an example, the reference moment Monday 2 January 2006 15:04:05 at -07:00 (MST), and
// says how to write or read any other moment. Layouts and values are byte strings. Behaviour in the corners follows Go's time package, on
// which the language is modelled.

import { toText } from '../../runtime/base/bytes.ts'
import { daysInMonth, isLeapYear, MONTH_NAMES, WEEKDAY_NAMES } from './civil.ts'
import type { Instant } from './instant.ts'
import { type Reading, readClock, setClock } from './wall-clock.ts'
import { FixedZone, offsetNamed, UTC, type Zone } from './zones.ts'

export const LAYOUTS = {
  RFC3339: '2006-01-02T15:04:05Z07:00',
  RFC3339NANO: '2006-01-02T15:04:05.999999999Z07:00',
  RFC822: '02 Jan 06 15:04 MST',
  RFC822Z: '02 Jan 06 15:04 -0700',
  RFC850: 'Monday, 02-Jan-06 15:04:05 MST',
  RFC1123: 'Mon, 02 Jan 2006 15:04:05 MST',
  RFC1123Z: 'Mon, 02 Jan 2006 15:04:05 -0700',
  KITCHEN: '3:04PM',
  STAMP: 'Jan _2 15:04:05',
  STAMP_MILLI: 'Jan _2 15:04:05.000',
  STAMP_MICRO: 'Jan _2 15:04:05.000000',
  STAMP_NANO: 'Jan _2 15:04:05.000000000',
  DATE_TIME: '2006-01-02 15:04:05',
  DATE_ONLY: '2006-01-02',
  TIME_ONLY: '15:04:05',
} as const

/** How `tostring` shows a Time. */
export const DEFAULT_LAYOUT = '2006-01-02 15:04:05.999999999 -0700 MST'

// Longer tokens stand before those that begin them. `_2006` is an underscore and a year; `Jan` and `Mon` inside a longer word are text;
// zeros or nines make a fraction only when no other digit follows.
const TOKEN = new RegExp(
  [
    'January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST',
    '002|0[1-6]|2006|15|__2|_2(?!006)|[1-5]|PM|pm',
    '[-Z]07:00:00|[-Z]070000|[-Z]07:00|[-Z]0700|[-Z]07',
    '[.,](?:0+|9+)(?!\\d)',
  ].join('|'),
  'g',
)

interface Piece {
  /** Text that stands before the token. */
  readonly literal: string
  /** Empty at the end of the layout. */
  readonly token: string
}

function pieces(layout: string): Piece[] {
  const found: Piece[] = []
  let at = 0
  for (const match of layout.matchAll(TOKEN)) {
    found.push({ literal: layout.slice(at, match.index), token: match[0] })
    at = match.index + match[0].length
  }
  found.push({ literal: layout.slice(at), token: '' })
  return found
}

/** The layouts that the module names, taken apart once. */
const KNOWN: ReadonlyMap<string, readonly Piece[]> = new Map(
  [...Object.values(LAYOUTS), DEFAULT_LAYOUT].map((layout) => [layout, pieces(layout)]),
)

const piecesOf = (layout: string): readonly Piece[] => KNOWN.get(layout) ?? pieces(layout)

const pad = (value: number, width: number, fill = '0'): string => String(value).padStart(width, fill)

/** `width` digits, after the sign. */
const signed = (value: number, width: number): string => (value < 0 ? '-' : '') + pad(Math.abs(value), width)

// ---- writing

export function formatTime(layout: string, at: Instant, zone: Zone): string {
  const reading = readClock(at, zone)
  let out = ''
  for (const { literal, token } of piecesOf(layout)) {
    out += literal
    if (token !== '') out += written(token, reading, zone, at)
  }
  return out
}

function written(token: string, reading: Reading, zone: Zone, at: Instant): string {
  const { year, month, day, hour, minute, second, weekday, yearDay } = reading
  switch (token) {
    case '2006':
      return signed(year, 4)
    case '06':
      return pad(Math.abs(year) % 100, 2)
    case 'January':
      return MONTH_NAMES[month - 1] as string
    case 'Jan':
      return (MONTH_NAMES[month - 1] as string).slice(0, 3)
    case '01':
      return pad(month, 2)
    case '1':
      return String(month)
    case 'Monday':
      return WEEKDAY_NAMES[weekday] as string
    case 'Mon':
      return (WEEKDAY_NAMES[weekday] as string).slice(0, 3)
    case '02':
      return pad(day, 2)
    case '_2':
      return pad(day, 2, ' ')
    case '2':
      return String(day)
    case '002':
      return pad(yearDay, 3)
    case '__2':
      return pad(yearDay, 3, ' ')
    case '15':
      return pad(hour, 2)
    case '03':
      return pad(hour % 12 || 12, 2)
    case '3':
      return String(hour % 12 || 12)
    case '04':
      return pad(minute, 2)
    case '4':
      return String(minute)
    case '05':
      return pad(second, 2)
    case '5':
      return String(second)
    case 'PM':
      return hour >= 12 ? 'PM' : 'AM'
    case 'pm':
      return hour >= 12 ? 'pm' : 'am'
    case 'MST':
      return zone.abbreviationAt(at.seconds) || writtenOffset('-0700', reading.offsetSeconds)
    default:
      return token[0] === '.' || token[0] === ','
        ? writtenFraction(token, reading.nanos)
        : writtenOffset(token, reading.offsetSeconds)
  }
}

function writtenFraction(token: string, nanos: number): string {
  const digits = pad(nanos, 9)
    .padEnd(token.length - 1, '0')
    .slice(0, token.length - 1)
  if (token[1] === '0') return token[0] + digits
  const kept = digits.replace(/0+$/, '')
  return kept === '' ? '' : token[0] + kept
}

function writtenOffset(token: string, offsetSeconds: number): string {
  if (token[0] === 'Z' && offsetSeconds === 0) return 'Z'
  const size = Math.abs(offsetSeconds)
  const parts = [Math.floor(size / 3600), Math.floor((size % 3600) / 60), size % 60]
  const shown = parts.slice(0, token.replace(/\D/g, '').length / 2)
  // What the token leaves out does not give nothing a sign.
  const isNegative = offsetSeconds < 0 && shown.some((part) => part !== 0)
  return (isNegative ? '-' : '+') + shown.map((part) => pad(part, 2)).join(token.includes(':') ? ':' : '')
}

// ---- reading

/** `message` is text. */
type Parsed = { ok: true; at: Instant; zone: Zone } | { ok: false; message: string }

/** @param zone where a value without a zone of its own is read, and whose abbreviations and offsets are recognized */
export function parseTime(layout: string, value: string, zone: Zone): Parsed {
  const reader = new Reader(value)
  const fields = new Fields()
  const all = piecesOf(layout)
  for (const [index, { literal, token }] of all.entries()) {
    if (!reader.skip(literal)) return failed(layout, value, cannotParse(reader.rest, literal))
    if (token === '') break
    const start = reader.at
    const problem = fields.read(token, reader, startsWithFraction(all[index + 1]))
    if (problem === undefined) continue
    if (problem !== 'syntax') return failed(layout, value, `${problem} out of range`)
    return failed(layout, value, cannotParse(value.slice(start), token))
  }
  if (reader.rest !== '') return failed(layout, value, `extra text: ${quoted(reader.rest)}`)
  const problem = fields.finish()
  return problem === undefined ? fields.resolve(zone) : failed(layout, value, problem)
}

const startsWithFraction = (piece: Piece | undefined): boolean =>
  piece !== undefined && piece.literal === '' && /^[.,]/.test(piece.token)

const cannotParse = (rest: string, expected: string): string => `cannot parse ${quoted(rest)} as ${quoted(expected)}`

function failed(layout: string, value: string, problem: string): Parsed {
  return { ok: false, message: `parsing time ${quoted(value)} as ${quoted(layout)}: ${problem}` }
}

/** Short enough for a message. */
function quoted(bytes: string): string {
  return JSON.stringify(toText(bytes.length > 100 ? `${bytes.slice(0, 100)}...` : bytes))
}

class Reader {
  readonly value: string
  at = 0

  constructor(value: string) {
    this.value = value
  }

  get rest(): string {
    return this.value.slice(this.at)
  }

  /** What the sticky expression matches here, taken; undefined when it does not. */
  take(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.at
    const match = expression.exec(this.value)
    if (match === null) return undefined
    this.at += match[0].length
    return match
  }

  number(expression: RegExp): number | undefined {
    const match = this.take(expression)
    return match === undefined ? undefined : Number(match[0])
  }

  /** Literal text; a run of spaces in it stands for any number of spaces, also none at the end of the value. */
  skip(literal: string): boolean {
    for (const part of literal.match(/ +|[^ ]+/g) ?? []) {
      if (part[0] === ' ') {
        if (this.at < this.value.length && this.value[this.at] !== ' ') return false
        this.take(/ */y)
        continue
      }
      for (const char of part) {
        if (this.value[this.at] !== char) return false
        this.at++
      }
    }
    return true
  }
}

const ONE_OR_TWO = /\d\d?/y
const TWO = /\d\d/y
const FRACTION = /[.,]\d+/y

/** The patterns of offset tokens, by their number of digits and whether they have colons. */
const OFFSETS: Readonly<Record<string, RegExp>> = {
  '2': /([+-])(\d\d)/y,
  '4': /([+-])(\d\d)(\d\d)/y,
  '4:': /([+-])(\d\d):(\d\d)/y,
  '6': /([+-])(\d\d)(\d\d)(\d\d)/y,
  '6:': /([+-])(\d\d):(\d\d):(\d\d)/y,
}

/** What is wrong with a value: it does not look like the token, or the part of the moment that is out of range. */
type Problem = 'syntax' | (string & {})

class Fields {
  #year = 0
  #month: number | undefined
  #day: number | undefined
  #yearDay: number | undefined
  #hour = 0
  #minute = 0
  #second = 0
  #nanos = 0
  #half: 'am' | 'pm' | undefined
  #isUtc = false
  #offsetSeconds: number | undefined
  #abbreviation = ''

  /** @param isFractionNext the layout itself asks for the fraction right after this token */
  read(token: string, reader: Reader, isFractionNext: boolean): Problem | undefined {
    switch (token) {
      case '2006': {
        const year = reader.number(/\d{4}/y)
        if (year === undefined) return 'syntax'
        this.#year = year
        return undefined
      }
      case '06': {
        const year = reader.number(TWO)
        if (year === undefined) return 'syntax'
        // Two digits reach from 1969 to 2068.
        this.#year = year + (year >= 69 ? 1900 : 2000)
        return undefined
      }
      case 'January':
        return this.#setMonth(nameIndex(reader, MONTH_NAMES, Number.POSITIVE_INFINITY))
      case 'Jan':
        return this.#setMonth(nameIndex(reader, MONTH_NAMES, 3))
      case '01':
        return this.#setMonth(reader.number(TWO))
      case '1':
        return this.#setMonth(reader.number(ONE_OR_TWO))
      case 'Monday':
        return nameIndex(reader, WEEKDAY_NAMES, Number.POSITIVE_INFINITY) === undefined ? 'syntax' : undefined
      case 'Mon':
        return nameIndex(reader, WEEKDAY_NAMES, 3) === undefined ? 'syntax' : undefined
      case '02':
      case '_2':
      case '2':
        if (token === '_2') reader.take(/ /y)
        this.#day = reader.number(token === '02' ? TWO : ONE_OR_TWO)
        return this.#day === undefined ? 'syntax' : undefined
      case '002':
      case '__2':
        if (token === '__2') reader.take(/ {0,2}/y)
        this.#yearDay = reader.number(token === '002' ? /\d{3}/y : /\d{1,3}/y)
        return this.#yearDay === undefined ? 'syntax' : undefined
      case '15':
      case '3':
        return this.#setHour(reader.number(ONE_OR_TWO), token === '15' ? 23 : 12)
      case '03':
        return this.#setHour(reader.number(TWO), 12)
      case '04':
      case '4':
        return this.#setMinute(reader.number(token === '04' ? TWO : ONE_OR_TWO))
      case '05':
      case '5':
        return this.#setSecond(reader, reader.number(token === '05' ? TWO : ONE_OR_TWO), isFractionNext)
      case 'PM':
      case 'pm': {
        const half = reader.take(token === 'PM' ? /AM|PM/y : /am|pm/y)?.[0].toLowerCase()
        if (half !== 'am' && half !== 'pm') return 'syntax'
        this.#half = half
        return undefined
      }
      case 'MST':
        return this.#readAbbreviation(reader)
      default:
        return token[0] === '.' || token[0] === ','
          ? this.#readFraction(token, reader)
          : this.#readOffset(token, reader)
    }
  }

  #setMonth(month: number | undefined): Problem | undefined {
    if (month === undefined) return 'syntax'
    if (month < 1 || month > 12) return 'month'
    this.#month = month
    return undefined
  }

  #setHour(hour: number | undefined, max: number): Problem | undefined {
    if (hour === undefined) return 'syntax'
    if (hour > max) return 'hour'
    this.#hour = hour
    return undefined
  }

  #setMinute(minute: number | undefined): Problem | undefined {
    if (minute === undefined) return 'syntax'
    if (minute > 59) return 'minute'
    this.#minute = minute
    return undefined
  }

  /** A fraction may follow the seconds although the layout has none. */
  #setSecond(reader: Reader, second: number | undefined, isFractionNext: boolean): Problem | undefined {
    if (second === undefined) return 'syntax'
    if (second > 59) return 'second'
    this.#second = second
    const fraction = isFractionNext ? undefined : reader.take(FRACTION)
    if (fraction !== undefined) this.#nanos = nanosOf(fraction[0])
    return undefined
  }

  /** Zeros ask for exactly that many digits; nines for any number, also none with no dot. */
  #readFraction(token: string, reader: Reader): Problem | undefined {
    const isExact = token[1] === '0'
    const match = reader.take(isExact ? new RegExp(`[.,]\\d{${token.length - 1}}`, 'y') : FRACTION)
    if (match !== undefined) this.#nanos = nanosOf(match[0])
    return match === undefined && isExact ? 'syntax' : undefined
  }

  #readOffset(token: string, reader: Reader): Problem | undefined {
    if (token[0] === 'Z' && reader.take(/Z/y) !== undefined) {
      this.#isUtc = true
      return undefined
    }
    const form = `${token.replace(/\D/g, '').length}${token.includes(':') ? ':' : ''}`
    const match = reader.take(OFFSETS[form] as RegExp)
    if (match === undefined) return 'syntax'
    const [hours, minutes, seconds] = [Number(match[2]), Number(match[3] ?? 0), Number(match[4] ?? 0)]
    // 24 and 60 themselves pass, because people write offsets of 24 hours or 60 minutes.
    if (hours > 24) return 'time zone offset hour'
    if (minutes > 60) return 'time zone offset minute'
    if (seconds > 60) return 'time zone offset second'
    const size = hours * 3600 + minutes * 60 + seconds
    this.#offsetSeconds = match[1] === '-' ? 0 - size : size
    return undefined
  }

  #readAbbreviation(reader: Reader): Problem | undefined {
    if (reader.take(/UTC/y) !== undefined) {
      this.#isUtc = true
      return undefined
    }
    const length = abbreviationLength(reader.rest)
    if (length === 0) return 'syntax'
    this.#abbreviation = reader.rest.slice(0, length)
    reader.at += length
    return undefined
  }

  /** Puts together what several tokens say; the problem as a sentence, if there is one. */
  finish(): string | undefined {
    if (this.#half === 'pm' && this.#hour < 12) this.#hour += 12
    if (this.#half === 'am' && this.#hour === 12) this.#hour = 0
    if (this.#yearDay !== undefined) {
      const problem = this.#finishYearDay(this.#yearDay)
      if (problem !== undefined) return problem
    }
    const { year, month, day } = this.#date
    return day < 1 || day > daysInMonth(year, month) ? 'day out of range' : undefined
  }

  #finishYearDay(yearDay: number): string | undefined {
    if (yearDay < 1 || yearDay > (isLeapYear(this.#year) ? 366 : 365)) return 'day-of-year out of range'
    let month = 1
    let day = yearDay
    for (; day > daysInMonth(this.#year, month); month++) day -= daysInMonth(this.#year, month)
    if (this.#month !== undefined && this.#month !== month) return 'day-of-year does not match month'
    if (this.#day !== undefined && this.#day !== day) return 'day-of-year does not match day'
    this.#month = month
    this.#day = day
    return undefined
  }

  get #date(): { year: number; month: number; day: number } {
    return { year: this.#year, month: this.#month ?? 1, day: this.#day ?? 1 }
  }

  /** The moment, in the zone that the value names, else in `zone`. */
  resolve(zone: Zone): Parsed {
    if (this.#isUtc) return this.#in(UTC)
    if (this.#offsetSeconds === undefined && this.#abbreviation === '') return this.#in(zone)
    const asUtc = this.#in(UTC)
    if (!asUtc.ok) return asUtc
    const local = asUtc.at.seconds
    return this.#offsetSeconds === undefined
      ? this.#byAbbreviation(zone, local)
      : this.#byOffset(zone, local, this.#offsetSeconds)
  }

  /** In `zone` if it has that offset then, and that abbreviation if there is one. */
  #byOffset(zone: Zone, local: number, offsetSeconds: number): Parsed {
    const seconds = local - offsetSeconds
    const isOwn =
      zone.offsetAt(seconds) === offsetSeconds &&
      (this.#abbreviation === '' || zone.abbreviationAt(seconds) === this.#abbreviation)
    return this.#at(seconds, isOwn ? zone : new FixedZone(this.#abbreviation, offsetSeconds))
  }

  /** An abbreviation that the zone does not know is kept, and counts as UTC unless it says how far from Greenwich it is. */
  #byAbbreviation(zone: Zone, local: number): Parsed {
    const named = offsetNamed(zone, this.#abbreviation, local)
    const offsetSeconds = named?.offsetSeconds ?? gmtOffset(this.#abbreviation)
    const isOwn = named?.isInUse === true
    return this.#at(local - offsetSeconds, isOwn ? zone : new FixedZone(this.#abbreviation, offsetSeconds))
  }

  #at(seconds: number, zone: Zone): Parsed {
    return { ok: true, at: { seconds, nanos: this.#nanos }, zone }
  }

  #in(zone: Zone): Parsed {
    const clock = { hour: this.#hour, minute: this.#minute, second: this.#second, nanos: this.#nanos }
    const at = setClock({ ...this.#date, ...clock }, zone)
    return at === undefined ? { ok: false, message: 'time out of range' } : { ok: true, at, zone }
  }
}

/** The 1-based index of the name that stands here, whatever its case, with names cut to `length`. */
function nameIndex(reader: Reader, names: readonly string[], length: number): number | undefined {
  const rest = reader.rest.slice(0, 9).toLowerCase()
  const index = names.findIndex((name) => rest.startsWith(name.slice(0, length).toLowerCase()))
  if (index < 0) return undefined
  reader.at += Math.min(length, (names[index] as string).length)
  return index + 1
}

/** Digits after a dot or comma; what is finer than a nanosecond is dropped. */
const nanosOf = (fraction: string): number => Number(fraction.slice(1, 10).padEnd(9, '0'))

/**
 * The length of the zone abbreviation at the start of `text`, 0 if there is none: three capitals, four or five that end in T, a few odd
 * ones, `GMT+3`, or a sign and hours.
 */
function abbreviationLength(text: string): number {
  if (text.length < 3) return 0
  const odd = /^(ChST|MeST|WITA(?![A-Z]))/.exec(text) ?? /^[+-]\d+/.exec(text)
  if (odd !== null) return /^[A-Z]/.test(text) || Math.abs(Number(odd[0])) <= 23 ? odd[0].length : 0
  if (text.startsWith('GMT')) {
    const offset = /^[+-]\d+/.exec(text.slice(3))?.[0] ?? ''
    return Math.abs(Number(offset)) <= 23 ? 3 + offset.length : 3
  }
  const capitals = /^[A-Z]*/.exec(text)?.[0] ?? ''
  if (capitals.length === 3) return 3
  return (capitals.length === 4 || capitals.length === 5) && capitals.endsWith('T') ? capitals.length : 0
}

/** Seconds east of Greenwich: `GMT+3`, and the digits that zones without letters have. */
function gmtOffset(abbreviation: string): number {
  return Number(/^(?:GMT)?([+-]\d+)$/.exec(abbreviation)?.[1] ?? 0) * 3600
}
