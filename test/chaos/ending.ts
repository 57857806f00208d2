// When all is healed: does everything come together again, and is nothing left when the clients are gone?

import type { NameRow, ProcessRow } from '../../runtime/admin/shapes.ts'
import { ask } from '../../runtime/cli/client.ts'
import { checkBank, checkCounters, checkRegisters } from './checks/kv.ts'
import { checkLocks } from './checks/locks.ts'
import { type Content, checkCasts, checkMerged, checkOwn, differences, joinedOf } from './checks/merging.ts'
import { checkNames, checkUntold, claimsOf } from './checks/names.ts'
import type { Cluster } from './cluster.ts'
import { calledMs, type History } from './history.ts'
import type { ChaosNode, Order, Reply } from './node.ts'
import { COUNTERS, GROUPS, wait } from './workload.ts'

const CONVERGED_MS_MAX = 60_000
const GONE_MS_MAX = 40_000
/** Before a loss of power, what a durable namespace has not flushed to the disk is gone, unless another node had it. */
const UNSYNCED_MS = 60_000

interface EndingOptions {
  readonly cluster: Cluster
  readonly history: History
  readonly say: (text: string) => void
  /** So many times as long as usual may it take. */
  readonly patience: number
}

/** Reads everything once more, waits until all nodes agree, then lets the clients end. @returns how long agreement took */
export async function settle({
  cluster,
  history,
  say,
  patience,
}: EndingOptions): Promise<{ convergedMs: number; counters: Map<string, number> }> {
  const { nodes } = cluster
  const reader = async (node: ChaosNode, order: Order): Promise<Reply | undefined> => {
    const answer = await node.ask(order, 'reader')
    if (answer.kind !== 'reply') return undefined
    history.add(`reader${node.index}`, node.index, order, answer)
    return answer.reply
  }
  const insist = async (node: ChaosNode, order: Order): Promise<Reply> => {
    for (let attempt = 0; ; attempt++) {
      const reply = await reader(node, order)
      if (reply !== undefined && reply.err === undefined) return reply
      if (attempt >= 5)
        throw new Error(`${node.name} does not answer ${JSON.stringify(order)}: ${JSON.stringify(reply?.err)}`)
    }
  }
  say('reading everything once more')
  const keys = new Set(history.of('get', 'put', 'delete').map(({ order }) => String(order['key'])))
  const counters = new Map<string, number>()
  const [first] = nodes
  if (first === undefined) return { convergedMs: 0, counters }
  for (const [i, key] of [...keys].filter((each) => each.startsWith('r:')).entries()) {
    const node = nodes[i % nodes.length] as ChaosNode
    await insist(node, { op: 'get', key })
  }
  for (const node of nodes) await insist(node, { op: 'list', prefix: 'bank:' })
  for (let i = 0; i < COUNTERS; i++) {
    const key = `count:${i}`
    counters.set(key, Number((await insist(first, { op: 'get', key }))['value'] ?? 0))
  }

  const fromMs = performance.now()
  let apart: string[] = []
  do {
    apart = (await differencesOf(cluster, history, insist)).slice(0, 10)
    if (apart.length === 0) break
    await wait(500)
  } while (performance.now() - fromMs < patience * CONVERGED_MS_MAX)
  const convergedMs = performance.now() - fromMs
  for (const each of apart)
    history.violations.push(
      `not the same on all nodes ${(patience * CONVERGED_MS_MAX) / 1000} s after healing: ${each}`,
    )

  const contents = new Map<string, Content>()
  for (const node of nodes) contents.set(node.name, await contentOf(node, insist))
  history.violations.push(...checkMerged(history, contents))
  const wasCut = (node: number, atMs: number): boolean =>
    history.windows.some(
      ({ fault, nodes: struck, fromMs: since }) =>
        ((['power', 'power-all', 'full-disk', 'wipe', 'rollback'].includes(fault.kind) && struck.includes(node)) ||
          fault.kind === 'power-all') &&
        since >= atMs &&
        since - atMs < UNSYNCED_MS,
    )
  const isForgiven = (node: number, atMs: number): boolean =>
    wasCut(node, atMs) ||
    history.windows.some(
      ({ fault, nodes: struck, fromMs: since, toMs }) =>
        fault.kind === 'full-disk' && struck.includes(node) && atMs >= since && atMs <= toMs + 30_000,
    )
  history.violations.push(...checkOwn(history, contents.get(first.name) as Content, isForgiven))
  return { convergedMs, counters }
}

type Insist = (node: ChaosNode, order: Order) => Promise<Reply>

async function contentOf(node: ChaosNode, insist: Insist): Promise<Content> {
  const items = (await insist(node, { op: 'merge_list', prefix: '' }))['items'] as readonly {
    key: string
    value: unknown
  }[]
  return new Map(items.map(({ key, value }) => [key, value]))
}

/** Of the merging store, the groups, the names: what nodes see differently, or otherwise than it is. */
async function differencesOf(cluster: Cluster, history: History, insist: Insist): Promise<string[]> {
  const { nodes } = cluster
  const problems: string[] = []
  const contents = new Map<string, Content>()
  for (const node of nodes) contents.set(node.name, await contentOf(node, insist))
  problems.push(...differences(contents))

  const alive = await pidsOf(nodes)
  const joined = [...joinedOf(history)].filter(([pid]) => alive.has(pid))
  for (const group of GROUPS) {
    const expected = joined.flatMap(([pid, groups]) => (groups.has(group) ? [pid] : [])).sort()
    for (const node of nodes) {
      const seen = ((await insist(node, { op: 'members', group }))['members'] as string[]).toSorted()
      if (seen.join() === expected.join()) continue
      const missing = expected.filter((pid) => !seen.includes(pid))
      const strange = seen.filter((pid) => !expected.includes(pid))
      problems.push(
        `${group} on ${node.name}: ${seen.length} members of ${expected.length}; missing ${missing}, strange ${strange} (P1)`,
      )
    }
  }

  const names = new Set(history.of('register').map(({ order }) => String(order['name'])))
  const tables = new Map<string, Content>()
  for (const node of nodes) {
    const rows = await ask<NameRow[]>(node.socket, '/v1/names')
    tables.set(
      node.name,
      new Map(
        rows
          .filter(({ name, scope }) => names.has(name) && scope !== 'local')
          .map(({ name, scope, pid }) => [`${name} (${scope})`, pid]),
      ),
    )
  }
  problems.push(...differences(tables))
  const [table = new Map<string, unknown>()] = tables.values()
  for (const name of names) {
    if (!name.startsWith('e:')) continue
    const claims = claimsOf(history, name, (pid) => alive.has(pid))
    const owner = table.get(`${name} (eventual)`)
    const expected = owner === undefined ? '' : String(owner)
    if (claims.join() !== expected)
      problems.push(`${name} stands for ${expected || 'nobody'}, claimed by ${claims.join(' ') || 'nobody'} (N8)`)
  }
  for (const [key, pid] of table)
    if (!alive.has(String(pid))) problems.push(`${key} stands for ${String(pid)}, which has ended (N7)`)
  return problems
}

async function pidsOf(nodes: readonly ChaosNode[]): Promise<Set<string>> {
  const rows = await Promise.all(nodes.map((node) => ask<ProcessRow[]>(node.socket, '/v1/processes')))
  return new Set(rows.flat().map(({ pid }) => pid))
}

/** Everybody in a group hears a broadcast of each node, once. */
export async function checkBroadcasts({ cluster, history, patience }: EndingOptions): Promise<void> {
  const alive = await pidsOf(cluster.nodes)
  const joined = [...joinedOf(history)].filter(([pid]) => alive.has(pid))
  for (const [i, node] of cluster.nodes.entries()) {
    const group = GROUPS[i % GROUPS.length] as string
    const value = `last ${node.name}`
    await node.ask({ op: 'broadcast', group, value }, 'reader')
    const expected = joined.flatMap(([pid, groups]) => (groups.has(group) ? [pid] : []))
    const deadlineMs = performance.now() + patience * 20_000
    for (;;) {
      const heard = new Set(
        history.remarks.flatMap((each) => (each.ev === 'cast' && each['value'] === value ? [each.pid] : [])),
      )
      const deaf = expected.filter((pid) => !heard.has(pid))
      if (deaf.length === 0) break
      if (performance.now() > deadlineMs) {
        history.violations.push(`a broadcast of ${node.name} to ${group} does not reach ${deaf.join(' ')}`)
        break
      }
      await wait(100)
    }
  }
}

/** Ends all clients and looks at what stays behind. */
export async function checkLeftovers(
  { cluster, history, patience }: EndingOptions,
  clients: ReadonlyMap<string, { client: string; node: number }>,
): Promise<void> {
  await Promise.all(
    [...clients.values()].map(({ client, node }) =>
      Promise.race([(cluster.nodes[node] as ChaosNode).ask({ op: 'quit' }, client), wait(patience * 10_000)]),
    ),
  )
  const deadlineMs = performance.now() + patience * GONE_MS_MAX
  let left: string[] = []
  do {
    left = []
    for (const node of cluster.nodes) {
      const [names, locks, processes] = await Promise.all([
        ask<NameRow[]>(node.socket, '/v1/names'),
        ask<{ name: string; holder: string }[]>(node.socket, '/v1/locks').catch((error: Error) => [
          { name: error.message, holder: '?' },
        ]),
        ask<ProcessRow[]>(node.socket, '/v1/processes'),
      ])
      const own = ['chaos:driver', 'chaos:client']
      const strange = processes.filter(({ entry }) => !own.includes(entry))
      const stayed = processes.filter(({ entry }) => entry === 'chaos:client')
      // The reader, the pinging client and the one that made the accounts.
      if (stayed.length > 3) left.push(`${node.name}: ${stayed.length} clients still run`)
      for (const { pid, entry } of strange) left.push(`${node.name}: process ${pid} of ${entry}`)
      for (const { name, pid } of names)
        if (/^[cse]:|^sole$/.test(name)) left.push(`${node.name}: ${name} stands for ${pid}`)
      for (const { name, holder } of locks) left.push(`${node.name}: lock ${name} of ${holder}`)
    }
    if (left.length === 0) return
    await wait(500)
  } while (performance.now() < deadlineMs)
  history.violations.push(...left.map((each) => `left behind (N7, K4): ${each}`))
}

/** What the histories say. */
/** @param counters what they say at the end; absent: they could not be read */
export function judge(history: History, counters: ReadonlyMap<string, number> | undefined): string[] {
  return [
    ...checkRegisters(history),
    ...(counters === undefined ? [] : checkCounters(history, counters)),
    ...checkBank(history),
    ...checkLocks(history),
    ...checkNames(history),
    ...checkCasts(history),
    ...checkRevocations(history),
    ...checkUntold(history),
  ]
}

/** Nobody is told more often that it lost an eventual name than it was told that it has it. */
function checkRevocations(history: History): string[] {
  const balance = new Map<string, number>()
  const told = [
    ...history
      .of('register')
      .flatMap(({ order, reply, ...rest }) =>
        reply !== undefined && reply.err === undefined
          ? [{ atMs: calledMs({ order, reply, ...rest }), id: `${reply.pid} ${order['name']}`, by: 1 }]
          : [],
      ),
    ...history.remarks.flatMap(({ ev, pid, atMs, ...rest }) => {
      const name = /^name revoked: (e:.*)$/.exec(String(rest['reason']))?.[1]
      return ev === 'cancel' && name !== undefined ? [{ atMs, id: `${pid} ${name}`, by: -1 }] : []
    }),
  ].toSorted((a, b) => a.atMs - b.atMs)
  const problems: string[] = []
  for (const { id, by, atMs } of told) {
    const value = (balance.get(id) ?? 0) + by
    balance.set(id, value)
    if (value < 0) problems.push(`${id} is revoked once too often at ${atMs.toFixed(0)} (N8)`)
  }
  return problems
}
