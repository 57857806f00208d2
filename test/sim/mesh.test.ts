import { expect, test } from 'vitest'
import { runMeshChaos } from './mesh.ts'
import { runGossipMesh } from './mesh-world.ts'

test.each([1, 2, 3, 4])('three nodes under faults keep M1, M2, M3 and heal (seed %i)', (seed) => {
  const report = runMeshChaos({ seed, nodes: 3, minutes: 2 })
  expect(report.delivered).toBeGreaterThan(500)
})

test('a run of the simulator is repeated exactly by its seed', () => {
  const options = { seed: 11, nodes: 3, minutes: 1 }
  expect(runMeshChaos(options)).toEqual(runMeshChaos(options))
})

test('small queues overflow by the rules', () => {
  const settings = { queueBytesMax: 1024 * 1024, totalQueueBytesMax: 2 * 1024 * 1024 }
  runMeshChaos({ seed: 21, nodes: 4, minutes: 2, settings })
})

test('connections on demand keep the same promises', () => {
  runMeshChaos({ seed: 31, nodes: 4, minutes: 2, settings: { topology: 'lazy' } })
})

test.each([1, 2, 3])('gossip and mesh together keep G1 to G4 and M1 to M3 (seed %i)', (seed) => {
  const outcome = runGossipMesh({ seed, nodes: 4, steps: 30, clockDrift: 0.01 })
  if (!outcome.ok) throw new Error([...outcome.trace, outcome.problem].join('\n'))
  expect(outcome.report.delivered).toBeGreaterThan(100)
})
