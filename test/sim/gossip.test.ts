// Membership in the simulated world: the invariants G1 to G4 of cluster.md §13. More seeds, and longer: `npm run sim`.

import { describe, expect, test } from 'vitest'
import { plainEnvelope, sealedEnvelope } from './envelopes.ts'
import { type ChaosOptions, GossipWorld, runChaos } from './gossip.ts'
import { tell } from './scenario.ts'

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

  test('notices a crash within the bound, everywhere, and forgets it (G1)', () => {
    tell(
      { seed: 3, nodes: 20 },
      `settle
       run 5s
       crash n9
       gone n9 within 25s
       deaths 0
       run 90s
       forgotten n9`,
    )
  })

  test('hears a leave as a leave', () => {
    const cluster = tell(
      { seed: 4, nodes: 8 },
      `settle
       leave n5
       run 6s
       heard n5: joined left(left)
       agree within 1s`,
    )
    expect(cluster.node('n5').hasLeft).toBe(true)
  })

  test('tells changed tags to everybody, once', () => {
    tell(
      { seed: 5, nodes: 8 },
      `settle
       tag n2 1
       run 5s
       heard n2: joined updated
       quiet for 60s`,
    )
  })
})

describe('trouble', () => {
  test('no false death at 10 % loss (G2)', () => {
    tell(
      { seed: 11, nodes: 10, faults: { duplication: 0.05, reordering: 0.05 } },
      `loss 10%
       settle
       run 30m
       deaths 0`,
    )
  })

  test('no false death at 30 % loss in ten minutes of five nodes (§12, row 30)', () => {
    tell(
      { seed: 17, nodes: 5 },
      `settle
       loss 30%
       run 10m
       deaths 0`,
    )
  })

  test('a partition that outlasted the reaping heals (§3.8)', () => {
    const cluster = tell(
      { seed: 12, nodes: 8 },
      `settle
       partition n1 n2 n3
       run 10m`,
    )
    expect(cluster.running().every((node) => node.swim.members().length < 8)).toBe(true)
    cluster.network.heal()
    expect(cluster.converge(60_000, 'halves find each other')).toBeLessThan(60_000)
  })

  test('two who cannot reach each other stay alive for all, themselves included (§12, row 9)', () => {
    tell(
      { seed: 18, nodes: 6 },
      `settle
       cut n2 > n5
       cut n5 > n2
       run 10m
       deaths 0
       agree within 1s`,
    )
  })

  test('a node that comes back at another address is known there soon (§3.8)', () => {
    tell(
      { seed: 13, nodes: 8 },
      `settle
       crash n7
       restart n7 elsewhere
       agree within 5s`,
    )
  })

  test('a quick restart is a departure and an arrival (§3.8)', () => {
    tell(
      { seed: 14, nodes: 6 },
      `settle
       run 3s
       restart n4
       agree within 15s
       heard n4: left(epoch) joined`,
    )
  })

  test('a run with an earlier epoch, for its disk is gone and its clock went back, raises it (§0.1)', () => {
    const cluster = tell({ seed: 15, nodes: 6 }, 'settle')
    const { epoch } = cluster.node('n6')
    cluster.crash('n6')
    cluster.world.run(40_000)
    const again = cluster.start('n6', { isWiped: true, wallErrorMs: -3_600_000 })
    expect(again.epoch).toBeLessThan(epoch)
    cluster.converge(15_000, 'the run is taken')
    expect(again.epoch).toBeGreaterThan(epoch)
  })

  test('who was frozen blames nobody for it (§12, row 22)', () => {
    tell(
      { seed: 16, nodes: 6 },
      `settle
       run 5s
       freeze n3 60s
       run 30s
       heard n3: joined left(dead)
       run 31s
       agree within 60s
       heard n3: left(dead) joined
       heard n1: joined
       deaths 5`,
    )
  })
})

/** @throws Error with the trace, when the promises are not kept */
function chaos(options: ChaosOptions): void {
  const outcome = runChaos({ ...options, trace: true })
  if (!outcome.ok) throw new Error([...outcome.trace, outcome.problem].join('\n'))
}

describe('chaos, then agreement', () => {
  test.each(Array.from({ length: 24 }, (_, i) => i + 1))('seed %i', (seed) => {
    chaos({ seed, nodes: 3 + (seed % 7), steps: 40, clockDrift: 0.01 })
  })

  test('through the real wire', () => {
    chaos({ seed: 5, nodes: 6, steps: 40, clockDrift: 0.01, envelope: plainEnvelope })
  })

  test('through the real wire, encrypted and labelled', () => {
    chaos({ seed: 6, nodes: 6, steps: 40, clockDrift: 0.01, envelope: sealedEnvelope })
  })
})
