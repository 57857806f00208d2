// Locks: whoever is told that he holds one is the only one, tokens rise, and what a token guards is never written with an old one.
// cluster.md §7, K1, K2.

import { earliest, groupBy, type History, latest } from '../history.ts'
import type { Run } from '../node.ts'

/** From after a moment at which the node said that the lock is held, to before the last one. */
interface Holding {
  readonly name: string
  readonly client: string
  readonly token: number
  fromMs: number
  toMs: number
  readonly node: number
}

export function holdingsOf(history: History): Holding[] {
  const holdings = new Map<string, Holding>()
  const add = (client: string, run: Run, name: string, told: Readonly<Record<string, unknown>>): void => {
    const { from, to, token } = told
    if (typeof token !== 'number' || typeof from !== 'number' || typeof to !== 'number') return
    const fromMs = latest(run, from)
    const toMs = earliest(run, to)
    const id = `${name} ${client} ${token}`
    const known = holdings.get(id)
    if (known === undefined) {
      holdings.set(id, { name, client, token, fromMs, toMs, node: run.node })
      return
    }
    known.fromMs = Math.min(known.fromMs, fromMs)
    known.toMs = Math.max(known.toMs, toMs)
  }
  for (const { c, run, ...told } of history.remarks) if (told.ev === 'held') add(c, run, String(told['name']), told)
  for (const { client, run, order, reply } of history.of('lock', 'keep')) {
    if (run !== undefined && reply !== undefined) add(client, run, String(order['name']), reply)
  }
  return [...holdings.values()].toSorted((a, b) => a.fromMs - b.fromMs)
}

export function checkLocks(history: History): string[] {
  const problems: string[] = []
  const byLock = groupBy(holdingsOf(history), ({ name }) => name)
  for (const [name, holdings] of byLock) {
    for (const [i, one] of holdings.entries()) {
      for (const other of holdings.slice(i + 1)) {
        if (one.token === other.token) problems.push(`${name}: ${told(one)} and ${told(other)} have one token (K2)`)
        else if (one.toMs > other.fromMs && other.toMs > other.fromMs && one.toMs > one.fromMs) {
          problems.push(`${name} is held twice at a time (K1): ${told(one)}, ${told(other)}`)
        } else if (one.token > other.token) {
          problems.push(`the token of ${name} fell (K2): ${told(one)}, ${told(other)}`)
        }
        if (other.fromMs - one.toMs > 60_000) break
      }
    }
  }
  problems.push(...checkFences(history))
  return problems
}

/** A guarded write with a token, in a version between that of a later grant and its own, was made with a token that was not current. */
function checkFences(history: History): string[] {
  const grants = new Map<string, number[]>()
  const writes: { name: string; token: number; version: number; client: string }[] = []
  for (const { client, order, reply } of history.of('lock', 'keep', 'stale_fence')) {
    const name = String(order['name'])
    const token = reply?.['token'] ?? order['token']
    if (typeof token !== 'number') continue
    if (order.op !== 'stale_fence') grants.set(name, [...(grants.get(name) ?? []), token])
    const guarded = (reply?.['guarded'] ?? [reply]) as readonly { version?: string }[]
    for (const each of guarded) {
      if (each?.version !== undefined) writes.push({ name, token, version: Number(each.version), client })
    }
  }
  for (const { ev, ...told } of history.remarks) {
    if (ev !== 'held') continue
    const name = String(told['name'])
    const tokens = grants.get(name) ?? []
    grants.set(name, tokens)
    if (!tokens.includes(Number(told['token']))) tokens.push(Number(told['token']))
  }
  return writes.flatMap(({ name, token, version, client }) => {
    const later = grants.get(name)?.find((each) => each > token && each < version)
    if (later === undefined) return []
    return [`${client} wrote guard:${name} with token ${token} in version ${version}, after ${later} was granted (K2)`]
  })
}

const told = ({ client, token, fromMs, toMs }: Holding): string =>
  `${client} token ${token} ${fromMs.toFixed(1)}..${toMs.toFixed(1)}`
