// Consensus in the simulated world: R1 to R14 and L1 of cluster.md §13, and what clients see has one order. More seeds:
// `npm run sim -- --protocol raft --seeds 2000`.

import { describe, expect, test } from 'vitest'
import { RaftWorld, raftNodesOf, runRaftChaos } from './raft.ts'

test('one seed is the same run every time', () => {
  const run = () => runRaftChaos({ seed: 7, nodes: 5, seconds: 20 })
  expect(run()).toEqual(run())
})

test.each(Array.from({ length: 12 }, (_, i) => i + 1))('trouble, then progress; seed %i', (seed) => {
  const report = runRaftChaos({ seed, nodes: raftNodesOf(seed), seconds: 30 })
  expect(report.completed).toBeGreaterThan(20)
})

describe('a group that nothing disturbs', () => {
  test('elects once and serves', () => {
    const group = new RaftWorld({ seed: 3, nodes: 5 })
    group.world.run(30_000)
    expect(group.checker.elections).toBe(1)
    expect(group.clients.every((client) => client.completed > 50)).toBe(true)
    group.checkHistories()
  })

  test('an idle leader costs the same for every follower and nothing else (cluster.md §1.2)', () => {
    const perFollower = [3, 9].map((nodes) => {
      const group = new RaftWorld({ seed: 3, nodes, clients: 0, voters: nodes, raft: { snapshotIntervalMs: 1e9 } })
      group.world.run(10_000)
      const sent = (): number => [...group.network.traffic.values()].reduce((sum, each) => sum + each.packets, 0)
      const before = sent()
      group.world.run(60_000)
      return (sent() - before) / (nodes - 1)
    })
    expect(perFollower[1]).toBeCloseTo(perFollower[0] as number, -1)
  })
})
