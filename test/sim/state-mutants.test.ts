// The simulator finds bugs that are planted into sessions, proposals and the state machine, each within its budget of seeds.

import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { runStateChaos, stateNodesOf } from './state.ts'
import { mutatedParts, STATE_MUTANTS } from './state-mutants.ts'

const SEEDS = Number(process.env['MUTANT_SEEDS'] ?? 20)
const root = mkdtempSync(join(import.meta.dirname, '../../node_modules/.state-mutants-'))

afterAll(() => rmSync(root, { recursive: true, force: true }))

describe('planted bugs are found', () => {
  test.each(STATE_MUTANTS.map((mutant, at) => [mutant.name, mutant, at] as const))(
    '%s',
    { timeout: 180_000 },
    async (_name, mutant, at) => {
      const parts = await mutatedParts(mutant, join(root, String(at)))
      const raft = mutant.raft === undefined ? {} : { raft: mutant.raft }
      let found: { seed: number; text: string } | undefined
      const { from = 1 } = mutant
      for (let seed = from; seed < from + SEEDS && found === undefined; seed++) {
        try {
          await runStateChaos({ seed, seconds: 30, ...stateNodesOf(seed), parts, ...raft })
        } catch (error) {
          found = { seed, text: (error as Error).message.split('\n')[0] as string }
        }
      }
      if (process.env['MUTANTS'] === 'show') console.log(mutant.name, '→', found)
      expect(found, `nobody noticed within ${SEEDS} seeds`).toBeDefined()
    },
  )
})
