// The simulator finds planted bugs, each within its budget of seeds: what passes it has been looked at.

import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { MUTANTS, mutatedCore } from './mutants.ts'
import { raftNodesOf, runRaftChaos } from './raft.ts'

const SEEDS = 60
const root = mkdtempSync(join(import.meta.dirname, '../../node_modules/.mutants-'))

afterAll(() => rmSync(root, { recursive: true, force: true }))

describe('planted bugs are found', () => {
  test.each(MUTANTS.map((mutant, at) => [mutant.name, mutant, at] as const))(
    '%s',
    { timeout: 60_000 },
    async (_name, mutant, at) => {
      const core = await mutatedCore(mutant, join(root, String(at)))
      const options = {
        ...(core === undefined ? {} : { core }),
        ...(mutant.bugs === undefined ? {} : { bugs: mutant.bugs }),
        ...(mutant.raft === undefined ? {} : { raft: mutant.raft }),
      }
      let found: { seed: number; text: string } | undefined
      const from = mutant.from ?? 1
      for (let seed = from; seed < from + SEEDS && found === undefined; seed++) {
        try {
          runRaftChaos({ seed, nodes: raftNodesOf(seed), seconds: 30, ...options })
        } catch (error) {
          found = { seed, text: (error as Error).message.split('\n')[0] as string }
        }
      }
      if (process.env['MUTANTS'] === 'show') console.log(mutant.name, '→', found)
      expect(found, `nobody noticed within ${SEEDS} seeds`).toBeDefined()
    },
  )
})
