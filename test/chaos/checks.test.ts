// What chaos on real nodes is judged by: each check finds what it is there for, and nothing in what is right. cluster.md §13.

import { describe, expect, test } from 'vitest'
import { checkLinearizable } from '../sim/checkers/linearizable.ts'
import { checkBank, checkCounters, checkRegisters, register } from './checks/kv.ts'
import { checkLocks } from './checks/locks.ts'
import { checkCasts, checkOwn, differences } from './checks/merging.ts'
import { checkNames, checkUntold, claimsOf } from './checks/names.ts'
import { History } from './history.ts'
import type { Order, Reply, Run } from './node.ts'
import { DESTRUCTIVE, planOf } from './plan.ts'

const run: Run = { node: 0, number: 1, startedMs: 0, offsetLowMs: 0, offsetHighMs: 0 }

/** Clocks agree; times are in milliseconds. */
class Told extends History {
  #count = 0

  did(order: Order, fromMs: number, toMs: number, reply: Record<string, unknown>, client = `c${this.#count++}`): this {
    const answer = { pid: `{${client}}`, t0: fromMs / 1000, t1: toMs / 1000, ...reply } as unknown as Reply
    this.operations.push({ client, node: 0, run, order, sentMs: fromMs, atMs: toMs, reply: answer })
    return this
  }

  never(order: Order, fromMs: number, client = `c${this.#count++}`): this {
    this.operations.push({ client, node: 0, run, order, sentMs: fromMs })
    return this
  }

  said(ev: string, pid: string, atMs: number, rest: Record<string, unknown> = {}): this {
    this.remarks.push({ c: pid, ev, pid: `{${pid}}`, at: atMs / 1000, run, node: 0, atMs, ...rest })
    return this
  }
}

test('a history keeps what was asked; what a stopping node did not begin has no answer', () => {
  const history = new History()
  const base = { kind: 'reply', run, sentMs: 0, atMs: 1 } as const
  const order = { op: 'get', key: 'r:1' }
  history.add('a', 0, order, { ...base, reply: { absent: true } as unknown as Reply })
  history.add('a', 0, order, { ...base, reply: { failed: 'host is not running: chaos:clients' } as unknown as Reply })
  history.add('a', 0, order, { ...base, reply: { failed: 'host is shutting down: chaos:clients' } as unknown as Reply })
  history.add('a', 0, order, { kind: 'gone', run, sentMs: 0 })
  expect(history.operations.map(({ reply }) => reply !== undefined)).toEqual([true, false, false, false])
  expect(history.violations).toEqual([])
  history.add('a', 0, order, { ...base, reply: { failed: 'attempt to index nil' } as unknown as Reply })
  expect(history.violations).toHaveLength(1)
})

const put = (value: string, rest: Record<string, unknown> = {}): Order => ({ op: 'put', key: 'r:1', value, ...rest })
const get: Order = { op: 'get', key: 'r:1' }

describe('registers (V1)', () => {
  test('a read after an acknowledged write shows it', () => {
    const told = new Told().did(put('a'), 0, 10, { version: '1' }).did(get, 20, 30, { absent: true })
    expect(checkRegisters(told)).toHaveLength(1)
  })

  test('a write without an answer may show, or not, but not disappear again', () => {
    const fine = new Told().never(put('a'), 0).did(get, 10, 20, { absent: true })
    expect(checkRegisters(fine.did(get, 30, 40, { value: 'a', version: '1' }))).toEqual([])
    expect(checkRegisters(fine.did(get, 50, 60, { absent: true }))).toHaveLength(1)
  })

  test('of two writes under one condition one is refused', () => {
    const told = new Told()
      .did(put('a', { absent: true }), 0, 10, { version: '1' })
      .did(put('b', { absent: true }), 0, 10, { version: '2' })
    expect(checkRegisters(told)).toHaveLength(1)
  })

  test('a refusal tells the version that is there', () => {
    const refusal = (version: string): Record<string, unknown> => ({ err: { kind: 'Conflict', message: '', version } })
    const told = new Told().did(put('a'), 0, 10, { version: '3' })
    expect(checkRegisters(told.did(put('b', { if_version: '2' }), 20, 30, refusal('3')))).toEqual([])
    expect(checkRegisters(told.did(put('c', { if_version: '3' }), 40, 50, refusal('3')))).toHaveLength(1)
  })

  test('a late refusal may tell the version of a write that came after one without an answer', () => {
    const refusal = (version: string): Record<string, unknown> => ({
      err: { kind: 'AlreadyExists', message: '', version },
    })
    const told = new Told()
      .never(put('a'), 0)
      .did(put('b', { absent: true }), 10, 90, refusal('2'))
      .did(put('c', { absent: true }), 50, 60, refusal('1'))
      .did(put('d'), 70, 80, { version: '2' })
    expect(checkRegisters(told)).toEqual([])
  })

  test('says that it does not know when there is too much to try', () => {
    const writes = Array.from({ length: 12 }, (_, i) => ({
      client: `c${i}`,
      call: { kind: 'put' as 'put' | 'get', value: `v${i}` },
      calledMs: 0,
      returned: { atMs: 100, result: { kind: 'written' as const, version: i === 0 ? 99 : i } },
    }))
    const verdict = checkLinearizable(writes, register, { statesMax: 5 })
    expect(verdict).toMatchObject({ ok: false, isUndecided: true })
  })
})

test('a counter that lost an acknowledged addition is found', () => {
  const add: Order = { op: 'add', key: 'count:0' }
  const told = new Told().did(add, 0, 10, { n: 1 }).did(add, 20, 30, { n: 2 }).never(add, 40)
  expect(checkCounters(told, new Map([['count:0', 2]]))).toEqual([])
  expect(checkCounters(told, new Map([['count:0', 3]]))).toEqual([])
  expect(checkCounters(told, new Map([['count:0', 1]]))).toHaveLength(1)
  expect(checkCounters(told, new Map([['count:0', 4]]))).toHaveLength(1)
  told.did(add, 50, 60, { n: 2 })
  expect(checkCounters(told, new Map([['count:0', 3]])).length).toBeGreaterThan(0)
})

test('a page of accounts is of one moment, and not of one before an acknowledged move', () => {
  const page = (first: number, version: number): Record<string, unknown> => ({
    items: Array.from({ length: 8 }, (_, i) => ({
      key: `bank:${i}`,
      value: i === 0 ? first : 100,
      version: `${version}`,
    })),
  })
  const list: Order = { op: 'list', prefix: 'bank:' }
  expect(checkBank(new Told().did(list, 0, 1, page(100, 1)))).toEqual([])
  expect(checkBank(new Told().did(list, 0, 1, page(90, 1)))).toHaveLength(1)
  const moved = new Told().did({ op: 'move', from: 'bank:0', to: 'bank:1' }, 0, 1, { version: '9' })
  expect(checkBank(moved.did(list, 2, 3, page(100, 1)))).toHaveLength(2)
})

describe('locks (K1, K2)', () => {
  const lock: Order = { op: 'lock', name: 'l' }
  const held = (token: number, fromMs: number, toMs: number): Record<string, unknown> => ({
    token,
    from: fromMs / 1000,
    to: toMs / 1000,
    guarded: [],
  })

  test('two who hold it one after the other are fine', () => {
    const told = new Told().did(lock, 0, 100, held(1, 10, 90)).did(lock, 50, 200, held(2, 100, 150))
    expect(checkLocks(told)).toEqual([])
  })

  test('two at a time, tokens that fall, and a token twice are found', () => {
    const first = (): Told => new Told().did(lock, 0, 100, held(5, 10, 90))
    expect(checkLocks(first().did(lock, 0, 100, held(6, 50, 60)))).toHaveLength(1)
    expect(checkLocks(first().did(lock, 100, 200, held(4, 110, 120)))).toHaveLength(1)
    expect(checkLocks(first().did(lock, 100, 200, held(5, 110, 120)))).toHaveLength(1)
  })

  test('what a holder said before its node was killed counts', () => {
    const told = new Told().never(lock, 0, 'a').did(lock, 0, 100, held(6, 50, 60))
    told.said('held', 'a', 80, { name: 'l', token: 5, from: 0.02, to: 0.08 })
    expect(checkLocks(told)).toHaveLength(1)
  })

  test('a guarded write after a later grant is found', () => {
    const told = new Told().did(lock, 0, 100, held(5, 10, 90)).did(lock, 100, 200, held(8, 110, 120))
    expect(checkLocks(told.did({ op: 'stale_fence', name: 'l', token: 5 }, 130, 140, { version: '7' }))).toEqual([])
    expect(checkLocks(told.did({ op: 'stale_fence', name: 'l', token: 5 }, 150, 160, { version: '9' }))).toHaveLength(1)
  })
})

describe('names', () => {
  const take = (name: string, scope = 'CONSISTENT'): Order => ({ op: 'register', name, scope })
  const ask = (name: string): Order => ({ op: 'lookup', name, linearizable: true })

  test('two owners at a time are found (N1)', () => {
    const told = new Told().did(take('c:1'), 0, 10, { ok: true }, 'a')
    expect(checkNames(told)).toEqual([])
    expect(checkNames(told.did(take('c:1'), 20, 30, { ok: true }, 'b'))).toHaveLength(1)
  })

  test('an owner whose node ended is followed by another, and not before', () => {
    const ended = { ...run, endedMs: 50 }
    const told = new Told().did(take('c:1'), 0, 10, { ok: true }, 'a')
    told.operations[0] = { ...(told.operations[0] as (typeof told.operations)[number]), run: ended }
    expect(checkNames(told.did(take('c:1'), 60, 70, { ok: true }, 'b'))).toEqual([])
    expect(checkNames(told.did(ask('c:1'), 30, 40, { absent: true }))).toHaveLength(1)
  })

  test('an owner who was told that it lost the name is followed by another (N7)', () => {
    const told = new Told().did(take('c:1'), 0, 10, { ok: true }, 'a').did(take('c:1'), 60, 70, { ok: true }, 'b')
    expect(checkNames(told)).toHaveLength(1)
    expect(checkNames(told.said('cancel', 'a', 80, { reason: 'name revoked: c:1' }))).toEqual([])
  })

  test('a strong name that a trusted node resolves to another process is found (N3)', () => {
    const told = new Told().did(take('s:1', 'STRONG'), 0, 10, { ok: true }, 'a')
    const look: Order = { op: 'lookup', name: 's:1' }
    told.did(look, 20, 30, { found: '{old}', sure: false }).did(look, 20, 30, { found: '{a}', sure: true })
    expect(checkNames(told)).toEqual([])
    expect(checkNames(told.did(look, 20, 30, { found: '{old}', sure: true }))).toHaveLength(1)
  })

  test('who was told that it lost an eventual name claims it no more (N8)', () => {
    const told = new Told()
      .did(take('e:1', 'EVENTUAL'), 0, 10, { ok: true }, 'a')
      .did(take('e:1', 'EVENTUAL'), 0, 10, { ok: true }, 'b')
    expect(claimsOf(told, 'e:1', () => true)).toEqual(['{a}', '{b}'])
    told.said('cancel', 'b', 30, { reason: 'name revoked: e:1' })
    expect(claimsOf(told, 'e:1', () => true)).toEqual(['{a}'])
  })

  test('who hears that it has lost an eventual name was told so (N8)', () => {
    const lost = (): Told =>
      new Told()
        .did(take('e:1', 'EVENTUAL'), 0, 10, { ok: true }, 'a')
        .did({ op: 'unregister', name: 'e:1' }, 100, 110, { done: false }, 'a')
    const later: [Order, number, number, Record<string, unknown>, string] = [get, 5000, 5010, { absent: true }, 'a']
    expect(checkUntold(lost().did(...later))).toHaveLength(1)
    // It may have ended before it could say so.
    expect(checkUntold(lost())).toEqual([])
    expect(
      checkUntold(
        lost()
          .said('cancel', 'a', 120, { reason: 'name revoked: e:1' })
          .did(...later),
      ),
    ).toEqual([])
    const gaveUp = new Told()
      .did(take('e:1', 'EVENTUAL'), 0, 10, { ok: true }, 'a')
      .did({ op: 'unregister', name: 'e:1' }, 20, 30, { done: true }, 'a')
      .did({ op: 'lookup', name: 'e:1' }, 100, 110, { absent: true }, 'a')
    expect(checkUntold(gaveUp.did(...later))).toEqual([])
    // It may win again before its loss counts.
    const losing = new Told()
      .did(take('e:1', 'EVENTUAL'), 0, 10, { ok: true }, 'a')
      .did({ op: 'lookup', name: 'e:1' }, 100, 110, { found: '{b}' }, 'a')
    expect(checkUntold(losing.did(...later))).toEqual([])
  })

  test('a revocation excuses one loss, not the next one (N8)', () => {
    const told = new Told()
      .did(take('e:1', 'EVENTUAL'), 0, 10, { ok: true }, 'a')
      .said('cancel', 'a', 20, { reason: 'name revoked: e:1' })
      .did(take('e:1', 'EVENTUAL'), 30, 40, { ok: true }, 'a')
      .did({ op: 'unregister', name: 'e:1' }, 50, 60, { done: false }, 'a')
      .did(get, 5000, 5010, { absent: true }, 'a')
    expect(checkUntold(told)).toHaveLength(1)
  })
})

describe('what converges', () => {
  test('a key of one writer holds what it wrote last, or asked for afterwards (C2)', () => {
    const set = (value: string): Order => ({ op: 'merge_set', key: 'own:a:0', value })
    const told = new Told().did(set('1'), 0, 1, { ok: true }).did(set('2'), 2, 3, { ok: true }).never(set('3'), 4)
    const at = (value: string): ReadonlyMap<string, unknown> => new Map([['own:a:0', value]])
    for (const value of ['2', '3']) expect(checkOwn(told, at(value), () => false)).toEqual([])
    expect(checkOwn(told, at('1'), () => false)).toHaveLength(1)
    expect(checkOwn(told, new Map(), () => false)).toHaveLength(1)
    expect(checkOwn(told, at('1'), () => true)).toEqual([])
  })

  test('what a loss of power may undo comes back even if it was read, and nothing else does (C2)', () => {
    const set = (value: string): Order => ({ op: 'merge_set', key: 'own:k', value })
    const look: Order = { op: 'merge_get', key: 'own:k' }
    const read = (value: string): Told =>
      new Told()
        .did(set('0'), 0, 1, {})
        .did(set('1'), 10, 11, {})
        .did(set('2'), 100, 101, {})
        .did(look, 110, 111, { value: '2' })
        .did(look, 200, 201, { value })
    const isNear = (_node: number, atMs: number): boolean => atMs >= 100 && atMs < 150
    const at = (value: string): Map<string, unknown> => new Map([['own:k', value]])
    expect(checkOwn(read('1'), at('1'), isNear)).toEqual([])
    expect(checkOwn(read('0'), at('0'), isNear)).toHaveLength(1)
    expect(checkOwn(read('1'), at('2'), isNear)).toHaveLength(1)
    expect(checkOwn(read('1'), at('1'), () => false)).toHaveLength(1)
  })

  test('differences are told by key', () => {
    const one = new Map([['x', 1]])
    expect(
      differences(
        new Map([
          ['n1', one],
          ['n2', new Map(one)],
        ]),
      ),
    ).toEqual([])
    expect(
      differences(
        new Map([
          ['n1', one],
          ['n2', new Map()],
        ]),
      ),
    ).toEqual(['x: n1 1, n2 undefined'])
  })

  test('a broadcast that is heard twice is found', () => {
    const told = new Told().said('cast', 'a', 1, { value: 'v' }).said('cast', 'b', 1, { value: 'v' })
    expect(checkCasts(told)).toEqual([])
    expect(checkCasts(told.said('cast', 'a', 2, { value: 'v' }))).toHaveLength(1)
  })
})

test('a plan follows from its seed, and takes one store away at a time', () => {
  const options = { nodes: 5, durationMs: 1_800_000 }
  for (let seed = 1; seed <= 20; seed++) {
    const plan = planOf({ seed, ...options })
    expect(planOf({ seed, ...options })).toEqual(plan)
    for (const { faults } of plan.steps) {
      if (faults.some(({ kind }) => DESTRUCTIVE.has(kind))) expect(faults).toHaveLength(1)
    }
  }
  expect(planOf({ seed: 1, ...options })).not.toEqual(planOf({ seed: 2, ...options }))
  const kinds = planOf({ seed: 1, ...options, without: new Set(['kill']) }).steps.flatMap(({ faults }) => faults)
  expect(kinds.map(({ kind }) => kind)).not.toContain('kill')
})
