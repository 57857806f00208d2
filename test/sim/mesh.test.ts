import { expect, test } from 'vitest'
import { runMeshChaos } from './mesh.ts'
import { GossipMeshWorld, runGossipMesh } from './mesh-world.ts'

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

test('a node that stood still until it was declared dead is parted from once, and reached once (§4.6)', () => {
  // So fast that the verdict falls while it stands still, just before it goes on, or just after.
  const settings = { probeIntervalMs: 200, probeTimeoutMs: 100, gossipIntervalMs: 50, suspicionMaxMult: 2 }
  let partings = 0
  for (let seed = 1; seed <= 60; seed++) {
    const cluster = new GossipMeshWorld({ seed, nodes: 2 + (seed % 3), settings })
    cluster.world.run(20_000)
    const heard = new Map<string, string[]>()
    for (const [name, mesh] of cluster.meshes) {
      const told = mesh.onSession
      mesh.onSession = (effect) => {
        told(effect)
        const key = `${name} of ${effect.peer}`
        heard.set(key, [...(heard.get(key) ?? []), effect.kind])
      }
    }
    const halted = cluster.world.chance.pick(cluster.running())
    const haltMs = cluster.world.chance.between(900, 20_000)
    halted.process.freeze(haltMs)
    cluster.world.run(haltMs + 15_000)
    expect(cluster.meshProblem(), `seed ${seed}`).toBeUndefined()
    for (const [who, kinds] of heard) {
      expect(who).toContain(halted.name)
      expect(kinds, `${who}, seed ${seed}`).toEqual(['node-down', 'node-up'])
    }
    partings += heard.size
  }
  expect(partings).toBeGreaterThan(150)
}, 60_000)
