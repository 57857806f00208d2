import { describe, expect, test } from 'vitest'
import { type NamesChaosOptions, runNamesChaos } from './names.ts'

function problems(options: Omit<NamesChaosOptions, 'seed'>): string {
  const found: string[] = []
  for (let seed = 1; seed <= 4; seed++) {
    try {
      runNamesChaos({ ...options, seed })
    } catch (error) {
      found.push(String(error))
    }
  }
  return found.join()
}

describe('eventual names under faults', () => {
  test.each([1, 2, 3, 4, 5, 6])('keep N8 (seed %i)', (seed) => {
    const report = runNamesChaos({ seed, nodes: 3 + (seed % 4), minutes: 5 })
    expect(report.registrations).toBeGreaterThan(50)
    expect(report.revocations).toBeGreaterThan(0)
  })

  test('ten nodes agree within 15 s at 30 % loss (§6.5)', () => {
    const report = runNamesChaos({ seed: 7, nodes: 10, minutes: 3, loss: 0.3, isConnected: true })
    expect(report.convergedMs).toBeLessThan(15_000)
  })

  test('a run is repeated exactly by its seed', () => {
    const options = { seed: 11, nodes: 4, minutes: 2 }
    expect(runNamesChaos(options)).toEqual(runNamesChaos(options))
  })

  test('a node that hears nothing of others is found', () => {
    const deaf: NamesChaosOptions['tamper'] = (node, input) =>
      node === 'n1' && (input.kind === 'changes' || input.kind === 'digest') ? undefined : input
    expect(problems({ nodes: 3, minutes: 2, tamper: deaf })).toContain('(N8)')
  })

  test('a loser who is not told is found', () => {
    expect(
      problems({
        nodes: 3,
        minutes: 4,
        tamperEffect: (_node, effect) => (effect.kind === 'revoked' ? undefined : effect),
      }),
    ).toContain('untold')
  })

  test('a node that sees nobody live is found', () => {
    expect(
      problems({
        nodes: 3,
        minutes: 2,
        tamper: (node, input) => (node === 'n2' && input.kind === 'live' ? undefined : input),
      }),
    ).toContain('(N8)')
  })
})
