// Exactly once from anywhere. cluster.md §5.11.

import { describe, expect, test } from 'vitest'
import { type Command, DONE_MAX } from '../../../../cluster/state/core/commands.ts'
import type { Outcome } from '../../../../cluster/state/core/outcomes.ts'
import {
  type AttemptAnswer,
  OUTSTANDING_MAX,
  Proposer,
  type ProposerEffect,
  type ProposerInput,
} from '../../../../cluster/state/core/proposer.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'

const register: Command = { kind: 'register', name: 'x', pid: '{a@h|1.1}' }
const done: Outcome = { status: 'ok', changed: true }

type Attempt = Extract<ProposerEffect, { kind: 'attempt' }>
type SettledEffect = Extract<ProposerEffect, { kind: 'settled' }>

class Rig {
  readonly env = new FakeEnv()
  readonly proposer = new Proposer(this.env)
  readonly attempts: Attempt[] = []
  readonly settled: SettledEffect[] = []
  readonly over: number[] = []

  /** Attempts of these are refused at once. */
  refused: number[] = []

  constructor(session = 7) {
    this.feed({ kind: 'leader-known' })
    this.feed({ kind: 'session', session: session === 0 ? undefined : session })
  }

  feed(input: ProposerInput): void {
    for (const effect of this.proposer.step(input)) {
      if (effect.kind === 'attempt') {
        this.attempts.push(effect)
        if (this.refused.includes(effect.envelope.seq)) this.answer({ kind: 'refused' }, effect.attempt)
      } else if (effect.kind === 'settled') this.settled.push(effect)
      else this.over.push(effect.session)
    }
  }

  submit(id: number, command = register, deadlineMs = this.env.now + 10_000): void {
    this.feed({ kind: 'submit', id, command, deadlineMs })
  }

  answer(answer: AttemptAnswer, attempt = this.last.attempt): void {
    this.feed({ kind: 'answered', attempt, answer })
  }

  get last(): Attempt {
    return this.attempts.at(-1) as Attempt
  }

  pass(ms: number): void {
    const endMs = this.env.now + ms
    while (this.proposer.wakeAtMs <= endMs) {
      this.env.now = Math.max(this.env.now, this.proposer.wakeAtMs)
      this.feed({ kind: 'tick' })
    }
    this.env.now = endMs
  }
}

describe('a request', () => {
  test('that was lost is asked again under its number, and its floor does not pass it', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.answer({ kind: 'lost' })
    rig.submit(2)
    expect(rig.last.envelope).toMatchObject({ session: 7, seq: 2, floor: 1 })
    rig.pass(200)
    expect(rig.last.envelope).toMatchObject({ session: 7, seq: 1, floor: 1 })
    rig.answer({ kind: 'outcome', outcome: done })
    expect(rig.settled).toEqual([
      { kind: 'settled', id: 1, result: { ok: true, outcome: done, request: { session: 7, seq: 1 } } },
    ])
    rig.submit(3)
    expect(rig.last.envelope).toMatchObject({ seq: 3, floor: 2 })
  })

  test('waits for a session, and for a leader, until its deadline', () => {
    const rig = new Rig(0)
    rig.submit(1)
    rig.pass(9_999)
    expect(rig.attempts).toEqual([])
    rig.pass(1)
    expect(rig.settled[0]?.result).toMatchObject({ ok: false, reason: 'deadline', isAmbiguous: false })
  })

  test('is ambiguous once an attempt of it was lost, or is under way', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.submit(2)
    rig.answer({ kind: 'lost' }, rig.attempts[0]?.attempt)
    rig.refused = [1, 3]
    rig.submit(3)
    rig.pass(10_000)
    const byId = new Map(rig.settled.map(({ id, result }) => [id, result]))
    expect(byId.get(1)).toMatchObject({ reason: 'deadline', isAmbiguous: true })
    expect(byId.get(2)).toMatchObject({ reason: 'deadline', isAmbiguous: true })
    expect(byId.get(3)).toMatchObject({ reason: 'deadline', isAmbiguous: false })
  })

  test('is answered once, whatever comes afterwards', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.feed({ kind: 'cancel', id: 1 })
    rig.answer({ kind: 'outcome', outcome: done })
    rig.pass(20_000)
    expect(rig.settled).toHaveLength(1)
    expect(rig.settled[0]?.result).toMatchObject({ reason: 'canceled', isAmbiguous: true })
  })

  test('backs off from 50 ms to a second, and goes at once when a leader is known', () => {
    const rig = new Rig()
    rig.submit(1, register, 1e9)
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      rig.answer({ kind: 'refused' })
      waits.push(rig.proposer.wakeAtMs - rig.env.now)
      rig.pass(waits.at(-1) as number)
    }
    expect(waits[0]).toBeLessThanOrEqual(65)
    expect(Math.max(...waits)).toBeLessThanOrEqual(1300)
    expect(waits.at(-1)).toBeGreaterThan(600)
    rig.answer({ kind: 'refused' })
    const before = rig.attempts.length
    rig.feed({ kind: 'leader-known' })
    expect(rig.attempts.length).toBe(before + 1)
  })
})

describe('what is given up', () => {
  test('is named by every later command until one of them is answered', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.submit(2)
    rig.feed({ kind: 'cancel', id: 2 })
    rig.submit(3)
    rig.submit(4)
    expect(rig.attempts.slice(2).map(({ envelope }) => [envelope.seq, envelope.floor, envelope.done])).toEqual([
      [3, 1, [2]],
      [4, 1, [2]],
    ])
    rig.answer({ kind: 'outcome', outcome: done })
    rig.submit(5)
    expect(rig.last.envelope.done).toBeUndefined()
  })

  test('are also the requests of a process that has ended', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.submit(2, { kind: 'proc-down', pids: ['{a@h|1.1}'] })
    expect(rig.settled[0]).toMatchObject({ id: 1, result: { reason: 'canceled', isAmbiguous: true } })
    expect(rig.last.envelope).toMatchObject({ seq: 2, floor: 2, done: [1] })
  })

  test('is not cancelled in another session, where its number means something else', () => {
    const rig = new Rig()
    rig.submit(1, { kind: 'cancel', seq: 0 })
    rig.answer({ kind: 'outcome', outcome: { status: 'session-expired' } })
    rig.feed({ kind: 'session', session: 9 })
    expect(rig.attempts).toHaveLength(1)
    expect(rig.settled[0]?.result).toMatchObject({ ok: false, reason: 'session-over' })
  })
})

describe('a session that is over', () => {
  test('fails what may have happened in it; what has not goes into the next one', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.submit(2)
    rig.answer({ kind: 'lost' }, rig.attempts[0]?.attempt)
    rig.pass(100)
    const again = rig.last.attempt
    for (const attempt of [again, rig.attempts[1]?.attempt]) {
      rig.answer({ kind: 'outcome', outcome: { status: 'session-expired' } }, attempt)
    }
    expect(rig.over).toEqual([7, 7])
    expect(rig.settled.map(({ id, result }) => [id, !result.ok && result.isAmbiguous])).toEqual([[1, true]])
    const before = rig.attempts.length
    rig.pass(1000)
    expect(rig.attempts).toHaveLength(before)
    rig.feed({ kind: 'session', session: 9 })
    expect(rig.last.envelope).toMatchObject({ session: 9, seq: 1, floor: 1 })
  })

  test('may still answer what was under way', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.feed({ kind: 'session', session: 9 })
    expect(rig.settled).toEqual([])
    rig.answer({ kind: 'outcome', outcome: done })
    expect(rig.settled[0]?.result).toMatchObject({ ok: true })
  })

  test('a suspension keeps the numbers', () => {
    const rig = new Rig()
    rig.submit(1)
    rig.answer({ kind: 'lost' })
    rig.feed({ kind: 'session', session: undefined })
    rig.pass(2000)
    expect(rig.attempts).toHaveLength(1)
    rig.feed({ kind: 'session', session: 7 })
    expect(rig.last.envelope).toMatchObject({ session: 7, seq: 1 })
  })
})

describe('a request that is told `pending`', () => {
  const acquire: Command = { kind: 'lock-acquire', name: 'l', pid: '{a@h|1.1}', waitMs: 60_000, ttlMs: 0 }

  test('lets the floor pass, asks again each second, and says when it is done', () => {
    const rig = new Rig()
    rig.submit(1, acquire, 60_000)
    rig.answer({ kind: 'outcome', outcome: { status: 'pending', revision: 3 } })
    rig.submit(2)
    expect(rig.last.envelope).toMatchObject({ seq: 2, floor: 2 })
    rig.answer({ kind: 'outcome', outcome: done })
    rig.pass(1000)
    expect(rig.last.envelope).toMatchObject({ seq: 1, floor: 1 })
    rig.answer({ kind: 'outcome', outcome: { status: 'granted', token: 5 } })
    expect(rig.settled.at(-1)?.result).toMatchObject({ ok: true, outcome: { token: 5 } })
    rig.submit(3)
    expect(rig.last.envelope).toMatchObject({ seq: 3, floor: 3, done: [1] })
    rig.answer({ kind: 'outcome', outcome: done })
    rig.submit(4)
    expect(rig.last.envelope.done).toBeUndefined()
  })

  test('is over as soon as it is told the end', () => {
    const rig = new Rig()
    rig.submit(1, acquire, 60_000)
    rig.answer({ kind: 'outcome', outcome: { status: 'pending', revision: 3 } })
    const told = { kind: 'told', request: { session: 7, seq: 1 }, outcome: { status: 'timeout' } } as const
    rig.feed({ ...told, request: { session: 6, seq: 1 } })
    expect(rig.settled).toEqual([])
    rig.feed(told)
    rig.feed(told)
    expect(rig.settled).toHaveLength(1)
  })
})

test('outstanding requests are bounded, with room for those that give something back', () => {
  const rig = new Rig()
  for (let id = 1; id <= OUTSTANDING_MAX; id++) rig.submit(id)
  const refused = rig.settled.length
  expect(refused).toBeGreaterThan(0)
  rig.submit(5000, { kind: 'lock-release', name: 'l', pid: '{a@h|1.1}' })
  expect(rig.settled).toHaveLength(refused)
  expect(rig.settled[0]?.result).toMatchObject({ reason: 'overloaded', isAmbiguous: false })
})

test('after many were given up others still go: one that does nothing tells the log of them', () => {
  const rig = new Rig()
  for (let id = 1; id <= 600; id++) rig.submit(id)
  rig.pass(10_000)
  expect(rig.settled.every(({ result }) => !result.ok && result.isAmbiguous)).toBe(true)
  rig.submit(1000)
  expect(rig.settled.at(-1)?.result).toMatchObject({ reason: 'overloaded' })
  expect(rig.last.envelope).toMatchObject({ command: { kind: 'proc-down', pids: [] } })
  rig.answer({ kind: 'outcome', outcome: { status: 'ok', changed: false } })
  const settled = rig.settled.length
  rig.submit(1001)
  expect(rig.settled).toHaveLength(settled)
  expect(rig.last.envelope.command).toEqual(register)
})

test('of very many that were given up one command tells no more than the log takes', () => {
  const rig = new Rig()
  for (let id = 1; id <= 400; id++) rig.submit(id)
  rig.pass(10_000)
  for (let id = 1001; id <= 2000; id++) rig.submit(id)
  rig.pass(10_000)
  while (rig.last.envelope.done !== undefined) {
    expect(rig.last.envelope.done.length).toBeLessThanOrEqual(DONE_MAX)
    rig.answer({ kind: 'outcome', outcome: { status: 'ok', changed: false } })
    rig.submit(3000 + rig.attempts.length)
  }
  expect(rig.last.envelope.command).toEqual(register)
})

test('a session is opened however much waits for it', () => {
  const rig = new Rig(0)
  const release: Command = { kind: 'lock-release', name: 'l', pid: '{a@h|1.1}' }
  for (let id = 1; id <= OUTSTANDING_MAX; id++) rig.submit(id, release, Number.POSITIVE_INFINITY)
  rig.submit(5000, { kind: 'node-up', node: 'a', epoch: 1, role: 'voter' })
  expect(rig.settled).toEqual([])
  expect(rig.last.envelope).toMatchObject({ session: 0, command: { kind: 'node-up' } })
})
