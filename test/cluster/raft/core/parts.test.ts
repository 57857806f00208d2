// The small parts of the core: majorities, configurations, reads, progress, recovery.

import { describe, expect, test } from 'vitest'
import type { Entry } from '../../../../cluster/raft/core/entry.ts'
import { isUpToDate } from '../../../../cluster/raft/core/entry.ts'
import {
  applyChange,
  type ConfigurationChange,
  configurationOf,
  membersOf,
  quorumProblem,
} from '../../../../cluster/raft/core/membership.ts'
import { Progress } from '../../../../cluster/raft/core/progress.ts'
import { majorityValue, quorumOf, tally } from '../../../../cluster/raft/core/quorum.ts'
import { Reads } from '../../../../cluster/raft/core/reads.ts'
import { recover, type StoredState } from '../../../../cluster/raft/core/recovery.ts'
import { fc } from '../../../tools/property.ts'

describe('majorities', () => {
  test('more than half', () => {
    expect([1, 2, 3, 4, 5, 9].map(quorumOf)).toEqual([1, 2, 2, 3, 3, 5])
  })

  test('the value that a majority has reached', () => {
    expect(majorityValue([])).toBe(Number.NEGATIVE_INFINITY)
    expect(majorityValue([7])).toBe(7)
    expect(majorityValue([1, 9])).toBe(1)
    expect(majorityValue([5, 1, 9])).toBe(5)
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (values) => {
        const value = majorityValue(values)
        const reached = (at: number): number => values.filter((each) => each >= at).length
        expect(reached(value)).toBeGreaterThanOrEqual(quorumOf(values.length))
        expect(reached(value + 1)).toBeLessThan(quorumOf(values.length))
      }),
    )
  })

  test('votes of others do not count, and a lost election is known as such', () => {
    const voters = ['a', 'b', 'c']
    expect(tally(voters, new Map([['a', true]]))).toBe('pending')
    expect(
      tally(
        voters,
        new Map([
          ['a', true],
          ['x', true],
        ]),
      ),
    ).toBe('pending')
    expect(
      tally(
        voters,
        new Map([
          ['a', true],
          ['c', true],
        ]),
      ),
    ).toBe('won')
    expect(
      tally(
        voters,
        new Map([
          ['a', true],
          ['b', false],
          ['c', false],
        ]),
      ),
    ).toBe('lost')
  })
})

describe('configurations', () => {
  const now = configurationOf(['c', 'a', 'b'], ['d'])

  test('lists are sorted', () => {
    expect(now.voters).toEqual(['a', 'b', 'c'])
    expect(membersOf(now)).toEqual(['a', 'b', 'c', 'd'])
  })

  test.each<[ConfigurationChange['op'], string, readonly string[], readonly string[]]>([
    ['add-standby', 'e', ['a', 'b', 'c'], ['d', 'e']],
    ['promote', 'd', ['a', 'b', 'c', 'd'], []],
    ['demote', 'b', ['a', 'c'], ['b', 'd']],
    ['remove', 'b', ['a', 'c'], ['d']],
    ['remove', 'd', ['a', 'b', 'c'], []],
  ])('%s %s', (op, server, voters, standbys) => {
    expect(applyChange(now, { op, server })).toEqual({ ok: true, configuration: { voters, standbys } })
  })

  test.each<[ConfigurationChange['op'], string, string]>([
    ['add-standby', 'a', 'a is already a member'],
    ['add-standby', 'd', 'd is already a member'],
    ['promote', 'x', 'x is not a standby'],
    ['promote', 'a', 'a is not a standby'],
    ['demote', 'd', 'd is not a voter'],
    ['remove', 'x', 'x is not a member'],
  ])('%s %s is refused', (op, server, why) => {
    expect(applyChange(now, { op, server })).toEqual({ ok: false, why })
  })

  test('the last voter stays (cluster.md §5.5)', () => {
    const one = configurationOf(['a'], ['b'])
    expect(applyChange(one, { op: 'remove', server: 'a' })).toEqual({ ok: false, why: 'a is the last voter' })
    expect(applyChange(one, { op: 'demote', server: 'a' })).toEqual({ ok: false, why: 'a is the last voter' })
  })

  test('any two majorities of neighbours share a voter (thesis §4.1)', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const subset = fc.subarray(names, { minLength: 1 })
    const change = fc.record({
      op: fc.constantFrom('promote' as const, 'demote' as const, 'remove' as const),
      server: fc.constantFrom(...names),
    })
    fc.assert(
      fc.property(subset, change, subset, subset, (voters, { op, server }, one, two) => {
        const before = configurationOf(
          voters,
          names.filter((name) => !voters.includes(name)),
        )
        const after = applyChange(before, { op, server })
        if (!after.ok) return
        const first = one.filter((name) => voters.includes(name))
        const second = two.filter((name) => after.configuration.voters.includes(name))
        if (first.length < quorumOf(voters.length)) return
        if (second.length < quorumOf(after.configuration.voters.length)) return
        expect(first.some((name) => second.includes(name))).toBe(true)
      }),
    )
  })

  test('a step that leaves too few reachable voters says who is missing (§5.5)', () => {
    expect(quorumProblem(now, new Set(['a', 'b']))).toBeUndefined()
    expect(quorumProblem(now, new Set(['a', 'd']))).toBe(
      'only 1 of the next 3 voters are reachable and 2 are needed; missing: b, c',
    )
  })
})

test('later terms win over longer logs (Raft §5.4.1)', () => {
  expect(isUpToDate({ index: 3, term: 4 }, { index: 9, term: 3 })).toBe(true)
  expect(isUpToDate({ index: 8, term: 3 }, { index: 9, term: 3 })).toBe(false)
  expect(isUpToDate({ index: 9, term: 3 }, { index: 9, term: 3 })).toBe(true)
})

describe('reads at the leader', () => {
  test('are proven by a round that began after they came (thesis §6.4)', () => {
    const reads = new Reads(10)
    reads.add({ kind: 'local', ref: 1 }, 5)
    expect(reads.needsRound).toBe(true)
    reads.begin(100)
    reads.add({ kind: 'local', ref: 2 }, 6)
    expect(reads.needsRound).toBe(false)
    expect(reads.confirmed(99)).toEqual([])
    expect(reads.confirmed(101)).toEqual([{ reader: { kind: 'local', ref: 1 }, index: 5 }])
    expect(reads.needsRound).toBe(true)
    reads.begin(102)
    expect(reads.confirmed(102)).toHaveLength(1)
    expect(reads.count).toBe(0)
  })

  test('are not carried from round to round', () => {
    const reads = new Reads(10)
    reads.add({ kind: 'local', ref: 1 }, 5)
    reads.begin(100)
    reads.begin(200)
    expect(reads.confirmed(100)).toHaveLength(1)
  })

  test('are bounded, and given back when leadership ends', () => {
    const reads = new Reads(2)
    expect(reads.add({ kind: 'local', ref: 1 }, 1)).toBe(true)
    reads.begin(1)
    expect(reads.add({ kind: 'local', ref: 2 }, 1)).toBe(true)
    expect(reads.add({ kind: 'local', ref: 3 }, 1)).toBe(false)
    expect(reads.clear().map((reader) => reader.kind === 'local' && reader.ref)).toEqual([1, 2])
  })
})

describe('what a leader knows of a follower', () => {
  const limits = { inflightMax: 2, inflightBytesMax: 100 }
  const sent = (lastIndex: number, bytes = 10) => ({ lastIndex, bytes, count: 1, round: lastIndex, nowMs: 0 })

  test('probing: one question at a time', () => {
    const progress = new Progress(5, limits)
    expect(progress.isPaused).toBe(false)
    progress.sent({ lastIndex: 4, bytes: 0, count: 0, round: 1, nowMs: 0 })
    expect(progress.isPaused).toBe(true)
    progress.becomeProbe(3)
    expect([progress.next, progress.isPaused]).toEqual([3, false])
  })

  test('replicating: a pipeline bounded in messages', () => {
    const progress = new Progress(1, limits)
    progress.becomeReplicate()
    progress.sent(sent(1))
    progress.sent(sent(2))
    expect(progress.isPaused).toBe(true)
    expect(progress.acknowledged(1, 9, 0)).toBe(true)
    expect([progress.isPaused, progress.match, progress.inflightCount]).toEqual([false, 1, 1])
    expect(progress.acknowledged(1, 10, 0)).toBe(false)
  })

  test('and in bytes', () => {
    const progress = new Progress(1, limits)
    progress.becomeReplicate()
    progress.sent(sent(1, 100))
    expect(progress.isPaused).toBe(true)
  })

  test('an acknowledgement that overtook others frees them too', () => {
    const progress = new Progress(1, limits)
    progress.becomeReplicate()
    progress.sent(sent(1))
    progress.sent(sent(2))
    progress.acknowledged(2, 9, 0)
    expect([progress.inflightCount, progress.next]).toEqual([0, 3])
  })

  test('one that has lost entries gets nothing more', () => {
    const progress = new Progress(1, limits)
    progress.isRegressed = true
    expect(progress.isPaused).toBe(true)
  })
})

describe('recovery (cluster.md §5.1)', () => {
  const empty: StoredState = { base: { index: 0, term: 0 }, runs: [], lastIndex: 0, entries: [] }
  const noops = (from: number, to: number, term: number): Entry[] =>
    Array.from({ length: to - from + 1 }, (_, at) => ({ index: from + at, term, clockMs: 0, kind: 'noop' }))
  const snapshot = {
    index: 10,
    term: 3,
    clockMs: 7,
    configuration: configurationOf(['a']),
    sizeBytes: 1,
    checksum: 'x',
  }

  test('nothing is a start', () => {
    expect(recover(empty)).toMatchObject({ ok: true, isLogReplaced: false, state: { hardState: { term: 0 } } })
  })

  test('a log with its snapshot within', () => {
    const runs = [
      { first: 6, term: 2 },
      { first: 9, term: 3 },
      { first: 12, term: 4 },
    ]
    const result = recover({
      hardState: { term: 4, vote: 'b' },
      snapshot,
      base: { index: 5, term: 2 },
      runs,
      lastIndex: 12,
      entries: [...noops(11, 11, 3), ...noops(12, 12, 4)],
    })
    expect(result).toMatchObject({ ok: true, isLogReplaced: false })
    if (result.ok) expect(result.state.runs).toEqual(runs.slice(0, 2))
    if (result.ok) expect(result.state.hardState.vote).toBe('b')
  })

  test('a crash between the snapshot and the cut of the log (D5)', () => {
    const stored = { ...empty, hardState: { term: 2, vote: 'b' }, snapshot, runs: [{ first: 1, term: 1 }] }
    const shorter = recover({ ...stored, lastIndex: 4 })
    expect(shorter).toMatchObject({ ok: true, isLogReplaced: true, state: { base: { index: 10, term: 3 } } })
    // Nobody voted in a term that the store has not seen.
    expect(shorter).toMatchObject({ state: { hardState: { term: 3 } } })
    expect(shorter.ok && shorter.state.hardState.vote).toBe(undefined)
    const other = recover({ ...stored, lastIndex: 12, entries: noops(11, 12, 1) })
    expect(other).toMatchObject({ ok: true, isLogReplaced: true, state: { entries: [] } })
  })

  test('damage is named by its index and never repaired (D7)', () => {
    const runs = [{ first: 1, term: 3 }]
    expect(recover({ ...empty, runs, lastIndex: 2, entries: noops(1, 2, 3), hardState: { term: 2 } })).toEqual({
      ok: false,
      index: 2,
      why: 'its term is 3, the store has only seen term 2',
    })
    expect(recover({ ...empty, hardState: { term: 3 }, runs, lastIndex: 3, entries: noops(2, 3, 3) })).toEqual({
      ok: false,
      index: 1,
      why: 'entry 2 stands in its place',
    })
    expect(
      recover({ ...empty, hardState: { term: 3 }, base: { index: 11, term: 3 }, lastIndex: 11, snapshot }),
    ).toEqual({
      ok: false,
      index: 11,
      why: 'entries up to 11 are gone and no snapshot holds them',
    })
  })
})
