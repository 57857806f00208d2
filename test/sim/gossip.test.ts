// Membership in the simulated world: the invariants G1 to G4 of cluster.md §13. More seeds, and longer: `npm run sim`.

import { describe, expect, test } from 'vitest'
import { Keyring } from '../../cluster/swim/wire/keyring.ts'
import type { Envelope } from '../../cluster/swim/wire/packet.ts'
import { GossipWorld, runChaos } from './gossip.ts'

const sealed: Envelope = {
  label: Buffer.from('sim'),
  keyring: new Keyring(Buffer.alloc(16, 1)),
  encryptionVersion: 1,
  verifyIncoming: true,
  verifyOutgoing: true,
  compression: true,
}

describe('a cluster in a quiet network', () => {
  test('forms within seconds, and one seed is the same run every time', () => {
    const run = (): [number, number] => {
      const cluster = new GossipWorld({ seed: 7, nodes: 20 })
      return [cluster.settle(), cluster.world.steps]
    }
    const [first, second] = [run(), run()]
    expect(first).toEqual(second)
    expect(first[0]).toBeLessThan(10_000)
  })

  test('notices a crash within the bound, everywhere (G1)', () => {
    const cluster = new GossipWorld({ seed: 3, nodes: 20 })
    cluster.settle()
    cluster.world.run(5000)
    cluster.crash('n9')
    expect(cluster.detect('n9')).toBeLessThan(25_000)
    expect(cluster.checker.falseDeaths).toEqual([])
  })

  test('hears a leave as a leave', () => {
    const cluster = new GossipWorld({ seed: 4, nodes: 8 })
    cluster.settle()
    cluster.nodes.get('n5')?.feed({ kind: 'leave' })
    cluster.world.run(6000)
    expect(cluster.nodes.get('n5')?.hasLeft).toBe(true)
    for (const node of cluster.running()) {
      expect(node.events.at(-1)).toMatchObject({ kind: 'left', name: 'n5', reason: 'left' })
    }
  })

  test('tells changed tags to everybody, once', () => {
    const cluster = new GossipWorld({ seed: 5, nodes: 8 })
    cluster.settle()
    cluster.nodes.get('n2')?.feed({
      kind: 'tags',
      tags: new Map([
        ['role', 'moonmesh'],
        ['x', '1'],
      ]),
    })
    cluster.world.run(5000)
    for (const node of cluster.running().filter((each) => each.name !== 'n2')) {
      const updates = node.events.filter((event) => event.kind === 'updated')
      expect(updates.map((event) => [event.name, event.tags.get('x')])).toEqual([['n2', '1']])
    }
  })
})

describe('trouble', () => {
  test('no false death at 10 % loss (G2)', () => {
    const cluster = new GossipWorld({ seed: 11, nodes: 10, faults: { loss: 0.1, duplication: 0.05, reordering: 0.05 } })
    cluster.settle()
    cluster.world.run(30 * 60_000)
    expect(cluster.checker.falseDeaths).toEqual([])
  })

  test('a partition that outlasted the reaping heals (§3.8)', () => {
    const cluster = new GossipWorld({ seed: 12, nodes: 8 })
    cluster.settle()
    const keys = cluster.running().map((node) => node.key)
    cluster.network.partition(keys.slice(0, 3), keys.slice(3))
    cluster.world.run(10 * 60_000)
    expect(cluster.running().every((node) => node.swim.members().length < 8)).toBe(true)
    cluster.network.heal()
    expect(cluster.converge(60_000, 'halves find each other')).toBeLessThan(60_000)
  })

  test('a node that comes back at another address is known there soon (§3.8)', () => {
    const cluster = new GossipWorld({ seed: 13, nodes: 8 })
    cluster.settle()
    cluster.crash('n7')
    cluster.start('n7', 'new')
    expect(cluster.converge(15_000, 'a new address is taken over')).toBeLessThan(5000)
  })

  test('a quick restart is a departure and an arrival (§3.8)', () => {
    const cluster = new GossipWorld({ seed: 14, nodes: 6 })
    cluster.settle()
    cluster.world.run(3000)
    const before = cluster.nodes.get('n4')?.epoch
    cluster.crash('n4')
    const after = cluster.start('n4').epoch
    cluster.converge(15_000, 'a restart is noticed')
    for (const node of cluster.running().filter((each) => each.name !== 'n4')) {
      const events = node.events.filter((event) => event.name === 'n4').slice(-2)
      expect(events.map((event) => [event.kind, event.epoch])).toEqual([
        ['left', before],
        ['joined', after],
      ])
    }
  })

  test.each([1, 2, 3, 4])('chaos, then agreement; seed %i', (seed) => {
    const report = runChaos({ seed, nodes: 8, minutes: 10, clockDrift: 0.01 })
    expect(report.actions).toBeGreaterThan(50)
  })

  test('chaos through the real wire, encrypted', () => {
    const report = runChaos({ seed: 5, nodes: 6, minutes: 5, clockDrift: 0.01, envelope: sealed })
    expect(report.actions).toBeGreaterThan(20)
  })
})
