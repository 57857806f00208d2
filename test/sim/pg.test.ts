import { describe, expect, test } from 'vitest'
import { runPgChaos } from './pg.ts'

describe('process groups under faults', () => {
  test.each([1, 2, 3, 4, 5, 6])('keep P1 and P2 (seed %i)', (seed) => {
    const report = runPgChaos({ seed, nodes: 2 + (seed % 4), minutes: 10 })
    expect(report.events).toBeGreaterThan(100)
  })

  test('a run is repeated exactly by its seed', () => {
    const options = { seed: 11, nodes: 4, minutes: 5 }
    expect(runPgChaos(options)).toEqual(runPgChaos(options))
  })

  test('a node that misses changes and never compares is found (P1)', () => {
    const problems: string[] = []
    for (let seed = 1; seed <= 12; seed++) {
      try {
        runPgChaos({
          seed,
          nodes: 3,
          minutes: 3,
          tamper: (node, input) =>
            node.name === 'n1' && input.kind === 'message' && input.message.kind !== 'none' ? undefined : input,
        })
      } catch (error) {
        problems.push(String(error))
      }
    }
    expect(problems.join()).toContain('(P1)')
  })

  test('a node whose processes end unseen is found (P1)', () => {
    const problems: string[] = []
    for (let seed = 1; seed <= 12; seed++) {
      try {
        runPgChaos({
          seed,
          nodes: 3,
          minutes: 3,
          tamper: (node, input) => (node.name === 'n2' && input.kind === 'exited' ? undefined : input),
        })
      } catch (error) {
        problems.push(String(error))
      }
    }
    expect(problems.join()).toContain('(P1)')
  })
})
