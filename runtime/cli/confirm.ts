// Nothing that cannot be taken back happens by accident.

import { createInterface } from 'node:readline/promises'
import { CommandFailure, EXIT_FAILED } from './exit.ts'

/**
 * Asks a person to type `name` once more.
 * @param what why, as in: type a `to discard what its store holds`
 * @throws CommandFailure when there is no terminal; @param otherwise what to do then
 */
export async function isTyped(name: string, what: string, otherwise = ''): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new CommandFailure(EXIT_FAILED, `this asks on a terminal ${what}, and there is none${otherwise}`)
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const typed = await terminal.question(`type ${name} ${what}: `)
  terminal.close()
  return typed.trim() === name
}
