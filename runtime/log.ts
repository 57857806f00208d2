// The node's log: structured lines to standard error, the last of them kept for whoever asks later. The one importer of pino.
//
// Lines are written before `write` returns (pino-pretty is called as a function, not as a transport), so none is lost at exit.

import { createRequire } from 'node:module'
import { pino } from 'pino'
import type * as PinoPretty from 'pino-pretty'
import { messageOf } from './base/errors.ts'
import type { LogLevel } from './services.ts'

export type { LogLevel }

/** A line as it was written. */
export interface LogLine {
  /** Wall-clock milliseconds since 1970. */
  readonly timeMs: number
  readonly level: LogLevel
  readonly text: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Where lines go: standard error, or anything that takes text. */
export interface LogStream {
  write(text: string, done?: (error?: Error | null) => void): unknown
  readonly isTTY?: boolean
}

interface LogOptions {
  level: LogLevel | 'silent'
  /** `auto`: pretty when the stream is a terminal, JSON otherwise. */
  format: 'auto' | 'pretty' | 'json'
  /** Default: standard error. */
  stream?: LogStream
  /** How many lines are kept for whoever asks later. Default: 1000. */
  recentLinesMax?: number
  /** Only for the pretty format. Default: when the stream is a terminal and NO_COLOR is not set. */
  color?: boolean
}

export interface Log {
  readonly format: 'pretty' | 'json'
  /** Fields named like a line's own parts (`level`, `time`, `msg`) get a `_` behind their name. */
  write(level: LogLevel, fields: Record<string, unknown>, text: string): void
  /** The last lines, oldest first: as many as the options say, and of long ones fewer. */
  recent(): LogLine[]
  /** Calls `listener` with each line to come, until the returned function is called. */
  subscribe(listener: (line: LogLine) => void): () => void
  setLevel(level: LogLevel | 'silent'): void
  /** A quiet log writes nothing; its lines still reach `recent` and the subscribers. */
  setQuiet(isQuiet: boolean): void
  /** Resolves when the stream has taken everything. Idempotent. */
  close(): Promise<void>
}

const RECENT_LINES = 1000
/** Of all lines that are kept; the oldest go first. */
const RECENT_CHARS_MAX = 8 * 1024 * 1024
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
const RANKS: Record<LogLevel | 'silent', number> = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, silent: 100 }
const LINE_PARTS = ['level', 'time', 'msg']

export function createLog(options: LogOptions): Log {
  return new PinoLog(options)
}

class PinoLog implements Log {
  readonly format: 'pretty' | 'json'
  readonly #stream: LogStream
  readonly #pino: pino.Logger
  readonly #listeners = new Set<(line: LogLine) => void>()
  readonly #recent: Recent
  #rank: number
  #isQuiet = false

  constructor(options: LogOptions) {
    const stream = options.stream ?? process.stderr
    const isTerminal = stream.isTTY === true
    this.#stream = stream
    this.#recent = new Recent(options.recentLinesMax ?? RECENT_LINES)
    this.#rank = RANKS[options.level]
    this.format = options.format === 'auto' ? (isTerminal ? 'pretty' : 'json') : options.format
    const color = options.color ?? (isTerminal && (process.env['NO_COLOR'] ?? '') === '')
    const shape = this.format === 'pretty' ? prettyShape(color) : (line: string) => line
    this.#pino = pino(
      {
        level: 'trace',
        // pino's own base (process id, host name) would hide the PID of a Lua process, which has the same name.
        base: null,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line: string) => void stream.write(shape(line)) },
    )
  }

  write(level: LogLevel, fields: Record<string, unknown>, text: string): void {
    if (RANKS[level] < this.#rank) return
    const safe = withoutLineParts(fields)
    this.#keep({ timeMs: Date.now(), level, text, fields: safe })
    if (!this.#isQuiet) this.#pino[level](safe, text)
  }

  #keep(line: LogLine): void {
    this.#recent.add(line)
    for (const listener of this.#listeners) {
      try {
        listener(line)
      } catch (error) {
        // Telling it the usual way would call the listener again.
        this.#listeners.delete(listener)
        this.#pino.error({}, `a listener of the log failed and was dropped: ${messageOf(error)}`)
      }
    }
  }

  recent(): LogLine[] {
    return this.#recent.lines()
  }

  subscribe(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  setLevel(level: LogLevel | 'silent'): void {
    this.#rank = RANKS[level]
  }

  setQuiet(isQuiet: boolean): void {
    this.#isQuiet = isQuiet
  }

  close(): Promise<void> {
    this.#listeners.clear()
    return new Promise((resolve) => {
      this.#stream.write('', () => resolve())
    })
  }
}

/** The last lines, within a number of them and of their characters. */
class Recent {
  readonly #countMax: number
  /** Those before `#first` are gone. */
  #kept: { readonly line: LogLine; readonly chars: number }[] = []
  #first = 0
  #chars = 0

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  add(line: LogLine): void {
    if (this.#countMax === 0) return
    const chars = charsOf(line)
    this.#kept.push({ line, chars })
    this.#chars += chars
    while (this.#kept.length - this.#first > this.#countMax || this.#chars > RECENT_CHARS_MAX) this.#drop()
    if (this.#first > this.#countMax) {
      this.#kept = this.#kept.slice(this.#first)
      this.#first = 0
    }
  }

  /** What is gone is not kept alive until the list is made anew. */
  #drop(): void {
    this.#chars -= this.#kept[this.#first]?.chars ?? 0
    this.#kept[this.#first] = GONE
    this.#first++
  }

  lines(): LogLine[] {
    return this.#kept.slice(this.#first).map(({ line }) => line)
  }
}

const GONE = { line: { timeMs: 0, level: 'trace' as const, text: '', fields: {} }, chars: 0 }

/** About as many as the line has; what fields hold within tables counts little, since a script's line is bounded before. */
function charsOf({ text, fields }: LogLine): number {
  const values = Object.entries(fields).map(
    ([key, value]) => key.length + (typeof value === 'string' ? value.length : 64),
  )
  return values.reduce((sum, chars) => sum + chars, text.length + 64)
}

/** A line in the form that JSON logs have. */
export function logRecord({ timeMs, level, text, fields }: LogLine): Record<string, unknown> {
  return { level, time: timeMs, ...fields, msg: text }
}

/** How people read a line of a JSON log; the text ends with a line break. */
export const prettyLine = (color: boolean): ((line: string) => string) => prettyShape(color)

export const logRank = (level: LogLevel): number => RANKS[level]

function withoutLineParts(fields: Record<string, unknown>): Record<string, unknown> {
  if (!LINE_PARTS.some((part) => Object.hasOwn(fields, part))) return fields
  const pairs = Object.entries(fields).map(([key, value]) => [LINE_PARTS.includes(key) ? `${key}_` : key, value])
  return Object.fromEntries(pairs)
}

/** Loaded at need: most programs that log are no terminals. */
function prettyShape(color: boolean): (line: string) => string {
  const pretty = createRequire(import.meta.url)('pino-pretty') as typeof PinoPretty
  return pretty.prettyFactory({
    colorize: color,
    useOnlyCustomProps: false,
    customColors: 'message:reset',
    translateTime: 'SYS:HH:MM:ss.l',
    // `type` only because a field of that name with the value `Error` would be printed in another way.
    ignore: 'pid,hostname,name,caller,type',
    hideObject: true,
    customPrettifiers: {
      time: (time) => String(time),
      level: (_level, _key, _line, { label, labelColorized }) => ' '.repeat(5 - label.length) + labelColorized,
    },
    messageFormat: (line, messageKey, _levelLabel, { colors }) => prettyMessage(line, String(line[messageKey]), colors),
  })
}

interface Colors {
  gray(text: string): string
}

/** `entry:line #n` of a line from Lua, the text, the other fields; a traceback below. */
function prettyMessage(line: Record<string, unknown>, text: string, colors: Colors): string {
  const { level: _level, time: _time, msg: _msg, pid, entry, line: where, traceback, ...others } = line
  const parts: string[] = []
  const origin = [where ?? entry, pid === undefined ? undefined : compactPid(printable(pid))]
  const known = origin.filter((part) => part !== undefined).map(printable)
  if (known.length > 0) parts.push(colors.gray(known.join(' ')))
  const [first = '', ...rest] = printable(text).split('\n')
  parts.push(first)
  const fields = Object.entries(others).map(([key, value]) => `${printable(key)}=${fieldText(value)}`)
  if (fields.length > 0) parts.push(colors.gray(fields.join(' ')))
  const below = rest.map((row) => `    ${row}`)
  if (traceback !== undefined) {
    for (const row of printable(traceback).trimEnd().split('\n')) below.push(colors.gray(`    ${row}`))
  }
  return [parts.join(' '), ...below].join('\n')
}

/** `{shop:processes|mh2k9z3c.1f}` -> `#1f`: what differs between the processes of one run. */
export function compactPid(pid: string): string {
  const dot = pid.lastIndexOf('.')
  return dot > 0 && pid.endsWith('}') ? `#${pid.slice(dot + 1, -1)}` : pid
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
  return printable(text)
}

/** Without the control characters by which a script's text could steer the terminal. */
function printable(value: unknown): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to remove
  return String(value).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
}
