// `--watch`: what a command shows, again and again until Ctrl-C. What goes wrong meanwhile is shown as well: a node that restarts comes back.

import { type Command, InvalidArgumentError } from 'commander'
import { parseDurationMs } from '../base/duration.ts'
import { messageOf } from '../base/errors.ts'
import { CommandFailure, EXIT_OK } from './exit.ts'
import type { Output } from './output.ts'
import { Signals } from './signals.ts'

export interface RepeatOptions {
  /** Milliseconds; true: the default. Absent: once. */
  watch?: number | true
}

const EVERY_MS = 2_000
const EVERY_MS_MIN = 100
const CLEAR = '\u001b[H\u001b[2J\u001b[3J'

export function addRepeat(command: Command): Command {
  return command.option('--watch [every]', 'show it again and again, by default every 2s, until Ctrl-C', everyMs)
}

function everyMs(given: string): number {
  const ms = parseDurationMs(given)
  if (ms === undefined || ms < EVERY_MS_MIN) throw new InvalidArgumentError('a duration of at least 100ms is needed')
  return ms
}

/** @param show returns the exit code, and throws what the command fails with */
export async function repeated(options: RepeatOptions, output: Output, show: () => Promise<number>): Promise<number> {
  if (options.watch === undefined) return show()
  output.isCompact = true
  const waitMs = options.watch === true ? EVERY_MS : options.watch
  const signals = new Signals()
  let isOver = false
  const over = signals.first.then(() => {
    isOver = true
  })
  // A reader that has seen enough.
  process.stdout.once('error', () => process.kill(process.pid, 'SIGINT'))
  try {
    while (!isOver) {
      if (process.stdout.isTTY && !output.isJson) output.text(CLEAR)
      try {
        await show()
      } catch (error) {
        // Which node is meant does not become clear by waiting.
        if (error instanceof CommandFailure && error.exitCode !== 1) throw error
        output.error(`error: ${messageOf(error)}`)
      }
      if (!process.stdout.isTTY && !output.isJson) output.line('')
      let timer: NodeJS.Timeout | undefined
      const later = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, waitMs)
      })
      await Promise.race([later, over])
      clearTimeout(timer)
    }
    return EXIT_OK
  } finally {
    signals.close()
  }
}
