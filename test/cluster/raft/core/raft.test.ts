// One sentence of the paper, the thesis or cluster.md §5 a test. The idea is that of etcd-io/raft raft_paper_test.go.

import { describe, expect, test } from 'vitest'
import type { RaftInput } from '../../../../cluster/raft/core/effects.ts'
import type { Entry } from '../../../../cluster/raft/core/entry.ts'
import type { AppendReply, AppendRequest, Message, SnapshotMeta } from '../../../../cluster/raft/core/messages.ts'
import type { RaftOptions } from '../../../../cluster/raft/core/raft.ts'
import { Group, type Letter } from './group.ts'

const H = 3000

function trio(raft = {}): Group {
  return new Group({ voters: ['a', 'b', 'c'], raft })
}

function led(raft = {}): Group {
  const group = trio(raft)
  group.elect('a')
  return group
}

/** Effects of one message. */
function tell(group: Group, to: string, from: string, message: Message): Message[] {
  group.feed(to, { kind: 'message', from, message })
  return group.take((letter) => letter.from === to && letter.to === from).map((letter) => letter.message)
}

const noop = (index: number, term: number): Entry => ({ index, term, clockMs: 0, kind: 'noop' })

function append(fields: Partial<AppendRequest>): AppendRequest {
  return {
    kind: 'append',
    term: 2,
    round: 1,
    previous: { index: 1, term: 1 },
    commit: 0,
    entries: [],
    isHeartbeat: false,
    clockMs: 0,
    ...fields,
  }
}

describe('elections', () => {
  test('a new group has a leader within half a heartbeat timeout and the round trips (§5.2)', () => {
    const group = trio()
    group.pass(H / 2)
    expect(group.leader()).toBeDefined()
    expect(group.raft('a').term).toBe(2)
  })

  test('a follower that hears nothing asks first and raises no term (thesis §9.6)', () => {
    const group = led()
    group.isolate('c')
    group.pass(20 * H)
    expect(group.raft('c').term).toBe(group.raft('a').term)
    expect(group.raft('c').role).toBe('pre-candidate')
  })

  test('one that comes back from a partition follows and disturbs nobody', () => {
    const group = led()
    group.isolate('c')
    group.pass(5 * H)
    group.heal()
    group.pass(H)
    expect(group.raft('c').leader).toBe('a')
    expect(group.raft('a').term).toBe(2)
  })

  test('votes for one candidate a term (Raft §5.2), and again for the same one', () => {
    const group = trio()
    const ask = { kind: 'vote', term: 5, round: 1, last: { index: 9, term: 4 }, isTransfer: false } as const
    expect(tell(group, 'c', 'a', ask)).toMatchObject([{ granted: true, term: 5 }])
    expect(tell(group, 'c', 'b', ask)).toMatchObject([{ granted: false, why: 'voted' }])
    expect(tell(group, 'c', 'a', ask)).toMatchObject([{ granted: true }])
    group.restart('c')
    group.nowMs += H
    expect(tell(group, 'c', 'b', ask)).toMatchObject([{ granted: false, why: 'voted' }])
  })

  test('a vote is durable before it is answered (thesis §3.8)', () => {
    const group = trio()
    group.slowDisk('c')
    const ask = { kind: 'vote', term: 5, round: 1, last: { index: 9, term: 4 }, isTransfer: false } as const
    expect(tell(group, 'c', 'a', ask)).toEqual([])
    group.sync('c')
    expect(group.take(() => true).map((letter) => letter.message)).toMatchObject([{ granted: true }])
    expect([group.disk('c').term, group.disk('c').vote]).toEqual([5, 'a'])
  })

  test('a candidate counts its own vote when it is durable', () => {
    const group = new Group({ voters: ['a'] })
    group.slowDisk('a')
    group.feed('a', { kind: 'campaign' })
    expect(group.raft('a').role).toBe('candidate')
    group.sync('a')
    expect(group.raft('a').role).toBe('leader')
  })

  test('no vote for a log that is behind (Raft §5.4.1)', () => {
    const group = led()
    group.propose('a', 'x')
    group.settle()
    group.nowMs += 2 * H
    const ask = { kind: 'vote', term: 9, round: 1, last: { index: 9, term: 1 }, isTransfer: false } as const
    expect(tell(group, 'b', 'c', ask)).toMatchObject([{ granted: false, why: 'log', term: 9 }])
    const askFirst = { ...ask, kind: 'prevote', term: 9 } as const
    expect(tell(group, 'b', 'c', askFirst)).toMatchObject([{ granted: false, why: 'log' }])
  })

  test('whoever hears a leader refuses votes and keeps its term (§5.2, stickiness)', () => {
    const group = led()
    const ask = { kind: 'vote', term: 9, round: 1, last: { index: 9, term: 8 }, isTransfer: false } as const
    expect(tell(group, 'b', 'c', ask)).toMatchObject([{ granted: false, why: 'leader', term: 2 }])
    expect(tell(group, 'a', 'c', ask)).toMatchObject([{ granted: false, why: 'leader', term: 2 }])
    expect(tell(group, 'b', 'c', { ...ask, isTransfer: true })).toMatchObject([{ granted: true, term: 9 }])
  })

  test('a pre-vote changes nothing at the granter', () => {
    const group = trio()
    group.nowMs += 2 * H
    const ask = { kind: 'prevote', term: 4, round: 1, last: { index: 9, term: 4 }, isTransfer: false } as const
    expect(tell(group, 'b', 'c', ask)).toMatchObject([{ granted: true, term: 1 }])
    expect(tell(group, 'b', 'a', ask)).toMatchObject([{ granted: true, term: 1 }])
    expect([group.raft('b').term, group.disk('b').vote]).toEqual([1, undefined])
  })

  test('who only asks whether it could win still votes for another in the same term', () => {
    const group = trio()
    group.nowMs += 2 * H
    group.feed('b', { kind: 'campaign' })
    group.take(() => true)
    const ask = { kind: 'vote', term: 1, round: 1, last: { index: 9, term: 1 }, isTransfer: false } as const
    expect(tell(group, 'b', 'c', ask)).toMatchObject([{ granted: true, term: 1 }])
    expect(group.raft('b').role).toBe('follower')
  })

  test('only voters stand for election', () => {
    const group = new Group({ voters: ['a', 'b', 'c'], standbys: ['s'], others: ['x'] })
    for (const server of ['s', 'x']) {
      group.feed(server, { kind: 'campaign' })
      expect(group.raft(server).role).toBe('follower')
    }
    expect(group.letters).toEqual([])
  })

  test('who would rather not lead waits five timeouts before it does (§5.2)', () => {
    const group = trio()
    for (const server of ['a', 'b', 'c']) group.feed(server, { kind: 'eligible', isEligible: false })
    group.pass(4 * H)
    expect(group.leader()).toBeUndefined()
    group.pass(6 * H)
    expect(group.leader()).toBeDefined()
  })

  test('a server that restarts waits before it votes: the leader it knew may count on it', () => {
    const group = led()
    group.restart('b')
    const ask = { kind: 'prevote', term: 2, round: 1, last: { index: 99, term: 2 }, isTransfer: false } as const
    expect(tell(group, 'b', 'c', ask)).toMatchObject([{ granted: false, why: 'leader' }])
    group.nowMs += H
    expect(tell(group, 'b', 'c', ask)).toMatchObject([{ granted: true }])
  })

  test('refusals of a majority end a candidacy', () => {
    const group = trio()
    group.cut('a', 'b')
    group.cut('a', 'c')
    group.feed('a', { kind: 'campaign' })
    const [{ message }] = group.take((letter) => letter.to === 'b') as [Letter]
    for (const from of ['b', 'c']) {
      tell(group, 'a', from, {
        kind: 'prevote-reply',
        term: 1,
        round: message.round,
        granted: false,
        why: 'leader',
      })
    }
    expect(group.raft('a').role).toBe('follower')
  })
})

describe('check-quorum (§5.2)', () => {
  test('a leader that reaches no majority steps down within the window, in its term', () => {
    const group = led()
    group.pass(2 * H)
    group.isolate('a')
    group.pass(1.1 * H + 500)
    expect(group.raft('a').role).toBe('follower')
    expect(group.raft('a').term).toBe(2)
  })

  test('one of two followers is enough', () => {
    const group = led()
    group.isolate('c')
    group.pass(5 * H)
    expect(group.leader()).toBe('a')
  })

  test('a leader that sends and does not hear is replaced', () => {
    const group = led()
    group.cut('b', 'a')
    group.cut('c', 'a')
    group.pass(6 * H)
    expect(group.leader()).not.toBe('a')
    expect(group.leader()).toBeDefined()
  })
})

describe('replication', () => {
  test('what a majority has on disk is committed, and followers hear of it at once (Raft §5.3)', () => {
    const group = led()
    group.propose('a', 'x', 'y')
    group.settle()
    for (const server of group.servers) expect(group.state(server)).toEqual(['x', 'y'])
  })

  test('entries that follow soon bring the news of the commit index, else it comes a moment later', () => {
    const group = led({ commitNewsMs: 3 })
    group.pass(3, { stepMs: 1 })
    const heartbeats = () =>
      group.of('a', 'send').filter(({ message: m }) => m.kind === 'append' && m.isHeartbeat).length
    const before = heartbeats()
    group.propose('a', 'x')
    group.settle()
    expect([group.state('a'), group.state('b')]).toEqual([['x'], []])
    group.propose('a', 'y')
    group.settle()
    expect([group.state('a'), group.state('b')]).toEqual([['x', 'y'], ['x']])
    expect(heartbeats()).toBe(before)
    group.pass(3, { stepMs: 1 })
    for (const server of group.servers) expect(group.state(server)).toEqual(['x', 'y'])
    expect(heartbeats()).toBe(before + 2)
    group.pass(10, { stepMs: 1 })
    expect(heartbeats()).toBe(before + 2)
  })

  test('who waits for what was committed hears of it at once, and the others a moment later', () => {
    const group = led({ commitNewsMs: 3 })
    group.propose('a', 'x')
    group.settle()
    group.feed('a', { kind: 'tell-commit', peer: 'b' })
    group.settle()
    expect([group.state('b'), group.state('c')]).toEqual([['x'], []])
    group.pass(3, { stepMs: 1 })
    expect(group.state('c')).toEqual(['x'])
    const sent = group.of('a', 'send').length
    for (const peer of ['b', 'nobody']) group.feed('a', { kind: 'tell-commit', peer })
    group.feed('b', { kind: 'tell-commit', peer: 'a' })
    expect(group.of('a', 'send').length).toBe(sent)
  })

  test('a leader counts itself only for what is on its disk (D3)', () => {
    const group = led()
    group.isolate('c')
    group.slowDisk('a')
    group.propose('a', 'x')
    group.settle()
    expect(group.raft('b').log.lastIndex).toBe(3)
    expect(group.raft('a').commit).toBe(2)
    group.sync('a')
    expect(group.raft('a').commit).toBe(3)
  })

  test('the slowest disk may be the leader’s: two followers are a majority', () => {
    const group = led()
    group.slowDisk('a')
    group.propose('a', 'x')
    group.settle()
    expect(group.raft('a').commit).toBe(3)
    // But its own state shows only what a crash cannot take from it.
    expect(group.state('a')).toEqual([])
    expect(group.state('b')).toEqual(['x'])
  })

  test('a follower acknowledges when it is durable (D2)', () => {
    const group = led()
    group.isolate('c')
    group.slowDisk('b')
    group.propose('a', 'x')
    group.settle()
    expect(group.raft('a').commit).toBe(2)
    group.sync('b')
    group.settle()
    expect(group.raft('a').commit).toBe(3)
  })

  test('heartbeats are answered while the disk is busy, and take no acknowledgement with them', () => {
    const group = led()
    group.isolate('c')
    group.slowDisk('b')
    group.propose('a', 'x')
    group.settle()
    const heartbeat = append({ term: 2, round: 7, isHeartbeat: true })
    expect(tell(group, 'b', 'a', heartbeat)).toMatchObject([{ ok: true, index: 1 }])
    group.sync('b')
    expect(group.take(() => true).map(({ message }) => (message as AppendReply).index)).toEqual([3])
  })

  test('entries of an earlier term are committed with one of the leader’s own (Raft §5.4.2, figure 8)', () => {
    const group = trio()
    tell(group, 'a', 'b', append({ entries: [noop(2, 2)] }))
    group.elect('a')
    const reply = (index: number): Message => {
      return { kind: 'append-reply', term: 4, round: 1, ok: true, isHeartbeat: false, index, applied: 0, syncMs: 0 }
    }
    group.restart('a')
    tell(group, 'a', 'b', append({ term: 3, entries: [] }))
    group.nowMs += 2 * H
    group.isolate('c')
    group.feed('a', { kind: 'campaign' })
    while (group.raft('a').role !== 'leader') group.deliver(group.letters.shift() as Letter)
    group.take(() => true)
    expect([group.raft('a').term, group.raft('a').log.lastIndex, group.raft('a').commit]).toEqual([4, 4, 0])
    // Entry 2 is of term 2 and entry 3 of term 3: that two of three have them on disk commits neither.
    tell(group, 'a', 'b', reply(3))
    expect(group.raft('a').commit).toBe(0)
    tell(group, 'a', 'b', reply(4))
    expect(group.raft('a').commit).toBe(4)
  })

  test('pipelines: many appends before the first answer, within the limits', () => {
    const group = led({ inflightMax: 3, appendEntriesMax: 2 })
    group.take(() => true)
    for (let i = 0; i < 20; i++) group.propose('a', `x${i}`)
    const sent = group.take((letter) => letter.to === 'b').map(({ message }) => message as AppendRequest)
    expect(sent.map((message) => message.entries.length)).toEqual([1, 1, 1])
    group.feed('b', { kind: 'message', from: 'a', message: sent[0] as Message })
    group.deliver(group.letters.pop() as Letter)
    const more = group.take((letter) => letter.to === 'b').map(({ message }) => message as AppendRequest)
    expect(more.map((message) => message.entries.length)).toEqual([2])
  })

  test('batches what waits', () => {
    const group = led({ appendEntriesMax: 8 })
    group.propose('a', ...Array.from({ length: 20 }, (_, i) => `x${i}`))
    const counts = group
      .take((letter) => letter.to === 'b')
      .map(({ message }) => (message as AppendRequest).entries.length)
    expect(counts).toEqual([8, 8, 4])
  })

  test('conflicting entries go, one refusal a term (Raft §5.3)', () => {
    const group = trio()
    const old = Array.from({ length: 50 }, (_, i) => noop(i + 2, 2))
    tell(group, 'c', 'b', append({ term: 2, entries: old }))
    tell(group, 'a', 'b', append({ term: 2 }))
    group.elect('a')
    group.pass(H)
    expect(group.raft('c').log.lastIndex).toBe(2)
    expect(group.disk('c').entries.map((entry) => entry.term)).toEqual([1, 3])
    const refused = group.of('c', 'send').filter(({ message }) => message.kind === 'append-reply' && !message.ok)
    expect(refused.length).toBeLessThan(3)
  })

  test('a delayed append of the same leader takes nothing back', () => {
    const group = trio()
    tell(group, 'b', 'a', append({ entries: [noop(2, 2), noop(3, 2)] }))
    expect(tell(group, 'b', 'a', append({ entries: [noop(2, 2)] }))).toMatchObject([{ ok: true, index: 2 }])
    expect(group.raft('b').log.lastIndex).toBe(3)
  })

  test('an entry that is committed is never replaced', () => {
    const group = trio()
    tell(group, 'b', 'a', append({ entries: [noop(2, 2)], commit: 2 }))
    tell(group, 'b', 'c', append({ term: 5, entries: [noop(2, 5)] }))
    expect(group.disk('b').entries[1]?.term).toBe(2)
  })

  test('an append of an old term is refused with ours', () => {
    const group = led()
    expect(tell(group, 'b', 'c', append({ term: 1 }))).toMatchObject([{ ok: false, term: 2 }])
  })

  test('a follower commits no further than what the leader has shown to be its own (Raft figure 2)', () => {
    const group = trio()
    tell(group, 'b', 'c', append({ term: 2, entries: [noop(2, 2), noop(3, 2)] }))
    // Entry 3 is on b but not of the new leader.
    tell(group, 'b', 'a', append({ term: 3, entries: [], commit: 3 }))
    expect(group.raft('b').commit).toBe(1)
  })

  test('lost appends are sent again after the timeout', () => {
    const group = led()
    group.propose('a', 'x')
    group.take(() => true)
    group.pass(2 * H)
    expect(group.state('b')).toEqual(['x'])
  })

  test('a full connection waits until it has drained', () => {
    const group = led()
    group.feed('a', { kind: 'blocked', peer: 'b' })
    group.propose('a', 'x')
    expect(group.take((letter) => letter.to === 'b' && letter.message.kind === 'append')).toEqual([])
    group.settle()
    group.feed('a', { kind: 'drained', peer: 'b' })
    group.settle()
    expect(group.state('b')).toEqual(['x'])
  })

  test('entries that left the memory come from the disk', () => {
    const group = led({ cacheBytesMax: 100, appendEntriesMax: 4 })
    group.isolate('c')
    group.propose('a', ...Array.from({ length: 40 }, (_, i) => `x${i}`))
    group.settle()
    group.pass(2 * H)
    group.heal()
    group.pass(2 * H)
    expect(group.of('a', 'read-entries').length).toBeGreaterThan(0)
    expect(group.state('c')).toEqual(group.state('a'))
  })

  test('a server that goes back in time is found out and counts no more (§5.3)', () => {
    const group = led()
    group.propose('a', 'x', 'y')
    group.settle()
    group.disk('b').entries.length = 2
    group.restart('b')
    group.pass(H)
    expect(group.of('a', 'regressed')).toEqual([{ kind: 'regressed', server: 'b' }])
    expect(group.of('b', 'reset-required')).toHaveLength(1)
    expect(group.raft('b').status().isFailed).toBe(true)
    group.isolate('c')
    group.propose('a', 'z')
    group.pass(500)
    expect(group.state('a')).toEqual(['x', 'y'])
    group.pass(2 * H)
    expect(group.raft('a').role).not.toBe('leader')
  })
})

describe('proposals', () => {
  test('go to the leader only', () => {
    const group = led()
    group.propose('b', 'x')
    expect(group.of('b', 'refused')).toMatchObject([{ reason: 'not-leader', leader: 'a' }])
  })

  test('are bounded each and together', () => {
    const group = led({ entryBytesMax: 100, uncommittedBytesMax: 250 })
    group.isolate('a')
    group.propose('a', 'x'.repeat(101))
    group.propose('a', 'a'.repeat(100), 'b'.repeat(100))
    expect(group.of('a', 'refused').map(({ reason }) => reason)).toEqual(['too-large', 'overloaded'])
    group.heal()
    group.pass(H)
    group.propose('a', 'c'.repeat(100))
    expect(group.of('a', 'refused')).toHaveLength(2)
  })

  test('carry a clock that passes under leaders only (§5.12)', () => {
    const group = led()
    group.pass(1000)
    group.propose('a', 'x')
    group.settle()
    const clock = group.raft('a').log.entry(3)?.clockMs ?? 0
    expect(clock).toBe(1000)
    group.isolate('a')
    group.pass(10 * H, { settle: false })
    group.take(() => true)
    group.heal()
    group.elect('b')
    group.propose('b', 'y')
    group.settle()
    expect(group.raft('b').log.entry(group.raft('b').log.lastIndex)?.clockMs).toBe(clock)
  })
})

describe('reads', () => {
  test('wait for a round of heartbeats that began after them (thesis §6.4)', () => {
    const group = led()
    group.feed('a', { kind: 'read', ref: 1 })
    expect(group.of('a', 'read-ready')).toEqual([])
    group.settle()
    expect(group.of('a', 'read-ready')).toEqual([{ kind: 'read-ready', ref: 1, index: 2 }])
  })

  test('of a leader that was replaced and does not know are never answered', () => {
    const group = led()
    group.isolate('a')
    group.pass(2 * H - 1500)
    group.feed('a', { kind: 'read', ref: 1 })
    group.pass(2 * H)
    expect(group.of('a', 'read-ready')).toEqual([])
    expect(group.of('a', 'read-failed').length).toBe(1)
  })

  test('fail until the first entry of the term is applied (§5.2)', () => {
    const group = trio()
    group.nowMs += 2 * H
    group.feed('a', { kind: 'campaign' })
    while (group.raft('a').role !== 'leader') group.deliver(group.letters.shift() as Letter)
    group.feed('a', { kind: 'read', ref: 1 })
    expect(group.of('a', 'read-failed')).toEqual([{ kind: 'read-failed', ref: 1, reason: 'not-ready' }])
  })

  test('of followers ask the leader', () => {
    const group = led()
    group.feed('b', { kind: 'read', ref: 5 })
    group.settle()
    expect(group.of('b', 'read-ready')).toEqual([{ kind: 'read-ready', ref: 5, index: 2 }])
  })

  test('of followers fail when nobody answers', () => {
    const group = led()
    group.isolate('b')
    group.feed('b', { kind: 'read', ref: 5 })
    group.pass(H)
    expect(group.of('b', 'read-failed')).toEqual([{ kind: 'read-failed', ref: 5, reason: 'timeout' }])
  })

  test('share rounds', () => {
    const group = led()
    group.take(() => true)
    for (let ref = 0; ref < 50; ref++) group.feed('a', { kind: 'read', ref })
    expect(group.letters.filter((letter) => letter.to === 'b')).toHaveLength(1)
    group.settle()
    expect(group.of('a', 'read-ready')).toHaveLength(50)
  })

  test('under a lease need no round, while the lease lasts (§5.7)', () => {
    const group = led({ readMode: 'lease' })
    group.pass(500)
    group.feed('a', { kind: 'read', ref: 1 })
    expect(group.of('a', 'read-ready')).toHaveLength(1)
    group.nowMs += 0.8 * H
    expect(group.raft('a').hasLease()).toBe(false)
    group.feed('a', { kind: 'read', ref: 2 })
    expect(group.of('a', 'read-ready')).toHaveLength(1)
  })

  test('a lease is void from the moment a successor was told (§5.6)', () => {
    const group = led({ readMode: 'lease' })
    group.pass(500)
    expect(group.raft('a').hasLease()).toBe(true)
    group.feed('a', { kind: 'transfer', ref: 1, to: 'b' })
    expect(group.raft('a').hasLease()).toBe(false)
    group.take(() => true)
    group.pass(2 * H)
    expect(group.raft('a').hasLease()).toBe(false)
  })
})

describe('transfer of leadership (thesis §3.10)', () => {
  test('goes to the target at once', () => {
    const group = led()
    group.feed('a', { kind: 'transfer', ref: 1, to: 'c' })
    group.settle()
    expect(group.leader()).toBe('c')
    expect(group.of('a', 'transfer-ended')).toMatchObject([{ ref: 1, ok: true }])
  })

  test('first brings the target up to date', () => {
    const group = led()
    group.isolate('c')
    group.propose('a', 'x')
    group.settle()
    group.heal()
    group.feed('a', { kind: 'unreachable', peer: 'c' })
    group.feed('a', { kind: 'transfer', ref: 1, to: 'c' })
    group.pass(H)
    expect(group.leader()).toBe('c')
    expect(group.state('c')).toEqual(['x'])
  })

  test('refuses proposals meanwhile and resumes when it fails', () => {
    const group = led()
    group.isolate('c')
    group.feed('a', { kind: 'transfer', ref: 1, to: 'c' })
    group.propose('a', 'x')
    expect(group.of('a', 'refused')).toMatchObject([{ reason: 'transferring' }])
    group.pass(H + 500)
    expect(group.of('a', 'transfer-ended')).toMatchObject([{ ok: false, why: 'no success in time' }])
    group.propose('a', 'y')
    group.settle()
    expect(group.state('b')).toEqual(['y'])
  })

  test('can be cancelled', () => {
    const group = led()
    group.isolate('c')
    group.feed('a', { kind: 'transfer', ref: 1, to: 'c' })
    group.feed('a', { kind: 'cancel-transfer' })
    expect(group.of('a', 'transfer-ended')).toMatchObject([{ ok: false, why: 'cancelled' }])
    expect(group.raft('a').isTransferBegun).toBe(true)
  })

  test.each([
    ['b', 'a', 'not the leader'],
    ['a', 'a', 'already the leader'],
    ['a', 'x', 'x is not a voter'],
  ])('asked of %s for %s fails: %s', (server, to, why) => {
    const group = led()
    group.feed(server, { kind: 'transfer', ref: 1, to })
    expect(group.of(server, 'transfer-ended')).toMatchObject([{ ok: false, why }])
  })

  test('chooses the voter with most of the log', () => {
    const group = led()
    group.isolate('b')
    group.propose('a', 'x')
    group.settle()
    group.feed('a', { kind: 'transfer', ref: 1 })
    group.settle()
    expect(group.leader()).toBe('c')
  })
})

describe('membership (thesis §4, cluster.md §5.5)', () => {
  const five = (): Group => {
    const group = new Group({ voters: ['a', 'b', 'c'], others: ['d'] })
    group.elect('a')
    return group
  }
  const change = (op: 'add-standby' | 'promote' | 'demote' | 'remove', server: string, live = ['b', 'c', 'd']) =>
    ({ kind: 'change', ref: 1, change: { op, server }, live }) as RaftInput

  test('a server is added as standby, catches up, and is promoted', () => {
    const group = five()
    group.propose('a', 'x')
    group.settle()
    group.feed('a', change('add-standby', 'd'))
    group.settle()
    expect(group.state('d')).toEqual(['x'])
    group.feed('a', change('promote', 'd'))
    expect(group.of('a', 'refused')).toMatchObject([{ reason: 'configuration', why: 'd has not caught up yet' }])
    group.pass(1500)
    group.feed('a', change('promote', 'd'))
    group.settle()
    expect(group.raft('d').log.newest.configuration.voters).toEqual(['a', 'b', 'c', 'd'])
  })

  test('a standby is replicated to and does not count', () => {
    const group = new Group({ voters: ['a', 'b', 'c'], standbys: ['d'] })
    group.elect('a')
    group.isolate('b')
    group.isolate('c')
    group.propose('a', 'x')
    group.settle()
    expect(group.raft('d').log.lastIndex).toBe(3)
    expect(group.raft('a').commit).toBe(2)
  })

  test('one change at a time', () => {
    const group = five()
    group.feed('a', change('add-standby', 'd'))
    group.feed('a', change('remove', 'c'))
    expect(group.of('a', 'refused')).toMatchObject([{ why: 'another change is under way' }])
  })

  test('none before the first entry of the term is committed', () => {
    const group = five()
    group.isolate('a')
    group.nowMs += 2 * H
    group.feed('b', { kind: 'campaign' })
    while (group.raft('b').role !== 'leader') group.deliver(group.letters.shift() as Letter)
    group.feed('b', change('add-standby', 'd'))
    expect(group.of('b', 'refused')).toMatchObject([{ reason: 'not-ready' }])
  })

  test('is in force when appended, and gone when truncated', () => {
    const group = five()
    group.isolate('a')
    group.feed('a', change('add-standby', 'd'))
    group.take(() => true)
    expect(group.raft('a').log.newest.configuration.standbys).toEqual(['d'])
    group.pass(4 * H)
    group.heal()
    group.pass(2 * H)
    expect(group.raft('a').log.newest.configuration.standbys).toEqual([])
  })

  test('is refused when too few of the next voters are reachable', () => {
    const group = five()
    group.isolate('c')
    group.pass(2 * H)
    group.feed('a', change('remove', 'b', ['b']))
    expect(group.of('a', 'refused')[0]?.why).toContain('only 1 of the next 2 voters are reachable')
    group.feed('a', change('remove', 'c', ['b']))
    group.settle()
    expect(group.raft('b').log.newest.configuration.voters).toEqual(['a', 'b'])
  })

  test('a leader neither removes nor demotes itself', () => {
    const group = five()
    for (const op of ['remove', 'demote'] as const) group.feed('a', change(op, 'a'))
    expect(group.of('a', 'refused').map(({ why }) => why)).toEqual([
      'a leads; transfer the leadership first',
      'a leads; transfer the leadership first',
    ])
  })

  test('who is removed hears of it and stands for no election', () => {
    const group = five()
    group.feed('a', change('remove', 'c'))
    group.pass(1000)
    expect(group.of('c', 'configuration').at(-1)?.configuration.voters).toEqual(['a', 'b'])
    group.pass(10 * H)
    expect(group.raft('c').role).toBe('follower')
    expect(
      group
        .raft('a')
        .status()
        .followers.map(({ server }) => server),
    ).toEqual(['b'])
  })
})

describe('snapshots', () => {
  const options = {
    snapshotThreshold: 20,
    snapshotIntervalMs: 1000,
    trailingEntries: 5,
    holdMs: 1000,
    snapshotChunkBytes: 16,
    snapshotWindowChunks: 2,
  }
  const filled = (given: Partial<RaftOptions> = {}): Group => {
    const group = led({ ...options, ...given })
    group.isolate('c')
    for (let i = 0; i < 40; i++) {
      group.propose('a', `x${i}`)
      group.settle()
    }
    group.pass(2 * H)
    return group
  }

  test('are made when enough was applied; the log keeps a tail', () => {
    const group = filled()
    const [snapshot] = group.disk('a').snapshots
    expect(snapshot?.index).toBe(42)
    expect(group.raft('a').log.base.index).toBe(37)
    expect(snapshot?.configuration.voters).toEqual(['a', 'b', 'c'])
  })

  test('bring back who fell too far behind, in chunks (Raft §7)', () => {
    const group = filled()
    group.heal()
    group.pass(3 * H)
    expect(group.state('c')).toEqual(group.state('a'))
    expect(group.raft('c').log.base.index).toBe(42)
    expect(group.of('c', 'write-chunk').length).toBeGreaterThan(5)
    group.propose('a', 'after')
    group.settle()
    expect(group.state('c').at(-1)).toBe('after')
  })

  test('go on where they were interrupted', () => {
    const group = filled()
    group.heal()
    group.onEffect = (server, effect) => {
      if (server === 'c' && effect.kind === 'write-chunk' && effect.offset === 64) group.isolate('c')
    }
    group.pass(2 * H)
    group.onEffect = undefined
    const before = group.of('c', 'write-chunk').length
    group.heal()
    group.pass(5 * H)
    expect(group.state('c')).toEqual(group.state('a'))
    expect(group.of('c', 'begin-snapshot')).toHaveLength(1)
    expect(group.of('c', 'write-chunk')[before]?.offset).toBe(80)
  })

  test('are not sent to a server that says nothing', () => {
    const group = filled()
    group.pass(5 * H)
    expect(group.of('a', 'send-chunk')).toEqual([])
  })

  test('survive a restart', () => {
    const group = filled()
    group.restart('a')
    expect(group.raft('a').commit).toBe(42)
    expect(group.raft('a').log.newest.configuration.voters).toEqual(['a', 'b', 'c'])
    group.pass(4 * H)
    group.heal()
    group.pass(6 * H)
    expect(group.state('c')).toEqual(group.state('b'))
  })
})

describe('a disk that fails (D6)', () => {
  test('ends leadership, votes and acknowledgements', () => {
    const group = led()
    group.feed('a', { kind: 'storage-failed' })
    expect(group.raft('a').role).toBe('follower')
    expect(group.raft('a').wakeAtMs).toBe(Number.POSITIVE_INFINITY)
    const ask = { kind: 'vote', term: 9, round: 1, last: { index: 9, term: 8 }, isTransfer: true } as const
    expect(tell(group, 'a', 'b', ask)).toEqual([])
    group.take(() => true)
    group.pass(3 * H)
    expect(group.leader()).not.toBe('a')
    expect(group.leader()).toBeDefined()
  })

  test('what waited for the disk is never sent', () => {
    const group = led()
    group.slowDisk('b')
    group.propose('a', 'x')
    group.settle()
    group.feed('b', { kind: 'storage-failed' })
    group.sync('b')
    expect(group.letters).toEqual([])
  })
})

test('a pause of the process restarts the election timer (§0.2)', () => {
  const group = led()
  group.nowMs += 3 * H
  group.feed('b', { kind: 'paused' })
  group.feed('b', { kind: 'tick' })
  expect(group.raft('b').role).toBe('follower')
})

describe('what a follower lacks is kept for it', () => {
  const options = {
    snapshotThreshold: 20,
    snapshotIntervalMs: 1000,
    trailingEntries: 0,
    holdMs: 60_000,
    snapshotChunkBytes: 16,
    snapshotWindowChunks: 2,
  }
  /** c lacks forty entries that the log of a does not have any more. */
  const behind = (raft: Partial<RaftOptions> = {}): Group => {
    const group = led({ ...options, ...raft })
    group.isolate('c')
    group.pass(61_000)
    write(group, 40)
    group.pass(2 * H)
    expect(group.raft('a').log.base.index).toBe(42)
    return group
  }
  let written = 0
  const write = (group: Group, count: number, leader = 'a'): void => {
    for (let i = 0; i < count; i++) {
      group.propose(leader, `w${written++}`)
      group.settle()
    }
  }
  const isToC = ({ to, message }: Letter): boolean => to === 'c' && message.kind === 'snapshot'
  /** Lets `rounds` of snapshot messages reach c, while clients of `leader` write and snapshots are made. */
  const trickle = (group: Group, rounds: number, leader = 'a'): void => {
    let waiting: Letter[] = []
    for (let round = 0; round < rounds; round++) {
      group.propose(leader, `w${written++}`, `w${written++}`)
      group.pass(200, { settle: false })
      for (;;) {
        waiting.push(...group.take(isToC))
        const letter = group.letters.shift()
        if (letter === undefined) break
        group.deliver(letter)
      }
      const now = waiting
      waiting = []
      for (const letter of now) group.deliver(letter)
    }
    // What is on its way when this ends is lost.
    while (group.letters.length > 0) {
      group.take(isToC)
      const letter = group.letters.shift()
      if (letter !== undefined) group.deliver(letter)
    }
  }
  const modeOf = (group: Group, leader = 'a'): string | undefined =>
    group
      .raft(leader)
      .status()
      .followers.find(({ server }) => server === 'c')?.mode

  test('while it makes progress, whatever the log would keep otherwise', () => {
    const group = led(options)
    group.isolate('c')
    write(group, 40)
    group.pass(2 * H)
    expect(group.disk('a').snapshots.at(-1)?.index).toBe(42)
    expect(group.raft('a').log.base.index).toBe(group.raft('c').log.lastIndex)
    expect(group.raft('b').log.base.index).toBe(42)
    group.heal()
    group.pass(2 * H)
    expect(group.state('c')).toEqual(group.state('a'))
    expect(group.of('a', 'send-chunk')).toEqual([])
    expect(group.raft('a').log.base.index).toBe(42)
  })

  test('a snapshot on its way and the log after it serve, however many are made meanwhile', () => {
    const group = behind()
    group.heal()
    trickle(group, 60)
    const made = group.disk('a').snapshots.length
    expect(made).toBeGreaterThan(3)
    expect(group.of('c', 'begin-snapshot').map(({ snapshot }) => snapshot.index)).toEqual([42])
    group.pass(H)
    expect(modeOf(group)).toBe('replicate')
    expect(group.state('c')).toEqual(group.state('a'))
    // Nobody needs it any more.
    expect(group.raft('a').log.base.index).toBe(group.disk('a').snapshots.at(-1)?.index)
  })

  test('not for one that died on the way', () => {
    const group = behind()
    group.heal()
    trickle(group, 5)
    group.isolate('c')
    write(group, 30)
    group.pass(30_000)
    expect(group.raft('a').log.base.index).toBe(42)
    group.pass(31_000)
    expect(group.raft('a').log.base.index).toBe(group.disk('a').snapshots.at(-1)?.index)
    group.heal()
    group.pass(3 * H)
    expect(group.of('c', 'begin-snapshot')).toHaveLength(2)
    expect(group.state('c')).toEqual(group.state('a'))
  })

  test('one that was cut off for a while goes on with the snapshot that it has a part of', () => {
    const group = behind()
    group.heal()
    trickle(group, 5)
    const before = group.of('c', 'write-chunk').length
    group.isolate('c')
    write(group, 30)
    group.pass(20_000)
    expect(modeOf(group)).toBe('probe')
    expect(group.disk('a').snapshots.at(-1)?.index).toBeGreaterThan(42)
    group.heal()
    group.pass(3 * H)
    expect(group.of('c', 'begin-snapshot')).toHaveLength(1)
    expect(group.of('c', 'write-chunk')[before]?.offset).toBe(before * 16)
    expect(group.state('c')).toEqual(group.state('a'))
  })

  test('not more than is worth keeping: a newer snapshot is sent at once', () => {
    const group = behind()
    group.limits = ({ index }) => ({ keepAfter: index - 5, holdAfter: index - 25 })
    group.heal()
    trickle(group, 5)
    write(group, 30)
    group.pass(2100)
    expect(group.raft('a').log.base.index).toBe(group.disk('a').snapshots.at(-1)?.index)
    group.pass(3 * H)
    const begun = group.of('c', 'begin-snapshot').map(({ snapshot }) => snapshot.index)
    expect(begun).toEqual([42, group.disk('a').snapshots.at(-1)?.index])
    expect(group.state('c')).toEqual(group.state('a'))
  })

  test('another leader does so too, from its own snapshot on', () => {
    const group = behind()
    group.heal()
    trickle(group, 5)
    group.isolate('a')
    group.elect('b')
    trickle(group, 60, 'b')
    group.pass(H)
    expect(group.of('c', 'begin-snapshot').length).toBeLessThanOrEqual(2)
    expect(group.state('c')).toEqual(group.state('b'))
    group.heal()
    group.pass(3 * H)
    expect(group.state('a')).toEqual(group.state('b'))
  })

  test('a snapshot whose file is gone, or that was not what it should be, is not sent for ever', () => {
    const group = behind()
    group.heal()
    trickle(group, 5)
    write(group, 30)
    group.pass(2100)
    const { checksum } = group.disk('a').snapshots[0] as SnapshotMeta
    group.feed('a', { kind: 'chunk-failed', to: 'c', checksum })
    group.pass(3 * H)
    const newest = group.disk('a').snapshots.at(-1)?.index
    expect(group.of('c', 'begin-snapshot').map(({ snapshot }) => snapshot.index)).toEqual([42, newest])
    expect(group.state('c')).toEqual(group.state('a'))
  })

  test('entries that come while it restores wait on its disk, not in its memory', () => {
    const group = behind({ cacheBytesMax: 200, applyEntriesMax: 7 })
    group.slowReplica('c')
    group.heal()
    group.pass(2 * H)
    expect(group.raft('c').commit).toBeGreaterThanOrEqual(42)
    write(group, 100)
    const { log, commit, applied } = group.raft('c')
    expect(applied).toBeLessThan(42)
    expect(commit).toBeGreaterThanOrEqual(140)
    expect(log.entry(60)).toBeUndefined()
    expect(log.entry(commit)).toBeDefined()
    group.slowReplica('c', false)
    group.pass(H)
    expect(group.state('c')).toEqual(group.state('a'))
    expect(group.of('c', 'read-entries').every(({ to }) => to === 'c')).toBe(true)
    expect(group.of('c', 'read-entries').length).toBeGreaterThan(0)
    // Entries whose place a snapshot has taken since they were asked for.
    const late = group.disk('a').entries.slice(0, 3)
    expect(group.feed('c', { kind: 'entries-read', to: 'c', after: (late[0]?.index ?? 0) - 1, entries: late })).toEqual(
      [],
    )
  })
})
