// Consensus in the simulated world: R1 to R14 and L1 of cluster.md §13, and what clients see has one order. More seeds:
// `npm run sim -- --protocol raft --seeds 2000`.

import { describe, expect, test } from 'vitest'
import { type Place, RaftWorld, raftNodesOf, runRaftChaos } from './raft.ts'
import type { RaftNode } from './raft-node.ts'

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

test('a voter restored from an older image is found out and counts no more (fault 14)', () => {
  const group = new RaftWorld({ seed: 9, nodes: 3, raft: { snapshotThreshold: 1e9, heartbeatTimeoutMs: 1000 } })
  group.world.run(10_000)
  const leader = group.leader() as RaftNode
  const [restored, other] = group.places.filter((place) => place.node !== leader) as [Place, Place]
  const image = restored.disk.image.copy()
  group.world.run(5000)
  group.crash(restored)
  restored.disk.image.become(image)
  group.start(restored)
  group.world.run(3000)
  const follower = leader.raft.status().followers.find(({ server }) => server === restored.server)
  expect(follower?.isRegressed).toBe(true)
  expect(leader.role).toBe('leader')
  // It says nothing more until its store is made anew: with the third one gone there is no majority.
  group.crash(other)
  const { lastCommitted } = group.checker
  expect(group.world.runUntil(() => leader.role !== 'leader', 2000)).toBe(true)
  group.world.run(20_000)
  expect(group.leader()).toBeUndefined()
  expect(group.checker.lastCommitted).toBe(lastCommitted)
  group.start(other)
  expect(group.world.runUntil(() => group.checker.lastCommitted > lastCommitted, 10_000)).toBe(true)
})
