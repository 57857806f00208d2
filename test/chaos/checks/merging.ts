// What converges when all heals: the merging store, groups, eventual names. cluster.md §6.5, §8.5, §9; C1, C2, P1, N8.

import { calledMs, groupBy, type History, returnedMs } from '../history.ts'

/** What a node says a prefix holds. */
export type Content = ReadonlyMap<string, unknown>

/** All nodes have the same, and none has what nobody wrote. @param contents by the name of the node */
export function checkMerged(history: History, contents: ReadonlyMap<string, Content>): string[] {
  const problems: string[] = []
  const written = new Map<string, Set<unknown>>()
  for (const { order } of history.of('merge_set')) {
    const key = String(order['key'])
    const values = written.get(key) ?? new Set()
    written.set(key, values.add(order['value']))
  }
  for (const [node, content] of contents) {
    for (const [key, value] of content) {
      if (written.get(key)?.has(value) !== true)
        problems.push(`${node} has ${key} = ${String(value)}, which nobody wrote`)
    }
  }
  return problems
}

/** Where the contents differ; empty when they are equal. */
export function differences(contents: ReadonlyMap<string, Content>): string[] {
  const [first, ...rest] = [...contents]
  if (first === undefined) return []
  const [name, expected] = first
  return rest.flatMap(([other, content]) =>
    [...new Set([...expected.keys(), ...content.keys()])].flatMap((key) =>
      expected.get(key) === content.get(key)
        ? []
        : [`${key}: ${name} ${String(expected.get(key))}, ${other} ${String(content.get(key))}`],
    ),
  )
}

/**
 * A key that one client alone writes holds what it wrote last, or what it asked for later without an answer; and what it reads right after a
 * write is that write.
 * @param isForgiven a write of this node at this moment may be lost: it was not synced when the power failed
 */
export function checkOwn(
  history: History,
  content: Content,
  isForgiven: (node: number, atMs: number) => boolean,
): string[] {
  const problems: string[] = []
  const all = history
    .of('merge_set', 'merge_delete', 'merge_get')
    .filter(({ order }) => String(order['key']).startsWith('own:'))
  for (const [key, operations] of groupBy(all, ({ order }) => String(order['key']))) {
    /** What it may hold; undefined is nothing. */
    let possible = new Set<unknown>([undefined])
    /** What it held before writes that a loss of power may undo, whatever was read of them. */
    let undone = new Set<unknown>()
    for (const { order, reply, client, node, sentMs } of operations.toSorted((a, b) => a.sentMs - b.sentMs)) {
      if (order.op === 'merge_get') {
        if (reply === undefined || reply.err !== undefined) continue
        const value = reply['value']
        if (!possible.has(value) && !undone.has(value)) {
          problems.push(
            `${client} reads ${key} = ${String(value)} at ${sentMs.toFixed(0)}, it can only be ${told(possible)} (C2)`,
          )
        }
        if (!isForgiven(node, sentMs)) undone = new Set()
        possible = new Set([value])
        continue
      }
      const after = order.op === 'merge_set' ? order['value'] : undefined
      const isKept = !isForgiven(node, sentMs)
      undone = isKept ? new Set() : new Set([...undone, ...possible])
      if (reply !== undefined && reply.err === undefined) possible = new Set([after])
      else possible.add(after)
    }
    const value = content.get(key)
    if (!possible.has(value) && !undone.has(value))
      problems.push(`${key} is ${String(value)} at the end, it can only be ${told(possible)} (C2, C3)`)
  }
  return problems
}

const told = (possible: ReadonlySet<unknown>): string => [...possible].map((each) => String(each)).join(' or ')

/** Nobody who is in a group once hears a broadcast twice. */
export function checkCasts(history: History): string[] {
  const heard = new Set<string>()
  return history.remarks.flatMap(({ ev, pid, c, ...rest }) => {
    if (ev !== 'cast') return []
    const id = `${pid} ${String(rest['value'])}`
    if (heard.has(id)) return [`${c} hears ${String(rest['value'])} twice (P1)`]
    heard.add(id)
    return []
  })
}

/** The slots that the processes have, by what they said last: of each process the groups that it is in. */
export function joinedOf(history: History): Map<string, Set<string>> {
  const joined = new Map<string, Set<string>>()
  for (const operation of history.of('join', 'leave', 'slots').toSorted((a, b) => calledMs(a) - calledMs(b))) {
    const slots = operation.reply?.['slots'] as Record<string, number> | undefined
    if (slots === undefined || operation.reply === undefined) continue
    joined.set(operation.reply.pid, new Set(Object.keys(slots).filter((group) => (slots[group] ?? 0) > 0)))
  }
  return joined
}

/** How long after the end of the one until the next one has it: of a kind of possession, for holders whose node was killed. */
export function takeovers(
  history: History,
  holdings: readonly { readonly node: number; readonly fromMs: number; readonly toMs: number }[],
): number[] {
  const sorted = holdings.toSorted((a, b) => a.fromMs - b.fromMs)
  return history.windows.flatMap(({ fault, nodes, fromMs }) => {
    if (fault.kind !== 'kill' && fault.kind !== 'power') return []
    const holder = sorted.findLast((each) => each.fromMs < fromMs)
    if (holder === undefined || !nodes.includes(holder.node) || fromMs - holder.toMs > 1500) return []
    const next = sorted.find((each) => each.fromMs > fromMs)
    return next === undefined ? [] : [next.fromMs - fromMs]
  })
}

/** The longest time in which no write was acknowledged anywhere. */
export function longestGap(history: History, fromMs: number, toMs: number): { ms: number; atMs: number } {
  const answered = history
    .of('put', 'add', 'move')
    .filter(({ reply }) => reply !== undefined && (reply.err === undefined || reply.err.kind === 'Conflict'))
    .map(returnedMs)
    .filter((at) => at >= fromMs && at <= toMs)
    .toSorted((a, b) => a - b)
  let longest = { ms: 0, atMs: fromMs }
  let last = fromMs
  for (const at of [...answered, toMs]) {
    if (at - last > longest.ms) longest = { ms: at - last, atMs: last }
    last = at
  }
  return longest
}
