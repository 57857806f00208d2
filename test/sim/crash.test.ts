// Crashes that are found at once, because connections of the mesh break: how soon, and that nothing else passes for one. cluster.md §1.5.

import { describe, expect, test } from 'vitest'
import { GossipMeshWorld, runGossipMesh } from './mesh-world.ts'

const others = (cluster: GossipMeshWorld, name: string): string[] => cluster.names().filter((each) => each !== name)

/** All know each other, and every pair is connected. */
function settled(seed: number, nodes: number): GossipMeshWorld {
  const cluster = new GossipMeshWorld({ seed, nodes, clockDrift: 0.01, trace: true })
  cluster.settle()
  // Connections are made within seconds; runs this old are held to G2.
  cluster.world.run(150_000)
  expect(cluster.meshProblem()).toBeUndefined()
  return cluster
}

/** Nobody declared anybody dead who runs, and that is true for a while. */
function nobodyDies(cluster: GossipMeshWorld, ms = 60_000): void {
  cluster.world.run(ms)
  expect(cluster.checker.falseDeaths).toEqual([])
}

const sum = (cluster: GossipMeshWorld, count: 'inquiries' | 'inquiryVerdicts' | 'suspicions' | 'refutes'): number =>
  cluster.running().reduce((all, { swim }) => all + swim.counters[count], 0)

describe('a crash', () => {
  test.each([
    [1, 3],
    [2, 4],
    [3, 9],
    [4, 20],
  ])('is known to all others in under a second (seed %i, %i nodes)', (seed, nodes) => {
    const cluster = settled(seed, nodes)
    for (const name of ['n1', `n${nodes}`].slice(0, nodes - 2)) {
      cluster.crash(name)
      expect(cluster.detect(name)).toBeLessThan(1000)
    }
    expect(cluster.checker.falseDeaths).toEqual([])
  })

  test('with a tenth of the datagrams lost, too', () => {
    const cluster = settled(5, 9)
    cluster.network.faults.loss = 0.1
    cluster.crash('n4')
    expect(cluster.detect('n4')).toBeLessThan(1000)
  })

  test('of several at once', () => {
    const cluster = settled(6, 12)
    for (const name of ['n2', 'n5', 'n6', 'n9']) cluster.crash(name)
    for (const name of ['n2', 'n5', 'n6', 'n9']) expect(cluster.detect(name)).toBeLessThan(2000)
  })

  test('of one of two is found by probes alone', () => {
    const cluster = settled(7, 2)
    cluster.crash('n2')
    expect(cluster.detect('n2')).toBeGreaterThan(2000)
    expect(sum(cluster, 'inquiryVerdicts')).toBe(0)
  })

  test('of a node that is back at the same ports at once is a departure and an arrival', () => {
    for (const afterMs of [0, 50, 150, 250, 350, 500, 1000]) {
      const cluster = settled(8, 6)
      cluster.crash('n3')
      cluster.world.run(afterMs)
      const { epoch } = cluster.start('n3')
      cluster.converge(30_000, 'the new run is known')
      for (const name of others(cluster, 'n3')) {
        const [left, joined] = cluster
          .node(name)
          .events.filter((event) => event.name === 'n3')
          .slice(1)
        expect(left).toMatchObject({ kind: 'left' })
        expect(joined).toMatchObject({ kind: 'joined', epoch })
      }
    }
  }, 30_000)
})

describe('no crash is', () => {
  test('a connection that is reset, every second for a minute', () => {
    const cluster = settled(11, 6)
    for (let i = 0; i < 60; i++) {
      cluster.streams.reset()
      cluster.world.run(1000)
    }
    nobodyDies(cluster, 0)
    expect(sum(cluster, 'inquiries')).toBeGreaterThan(500)
    expect(sum(cluster, 'suspicions')).toBe(0)
  })

  test.each([false, true])('a firewall that rejects between one pair (datagrams too: %s)', (withDatagrams) => {
    for (const [from, to] of [
      ['n2', 'n5'],
      ['n5', 'n2'],
    ] as const) {
      const cluster = settled(12, 6)
      cluster.reject(from, to, withDatagrams)
      cluster.reject(to, from, withDatagrams)
      nobodyDies(cluster, 300_000)
      expect(sum(cluster, 'inquiryVerdicts')).toBe(0)
    }
  })

  test.each([false, true])(
    'one between two nodes and a third (datagrams too: %s)',
    (withDatagrams) => {
      for (let seed = 20; seed < 30; seed++) {
        const cluster = settled(seed, 9)
        cluster.reject('n2', 'n5', withDatagrams)
        cluster.reject('n3', 'n5', withDatagrams)
        cluster.world.run(5000)
        cluster.streams.reset((a, b) => a.includes('.5:') || b.includes('.5:'))
        nobodyDies(cluster)
        expect(sum(cluster, 'inquiryVerdicts')).toBe(0)
      }
    },
    30_000,
  )

  test('one node that rejects all connections from outside', () => {
    const cluster = settled(13, 9)
    for (const name of others(cluster, 'n5')) cluster.reject(name, 'n5', false)
    nobodyDies(cluster, 600_000)
    expect(sum(cluster, 'suspicions')).toBe(0)
  })

  test('all nodes rejecting all connections', () => {
    const cluster = settled(14, 6)
    for (const a of cluster.names()) for (const b of others(cluster, a)) cluster.reject(a, b, false)
    nobodyDies(cluster, 600_000)
    expect(sum(cluster, 'suspicions')).toBe(0)
  })

  test('one that rejects for a moment, with some datagrams lost', () => {
    for (let seed = 40; seed < 50; seed++) {
      const cluster = settled(seed, 6)
      cluster.network.faults.loss = 0.1
      for (let i = 0; i < 20; i++) {
        for (const name of others(cluster, 'n5')) cluster.reject(name, 'n5', false)
        cluster.world.run(1000)
        cluster.network.heal()
        cluster.world.run(5000)
      }
      nobodyDies(cluster)
      expect(sum(cluster, 'inquiryVerdicts')).toBe(0)
    }
  }, 30_000)

  test('a node that stands still while its connections are reset', () => {
    const cluster = settled(15, 6)
    cluster.node('n4').process.freeze(2500)
    cluster.streams.reset((a, b) => a.includes('.4:') || b.includes('.4:'))
    nobodyDies(cluster)
  })

  test('a slow node, whoever resets its connections', () => {
    const cluster = settled(16, 6)
    cluster.node('n4').process.slow({ share: 0.3, periodMs: 1500, durationMs: 120_000 })
    for (let i = 0; i < 60; i++) {
      cluster.streams.reset((a, b) => a.includes('.4:') || b.includes('.4:'))
      cluster.world.run(2000)
    }
    nobodyDies(cluster)
    expect(sum(cluster, 'inquiryVerdicts')).toBe(0)
  })
})

test.each([41, 42, 43, 44])('nor anything else that may befall a cluster (seed %i)', (seed) => {
  const outcome = runGossipMesh({ seed, nodes: 5, steps: 30, clockDrift: 0.01, trace: true })
  if (!outcome.ok) throw new Error([...outcome.trace, outcome.problem].join('\n'))
  expect(outcome.report.inquiries).toBeGreaterThan(0)
})
