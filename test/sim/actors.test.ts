import { expect, test } from 'vitest'
import { type ActorsReport, runActors } from './actors.ts'

test('processes of three nodes under faults keep A1', () => {
  const reports = Array.from({ length: 12 }, (_, i) => runActors({ seed: i + 1, nodes: 3, minutes: 2 }))
  const sum = (of: (report: ActorsReport) => number): number => reports.reduce((total, each) => total + of(each), 0)
  // The faults leave room for what is to be checked.
  expect(sum((report) => report.exits)).toBeGreaterThan(100)
  expect(sum((report) => report.messages)).toBeGreaterThan(2000)
  expect(sum((report) => report.links)).toBeGreaterThan(1000)
  expect(sum((report) => report.lost)).toBeGreaterThan(20)
})

test('and with small queues, on demand', () => {
  const settings = { topology: 'lazy', queueBytesMax: 1024 * 1024, totalQueueBytesMax: 2 * 1024 * 1024 } as const
  for (const seed of [21, 22]) runActors({ seed, nodes: 4, minutes: 2, settings })
})

test('a run is repeated exactly by its seed', () => {
  const options = { seed: 31, nodes: 3, minutes: 1 }
  expect(runActors(options)).toEqual(runActors(options))
})

test.each([
  ['silent-loss', 'A1'],
  ['doubled-messages', 'A1'],
  ['deaf-host', 'A1'],
  ['links-by-hearsay', 'takes it for linked'],
  ['no-acknowledgement', 'waits for an acknowledgement'],
] as const)('a planted bug is found: %s', (bug, what) => {
  const found = Array.from({ length: 12 }, (_, i) => i + 1).some((seed) => {
    try {
      runActors({ seed, nodes: 3, minutes: 2, bug })
      return false
    } catch (error) {
      expect(String(error)).toContain(what)
      return true
    }
  })
  expect(found).toBe(true)
})
