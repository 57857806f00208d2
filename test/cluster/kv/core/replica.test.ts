// Stores of several nodes become equal, whatever gossip loses on the way. cluster.md §8.7, C1.

import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type CrdtSettings, CrdtStore } from '../../../../cluster/kv/core/crdt.ts'
import { PAGE_SUMMARIES_MAX } from '../../../../cluster/kv/core/digest.ts'
import { Replica, type ReplicaEffect, type ReplicaSettings } from '../../../../cluster/kv/core/replica.ts'
import {
  decodeExchange,
  decodeExchangeAnswer,
  encodeExchange,
  encodeExchangeAnswer,
} from '../../../../cluster/kv/wire/crdt.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'
import { fc } from '../../../tools/property.ts'

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const VALUE_BYTES_MAX = 512 * 1024

/** Nodes whose requests are answered at once and whose deltas are lost, some or all. */
class Cluster {
  readonly env = new FakeEnv()
  readonly replicas = new Map<string, Replica>()
  readonly exchanged: Extract<ReplicaEffect, { kind: 'exchanged' }>[] = []
  loss = 0
  #work: (() => void)[] = []

  add(name: string, store: Partial<CrdtSettings> = {}, settings: Partial<ReplicaSettings> = {}): Replica {
    const crdt = new CrdtStore({ origin: name, hash: sha256, settings: store }, this.env)
    const replica = new Replica(crdt, settings, this.env)
    this.replicas.set(name, replica)
    return replica
  }

  meet(a: string, b: string): void {
    this.perform(a, this.of(a).step({ kind: 'node-up', node: b }))
    this.perform(b, this.of(b).step({ kind: 'node-up', node: a }))
    this.settle()
  }

  part(a: string, b: string): void {
    this.perform(a, this.of(a).step({ kind: 'node-down', node: b }))
    this.perform(b, this.of(b).step({ kind: 'node-down', node: a }))
  }

  of(name: string): Replica {
    return this.replicas.get(name) as Replica
  }

  perform(name: string, effects: readonly ReplicaEffect[]): void {
    for (const effect of effects) this.#work.push(() => this.#perform(name, effect))
  }

  settle(): void {
    for (let i = 0; i < 100_000; i++) {
      const next = this.#work.shift()
      if (next === undefined) return
      next()
    }
    throw new Error('does not come to an end')
  }

  pass(ms: number): void {
    this.env.advance(ms)
    for (const [name, replica] of this.replicas) this.perform(name, replica.step({ kind: 'wake' }))
    this.settle()
  }

  #perform(name: string, effect: ReplicaEffect): void {
    switch (effect.kind) {
      case 'gossip':
      case 'push': {
        const targets = effect.kind === 'push' ? effect.nodes : [...this.replicas.keys()]
        for (const target of targets) {
          if (target === name || this.env.randomInt(100) < this.loss) continue
          this.perform(target, this.of(target).step({ kind: 'delta', entry: effect.entry }))
        }
        break
      }
      case 'request': {
        const request = decodeExchange(encodeExchange(effect.request), VALUE_BYTES_MAX)
        const { answer, effects } = this.of(effect.node).serve(request)
        this.perform(effect.node, effects)
        const answered = decodeExchangeAnswer(encodeExchangeAnswer(answer), VALUE_BYTES_MAX)
        this.perform(name, this.of(name).step({ kind: 'answered', exchange: effect.exchange, answer: answered }))
        break
      }
      case 'exchanged':
        this.exchanged.push(effect)
        break
      default:
    }
  }
}

describe('replicas', () => {
  test('tell small writes by gossip and large ones over the mesh', () => {
    const cluster = new Cluster()
    const a = cluster.add('a', {}, { durable: new Set(['s']) })
    for (const name of ['b', 'c', 'd', 'e']) {
      cluster.add(name)
      cluster.meet('a', name)
    }
    const kinds = (effects: readonly ReplicaEffect[]): string[] => effects.map(({ kind }) => kind)
    expect(kinds(a.set('s', 'k', bytes('v')).effects)).toEqual(['save-clock', 'append', 'gossip'])
    expect(kinds(a.set('other', 'k', bytes('v')).effects)).toEqual(['gossip'])
    const [, push] = a.set('s', 'k', new Uint8Array(1000)).effects
    expect(push?.kind === 'push' && push.nodes.length).toBe(3)
    expect(a.delete('s', 'nothing')).toEqual({ outcome: undefined, effects: [] })
  })

  test('tell on what changed them and nothing else', () => {
    const cluster = new Cluster()
    const { outcome } = cluster.add('a').set('s', 'k', bytes('v'))
    const b = cluster.add('b')
    const entry = outcome.ok ? outcome.entry : undefined
    if (entry === undefined) throw new Error('not written')
    expect(b.step({ kind: 'delta', entry })).toEqual([{ kind: 'gossip', entry }])
    expect(b.step({ kind: 'delta', entry })).toEqual([])
  })

  test('become equal by comparing when everything was lost, over many pages and large values', () => {
    const cluster = new Cluster()
    cluster.loss = 100
    const a = cluster.add('a')
    const b = cluster.add('b')
    const shared = PAGE_SUMMARIES_MAX
    for (let i = 0; i < 3 * shared; i++) {
      const replica = i % 3 === 0 ? a : b
      replica.set('s', `k${i}`, bytes(`${i}`))
      if (i % 3 === 2) a.set('s', `k${i}`, bytes('twice'))
      if (i % 10 === 0) replica.delete('s', `k${i}`)
    }
    for (let i = 0; i < 5; i++) b.set('s', `large${i}`, new Uint8Array(300_000).fill(i))
    cluster.meet('a', 'b')
    cluster.settle()
    expect(a.store.digest.hashes).toEqual(b.store.digest.hashes)
    expect(a.store.entryCount).toBe(3 * shared + 5)
    cluster.pass(10_000)
    expect(cluster.exchanged.at(-1)).toMatchObject({ differing: 0, received: 0, sent: 0 })
  })

  test('are equal when writes stop and nodes meet, after any writes and losses', () => {
    const action = fc.record({
      node: fc.constantFrom('a', 'b', 'c'),
      what: fc.constantFrom('set', 'set', 'ttl', 'delete', 'part', 'meet', 'time'),
      key: fc.constantFrom('1', '2', '3', '4'),
      other: fc.constantFrom('a', 'b', 'c'),
    })
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 60, size: 'max' }),
        fc.constantFrom(0, 50, 100),
        fc.nat(),
        (actions, loss, seed) => {
          const cluster = new Cluster()
          cluster.env.randomInt(seed + 1)
          cluster.loss = loss
          for (const name of ['a', 'b', 'c']) cluster.add(name)
          const latest = new Map<string, string>()
          let count = 0
          for (const { node, what, key, other } of actions) {
            cluster.env.advance(7)
            const replica = cluster.of(node)
            if (what === 'set' || what === 'ttl') {
              const value = `${count++}`
              cluster.perform(node, replica.set('s', key, bytes(value), what === 'ttl' ? 5000 : 0).effects)
              latest.set(key, what === 'ttl' ? 'ttl' : value)
            } else if (what === 'delete') {
              const { outcome, effects } = replica.delete('s', key)
              if (outcome !== undefined) latest.delete(key)
              cluster.perform(node, effects)
            } else if (what === 'time') cluster.pass(1000)
            else if (node !== other) cluster[what](node, other)
            cluster.settle()
          }
          for (let i = 0; i < 2; i++) {
            for (const [a, b] of [
              ['a', 'b'],
              ['b', 'c'],
              ['a', 'c'],
            ] as const) {
              cluster.part(a, b)
              cluster.meet(a, b)
            }
          }
          cluster.pass(20_000)
          const [a, b, c] = ['a', 'b', 'c'].map((name) => cluster.of(name).store) as [CrdtStore, CrdtStore, CrdtStore]
          expect(b.digest.hashes).toEqual(a.digest.hashes)
          expect(c.digest.hashes).toEqual(a.digest.hashes)
          expect(b.list('s')).toEqual(a.list('s'))
          // One clock for all: the last write of a key is the one that stays.
          for (const key of ['1', '2', '3', '4']) {
            const value = latest.get(key)
            const seen = a.get('s', key)?.value
            expect(seen === undefined ? undefined : new TextDecoder().decode(seen)).toBe(
              value === 'ttl' ? undefined : value,
            )
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  test('one that was away for longer than deletes are remembered loses what was deleted, and nothing else', () => {
    const cluster = new Cluster()
    const retentionMs = 3_600_000
    const settings = { retentionMs }
    const [a, b, away] = ['a', 'b', 'c'].map((name) => cluster.add(name, settings)) as [Replica, Replica, Replica]
    cluster.pass(1000)
    for (const [x, y] of [
      ['a', 'b'],
      ['a', 'c'],
      ['b', 'c'],
    ] as const)
      cluster.meet(x, y)
    cluster.perform('a', a.set('s', 'deleted', bytes('v')).effects)
    cluster.perform('a', a.set('s', 'kept', bytes('v')).effects)
    cluster.settle()
    expect(away.store.get('s', 'deleted')).toBeDefined()
    cluster.part('a', 'c')
    cluster.part('b', 'c')
    cluster.loss = 100
    cluster.perform('b', b.delete('s', 'deleted').effects)
    cluster.meet('a', 'b')
    cluster.part('a', 'b')
    cluster.meet('a', 'b')
    for (let i = 0; i < 10; i++) cluster.pass(retentionMs / 4)
    expect([a.store.tombstoneCount, b.store.tombstoneCount]).toEqual([0, 0])
    away.set('s', 'recent', bytes('v'))
    // A newcomer has forgotten nothing: nobody deletes what it lacks.
    const fresh = cluster.add('d', settings)
    cluster.meet('c', 'd')
    expect(away.store.get('s', 'kept')).toBeDefined()
    cluster.meet('a', 'c')
    expect(away.store.list('s').items.map(({ key }) => key)).toEqual(['kept', 'recent'])
    expect(a.store.digest.hashes).toEqual(away.store.digest.hashes)
    cluster.meet('a', 'd')
    expect(fresh.store.list('s').items.map(({ key }) => key)).toEqual(['kept', 'recent'])
  })

  test('a comparison that gets no answer ends, and the next begins anew', () => {
    const cluster = new Cluster()
    const a = cluster.add('a')
    const [first] = a.step({ kind: 'node-up', node: 'b' })
    expect(first).toMatchObject({ kind: 'request', node: 'b', exchange: 1, request: { kind: 'digest' } })
    expect(a.step({ kind: 'node-up', node: 'b' })).toEqual([])
    expect(a.step({ kind: 'answered', exchange: 1, answer: undefined })).toMatchObject([{ kind: 'exchanged' }])
    cluster.env.advance(10_000)
    expect(a.step({ kind: 'wake' })).toMatchObject([{ kind: 'request', exchange: 2 }])
    a.step({ kind: 'node-down', node: 'b' })
    expect(a.exchangeCount).toBe(0)
    expect(a.step({ kind: 'answered', exchange: 2, answer: { kind: 'digest', shards: [1] } })).toEqual([])
  })

  test('an answer that does not move on ends the shard', () => {
    const a = new Cluster().add('a')
    a.set('s', 'k', bytes('v'))
    a.step({ kind: 'node-up', node: 'b' })
    const [page] = a.step({ kind: 'answered', exchange: 1, answer: { kind: 'digest', shards: [3, 3, 900] } })
    expect(page).toMatchObject({ kind: 'request', request: { kind: 'page', shard: 3 } })
    const stuck = { kind: 'page' as const, entries: [], want: ['x'], gone: ['y'], upTo: '' }
    expect(a.step({ kind: 'answered', exchange: 1, answer: stuck })).toMatchObject([
      { kind: 'exchanged', differing: 1 },
    ])
  })

  test('hashes of another node that are others are a reason to compare, once', () => {
    const cluster = new Cluster()
    const a = cluster.add('a')
    const b = cluster.add('b')
    cluster.meet('a', 'b')
    expect(a.step({ kind: 'hint', node: 'b', hashes: b.store.digest.hashes })).toEqual([])
    b.set('s', 'k', bytes('v'))
    const hint = { kind: 'hint', node: 'b', hashes: b.store.digest.hashes } as const
    expect(a.step(hint).length).toBe(1)
    expect(a.step(hint)).toEqual([])
    expect(a.step({ kind: 'hint', node: 'stranger', hashes: b.store.digest.hashes })).toEqual([])
  })
})
