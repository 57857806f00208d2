// What commands say: results to standard output, everything else to standard error; as text for people or JSON for programs.

import type { Writable } from 'node:stream'
import { jsonOf } from '../base/plain.ts'

interface OutputOptions {
  json: boolean
  color: boolean
  stdout: Writable
  stderr: Writable
}

interface Column<Row> {
  title: string
  text(row: Row): string
  align?: 'right'
}

/** What every command takes. */
export interface CommonOptions {
  json?: boolean
  /** False after `--no-color`. */
  color: boolean
}

export class Output {
  /** Programs read the result: nothing but JSON goes to standard output. */
  readonly isJson: boolean
  /** Results that come one after the other take a line each. */
  isCompact = false
  readonly #color: boolean
  readonly #stdout: Writable
  readonly #stderr: Writable

  constructor(options: OutputOptions) {
    this.isJson = options.json
    this.#color = options.color
    this.#stdout = options.stdout
    this.#stderr = options.stderr
  }

  /** For this program's own streams. */
  static standard(options: CommonOptions): Output {
    const { stdout, stderr } = process
    const wantsColor = options.color && (process.env['NO_COLOR'] ?? '') === ''
    return new Output({ json: options.json === true, color: wantsColor && stdout.isTTY, stdout, stderr })
  }

  /** A line of the result. Not for JSON. */
  line(text: string): void {
    this.#stdout.write(`${text}\n`)
  }

  /** As it is. */
  text(text: string): void {
    this.#stdout.write(text)
  }

  get hasColor(): boolean {
    return this.#color
  }

  json(value: unknown): void {
    this.#stdout.write(`${jsonOf(value, this.isCompact ? {} : { indent: 2 })}\n`)
  }

  /** For results that come one after the other. */
  jsonLine(value: unknown): void {
    this.#stdout.write(`${jsonOf(value)}\n`)
  }

  bytes(data: Uint8Array): void {
    this.#stdout.write(data)
  }

  error(text: string): void {
    this.#stderr.write(`${text}\n`)
  }

  /** Rows under titles, in columns as wide as need be; two spaces between. */
  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): void {
    const cells = rows.map((row) => columns.map((column) => printable(column.text(row))))
    const widths = columns.map(({ title }, i) =>
      Math.max(title.length, ...cells.map((row) => [...(row[i] as string)].length)),
    )
    const lay = (row: readonly string[]): string =>
      row
        .map((cell, i) => {
          const gap = ' '.repeat((widths[i] as number) - [...cell].length)
          return columns[i]?.align === 'right' ? gap + cell : cell + gap
        })
        .join('  ')
        .trimEnd()
    this.line(this.bold(lay(columns.map((column) => column.title))))
    for (const row of cells) this.line(lay(row))
  }

  bold = (text: string): string => this.#styled(1, 22, text)
  dim = (text: string): string => this.#styled(2, 22, text)
  red = (text: string): string => this.#styled(31, 39, text)
  green = (text: string): string => this.#styled(32, 39, text)

  #styled(on: number, off: number, text: string): string {
    return this.#color ? `\u001b[${on}m${text}\u001b[${off}m` : text
  }
}

/** On one line, without the characters by which a name could steer the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to remove
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '')
}

/** `1234` -> `1.2s`; two units at most: `3m4s`, `2h5m`, `3d4h`. */
export function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 10) return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`
  if (seconds < 60) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m${seconds % 60}s`
  const hours = Math.floor(minutes / 60)
  return hours < 24 ? `${hours}h${minutes % 60}m` : `${Math.floor(hours / 24)}d${hours % 24}h`
}

/** `1 test`, `2 tests`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
