// The machine is the naive one, and not if a bug is planted in it. cluster.md §5.10, §5.11, §6.2, §6.4, §7; N6.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Machine } from '../../../../cluster/state/core/machine.ts'
import { decodeCommands } from '../../../../cluster/state/wire/commands.ts'
import { holdAgainstNaive, type MachineParts } from './against-naive.ts'

test('answers, events and state are those of the naive one, whatever is asked, again, late or of a session that is over', () => {
  holdAgainstNaive({ Machine, decodeCommands }, { numRuns: 100 })
}, 120_000)

interface Plant {
  readonly name: string
  /** Below cluster/. */
  readonly file: string
  /** Found once. */
  readonly find: string
  readonly replace: string
}

const SESSIONS = 'state/core/sessions.ts'
const MACHINE = 'state/core/machine.ts'
const NAMES = 'names/core/bindings.ts'
const LOCKS = 'locks/core/locks.ts'

const PLANTS: readonly Plant[] = [
  {
    name: 'the floor is forgotten',
    file: SESSIONS,
    find: 'if (outcome === undefined && request.seq < known.floor) {',
    replace: 'if (outcome === undefined && request.seq < 0) {',
  },
  {
    name: 'what a node is done with is told again',
    file: SESSIONS,
    find: 'late.delete(seq)',
    replace: '',
  },
  {
    name: 'what was given up happens when it arrives',
    file: SESSIONS,
    find: 'if (seq >= floor && !results.has(seq) && results.size < CONCLUDED_MAX)',
    replace: 'if (seq < 0)',
  },
  {
    name: 'a snapshot forgets the floor',
    file: SESSIONS,
    find: "session === 0 ? 0 : f.count('floor')",
    replace: "session === 0 ? 0 : 0 * f.count('floor')",
  },
  {
    name: 'a later run of a node has the session of the one before',
    file: MACHINE,
    find: 'if (open?.epoch === epoch) return',
    replace: 'if (open !== undefined) return',
  },
  {
    name: 'an end of a session that is over ends the next one',
    file: MACHINE,
    find: 'this.#parts.sessions.ofNode(command.node)?.session === command.session',
    replace: 'this.#parts.sessions.ofNode(command.node) !== undefined',
  },
  {
    name: 'what is cancelled before it arrives happens',
    file: MACHINE,
    find: "if (!changed && sessions.result(request) === undefined) sessions.remember(request, { status: 'aborted' })",
    replace: '',
  },
  {
    name: 'a node ends processes of others',
    file: MACHINE,
    find: 'this.#sessionOfPid(pid) === request.session)',
    replace: 'this.#sessionOfPid(pid) !== undefined)',
  },
  {
    name: 'a name that is bound is forgotten with its reservation',
    file: NAMES,
    find: 'if (this.#names.has(name) || this.#pending.has(name)) return',
    replace: '',
  },
  {
    name: 'a new session need not agree to what is reserved',
    file: NAMES,
    find: 'for (const name of this.#pending.keys()) this.#pending.own(name)?.required.add(session)',
    replace: 'void session',
  },
  {
    name: 'the agreement of an ended session counts for another',
    file: NAMES,
    find: 'pending.acked.delete(session)',
    replace: '',
  },
  {
    name: 'a session that need not agree refuses',
    file: NAMES,
    find: 'pending === undefined || !pending.required.has(options.session)',
    replace: 'pending === undefined',
  },
  {
    name: 'who asked in an ended session is still answered',
    file: NAMES,
    find: 'removeCallers(pending.callers, session)',
    replace: '',
  },
  {
    name: 'a waiter of an ended session is granted the lock',
    file: LOCKS,
    find: 'for (const key of this.#waitsOfSession.of(session).sort(compareText)) {',
    replace: 'for (const key of [] as string[]) {',
  },
  {
    name: 'the last who came is served first',
    file: LOCKS,
    find: 'const next = held.queue.entries().next()',
    replace: 'const next = [...held.queue.entries()].slice(-1).values().next()',
  },
  {
    name: 'any token releases',
    file: LOCKS,
    find: '|| (token !== undefined && held.token !== token)',
    replace: '|| token === 0',
  },
  {
    name: 'who was granted a lock is still told that the wait is over',
    file: LOCKS,
    find: 'this.#forgetWait(key, pid, request)',
    replace: 'this.#waiting.delete(key)',
  },
  {
    name: 'a snapshot forgets what a lock was asked for with',
    file: LOCKS,
    find: "seq: f.count('seq'),\n      token",
    replace: "seq: 0 * f.count('seq'),\n      token",
  },
]

const ROOT = join(import.meta.dirname, '../../../..')

describe('a planted bug makes a difference:', () => {
  const folder = mkdtempSync(join(ROOT, 'node_modules/.machine-plants-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** The machine with the bug in it, alone: it needs no drivers. */
  async function planted({ name, file, find, replace }: Plant, into: string): Promise<MachineParts> {
    for (const part of ['state', 'names', 'locks', 'kv']) {
      for (const room of ['core', 'wire']) {
        if (part === 'locks' && room === 'wire') continue
        cpSync(join(ROOT, 'cluster', part, room), join(into, 'cluster', part, room), { recursive: true })
      }
    }
    cpSync(join(ROOT, 'runtime/base'), join(into, 'runtime/base'), { recursive: true })
    const path = join(into, 'cluster', file)
    const pieces = readFileSync(path, 'utf8').split(find)
    if (pieces.length !== 2) throw new Error(`"${name}" finds its text ${pieces.length - 1} times in ${file}`)
    writeFileSync(path, pieces.join(replace))
    const machine = (await import(join(into, 'cluster/state/core/machine.ts'))) as Pick<MachineParts, 'Machine'>
    const wire = (await import(join(into, 'cluster/state/wire/commands.ts'))) as Pick<MachineParts, 'decodeCommands'>
    return { Machine: machine.Machine, decodeCommands: wire.decodeCommands }
  }

  test.each(PLANTS.map((plant, at) => [plant.name, plant, at] as const))(
    '%s',
    { timeout: 120_000 },
    async (_name, plant, at) => {
      const parts = await planted(plant, join(folder, String(at)))
      expect(() => holdAgainstNaive(parts, { numRuns: 200, seed: 1, isShortened: false })).toThrow()
    },
  )
})
