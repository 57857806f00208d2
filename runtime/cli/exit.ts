// How the command ends: exit codes, failures with one, and the exit code of a program that ran on the terminal.

import { toText, toUint8Array } from '../base/bytes.ts'
import { Float, type Value } from '../base/value.ts'
import type { Outcome } from '../services.ts'

export const EXIT_OK = 0
/** The operation or the app failed. */
export const EXIT_FAILED = 1
/** Bad command line, bad app file or bad configuration. */
export const EXIT_USAGE = 2
export const EXIT_INTERRUPTED = 130

/** Ends the command with an exit code, after its message was printed to standard error. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure'
  readonly exitCode: number
  /** The message is a list of problems that speaks for itself. */
  readonly isReport: boolean

  constructor(exitCode: number, message: string, { isReport = false }: { isReport?: boolean } = {}) {
    super(message)
    this.exitCode = exitCode
    this.isReport = isReport
  }
}

interface TerminalEnd {
  exitCode: number
  stdout?: Uint8Array
  stderr?: string
}

/** What a terminal program's result means for the command. lua-core.md §20. */
export function terminalEnd(outcome: Outcome): TerminalEnd {
  if (!outcome.ok) return { exitCode: EXIT_FAILED, stderr: failureText(outcome.error) }
  const { value } = outcome
  if (typeof value === 'string') return { exitCode: EXIT_OK, stdout: toUint8Array(`${value}\n`) }
  if (value === false) return { exitCode: EXIT_FAILED }
  const code = numberOf(value)
  return { exitCode: code === undefined ? EXIT_OK : exitCodeOf(code) }
}

/** The message, and where it was raised indented below. `error` holds byte strings. */
export function failureText(error: { message: string; stack: string }): string {
  const message = toText(error.message)
  const stack = toText(error.stack).trimEnd()
  if (stack === '') return message
  const rows = stack.split('\n').filter((row) => row.trim() !== message)
  return [message, ...rows.map((row) => `    ${row.trim()}`)].join('\n')
}

function numberOf(value: Value): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  return value instanceof Float ? value.value : undefined
}

/** Of a number that a script gives: its integer part. What no exit code can say is a failure: cut to a byte, 256 would pass for success. */
export function exitCodeOf(value: number): number {
  const code = Math.trunc(value)
  return code >= 0 && code <= 255 ? code : 255
}
