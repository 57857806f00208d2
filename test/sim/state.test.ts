// Worlds of the replicated state, a few seeds of them: `npm run sim -- --protocol state --seeds 500` runs more.

import { expect, test } from 'vitest'
import { runStateChaos, stateNodesOf } from './state.ts'

test.each([1, 2, 3, 14, 39, 46, 71])(
  'keeps its promises through faults, seed %i',
  { timeout: 60_000 },
  async (seed) => {
    const report = await runStateChaos({ seed, seconds: 40, ...stateNodesOf(seed) })
    expect(report.completed).toBeGreaterThan(30)
  },
)
