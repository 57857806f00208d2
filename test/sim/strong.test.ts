import { expect, test } from 'vitest'
import { runStrongChaos, type StrongChaosOptions } from './strong.ts'

test.each([1, 2, 3, 4, 5, 6, 7, 8])('strong names keep N1 to N4 (seed %i)', (seed) => {
  const report = runStrongChaos({ seed, nodes: 2 + (seed % 4), minutes: 5 })
  expect(report.active).toBeGreaterThan(3)
})

test.each(['forgets', 'no-barrier'] as const)(
  'a node that %s is found (N3)',
  (bug: StrongChaosOptions['bug'] & string) => {
    const problems: string[] = []
    for (let seed = 1; seed <= 8; seed++) {
      try {
        runStrongChaos({ seed, nodes: 3, minutes: 5, bug })
      } catch (error) {
        problems.push(String(error))
      }
    }
    expect(problems.join()).toContain('(N3)')
  },
)
