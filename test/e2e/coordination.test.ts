// Locks and names as programs use them, on real nodes that are killed, stand still and change their leader: who waits is served in turn or
// told that the wait is over, never both; nothing belongs to who is gone; watchers are told all of it in order. cluster.md §6, §7, §12.

import { resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LockRow, NameRow } from '../../runtime/admin/shapes.ts'
import { ask as askAdmin } from '../../runtime/cli/client.ts'
import type { Order } from '../chaos/node.ts'
import { Cli } from '../tools/cli.ts'
import { DrivenNodes, PATIENCE } from '../tools/driven-nodes.ts'
import { eventually } from '../tools/eventually.ts'

const APP = resolve(import.meta.dirname, 'apps/coordination/app.yaml')
const TEST_MS_MAX = 300_000
const SERVERS = ['a', 'b', 'c']
const NODES = [...SERVERS, 'd']

const SETTINGS = [
  'cluster.session_ttl=4s',
  // A restart begins with a snapshot, not with all of the log.
  'cluster.raft.snapshot_threshold=16',
  'cluster.raft.snapshot_interval=1s',
  'cluster.raft.trailing_logs=4096',
]

interface Failure {
  readonly kind: string
  readonly message: string
  readonly details?: { readonly holder?: string; readonly token?: number; readonly since?: number }
}

interface Answer {
  readonly c: string
  /** Of what was said without having been asked. */
  readonly ev?: string
  readonly reason?: string
  readonly pid: string
  readonly ok?: boolean
  readonly err?: Failure
  readonly token?: number
  readonly held?: boolean
  readonly released?: boolean
  readonly found?: string
  readonly info?: { readonly holder: string; readonly waiters: number; readonly since: number; readonly token: number }
  readonly had?: Record<string, number>
  readonly failed?: string | readonly string[]
  readonly seen?: readonly Change[]
  readonly names?: readonly { readonly name: string; readonly pid: string; readonly scope: number }[]
}

interface Change {
  readonly type: 'bound' | 'released' | 'synced' | 'resync' | 'closed'
  readonly name?: string
  readonly pid?: string
}

let cli: Cli
let nodes: DrivenNodes<Answer>
const stopped = new Set<string>()
/** The highest token that anybody was given, of any lock. */
let highest = 0

beforeAll(async () => {
  cli = new Cli()
  nodes = new DrivenNodes(cli, { app: APP, driver: 'coordination:driver', set: SETTINGS })
  await start('a')
  await Promise.all([start('b'), start('c'), start('d')])
  await group()
}, TEST_MS_MAX)

afterAll(async () => {
  for (const name of stopped) nodes.get(name)?.signal('SIGCONT')
  await cli.close()
})

/** Of them `d` is a client, and whoever else comes. */
const start = (name: string): Promise<void> =>
  nodes.start(name, SERVERS.includes(name) ? 'cluster.raft.bootstrap_expect=3' : 'cluster.raft.role=client')

/** Until the group writes, and every node has a session. */
async function group(): Promise<void> {
  for (const node of nodes.keys()) {
    await eventually(async () => {
      const { ok, err } = await ask(node, { op: 'acquire', name: `ready.${node}` }, `ready.${node}`)
      if (ok !== true && err?.kind !== 'AlreadyExists') throw new Error(`${node}: ${err?.message}`)
    }, PATIENCE)
  }
}

async function leader(): Promise<string> {
  return eventually(async () => {
    const name = [...nodes.keys()].find((each) => !stopped.has(each)) as string
    const { leader } = await askAdmin<{ leader: string | null }>(nodes.socketOf(name), '/v1/raft')
    if (leader === null || leader === '' || !nodes.has(leader)) throw new Error('nobody leads')
    return leader
  }, PATIENCE)
}

/** It stands still. */
function stop(name: string): void {
  stopped.add(name)
  nodes.get(name)?.signal('SIGSTOP')
}

function go(name: string): void {
  stopped.delete(name)
  nodes.get(name)?.signal('SIGCONT')
}

/** What the process `client` of a node says to an order that it can carry out. */
async function ask(node: string, order: Order, client?: string): Promise<Answer> {
  const answer = await nodes.ask(node, order, client)
  if (typeof answer.failed === 'string') throw new Error(`${node} ${JSON.stringify(order)}: ${answer.failed}`)
  return answer
}

/** @returns the answer of an acquire that is to be granted, with a token above all before */
async function granted(answer: Answer | Promise<Answer>): Promise<Answer> {
  const { ok, token = 0, err } = await answer
  expect({ ok, err }).toEqual({ ok: true, err: undefined })
  expect(token).toBeGreaterThan(highest)
  highest = token
  return answer
}

async function waiters(name: string, count: number): Promise<void> {
  const node = [...nodes.keys()].find((each) => !stopped.has(each)) as string
  await eventually(async () => expect((await ask(node, { op: 'info', name })).info?.waiters).toBe(count), PATIENCE)
}

async function freed(name: string): Promise<void> {
  const node = [...nodes.keys()].find((each) => !stopped.has(each)) as string
  await eventually(async () => expect((await ask(node, { op: 'info', name })).info).toBeUndefined(), PATIENCE)
}

/** What names with a prefix stand for, as a node sees it. */
async function known(node: string, prefix: string): Promise<string[]> {
  const rows = await askAdmin<NameRow[]>(nodes.socketOf(node), `/v1/names?prefix=${encodeURIComponent(prefix)}`)
  return rows.map(({ name, pid }) => `${name} ${pid}`).sort()
}

/** Of every name, what it stands for after all that a watcher was told. @throws when that makes no sense */
function replayed(seen: readonly Change[]): { now: string[]; bound: Map<string, number> } {
  const now = new Map<string, string>()
  const bound = new Map<string, number>()
  let isSynced = false
  for (const { type, name = '', pid = '' } of seen) {
    if (type === 'synced') isSynced = true
    else if (type === 'bound') {
      expect(now.get(name), `${name} is bound to ${pid} again`).not.toBe(pid)
      now.set(name, pid)
      bound.set(`${name} ${pid}`, (bound.get(`${name} ${pid}`) ?? 0) + 1)
    } else if (type === 'released') {
      expect(now.get(name), `${name} is released by who did not have it`).toBe(pid)
      now.delete(name)
    } else throw new Error(`a watcher is told ${type}`)
  }
  expect(isSynced).toBe(true)
  return { now: [...now].map(([name, pid]) => `${name} ${pid}`).sort(), bound }
}

const slow = { timeout: TEST_MS_MAX }

test('who finds a lock held is told by whom and since when; nobody but the holder gives it back', slow, async () => {
  const before = Date.now()
  const { pid, token } = await granted(ask('d', { op: 'acquire', name: 'l1' }, 'holder'))
  const after = Date.now()
  // Clocks of two nodes are one here; what is taken away is what an answer may take.
  const slackMs = 30_000
  for (const [node, client] of [...SERVERS.map((each) => [each, 'one']), ['d', 'holder']] as [string, string][]) {
    const { ok, err, held } = await ask(node, { op: 'acquire', name: 'l1' }, client)
    expect(ok).toBe(false)
    expect(err).toMatchObject({ kind: 'AlreadyExists', message: 'lock held: l1', details: { holder: pid, token } })
    expect(held).toBe(client === 'holder')
    const since = err?.details?.since ?? 0
    expect(since).toBeGreaterThan(before - slackMs)
    expect(since).toBeLessThan(after + slackMs)
    expect(Number.isInteger(since)).toBe(true)
  }
  expect((await ask('b', { op: 'info', name: 'l1' })).info?.since).toBeGreaterThan(before - slackMs)
  expect(await ask('a', { op: 'release', name: 'l1' })).toMatchObject({ released: false })
  expect(await ask('d', { op: 'release', name: 'l1' }, 'other')).toMatchObject({ released: false })
  expect(await ask('d', { op: 'held', name: 'l1' }, 'holder')).toMatchObject({ held: true })
  const [row] = await askAdmin<LockRow[]>(nodes.socketOf('c'), '/v1/locks?prefix=l1')
  expect(row).toMatchObject({ name: 'l1', holder: pid, node: 'd', token })
  expect(await ask('d', { op: 'release', name: 'l1' }, 'holder')).toMatchObject({ released: true })
  expect(await ask('d', { op: 'release', name: 'l1' }, 'holder')).toMatchObject({ released: false })
})

test('who waits is served in the order of asking, and who ends meanwhile is passed over', slow, async () => {
  await granted(ask('a', { op: 'acquire', name: 'l2' }, 'first'))
  const queue = ['b', 'd', 'c', 'a', 'd', 'b', 'c', 'd']
  const answers: Promise<Answer>[] = []
  for (const [at, node] of queue.entries()) {
    const order = { op: 'hold', name: 'l2', wait: '120s', time: '20ms' }
    if (at === 2 || at === 4) nodes.tell(node, order, `w${at}`)
    else answers.push(ask(node, order, `w${at}`))
    await waiters('l2', at + 1)
  }
  // One fails, the other comes to its end.
  nodes.tell('c', { op: 'die' }, 'w2')
  nodes.tell('d', { op: 'quit' }, 'w4')
  await waiters('l2', queue.length - 2)
  await ask('a', { op: 'release', name: 'l2' }, 'first')
  for (const answer of await Promise.all(answers)) {
    await granted(answer)
    expect(answer).toMatchObject({ held: true, released: true })
  }
  await freed('l2')
})

test('a wait ends once: with the lock, or without it and without a trace', slow, async () => {
  const answers: Promise<Answer>[] = []
  for (let round = 0; round < 12; round++) {
    for (const node of NODES) {
      const order = { op: 'hold', name: 'l3', wait: `${40 + 35 * round}ms`, time: '40ms' }
      answers.push(ask(node, order, `t${round}`))
    }
  }
  const all = await Promise.all(answers)
  const won = all.filter(({ ok }) => ok === true)
  expect(won.length).toBeGreaterThan(0)
  for (const { held, released } of won) expect({ held, released }).toEqual({ held: true, released: true })
  for (const { ok, err, held } of all.filter((each) => each.ok !== true)) {
    expect({ ok, kind: err?.kind, held }).toEqual({ ok: false, kind: 'Timeout', held: false })
  }
  expect(new Set(won.map(({ token }) => token)).size).toBe(won.length)
  highest = Math.max(highest, ...won.map(({ token = 0 }) => token))
  await freed('l3')
})

test('the next is served when the holder, the thread of its host, or its node is gone', slow, async () => {
  await granted(ask('b', { op: 'acquire', name: 'l4', host: 'clients' }, 'dies'))
  const onThread = ask('b', { op: 'acquire', name: 'l4', wait: '120s', host: 'fragile' }, 'fragile')
  await waiters('l4', 1)
  const onNode = ask('c', { op: 'acquire', name: 'l4', wait: '120s' }, 'killed')
  await waiters('l4', 2)
  const last = ask('d', { op: 'acquire', name: 'l4', wait: '120s' }, 'last')
  await waiters('l4', 3)
  nodes.tell('b', { op: 'die' }, 'dies')
  await granted(onThread)
  await ask('b', { op: 'hog' })
  await granted(onNode)
  await nodes.kill('c')
  await granted(last)
  expect(await ask('d', { op: 'release', name: 'l4' }, 'last')).toMatchObject({ released: true })
  await start('c')
  await group()
})

test('a holder whose node stood still for too long is told that it has lost the lock', slow, async () => {
  const name = 'l5'
  const leading = await leader()
  const node = SERVERS.find((each) => each !== leading) as string
  const { token = 0 } = await granted(ask(node, { op: 'acquire', name }, 'frozen'))
  stop(node)
  const other = SERVERS.find((each) => each !== node) as string
  await granted(ask(other, { op: 'acquire', name, wait: '120s' }, 'next'))
  go(node)
  await eventually(() => {
    const told = nodes.said(node).filter(({ c, ev }) => c === 'frozen' && ev === 'cancel')
    expect(told.map(({ reason }) => reason)).toEqual([`lock lost: ${name}`])
  }, PATIENCE)
  expect(await ask(node, { op: 'held', name }, 'frozen')).toMatchObject({ held: false })
  expect(await ask(node, { op: 'release', name }, 'frozen')).toMatchObject({ released: false })
  expect((await ask(other, { op: 'info', name })).info?.token).toBeGreaterThan(token)
  await ask(other, { op: 'release', name }, 'next')
  await group()
})

test('tokens rise over a transfer, the death of the leader and a restart of all', slow, async () => {
  const name = 'l6'
  const once = async (node: string): Promise<void> => {
    await eventually(async () => {
      const answer = await ask(node, { op: 'hold', name, wait: '20s' }, 'counts')
      if (answer.ok !== true) throw new Error(answer.err?.message)
      await granted(answer)
    }, PATIENCE)
  }
  for (const node of NODES) await once(node)
  const first = await leader()
  await askAdmin(nodes.socketOf(first), '/v1/cluster/transfer', { method: 'POST', body: {} })
  for (const node of NODES) await once(node)
  const second = await leader()
  await nodes.kill(second)
  const others = NODES.filter((each) => each !== second)
  for (const node of others) await once(node)
  await start(second)
  await group()
  for (const node of NODES) await nodes.kill(node)
  nodes.clear()
  await start('a')
  await Promise.all(['b', 'c', 'd'].map(start))
  await group()
  for (const node of NODES) await once(node)
})

test('names that all take and give up have one owner at a time; watchers are told in order', slow, async () => {
  const prefix = 'churn/'
  for (const node of NODES) await ask(node, { op: 'watch', prefix }, 'watcher')
  const churn = async (node: string, client: string): Promise<Answer & { node: string }> => {
    const order = { op: 'churn', prefix, names: 3, rounds: 40, scope: 'CONSISTENT' }
    return { node, ...(await ask(node, order, client)) }
  }
  const answers = await Promise.all(NODES.flatMap((node) => [churn(node, 'c1'), churn(node, 'c2')]))
  for (const { failed } of answers) expect(failed).toEqual([])
  for (const node of NODES) {
    await eventually(async () => {
      const { seen = [] } = await ask(node, { op: 'seen', prefix }, 'watcher')
      const { now, bound } = replayed(seen)
      expect(now).toEqual([])
      for (const { node: home, pid, had = {} } of answers) {
        for (let n = 0; n < 3; n++) {
          const name = `${prefix}${n}`
          const [told, so] = [bound.get(`${name} ${pid}`) ?? 0, had[name] ?? 0]
          // Of others those that were over before this node heard of them may be passed over; none is told that was not.
          if (home === node) expect(told, `${name} of ${pid} on its node`).toBe(so)
          else expect(told, `${name} of ${pid} on ${node}`).toBeLessThanOrEqual(so)
        }
      }
    }, PATIENCE)
  }
})

test('watchers come to what is so, also of names that two may take for a moment', slow, async () => {
  const prefix = 'loose/'
  for (const node of NODES) await ask(node, { op: 'watch', prefix }, 'watcher')
  const churn = (node: string, scope: string): Promise<Answer> =>
    ask(node, { op: 'churn', prefix: `${prefix}${scope}/${node}/`, names: 5, rounds: 60, scope }, `c.${scope}`)
  await Promise.all(NODES.flatMap((node) => [churn(node, 'EVENTUAL'), churn(node, 'LOCAL')]))
  const { pid } = await ask('a', { op: 'register', name: `${prefix}last`, scope: 'EVENTUAL' }, 'last')
  for (const node of NODES) {
    await eventually(async () => {
      const { seen = [], names } = await ask(node, { op: 'seen', prefix }, 'watcher')
      expect(replayed(seen).now).toEqual([`${prefix}last ${pid}`])
      expect(names).toMatchObject([{ name: `${prefix}last`, pid }])
    }, PATIENCE)
  }
})

test('a process that ends while it is given names leaves none', slow, async () => {
  for (const [at, scope] of ['CONSISTENT', 'STRONG', 'EVENTUAL', 'CONSISTENT', 'STRONG'].entries()) {
    const prefix = `gone/${at}/`
    const client = `gone.${at}`
    const after = ['', '1ms', '4ms', '15ms', '60ms'][at]
    const more = after === '' ? {} : { after }
    for (const node of NODES) {
      const order = { op: 'register_and_die', prefix: `${prefix}${node}/`, count: 20, scope, ...more }
      nodes.tell(node, order, client)
    }
    for (const node of NODES) {
      await eventually(
        () => expect(nodes.said(node).some(({ c, ev }) => c === client && ev === 'exit')).toBe(true),
        PATIENCE,
      )
    }
  }
  for (const node of NODES) await eventually(async () => expect(await known(node, 'gone/')).toEqual([]), PATIENCE)
})

test('strong names while a node comes and goes: registered, and never another process there', slow, async () => {
  const registered: string[] = []
  let isOver = false
  const registering = (async () => {
    for (let n = 0; !isOver || n < 5; n++) {
      const name = `strong/${n}`
      const pid = await eventually(async () => {
        const { ok, err, pid } = await ask('b', { op: 'register', name, scope: 'STRONG' }, 'strong')
        if (ok !== true) throw new Error(`${err?.kind} ${err?.message}`)
        return pid
      }, PATIENCE)
      registered.push(`${name} ${pid}`)
    }
  })()
  for (let round = 0; round < 2; round++) {
    await start('e')
    // What there is when it may be asked it knows, and lets nobody of its own have.
    await eventually(async () => {
      const before = [...registered]
      expect(await known('e', 'strong/')).toEqual(expect.arrayContaining(before))
    }, PATIENCE)
    const [some = ''] = registered
    const refused = await ask('e', { op: 'register', name: some.split(' ')[0], scope: 'LOCAL' })
    expect(refused.err?.kind).toBe('AlreadyExists')
    nodes.get('e')?.signal(round === 0 ? 'SIGTERM' : 'SIGKILL')
    await nodes.get('e')?.exit()
    nodes.delete('e')
  }
  isOver = true
  await registering
  for (const node of NODES) {
    await eventually(async () => expect(await known(node, 'strong/')).toEqual([...registered].sort()), PATIENCE)
  }
})
