// The rules of cluster.md §9 and lua-libraries.md §1, one by one. Whole clusters under faults are in test/sim.

import { describe, expect, test } from 'vitest'
import type { Op, PgMessage, PullAnswer } from '../../../../cluster/pg/core/messages.ts'
import { Scope, type ScopeEffect, type ScopeOptions } from '../../../../cluster/pg/core/scope.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'

const pidOf = (node: string, name: string, epoch = 1): string => `{${node}@h|${epoch.toString(36)}.${name}}`
const own = pidOf('n1', 'p')
const other = pidOf('n1', 'q')
const remote = pidOf('n2', 'r')

function scopeOf(settings: ScopeOptions['settings'] = {}): { scope: Scope; env: FakeEnv } {
  const env = new FakeEnv()
  return { scope: new Scope({ node: 'n1', epoch: 1, run: 0, settings }, env), env }
}

function hear(scope: Scope, message: PgMessage, node = 'n2', epoch = 1): ScopeEffect[] {
  return scope.step({ kind: 'message', node, epoch, message })
}

const hello = (seq: number, { run = 0, isReply = true } = {}): PgMessage => ({ kind: 'hello', run, seq, isReply })
const delta = (seq: number, ops: Op[], run = 0): PgMessage => ({ kind: 'delta', run, seq, changes: [ops] })
const joins = (pid: string, group = 'g', count = 1): Op => ({ sign: 1, group, pid, count })
const leaves = (pid: string, group = 'g', count = 1): Op => ({ sign: -1, group, pid, count })

const eventsOf = (effects: readonly ScopeEffect[]): string[] =>
  effects.flatMap((effect) =>
    effect.kind === 'event' ? [`${effect.event.kind} ${effect.event.group} ${effect.event.pids.join(' ')}`] : [],
  )
const pullOf = (effects: readonly ScopeEffect[]): Extract<ScopeEffect, { kind: 'pull' }> | undefined =>
  effects.find((effect) => effect.kind === 'pull')

/** With node n2 up and its scope known, at the end of its log. */
function connected(settings: ScopeOptions['settings'] = {}): { scope: Scope; env: FakeEnv } {
  const { scope, env } = scopeOf(settings)
  scope.step({ kind: 'node-up', node: 'n2', epoch: 1 })
  hear(scope, hello(0))
  return { scope, env }
}

describe('joining and leaving', () => {
  test('a process that joins twice has two slots and leaves twice', () => {
    const { scope } = scopeOf()
    scope.join(own, ['g', 'g'])
    scope.join(own, ['g'])
    expect(scope.members('g')).toEqual([own, own, own])
    scope.leave(own, ['g'])
    expect(scope.localMembers('g')).toEqual([own, own])
    scope.leave(own, ['g', 'g', 'g'])
    expect(scope.groups()).toEqual([])
    expect(scope.leave(own, ['g']).outcome).toMatchObject({ ok: false, kind: 'Invalid' })
  })

  test('a batch of leaves takes what there is and fails only when there is nothing', () => {
    const { scope } = scopeOf()
    scope.join(own, ['a'])
    expect(scope.leave(own, ['b', 'a']).outcome.ok).toBe(true)
    const { outcome } = scope.leave(own, ['a', 'b'])
    expect(outcome.ok === false && outcome.message).toContain('not joined')
  })

  test('a batch of joins is refused whole when a limit is reached', () => {
    const { scope } = scopeOf({ groupsMax: 2, membersPerGroupMax: 2 })
    scope.join(own, ['a'])
    expect(scope.join(own, ['b', 'c']).outcome).toMatchObject({ ok: false, kind: 'RateLimited' })
    expect(scope.join(own, ['b', 'a', 'a']).outcome).toMatchObject({ ok: false, kind: 'RateLimited' })
    expect(scope.groups()).toEqual(['a'])
    expect(scope.join(other, ['a', 'b']).outcome.ok).toBe(true)
    scope.leave(own, ['a'])
    expect(scope.join(other, ['a']).outcome.ok).toBe(true)
  })

  test('limits count the members of all nodes', () => {
    const { scope } = connected({ membersPerGroupMax: 1 })
    hear(scope, delta(1, [joins(remote)]))
    expect(scope.join(own, ['g']).outcome).toMatchObject({ ok: false, kind: 'RateLimited' })
  })

  test('names of groups have a bound', () => {
    const { scope } = scopeOf()
    expect(scope.join(own, ['']).outcome).toMatchObject({ ok: false, kind: 'Invalid' })
    expect(scope.join(own, ['x'.repeat(256)]).outcome).toMatchObject({ ok: false, kind: 'Invalid' })
    expect(scope.join(own, ['x'.repeat(255)]).outcome.ok).toBe(true)
  })

  test('a process that ends leaves everything, with one event a group', () => {
    const { scope } = connected()
    const watcher = pidOf('n1', 'w')
    scope.monitor(watcher, undefined)
    scope.join(own, ['b', 'a', 'a'])
    scope.join(other, ['a'])
    const effects = scope.step({ kind: 'exited', pid: own })
    expect(eventsOf(effects)).toEqual([`member.left a ${own} ${own}`, `member.left b ${own}`])
    expect(effects.filter(({ kind }) => kind === 'send').length).toBe(1)
    expect(scope.members('a')).toEqual([other])
    expect(scope.step({ kind: 'exited', pid: own })).toEqual([])
  })

  test('a process is watched while it is a member or subscribed, and no longer', () => {
    const { scope } = scopeOf()
    const kinds = (effects: readonly ScopeEffect[]): string[] => effects.map(({ kind }) => kind)
    expect(kinds(scope.join(own, ['g']).effects)).toEqual(['watch'])
    const monitoring = scope.monitor(own, 'x')
    expect(kinds(monitoring?.effects ?? [])).toEqual([])
    expect(kinds(scope.leave(own, ['g']).effects)).toEqual([])
    expect(kinds(scope.demonitor(monitoring?.subscription ?? 0))).toEqual(['unwatch'])
    expect(scope.demonitor(monitoring?.subscription ?? 0)).toEqual([])
  })
})

describe('the log of another node', () => {
  test('is followed change by change and asked for where it has a gap', () => {
    const { scope } = connected()
    hear(scope, delta(1, [joins(remote)]))
    expect(scope.members('g')).toEqual([remote])
    const pull = pullOf(hear(scope, delta(3, [joins(remote)])))
    expect(pull?.request).toEqual({ run: 0, have: 1 })
    expect(pullOf(hear(scope, delta(4, [joins(remote)])))).toBeUndefined()
    expect(scope.members('g').length).toBe(1)
    const deltas = [2, 3, 4].map((seq) => ({ seq, ops: [joins(remote)] }))
    scope.step({ kind: 'pulled', node: 'n2', pull: pull?.pull ?? 0, answer: { kind: 'deltas', run: 0, deltas } })
    expect(scope.members('g').length).toBe(4)
    hear(scope, delta(3, [joins(remote)]))
    expect(scope.members('g').length).toBe(4)
    expect(scope.peers()[0]?.isSynced).toBe(true)
  })

  test('a whole state is applied by its differences', () => {
    const { scope } = connected()
    const gone = pidOf('n2', 's')
    const come = pidOf('n2', 't')
    hear(scope, delta(1, [joins(remote, 'g', 2), joins(gone)]))
    scope.monitor(own, undefined)
    const pull = pullOf(hear(scope, hello(9)))
    const answer: PullAnswer = {
      kind: 'full',
      run: 0,
      seq: 9,
      state: [
        { group: 'g', pids: [[remote, 3]] },
        { group: 'h', pids: [[come, 1]] },
      ],
    }
    const effects = scope.step({ kind: 'pulled', node: 'n2', pull: pull?.pull ?? 0, answer })
    expect(eventsOf(effects)).toEqual([`member.left g ${gone}`, `member.joined g ${remote}`, `member.joined h ${come}`])
    hear(scope, delta(10, [leaves(remote, 'g', 3)]))
    expect(scope.groups()).toEqual(['h'])
  })

  test("only changes of the other node's own processes of this run count", () => {
    const { scope } = connected()
    const bad = [
      joins(own),
      joins(pidOf('n3', 'x')),
      joins(pidOf('n2', 'x', 2)),
      joins('nonsense'),
      { ...joins(remote), count: 0 },
      { ...joins(remote), count: 1e9 },
      joins(remote, ''),
      leaves(remote),
    ]
    hear(scope, delta(1, [...bad, joins(remote)]))
    expect(scope.members('g')).toEqual([remote])
    expect(scope.counters.rejectedOps).toBe(7)
  })

  test('what is said of a run that is gone is ignored', () => {
    const { scope } = connected()
    hear(scope, delta(1, [joins(remote)]))
    scope.step({ kind: 'node-down', node: 'n2', epoch: 1 })
    expect(scope.groups()).toEqual([])
    hear(scope, delta(2, [joins(remote)]))
    expect(scope.groups()).toEqual([])
    scope.step({ kind: 'node-up', node: 'n2', epoch: 2 })
    hear(scope, delta(2, [joins(remote)]), 'n2', 1)
    scope.step({ kind: 'node-down', node: 'n2', epoch: 1 })
    expect(scope.groups()).toEqual([])
    expect(scope.peers().length).toBe(1)
  })

  test('a scope that begins anew on its node begins with nothing', () => {
    const { scope } = connected()
    hear(scope, delta(1, [joins(remote)]))
    hear(scope, { kind: 'none' })
    expect(scope.groups()).toEqual([])
    hear(scope, delta(2, [joins(remote)], 1))
    expect(scope.groups()).toEqual([])
    const again = hear(scope, hello(1, { run: 2 }))
    expect(pullOf(again)?.request).toEqual({ run: 2, have: 0 })
    hear(scope, delta(1, [joins(remote)], 1))
    expect(scope.groups()).toEqual([])
    hear(scope, delta(1, [joins(remote)], 2))
    expect(scope.members('g')).toEqual([remote])
  })

  test('a pull that fails is repeated a few times, then the next greeting asks', () => {
    const { scope, env } = connected({ retriesMax: 2, antiEntropyIntervalMs: 0 })
    let pull = pullOf(hear(scope, hello(5)))
    for (let i = 0; i < 2; i++) {
      expect(pull).toBeDefined()
      scope.step({ kind: 'pulled', node: 'n2', pull: pull?.pull ?? 0, answer: undefined })
      env.now = scope.nextDueMs
      pull = pullOf(scope.step({ kind: 'wake' }))
    }
    scope.step({ kind: 'pulled', node: 'n2', pull: pull?.pull ?? 0, answer: undefined })
    expect(scope.nextDueMs).toBe(Number.POSITIVE_INFINITY)
    expect(scope.counters.pullFailures).toBe(3)
    expect(pullOf(hear(scope, hello(5)))).toBeDefined()
  })
})

describe('answers to pulls', () => {
  test('are changes while they are known and shorter than the state', () => {
    const { scope } = scopeOf()
    scope.join(own, ['g'])
    scope.join(other, ['g'])
    expect(scope.answerPull({ run: 0, have: 1 })).toEqual({
      kind: 'deltas',
      run: 0,
      deltas: [{ seq: 2, ops: [joins(other)] }],
    })
    expect(scope.answerPull({ run: 0, have: undefined })).toEqual({
      kind: 'full',
      run: 0,
      seq: 2,
      state: [
        {
          group: 'g',
          pids: [
            [own, 1],
            [other, 1],
          ],
        },
      ],
    })
    for (let i = 0; i < 100; i++) {
      scope.join(own, ['x'])
      scope.leave(own, ['x'])
    }
    expect(scope.answerPull({ run: 0, have: 0 }).kind).toBe('full')
    expect(scope.answerPull({ run: 7, have: 200 }).kind).toBe('full')
  })
})

describe('events of one message', () => {
  test('tell what comes and goes in its order, so that nobody leaves who is not there (P2)', () => {
    const { scope } = connected()
    scope.monitor(own, 'g')
    const ops = [joins(remote), leaves(remote), joins(remote, 'g', 2)]
    const effects = hear(scope, delta(1, ops))
    expect(eventsOf(effects)).toEqual([
      `member.joined g ${remote}`,
      `member.left g ${remote}`,
      `member.joined g ${remote} ${remote}`,
    ])
    expect(scope.members('g')).toEqual([remote, remote])
  })

  test('several changes are followed one by one', () => {
    const { scope } = connected()
    scope.monitor(own, 'g')
    const effects = hear(scope, { kind: 'delta', run: 0, seq: 1, changes: [[joins(remote)], [joins(remote)]] })
    expect(eventsOf(effects)).toHaveLength(2)
    // The first two are known by now.
    const more = { kind: 'delta', run: 0, seq: 2, changes: [[joins(remote)], [leaves(remote)]] } as const
    expect(eventsOf(hear(scope, more))).toEqual([`member.left g ${remote}`])
  })
})

describe('what a node was not told', () => {
  test('is told again, a few times', () => {
    const { scope, env } = connected({ retriesMax: 2, antiEntropyIntervalMs: 0 })
    scope.join(own, ['g'])
    for (let i = 0; i < 2; i++) {
      expect(scope.step({ kind: 'unsent', node: 'n2' })).toEqual([])
      env.advance(scope.nextDueMs - env.nowMs())
      const message = { kind: 'hello', run: 0, seq: 1, isReply: false }
      expect(scope.step({ kind: 'wake' })).toEqual([{ kind: 'send', nodes: ['n2'], message }])
    }
    scope.step({ kind: 'unsent', node: 'n2' })
    expect(scope.nextDueMs).toBe(Number.POSITIVE_INFINITY)
    // Much later that is a new trouble.
    env.advance(10_000)
    scope.step({ kind: 'unsent', node: 'n2' })
    expect(scope.nextDueMs).toBeLessThan(Number.POSITIVE_INFINITY)
  })
})

describe('greetings', () => {
  test('go to a few nodes at a time', () => {
    const { scope, env } = scopeOf()
    const greeted = (effects: readonly ScopeEffect[]): string[] =>
      effects.flatMap((effect) => (effect.kind === 'send' ? effect.nodes : []))
    const first = [2, 3, 4, 5, 6, 7, 8].flatMap((i) =>
      greeted(scope.step({ kind: 'node-up', node: `n${i}`, epoch: 1 })),
    )
    expect(first.length).toBe(4)
    expect(greeted(hear(scope, hello(0), first[0])).length).toBe(1)
    expect(greeted(hear(scope, { kind: 'none' }, first[1])).length).toBe(1)
    env.advance(5000)
    expect(greeted(scope.step({ kind: 'wake' })).length).toBe(1)
  })

  test('one that is no reply is answered, a reply is not', () => {
    const { scope } = scopeOf()
    scope.step({ kind: 'node-up', node: 'n2', epoch: 1 })
    expect(hear(scope, hello(0, { isReply: false }))).toEqual([
      { kind: 'send', nodes: ['n2'], message: { kind: 'hello', run: 0, seq: 0, isReply: true } },
    ])
    expect(hear(scope, hello(0))).toEqual([])
  })

  test('compare with one node after the other, in the order of names', () => {
    const { scope, env } = scopeOf({ antiEntropyIntervalMs: 1000 })
    for (const node of ['n3', 'n2', 'n4']) {
      scope.step({ kind: 'node-up', node, epoch: 1 })
      hear(scope, hello(0), node)
    }
    hear(scope, { kind: 'none' }, 'n3')
    const order: string[] = []
    for (let i = 0; i < 4; i++) {
      env.advance(1000)
      for (const effect of scope.step({ kind: 'wake' })) if (effect.kind === 'send') order.push(...effect.nodes)
    }
    expect(order).toEqual(['n2', 'n4', 'n2', 'n4'])
  })

  test('a node without the scope is sent nothing until it greets', () => {
    const { scope } = connected()
    hear(scope, { kind: 'none' })
    expect(scope.join(own, ['g']).effects.filter(({ kind }) => kind === 'send')).toEqual([])
    hear(scope, hello(0, { run: 1, isReply: false }))
    const sent = scope.join(own, ['g']).effects.find(({ kind }) => kind === 'send')
    expect(sent).toMatchObject({ nodes: ['n2'], message: { kind: 'delta', seq: 2 } })
  })

  test('the end of a scope is told to those that have it', () => {
    const { scope } = connected()
    expect(scope.step({ kind: 'stop' })).toEqual([{ kind: 'send', nodes: ['n2'], message: { kind: 'none' } }])
  })
})

describe('broadcasts', () => {
  test('go once to each node, with how often each process gets it', () => {
    const { scope } = connected()
    const third = pidOf('n3', 't')
    scope.step({ kind: 'node-up', node: 'n3', epoch: 1 })
    scope.join(own, ['g', 'g'])
    hear(scope, delta(1, [joins(remote, 'g', 3), joins(pidOf('n2', 'a'))]))
    hear(scope, delta(1, [joins(third)]), 'n3')
    expect(scope.plan('g')).toEqual({
      local: [own, own],
      remote: [
        {
          node: 'n2',
          pids: [
            [pidOf('n2', 'a'), 1],
            [remote, 3],
          ],
        },
        { node: 'n3', pids: [[third, 1]] },
      ],
      skipped: [],
    })
    expect(scope.plan('g', { isLocal: true })).toEqual({ local: [own, own], remote: [], skipped: [] })
    expect(scope.plan('nobody')).toEqual({ local: [], remote: [], skipped: [] })
  })

  test('skip a node behind an open breaker, and only broadcasts do', () => {
    const { scope, env } = connected()
    hear(scope, delta(1, [joins(remote)]))
    const fail = (): ScopeEffect[] => scope.step({ kind: 'handed-over', node: 'n2', outcome: 'failed' })
    fail()
    scope.step({ kind: 'handed-over', node: 'n2', outcome: 'queue-full' })
    fail()
    expect(fail()).toEqual([{ kind: 'breaker', node: 'n2', state: 'open' }])
    expect(scope.plan('g').skipped).toEqual(['n2'])
    expect(scope.join(own, ['g']).effects.some(({ kind }) => kind === 'send')).toBe(true)
    env.advance(10_000)
    expect(scope.plan('g').remote.length).toBe(1)
    expect(scope.plan('g').skipped).toEqual(['n2'])
    expect(scope.step({ kind: 'handed-over', node: 'n2', outcome: 'sent' })).toEqual([
      { kind: 'breaker', node: 'n2', state: 'closed' },
    ])
    expect(scope.plan('g').remote.length).toBe(1)
  })
})

describe('monitors (P2)', () => {
  test('begin with the members of the same moment, and miss and repeat nothing', () => {
    const { scope } = connected()
    scope.join(own, ['g'])
    const monitoring = scope.monitor(other, 'g')
    expect(monitoring?.members).toEqual(new Map([['g', [own]]]))
    const effects = [
      ...scope.join(own, ['g', 'elsewhere']).effects,
      ...hear(scope, delta(1, [joins(remote)])),
      ...scope.step({ kind: 'node-down', node: 'n2', epoch: 1 }),
    ]
    expect(eventsOf(effects)).toEqual([
      `member.joined g ${own}`,
      `member.joined g ${remote}`,
      `member.left g ${remote}`,
    ])
    scope.demonitor(monitoring?.subscription ?? 0)
    expect(eventsOf(scope.join(own, ['g']).effects)).toEqual([])
  })

  test('a group that does not exist can be watched', () => {
    const { scope } = scopeOf()
    expect(scope.monitor(other, 'g')?.members).toEqual(new Map([['g', []]]))
    expect(scope.monitor(other, undefined)?.members).toEqual(new Map())
  })

  test('one that reads nothing is cut off with a last word', () => {
    const { scope } = scopeOf()
    const { subscription } = scope.monitor(other, 'g') as { subscription: number }
    let last: ScopeEffect[] = []
    for (let i = 0; i < 32_769; i++) last = [...scope.join(own, ['g']).effects, ...scope.leave(own, ['g']).effects]
    expect(last).toContainEqual({ kind: 'overflow', subscription })
    expect(scope.subscriptionCount).toBe(0)
  })
})
