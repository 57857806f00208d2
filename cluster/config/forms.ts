// Forms of single settings: how a value of the file becomes one of the code, what it is when the file says nothing, and how the
// reference page describes both. A form reports what is wrong with a value and never throws. cluster.md §2.1, operations.md §1.

import { formatDurationNs, parseDurationMs, parseSizeBytes } from '../../runtime/base/duration.ts'

/** What is wrong with a value: of the setting itself, or of an item of its list. */
type Report = (message: string, options?: { item?: number; suggest?: Suggestion }) => void

/** A misspelt word and what may have been meant; the app loader adds "did you mean". */
export interface Suggestion {
  readonly written: string
  readonly among: readonly string[]
}

export interface Setting<T> {
  /** As the reference page says it. */
  readonly type: string
  readonly defaultText: string
  readonly bounds: string
  /** What looks like a number or a truth value is text all the same when a flag or a variable brings it. */
  readonly isText: boolean
  readonly fallback: T
  /** Undefined once it has reported a problem. */
  read(given: unknown, report: Report): T | undefined
}

export interface Section {
  readonly [key: string]: Setting<unknown> | Section
}

export type ValueOf<S> = S extends Setting<infer T> ? T : { readonly [K in keyof S]: ValueOf<S[K]> }

/** Has no default of its own: what it is then depends on other settings. */
export type Open<T> = Setting<T | undefined>

interface Extra {
  /** A bound that other settings set; checked by the rules. */
  readonly also?: string
}

const SHOWN_LENGTH_MAX = 60

/** A value as a message shows it. Not for secrets. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text
}

/** `1m30s`, `500ms`. */
export function durationText(ms: number): string {
  return formatDurationNs(Math.round(ms * 1e6))
    .replace(/(?<=[hm])0s$/, '')
    .replace(/(?<=h)0m$/, '')
}

/** `64KiB` */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'] as const
  let value = bytes
  let unit = 0
  while (unit < units.length - 1 && value >= 1024 && value % 1024 === 0) {
    value /= 1024
    unit++
  }
  return `${value}${units[unit]}`
}

function isNumber(given: unknown): boolean {
  return typeof given === 'number' || (typeof given === 'string' && /^\d+$/.test(given))
}

const isZero = (given: unknown): boolean => given === 0 || given === '0'

/** Text of the right form will do in place of true and false: that is what `${env:NAME}` leaves behind. */
export function flag(fallback: boolean): Setting<boolean> {
  return {
    type: 'bool',
    defaultText: `\`${fallback}\``,
    bounds: '',
    isText: false,
    fallback,
    read(given, report) {
      if (typeof given === 'boolean') return given
      if (given === 'true' || given === 'false') return given === 'true'
      report(`expected true or false, found ${show(given)}`)
      return undefined
    },
  }
}

interface WholeOptions extends Extra {
  readonly min: number
  readonly max?: number
  /** Says what is wrong with a number in the range; '' when nothing is. */
  readonly check?: (value: number) => string
}

export function whole(fallback: number, options: WholeOptions): Setting<number> {
  return { ...openWhole(`\`${fallback}\``, options), fallback } as Setting<number>
}

export function openWhole(defaultText: string, { min, max, also = '', check }: WholeOptions): Open<number> {
  const range = max === undefined ? `at least ${min}` : `${min} to ${max}`
  const expected = max === undefined ? `a whole number of at least ${min}` : `a whole number from ${min} to ${max}`
  return {
    type: 'int',
    defaultText,
    bounds: joined(range, also),
    isText: false,
    fallback: undefined,
    read(given, report) {
      const value = typeof given === 'string' && /^-?\d+$/.test(given) ? Number(given) : given
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > (max ?? value)) {
        report(`expected ${expected}, found ${show(given)}`)
        return undefined
      }
      const why = check?.(value) ?? ''
      if (why === '') return value
      report(why)
      return undefined
    },
  }
}

/** Whole numbers without 2 as a divisor: an even number of voters stands no more failures than one voter less. */
export function odd(fallback: number, options: WholeOptions & { readonly max: number }): Setting<number> {
  const { min, max, also } = options
  const check = (value: number): string => {
    if (value % 2 === 1) return ''
    const near = [value - 1, value + 1].filter((each) => each >= min && each <= max)
    return `${value} must be odd (did you mean ${near.join(' or ')}?)`
  }
  return whole(fallback, { min, max, check, also: joined('odd', also ?? '') })
}

/** The longest delay of Node's timers; a longer one would fire at once. */
const DURATION_MS_MAX = 2 ** 31 - 1

interface RangeOptions extends Extra {
  /** A duration or a size, as the file would say it. */
  readonly min: string
  readonly max?: string
  /** What 0 means, where it stands apart from the range. */
  readonly zero?: string
}

/** Milliseconds. */
export function duration(fallback: string, options: RangeOptions): Setting<number> {
  return { ...openDuration(`\`${fallback}\``, options), fallback: durationMs(fallback) } as Setting<number>
}

export function openDuration(defaultText: string, { min, max, zero, also = '' }: RangeOptions): Open<number> {
  const minMs = durationMs(min)
  const maxMs = max === undefined ? DURATION_MS_MAX : durationMs(max)
  const bounds = rangeText({ min, max, zero })
  return {
    type: 'duration',
    defaultText,
    bounds: joined(bounds, also),
    isText: false,
    fallback: undefined,
    read(given, report) {
      if (isNumber(given) && !isZero(given)) {
        report(`a duration needs a unit: write "${given}s" or "${given}ms" instead of ${given}`)
        return undefined
      }
      const value = isZero(given) ? 0 : typeof given === 'string' ? parseDurationMs(given) : undefined
      if (value === undefined) {
        report(`expected a duration such as "250ms", "5s" or "1h30m", found ${show(given)}`)
        return undefined
      }
      if ((value === 0 && zero !== undefined) || (value >= minMs && value <= maxMs)) return value
      const limit = value > DURATION_MS_MAX ? 'at most 24 days (576h)' : bounds
      report(`expected ${limit}, found ${show(given)}`)
      return undefined
    },
  }
}

/** Bytes. */
export function size(fallback: string, { min, max, zero, also = '' }: RangeOptions): Setting<number> {
  const minBytes = sizeBytes(min)
  const maxBytes = max === undefined ? Number.MAX_SAFE_INTEGER : sizeBytes(max)
  const bounds = rangeText({ min, max, zero })
  return {
    type: 'size',
    defaultText: `\`${fallback}\``,
    bounds: joined(bounds, also),
    isText: false,
    fallback: sizeBytes(fallback),
    read(given, report) {
      if (isNumber(given)) {
        report(`a size needs a unit: write "${given}MiB" or "${given}B" instead of ${given}`)
        return undefined
      }
      const value = typeof given === 'string' ? parseSizeBytes(given) : undefined
      if (value === undefined) report(`expected a size such as "64KiB" or "512MiB", found ${show(given)}`)
      else if (value >= minBytes && value <= maxBytes) return value
      else report(`expected ${bounds}, found ${show(given)}`)
      return undefined
    },
  }
}

export function choice<const T extends string>(values: readonly T[], fallback: T): Setting<T> {
  const list = values.map((value) => `"${value}"`).join(', ')
  return {
    type: 'enum',
    defaultText: `\`${fallback}\``,
    bounds: values.map((value) => `\`${value}\``).join(', '),
    isText: false,
    fallback,
    read(given, report) {
      const value = values.find((each) => each === given)
      if (value !== undefined) return value
      const suggest = typeof given === 'string' ? { written: given, among: values } : undefined
      report(`expected one of ${list}, found ${show(given)}`, suggest === undefined ? {} : { suggest })
      return undefined
    },
  }
}

interface TextOptions<T> {
  readonly type: string
  readonly defaultText: string
  readonly bounds: string
  /** Nothing that is wrong shows the text. */
  readonly isSecret?: boolean
  /** Says what is wrong as `{ why }`. */
  readonly parse: (text: string) => { value: T } | { why: string }
}

export function text<T>(options: TextOptions<T>, fallback: T): Setting<T> {
  const { type, defaultText, bounds, isSecret = false, parse } = options
  return {
    type,
    defaultText,
    bounds,
    isText: true,
    fallback,
    read(given, report) {
      if (typeof given !== 'string') {
        const hint = typeof given === 'number' || typeof given === 'boolean' ? '; put it in quotes' : ''
        const found = isSecret && hint !== '' ? 'something else' : show(given)
        report(`expected text, found ${found}${hint}`)
        return undefined
      }
      const parsed = parse(given)
      if ('value' in parsed) return parsed.value
      report(parsed.why)
      return undefined
    },
  }
}

interface ListOptions<T> extends TextOptions<T> {
  readonly countMax: number
}

/** A list of texts, or one text with commas between its items. */
export function list<T>(options: ListOptions<T>): Setting<readonly T[]> {
  const { type, defaultText, bounds, isSecret = false, parse, countMax } = options
  return {
    type,
    defaultText,
    bounds: joined(bounds, `at most ${countMax}`),
    isText: false,
    fallback: [],
    read(given, report) {
      if (typeof given === 'string' && given.trim() === '') return []
      const items: readonly unknown[] | undefined =
        typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : undefined
      if (items === undefined) {
        report(`expected a list, found ${isSecret ? 'something else' : show(given)}`)
        return undefined
      }
      if (items.length > countMax) {
        report(`expected at most ${countMax} items, found ${items.length}`)
        return undefined
      }
      const values: T[] = []
      for (const [i, item] of items.entries()) {
        const parsed: ReturnType<typeof parse> =
          typeof item === 'string'
            ? parse(item.trim())
            : { why: `expected text, found ${isSecret ? 'something else' : show(item)}` }
        if ('value' in parsed) values.push(parsed.value)
        else report(parsed.why, Array.isArray(given) ? { item: i } : {})
      }
      return values.length === items.length ? values : undefined
    },
  }
}

/** Every setting below a section with its path, in the order of the table. */
export function settingsIn(section: Section, prefix = ''): { path: string; setting: Setting<unknown> }[] {
  return Object.entries(section).flatMap(([key, each]) =>
    isSetting(each) ? [{ path: `${prefix}${key}`, setting: each }] : settingsIn(each, `${prefix}${key}.`),
  )
}

export function isSetting(each: Setting<unknown> | Section): each is Setting<unknown> {
  return typeof each['read'] === 'function'
}

function rangeText({ min, max, zero }: { min: string; max: string | undefined; zero: string | undefined }): string {
  const range = max === undefined ? `at least ${min}` : `${min} to ${max}`
  return zero === undefined ? range : `0 (${zero}), or ${range}`
}

const joined = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join('; ')

function durationMs(words: string): number {
  return parseDurationMs(words) ?? Number.NaN
}

function sizeBytes(words: string): number {
  return parseSizeBytes(words) ?? Number.NaN
}
