// The standard streams at their end: readers that leave early, and output that must be out before the program is.

import type { Writable } from 'node:stream'

interface StandardOutputs {
  stdout: Writable
  stderr: Writable
}

/**
 * Without a listener the first write to a reader that has left (`| head`) ends the program with a stack trace.
 * @returns what resolves when nobody reads standard output any more
 */
export function watchOutputs({ stdout, stderr }: StandardOutputs): Promise<void> {
  stderr.on('error', () => {})
  return new Promise((resolve) => stdout.on('error', () => resolve()))
}

/** Resolves when everything written so far is out, or cannot get out. */
export async function flushOutputs({ stdout, stderr }: StandardOutputs): Promise<void> {
  for (const stream of [stdout, stderr]) {
    if (stream.destroyed || stream.writableLength === 0) continue
    await new Promise<void>((resolve) => stream.write('', () => resolve()))
  }
}
