// A cluster that forms itself in the simulated world. More seeds: `npm run sim -- --protocol formation --seeds 500`.

import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { runFormation } from './formation.ts'
import type { FormationBugs, FormationCores } from './formation-node.ts'
import { mutate } from './mutants.ts'

const SEEDS = 60

test('one seed is the same run every time', () => {
  const run = () => runFormation({ seed: 5, founders: 3, others: 2, troubles: 10 })
  expect(run()).toEqual(run())
})

describe('trouble, then everybody has its role', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8].flatMap((seed) => [1, 3, 5].map((founders) => [seed, founders] as const)))(
    'seed %i, %i founders',
    (seed, founders) => {
      const report = runFormation({ seed, founders, others: seed % 4, troubles: 25 })
      expect(report.elections).toBeGreaterThan(0)
    },
  )
})

test('fifty nodes have five voters and four standbys', { timeout: 60_000 }, () => {
  const report = runFormation({ seed: 2, founders: 3, others: 47, troubles: 6 })
  expect(report.settledMs).toBeLessThan(200_000)
})

interface Bug {
  readonly name: string
  /** Seeds before this one are known not to meet it. */
  readonly from?: number
  readonly bugs?: FormationBugs
  readonly change?: { readonly file: string; readonly find: string; readonly replace: string }
}

const BUGS: readonly Bug[] = [
  { name: 'says that a promise is on disk when it has been asked for', bugs: { hastyPromises: true } },
  { name: 'starts without what the store says of its group', bugs: { forgetsFormation: true } },
  { name: 'evicts without a grace', bugs: { noGrace: true } },
  {
    name: 'accepts before the promise is on disk',
    change: { file: 'bootstrap.ts', find: 'if (this.#write === this.#written) this', replace: 'if (true) this' },
  },
  {
    name: 'decides when some have accepted',
    change: {
      file: 'bootstrap.ts',
      find: 'round.accepted.size < round.candidates.length ||',
      replace: 'round.accepted.size * 2 < round.candidates.length ||',
    },
  },
  {
    name: 'does not ask what became of a promise',
    change: {
      file: 'bootstrap.ts',
      find: 'this.#pollAtMs = nowMs + POLL_MS\n    const kind',
      replace: 'return\n    const kind',
    },
  },
  {
    name: 'waits for ever for a proposer that is gone',
    from: 40,
    change: { file: 'bootstrap.ts', find: "PROPOSER_GONE_MS ? 'release'", replace: "PROPOSER_GONE_MS ? 'status'" },
  },
  {
    name: 'does not notice that a store is another one',
    change: { file: 'reconciler.ts', find: "return 'store_changed'", replace: 'return undefined' },
  },
  {
    name: 'lets standbys change places',
    change: { file: 'selection.ts', find: '[...incumbents, ...others].slice', replace: 'order.sort(others).slice' },
  },
]

const root = mkdtempSync(join(import.meta.dirname, '../../node_modules/.mutants-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

test.each(BUGS.map((bug, at) => [bug.name, bug, at] as const))(
  'a planted bug is found: %s',
  { timeout: 60_000 },
  async (name, { bugs, change, from = 1 }, at) => {
    const given: { bugs?: FormationBugs; cores?: FormationCores } = bugs === undefined ? {} : { bugs }
    if (change !== undefined) {
      const folder = join(root, String(at))
      mutate(name, change, folder)
      const load = (file: string): Promise<unknown> => import(join(folder, 'cluster/raft/core', file))
      const cores = { ...((await load('bootstrap.ts')) as object), ...((await load('reconciler.ts')) as object) }
      given.cores = cores as FormationCores
    }
    let found: string | undefined
    for (let seed = from; seed <= from + SEEDS && found === undefined; seed++) {
      try {
        runFormation({ seed, founders: 3, others: seed % 4, troubles: 25, ...given })
      } catch (error) {
        found = `seed ${seed}: ${(error as Error).message.split('\n')[0]}`
      }
    }
    if (process.env['MUTANTS'] === 'show') console.log(name, '→', found)
    expect(found, `nobody noticed within ${SEEDS} seeds`).toBeDefined()
  },
)
