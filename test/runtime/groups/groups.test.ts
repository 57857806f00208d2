// What processes get of the scopes of their node. lua-libraries.md §1.

import { beforeEach, describe, expect, test } from 'vitest'
import type { GroupScopeEntry } from '../../../runtime/app/load.ts'
import { list, type TableValue, type Value } from '../../../runtime/base/value.ts'
import { type GroupHooks, type GroupScope, Groups } from '../../../runtime/groups/groups.ts'
import type { Client } from '../../../runtime/node-services.ts'

const SCOPE = 'app:rooms'
const entry = {
  id: SCOPE,
  namespace: 'app',
  kind: 'pg.scope',
  meta: {},
  monitorBuffer: 7,
} as unknown as GroupScopeEntry
const client = (pid: string): Client => ({ pid, entry: 'app:p', signal: new AbortController().signal })

let hooks: GroupHooks
let calls: string[]
let fed: unknown[]
let cast: unknown[]
let groups: Groups
let local: readonly string[]

beforeEach(() => {
  calls = []
  fed = []
  cast = []
  local = []
  let next = 1
  const scope: GroupScope = {
    join: (pid, names) => void calls.push(`join ${pid} ${names.join()}`),
    leave: (pid, names) => void calls.push(`leave ${pid} ${names.join()}`),
    monitor: (_, group) => ({ subscription: next++, members: new Map([[group ?? 'all', ['p', 'p']]]) }),
    demonitor: (subscription) => void calls.push(`demonitor ${subscription}`),
    consumed: (subscription, count) => void calls.push(`consumed ${subscription} ${count}`),
    exited: (pid) => void calls.push(`exited ${pid}`),
    members: () => ['p'],
    localMembers: () => [],
    groups: () => ['b', 'a'],
    localGroups: () => [],
    broadcast: ({ payload }) => {
      if (local.length === 0) hooks.deliver(['q'], { topic: 't', from: 'p', payload: payload() })
      return local
    },
    health: () => ({ ok: true, detail: 'well' }),
  }
  groups = new Groups({
    load: async () => ({
      open: (_id, _settings, given) => {
        hooks = given
        return scope
      },
      stop: () => {},
      close: () => {},
    }),
    entryKind: (id) => (id === 'app:host' ? 'process.host' : id === SCOPE ? 'pg.scope' : undefined),
    cast: (...what) => cast.push(what),
    feed: (...what) => fed.push(what),
    log: () => {},
    messageBytesMax: 1000,
  })
})

const ask = (method: string, args: readonly Value[], pid = 'p'): Value =>
  groups.methods[method]?.(args, client(pid)) as Value

describe('a scope', () => {
  test('is opened while it runs', async () => {
    expect(() => ask('open', [SCOPE])).toThrow('failed to acquire pg scope')
    expect(() => ask('open', ['app:none'])).toThrow('failed to acquire pg scope')
    expect(() => ask('open', ['app:host'])).toThrow('resource is not a pg scope')
    await groups.start(entry)
    expect(ask('open', [SCOPE])).toBe(7)
    await groups.stop(SCOPE)
    expect(() => ask('join', [SCOPE, 'g'])).toThrow('service stopped')
  })

  test('shows its groups, with names that are no text replaced', async () => {
    await groups.start(entry)
    expect(groups.rows(undefined)).toEqual([
      { scope: SCOPE, group: 'b', members: ['p'] },
      { scope: SCOPE, group: 'a', members: ['p'] },
    ])
    expect(groups.rows('app:other')).toEqual([])
    expect(groups.checks()).toEqual([{ name: `pg_broadcast_recent.${SCOPE}`, ok: true, detail: 'well' }])
  })
})

describe('a subscription', () => {
  const subscription = (answer: Value): number => (answer as TableValue).get('subscription') as number

  test('gets members, then events, and ends for its owner only', async () => {
    await groups.start(entry)
    const answer = ask('monitor', [SCOPE, '@feed/1', 'g'])
    expect((answer as TableValue).get('members')).toEqual(list(['p', 'p']))
    const number = subscription(answer)
    hooks.event(number, { kind: 'member.left', group: 'g', pids: ['p'] })
    expect(fed).toEqual([['p', '@feed/1', ['member.left', 'g', list(['p'])]]])
    ask('consumed', [SCOPE, number, 64], 'other')
    ask('demonitor', [SCOPE, number], 'other')
    expect(calls).toEqual([])
    ask('consumed', [SCOPE, number, 64])
    ask('demonitor', [SCOPE, number])
    expect(calls).toEqual([`consumed ${number} 64`, `demonitor ${number}`])
    hooks.event(number, { kind: 'member.left', group: 'g', pids: ['p'] })
    expect(fed).toHaveLength(1)
  })

  test('says when it is cut off; one of a scope that stops brings nothing more', async () => {
    await groups.start(entry)
    const first = subscription(ask('monitor', [SCOPE, '@feed/1', 'g']))
    ask('monitor', [SCOPE, '@feed/2', undefined])
    hooks.overflow(first)
    expect(fed).toEqual([['p', '@feed/1', ['overflow', 'g', undefined]]])
    await groups.stop(SCOPE)
    expect(fed).toHaveLength(1)
  })

  test('ends with its process, which leaves its groups', async () => {
    await groups.start(entry)
    const number = subscription(ask('monitor', [SCOPE, '@feed/1', 'g']))
    groups.clientEnded('p')
    expect(calls).toEqual(['exited p'])
    hooks.event(number, { kind: 'member.left', group: 'g', pids: ['p'] })
    expect(fed).toEqual([])
  })

  test('of one process there are not too many', async () => {
    await groups.start(entry)
    for (let i = 0; i < 256; i++) ask('monitor', [SCOPE, `@feed/${i}`, 'g'])
    expect(() => ask('monitor', [SCOPE, '@feed/x', 'g'])).toThrow('at most 256 subscriptions')
    expect(() => ask('monitor', [SCOPE, '@feed/x', 'g'], 'other')).not.toThrow()
  })
})

describe('a broadcast', () => {
  test('reaches processes here as values, and those of other nodes as bytes of them', async () => {
    await groups.start(entry)
    local = ['a', 'b']
    ask('broadcast', [SCOPE, 'g', 't', 1, 'two', undefined])
    local = []
    ask('broadcast', [SCOPE, 'g', 't', 1, 'two', undefined])
    expect(cast).toEqual([
      [['a', 'b'], 'p', 't', [1, 'two', undefined]],
      [['q'], 'p', 't', [1, 'two', undefined]],
    ])
  })

  test('of another node that cannot be read is counted and dropped', async () => {
    await groups.start(entry)
    for (const payload of [Uint8Array.of(), Uint8Array.of(0x91), Uint8Array.of(0x90, 0x90), Uint8Array.of(0xc1)]) {
      hooks.deliver(['q'], { topic: 't', from: '', payload })
    }
    expect(groups.unreadable).toBe(4)
    expect(cast).toEqual([])
  })

  test('that is too large for another node says so to the scope', async () => {
    await groups.start(entry)
    expect(() => ask('broadcast', [SCOPE, 'g', 't', 'x'.repeat(2000)])).toThrow('too large')
  })
})
