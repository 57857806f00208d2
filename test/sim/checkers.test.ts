// The checkers find what they are there to find: each promise is broken on purpose, between the core and the world.

import { describe, expect, test } from 'vitest'
import type { MemberEvent } from '../../cluster/swim/core/events.ts'
import type { Member } from '../../cluster/swim/core/members.ts'
import { GossipChecker, type ObservedNode } from './checkers/gossip.ts'
import { GossipWorld, runChaos } from './gossip.ts'
import type { Tamper } from './swim-node.ts'

/** n2 never answers an accusation: its later words are lost. */
const noRefutation: Tamper = {
  effects: (node, effects) => {
    if (node.name !== 'n2') return effects
    return effects.map((effect) => {
      if (effect.kind === 'send') {
        const parts = effect.parts.filter(
          (part) => part.kind !== 'alive' || part.node !== 'n2' || part.incarnation === 1,
        )
        return { ...effect, parts }
      }
      if (effect.kind !== 'exchange' && effect.kind !== 'exchange-reply') return effect
      const nodes = effect.exchange.nodes.map((each) => (each.name === 'n2' ? { ...each, incarnation: 1 } : each))
      return { ...effect, exchange: { ...effect.exchange, nodes } }
    })
  },
}

/** n1 takes any sign of life from anybody as one of n3. */
const resurrection: Tamper = {
  input: (node, input) => {
    const record = node.swim.member('n3')
    if (node.name !== 'n1' || record?.state !== 'dead' || input.kind !== 'message' || input.message.kind !== 'ack') {
      return input
    }
    const { name, incarnation, address, meta, versions } = record
    const message = { kind: 'alive' as const, node: name, incarnation: incarnation + 1, address, meta, versions }
    return { ...input, message }
  },
}

/** n1 never comes to a verdict. */
const noVerdict: Tamper = {
  input: (node, input) => {
    if (node.name !== 'n1') return input
    if (input.kind === 'suspicion-due') return undefined
    return input.kind === 'message' && input.message.kind === 'dead' ? undefined : input
  },
}

/** n4 hears of nothing but probes. */
const deaf: Tamper = {
  input: (node, input) => {
    if (node.name !== 'n4' || node.swim.members().length < 5) return input
    if (input.kind === 'exchange-done' || input.kind === 'exchange-request') return undefined
    return input.kind === 'message' && input.message.kind === 'alive' ? undefined : input
  },
}

describe('planted faults', () => {
  test('a node that does not refute is declared dead, in calm (G2)', () => {
    const settings = { tcpPings: false, indirectChecks: 0 }
    const cluster = new GossipWorld({ seed: 1, nodes: 5, faults: { loss: 0.1 }, settings, tamper: noRefutation })
    expect(() => cluster.world.run(20 * 60_000)).toThrow(/n2@\d+ left \(dead\), and it runs \(G2\)/)
  })

  test('a dead node that is brought back by hearsay is believed in for too long (G1)', () => {
    const cluster = new GossipWorld({ seed: 2, nodes: 5, tamper: resurrection })
    cluster.settle()
    cluster.crash('n3')
    expect(() => cluster.world.run(10 * 60_000)).toThrow(/believes in n3@\d+ \d+ ms after its end \(G1\)/)
  })

  test('a suspicion without an end (G1)', () => {
    const cluster = new GossipWorld({ seed: 3, nodes: 5, tamper: noVerdict })
    cluster.settle()
    cluster.crash('n3')
    expect(() => cluster.world.run(10 * 60_000)).toThrow(/n1 believes in n3@\d+ \d+ ms after its end \(G1\)/)
  })

  test('a view that misses a change differs (G3)', () => {
    const cluster = new GossipWorld({ seed: 4, nodes: 5, tamper: deaf })
    cluster.settle()
    cluster.node('n1').feed({ kind: 'tags', tags: new Map([['x', '1']]) })
    expect(() => cluster.converge(60_000, 'views agree (G3)')).toThrow('(G3): n4 sees n1 with old tags')
  })

  test('chaos finds the missing refutation by itself', () => {
    const problems: string[] = []
    for (let seed = 1; seed <= 6; seed++) {
      const outcome = runChaos({ seed, nodes: 5, steps: 30, tamper: noRefutation })
      if (!outcome.ok) problems.push(outcome.problem)
    }
    expect(problems.length).toBeGreaterThan(0)
    for (const problem of problems) expect(problem).toMatch(/\(G[123]\)|a quiet cluster stays so/)
  })
})

describe('the rules of G4', () => {
  const address = { host: '10.0.0.1', port: 7946 }
  const member = (name: string, incarnation: number): Member => ({
    name,
    address,
    meta: '',
    tags: new Map(),
    epoch: 1,
    incarnation,
    state: 'alive',
    changedAtMs: 0,
    versions: [1, 5, 2, 2, 5, 4],
  })
  const event = (kind: MemberEvent['kind'], epoch: number): { kind: 'member'; event: MemberEvent } => ({
    kind: 'member',
    event: { kind, name: 'b', epoch, address, tags: new Map() },
  })
  const observed = (): { checker: GossipChecker<ObservedNode>; node: ObservedNode; see: (view: Member[]) => void } => {
    let view: readonly Member[] = []
    const node: ObservedNode = {
      name: 'a',
      epoch: 1,
      isRunning: true,
      startedAtMs: 0,
      process: { lastHaltMs: Number.NEGATIVE_INFINITY },
      swim: { members: () => view, self: member('a', 1), healthScore: 0 },
    }
    const checker = new GossipChecker({ nowMs: 0, seed: 1 }, new Map([['a', node]]))
    const see = (seen: Member[]): void => {
      view = seen
      checker.stepped(node, undefined, [])
    }
    return { checker, node, see }
  }

  test('an incarnation falls', () => {
    const { see } = observed()
    see([member('b', 3)])
    see([member('b', 4)])
    expect(() => see([member('b', 3)])).toThrow('a sees b@1 fall from incarnation 4 to 3 (G4)')
  })

  test('joined and left do not alternate', () => {
    const { checker, node } = observed()
    checker.stepped(node, undefined, [event('joined', 1)])
    expect(() => checker.stepped(node, undefined, [event('joined', 2)])).toThrow('it had joined already (G4)')
    expect(() => checker.stepped(node, undefined, [event('left', 2)])).toThrow('and 1 had joined (G4)')
    checker.stepped(node, undefined, [event('updated', 1), event('left', 1)])
    expect(() => checker.stepped(node, undefined, [event('left', 1)])).toThrow('no epoch had joined (G4)')
    expect(() => checker.stepped(node, undefined, [event('updated', 1)])).toThrow('(G4)')
  })
})
