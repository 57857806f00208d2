// The keeper of a session and the leader's verdict, each by itself and one against the other. cluster.md §5.10.

import { describe, expect, test } from 'vitest'
import { type SessionEffect, type SessionInput, SessionKeeper } from '../../../../cluster/state/core/session.ts'
import { type DownEffect, Verdict } from '../../../../cluster/state/core/verdict.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'

const TTL_MS = 15_000

class Rig {
  readonly env = new FakeEnv()
  readonly keeper = new SessionKeeper({ ttlMs: TTL_MS, renewIntervalMs: 3000, graceCount: 3 }, this.env)
  readonly effects: SessionEffect[] = []

  feed(input: SessionInput): void {
    this.effects.push(...this.keeper.step(input))
  }

  open(session = 5): void {
    this.feed({ kind: 'start' })
    this.feed({ kind: 'up', opening: this.opening, session })
    this.feed({ kind: 'renewed', renewal: this.renewal })
  }

  get opening(): number {
    return this.effects.findLast((effect) => effect.kind === 'open')?.opening ?? 0
  }

  get renewal(): number {
    return this.effects.findLast((effect) => effect.kind === 'renew')?.renewal ?? 0
  }

  get events(): string[] {
    return this.effects.flatMap((effect) => (effect.kind === 'event' ? [effect.event.kind] : []))
  }
}

describe('a session', () => {
  test('is trusted for 0.8 of its time from the sending of the last acknowledged renewal', () => {
    const rig = new Rig()
    rig.feed({ kind: 'start' })
    rig.feed({ kind: 'up', opening: rig.opening, session: 5 })
    expect(rig.keeper.isTrusted).toBe(false)
    rig.env.advance(2000)
    rig.feed({ kind: 'renewed', renewal: rig.renewal })
    expect(rig.keeper.trustedUntilMs).toBe(0.8 * TTL_MS)
    expect(rig.events).toEqual(['opened'])
    rig.env.advance(0.8 * TTL_MS - 2000)
    expect(rig.keeper.isTrusted).toBe(false)
    rig.feed({ kind: 'tick' })
    expect(rig.events).toEqual(['opened', 'suspended'])
  })

  test('is trusted for the time that the leader grants, whatever the own file says', () => {
    for (const ttlMs of [TTL_MS / 3, TTL_MS * 2]) {
      const rig = new Rig()
      rig.feed({ kind: 'start' })
      rig.feed({ kind: 'up', opening: rig.opening, session: 5 })
      rig.feed({ kind: 'renewed', renewal: rig.renewal, ttlMs })
      expect(rig.keeper.trustedUntilMs).toBe(0.8 * ttlMs)
    }
  })

  test('resumes with an acknowledgement, unless that came too late itself', () => {
    const rig = new Rig()
    rig.open()
    rig.env.advance(3000)
    rig.feed({ kind: 'tick' })
    const sent = rig.renewal
    rig.env.advance(0.8 * TTL_MS)
    rig.feed({ kind: 'tick' })
    rig.feed({ kind: 'renewed', renewal: sent })
    expect(rig.keeper.state).toBe('suspended')
    rig.feed({ kind: 'tick' })
    rig.feed({ kind: 'renewed', renewal: rig.renewal })
    expect(rig.events).toEqual(['opened', 'suspended', 'resumed'])
  })

  test('is renewed each interval, sooner after a failure; three failures tell that the leader is out of reach', () => {
    const rig = new Rig()
    rig.open()
    expect(rig.keeper.wakeAtMs).toBe(3000)
    rig.env.now = 3000
    rig.feed({ kind: 'tick' })
    for (let i = 0; i < 3; i++) {
      rig.feed({ kind: 'renewal-failed', renewal: rig.renewal })
      expect(rig.keeper.wakeAtMs - rig.env.now).toBeLessThan(1000)
      rig.env.now = rig.keeper.wakeAtMs
      rig.feed({ kind: 'tick' })
    }
    expect(rig.events).toEqual(['opened', 'leader-unreachable'])
    rig.feed({ kind: 'renewed', renewal: rig.renewal })
    expect(rig.events.at(-1)).toBe('leader-reached')
  })

  test('that ended is followed by another; answers of before are not heard', () => {
    const rig = new Rig()
    rig.open(5)
    const old = rig.renewal
    rig.feed({ kind: 'over', session: 4 })
    expect(rig.keeper.session).toBe(5)
    rig.feed({ kind: 'over', session: 5 })
    expect(rig.events).toEqual(['opened', 'ended'])
    rig.feed({ kind: 'up', opening: rig.opening, session: 8 })
    rig.feed({ kind: 'renewed', renewal: old })
    expect(rig.keeper.state).toBe('none')
    rig.feed({ kind: 'renewed', renewal: rig.renewal })
    expect([rig.keeper.session, rig.keeper.state]).toEqual([8, 'open'])
  })

  test('of a run that was overtaken by a later one is fenced for good', () => {
    const rig = new Rig()
    rig.feed({ kind: 'start' })
    rig.feed({ kind: 'stale', opening: rig.opening, epoch: 9 })
    rig.feed({ kind: 'tick' })
    expect(rig.effects.slice(1)).toEqual([{ kind: 'event', event: { kind: 'fenced', epoch: 9 } }])
    expect(rig.keeper.wakeAtMs).toBe(Number.POSITIVE_INFINITY)
  })

  test('is left when the node stops, and nothing follows', () => {
    const rig = new Rig()
    rig.open(5)
    rig.feed({ kind: 'close' })
    expect(rig.effects.at(-1)).toEqual({ kind: 'leave', session: 5 })
    rig.feed({ kind: 'renewed', renewal: rig.renewal })
    expect([rig.keeper.isTrusted, rig.keeper.state]).toEqual([false, 'closed'])
  })
})

describe('the verdict', () => {
  const a = { session: 5, node: 'a', epoch: 1 }

  function rigOf(live: [string, number][]) {
    const env = new FakeEnv()
    const verdict = new Verdict(() => TTL_MS, env)
    verdict.step({ kind: 'live', epochs: new Map(live) })
    verdict.step({ kind: 'leading', sessions: [a] })
    const pass = (ms: number): DownEffect[] => {
      const downs: DownEffect[] = []
      for (let at = 0; at < ms; at += 500) {
        env.advance(500)
        downs.push(...verdict.step({ kind: 'tick' }))
      }
      return downs
    }
    return { env, verdict, pass }
  }

  test('falls after the whole time without a renewal when gossip has lost the node', () => {
    const { verdict, pass } = rigOf([])
    expect(pass(TTL_MS - 500)).toEqual([])
    expect(verdict.renew(5)).toBe('ok')
    expect(pass(TTL_MS - 500)).toEqual([])
    expect(pass(500)).toEqual([{ kind: 'down', node: 'a', session: 5, reason: 'dead' }])
  })

  test('of a node that gossip calls live waits four times as long; of an earlier epoch it does not', () => {
    expect(rigOf([['a', 2]]).pass(TTL_MS)).toHaveLength(1)
    const { pass } = rigOf([['a', 1]])
    expect(pass(4 * TTL_MS - 500)).toEqual([])
    expect(pass(500)).toMatchObject([{ reason: 'silent' }])
  })

  test('once asked for, it is no longer renewed and no longer asked for', () => {
    const { verdict, pass } = rigOf([])
    pass(TTL_MS)
    verdict.step({ kind: 'condemned', session: 5 })
    expect(verdict.renew(5)).toBe('unsure')
    expect(pass(TTL_MS)).toEqual([])
    verdict.step({ kind: 'spared', session: 5 })
    expect(pass(500)).toHaveLength(1)
    verdict.step({ kind: 'ended', session: 5 })
    expect(verdict.renew(5)).toBe('over')
  })

  test('blames nobody for a pause of this node, and counts anew when another leads', () => {
    const { env, verdict, pass } = rigOf([])
    pass(10_000)
    env.advance(60_000)
    expect(verdict.step({ kind: 'tick' })).toEqual([])
    verdict.step({ kind: 'following' })
    expect(verdict.renew(5)).toBe('unsure')
    verdict.step({ kind: 'leading', sessions: [a] })
    expect(pass(TTL_MS - 500)).toEqual([])
  })
})
