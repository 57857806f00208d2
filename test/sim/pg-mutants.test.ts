// The simulator of process groups finds planted bugs: what passes it has been looked at.

import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Scope } from '../../cluster/pg/core/scope.ts'
import { type Change, mutate } from './mutants.ts'
import { runPgChaos } from './pg.ts'

const SEEDS = 120
const CORE = 'cluster/pg/core'
const root = mkdtempSync(join(import.meta.dirname, '../../node_modules/.mutants-'))

afterAll(() => rmSync(root, { recursive: true, force: true }))

const inScope = (find: string, replace: string): Change => ({ file: 'scope.ts', find, replace })

const MUTANTS: Readonly<Record<string, Change>> = {
  'a gap is passed over': inScope(
    'if (seq === peer.have + 1) effects.push(...this.#follow(peer, { seq, ops }))',
    'if (seq > peer.have) effects.push(...this.#follow(peer, { seq, ops }))',
  ),
  'a full state only adds': inScope('if (left > 0) ops.push(', 'if (left > count) ops.push('),
  'a full state only takes away': inScope('if (more > 0) ops.push(', 'if (more > count) ops.push('),
  'members of an earlier run of the scope stay': inScope(
    'if (run === peer.run) return []\n    const effects = this.#reset(peer)',
    'if (run === peer.run) return []\n    peer.have = 0\n    peer.seen = 0\n    const effects: ScopeEffect[] = []',
  ),
  'members of a node that is gone stay': inScope(
    'const effects = this.#reset(peer)\n    this.#peers.delete',
    'const effects: ScopeEffect[] = []\n    this.#peers.delete',
  ),
  'a scope that ends leaves its members with others': inScope(
    'return [...this.#reset(peer), ...this.#greet()]',
    'return this.#greet()',
  ),
  'a process that ends leaves one slot of several': inScope(
    'count: this.#members.countOf(group, pid) }))',
    'count: 1 }))',
  ),
  'what comes and what goes is one event': inScope('if (event?.kind !== kind) {', 'if (event === undefined) {'),
  'a monitor begins before its members are known': inScope(
    'const members = new Map(groups.map((each) => [each, this.#members.members(each)]))',
    'const members = new Map(groups.map((each) => [each, [] as readonly string[]]))',
  ),
  'leaving once is leaving altogether': {
    file: 'members.ts',
    find: 'Math.min(count, ofPid.length)',
    replace: 'ofPid.length',
  },
  'a list of members is kept too long': {
    file: 'members.ts',
    find: '    this.#count(node, -removed)\n    entry.all = undefined',
    replace: '    this.#count(node, -removed)',
  },
}

describe('planted bugs are found', () => {
  test.each(Object.entries(MUTANTS).map(([name, change], at) => [name, change, at] as const))(
    '%s',
    { timeout: 60_000 },
    async (name, change, at) => {
      const folder = join(root, String(at))
      mutate(name, change, folder, CORE)
      const { Scope: core } = (await import(join(folder, CORE, 'scope.ts'))) as { Scope: typeof Scope }
      let found: string | undefined
      for (let seed = 1; seed <= SEEDS && found === undefined; seed++) {
        try {
          runPgChaos({ seed, nodes: 2 + (seed % 4), minutes: 5, core })
        } catch (error) {
          found = (error as Error).message
        }
      }
      if (process.env['MUTANTS'] === 'show') console.log(name, '→', found)
      expect(found, `nobody noticed within ${SEEDS} seeds`).toBeDefined()
    },
  )
})
