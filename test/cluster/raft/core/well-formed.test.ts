import { describe, expect, test } from 'vitest'
import type { Entry } from '../../../../cluster/raft/core/entry.ts'
import { configurationOf } from '../../../../cluster/raft/core/membership.ts'
import type { AppendRequest, Message, SnapshotRequest } from '../../../../cluster/raft/core/messages.ts'
import { messageProblem } from '../../../../cluster/raft/core/well-formed.ts'
import { fc } from '../../../tools/property.ts'
import { Group } from './group.ts'

const noop = (index: number, term: number, clockMs = 0): Entry => ({ index, term, clockMs, kind: 'noop' })

const append: AppendRequest = {
  kind: 'append',
  term: 3,
  round: 1,
  previous: { index: 4, term: 2 },
  commit: 4,
  entries: [noop(5, 2), noop(6, 3)],
  isHeartbeat: false,
  clockMs: 0,
}

const snapshot: SnapshotRequest = {
  kind: 'snapshot',
  term: 3,
  round: 1,
  snapshot: { index: 9, term: 3, clockMs: 0, configuration: configurationOf(['a']), sizeBytes: 4, checksum: 'x' },
  offset: 0,
  data: new Uint8Array(4),
}

test('what servers say passes', () => {
  const group = new Group({
    voters: ['a', 'b', 'c'],
    standbys: ['d'],
    raft: { snapshotThreshold: 4, trailingEntries: 0 },
  })
  const problems: (string | undefined)[] = []
  group.onEffect = (_server, effect) => {
    if (effect.kind === 'send') problems.push(messageProblem(effect.message))
  }
  group.elect('a')
  group.isolate('d')
  group.propose('a', 'x', 'y', 'z', 'u', 'v')
  group.pass(300_000, { stepMs: 500 })
  group.heal()
  group.pass(10_000)
  group.feed('a', { kind: 'transfer', ref: 1, to: 'b' })
  group.settle()
  group.feed('c', { kind: 'read', ref: 1 })
  group.settle()
  expect(group.state('d')).toEqual(['x', 'y', 'z', 'u', 'v'])
  expect(problems.length).toBeGreaterThan(100)
  expect(problems.filter((problem) => problem !== undefined)).toEqual([])
})

describe('what no server says', () => {
  test.each<[string, Message]>([
    ['its term is not a whole number', { ...append, term: 1.5 }],
    ['its round is not a whole number', { ...append, round: -1 }],
    ['a position is of a later term than the message', { ...append, previous: { index: 4, term: 4 } }],
    ['only what is before the first entry has no term', { ...append, previous: { index: 0, term: 1 } }],
    ['its commit index is not a whole number', { ...append, commit: Number.NaN }],
    ['a heartbeat carries entries', { ...append, isHeartbeat: true }],
    ['entry 6 follows 4', { ...append, entries: [noop(6, 3)] }],
    ['the term of entry 6 falls', { ...append, entries: [noop(5, 3), noop(6, 2)] }],
    ['the clock of entry 6 falls', { ...append, entries: [noop(5, 2, 9), noop(6, 2, 8)] }],
    ['entry 5 is of a later term than its leader', { ...append, entries: [noop(5, 4)] }],
    [
      'nobody votes',
      { ...append, entries: [{ ...noop(5, 3), kind: 'configuration', configuration: { voters: [], standbys: [] } }] },
    ],
    [
      'a server is voter and standby',
      { ...snapshot, snapshot: { ...snapshot.snapshot, configuration: { voters: ['a'], standbys: ['a'] } } },
    ],
    [
      'the servers are not in order',
      { ...snapshot, snapshot: { ...snapshot.snapshot, configuration: { voters: ['b', 'a'], standbys: [] } } },
    ],
    ['the snapshot is of a later term than its leader', { ...snapshot, term: 2 }],
    ['it has bytes behind the end of the snapshot', { ...snapshot, offset: 1 }],
    [
      'its hint is not an index',
      {
        kind: 'append-reply',
        term: 1,
        round: 1,
        ok: false,
        isHeartbeat: false,
        index: 0,
        hint: { index: 0 },
        applied: 0,
        syncMs: 0,
      },
    ],
  ])('%s', (problem, message) => {
    expect(messageProblem(message)).toBe(problem)
  })
})

test('whatever else comes, in whatever order, the server stands', () => {
  const small = fc.integer({ min: 0, max: 6 })
  const position = fc.record({ index: small, term: small })
  const base = { term: small, round: fc.nat(100) }
  const message: fc.Arbitrary<Message> = fc.oneof(
    fc.record({
      kind: fc.constantFrom('vote' as const, 'prevote' as const),
      ...base,
      last: position,
      isTransfer: fc.boolean(),
    }),
    fc.record({
      kind: fc.constantFrom('vote-reply' as const, 'prevote-reply' as const),
      ...base,
      granted: fc.boolean(),
    }),
    fc
      .record({ ...base, previous: position, terms: fc.array(small, { maxLength: 3 }), isHeartbeat: fc.boolean() })
      .map(({ previous, terms, ...rest }): Message => {
        const entries = terms.map((term, at) => noop(previous.index + 1 + at, term))
        // Nothing is committed: what is can only be contradicted by breaking the protocol.
        return { kind: 'append', ...rest, previous, entries, commit: 0, clockMs: 0 }
      }),
    fc.record({
      kind: fc.constant('append-reply' as const),
      ...base,
      ok: fc.boolean(),
      isHeartbeat: fc.boolean(),
      index: small,
      hint: fc.record({ index: small, term: small }),
      applied: small,
      syncMs: small,
    }),
    fc.record({
      kind: fc.constant('snapshot-reply' as const),
      ...base,
      index: small,
      checksum: fc.constant('x'),
      offset: small,
      isDone: fc.boolean(),
    }),
    fc.record({
      kind: fc.constantFrom('timeout-now' as const, 'reset-required' as const, 'read-index' as const),
      ...base,
    }),
    fc.record({ kind: fc.constant('read-index-reply' as const), ...base, index: small }),
  )
  const step = fc.record({ message, passMs: fc.constantFrom(0, 0, 0, 100, 4000), isSynced: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const group = new Group({ voters: ['a', 'b', 'c'] })
      group.slowDisk('a')
      for (const { message: said, passMs, isSynced } of steps) {
        group.nowMs += passMs
        group.feed('a', { kind: 'tick' })
        if (isSynced) group.sync('a')
        // One leader a term is what elections are for; with our own vote it can be ourselves.
        const isOurs = group.raft('a').role === 'leader' && group.raft('a').term === said.term
        if (messageProblem(said) !== undefined || (said.kind === 'append' && isOurs)) continue
        group.feed('a', { kind: 'message', from: said.term % 2 === 0 ? 'b' : 'c', message: said })
        group.letters = []
      }
      group.sync('a')
      expect(group.disk('a').entries.map((entry) => entry.index)).toEqual(
        group.disk('a').entries.map((_, at) => at + 1),
      )
    }),
    { numRuns: 300 },
  )
})
