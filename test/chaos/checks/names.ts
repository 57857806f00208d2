// Names: consistent and strong ones have one owner at a time, in an order that explains every answer; while a strong one is active no
// trusted node resolves it to anything else; of those who claim an eventual one, one survives and the others are told. cluster.md §6, N1, N3, N8.

import { checkLinearizable, type Model, type Operation as Timed } from '../../sim/checkers/linearizable.ts'
import { calledMs, earliest, groupBy, type History, isUnknown, latest, type Operation, returnedMs } from '../history.ts'

type Call =
  | { readonly kind: 'register'; readonly pid: string }
  | { readonly kind: 'release'; readonly pid: string }
  | { readonly kind: 'lookup' }

/** `free`: nobody had it, or not this one. */
type Result = { readonly kind: 'done' } | { readonly kind: 'free' } | { readonly kind: 'taken'; readonly pid: string }

/** Who owns it; empty: nobody. */
const ownership: Model<string, Call, Result> = {
  initial: '',
  key: (owner) => owner,
  isRead: (call, result) => call.kind === 'lookup' || result.kind !== 'done',
  step: (owner, call, result) => {
    switch (call.kind) {
      case 'lookup':
        if (result?.kind === 'free') return owner === '' ? owner : undefined
        return result === undefined || (result.kind === 'taken' && result.pid === owner) ? owner : undefined
      case 'register':
        if (result === undefined) return owner === '' ? call.pid : owner
        if (result.kind === 'taken') return owner === result.pid ? owner : undefined
        return owner === '' || owner === call.pid ? call.pid : undefined
      case 'release':
        if (result === undefined) return owner === call.pid ? '' : owner
        if (result.kind === 'done') return owner === call.pid ? '' : undefined
        return owner === call.pid ? undefined : owner
    }
  },
}

type Event = Timed<Call, Result>

export function checkNames(history: History): string[] {
  const problems: string[] = []
  const all = history.of('register', 'unregister', 'lookup')
  for (const [name, operations] of groupBy(all, ({ order }) => String(order['name']))) {
    if (name.startsWith('e:')) continue
    const events = eventsOf(history, name, operations)
    const verdict = checkLinearizable(events, ownership, { statesMax: 300_000 })
    if (!verdict.ok) {
      if (verdict.isUndecided === true)
        history.notes.push(`${name}: too many orders to try (${events.length} operations)`)
      else
        problems.push(
          `no order explains ${name} (N1):\n${told(verdict.order.slice(-12))}\nand then none of\n${told(verdict.stuck)}`,
        )
    }
    if (name.startsWith('s:')) problems.push(...checkVisibility(history, name, operations))
  }
  return problems
}

function eventsOf(history: History, name: string, operations: readonly Operation[]): Event[] {
  const events: Event[] = []
  const owners = new Map<string, Operation>()
  for (const operation of operations) {
    const { client, order, reply } = operation
    const base = { client, calledMs: calledMs(operation) }
    const atMs = returnedMs(operation)
    const pid = reply?.pid ?? pidOf(history, operation)
    if (order.op === 'lookup') {
      if (order['linearizable'] !== true || reply === undefined || reply.err !== undefined) continue
      const result: Result =
        reply['absent'] === true ? { kind: 'free' } : { kind: 'taken', pid: String(reply['found']) }
      events.push({ ...base, call: { kind: 'lookup' }, returned: { atMs, result } })
      continue
    }
    if (pid === undefined) continue
    if (order.op === 'unregister') {
      const call = { kind: 'release', pid } as const
      if (isUnknown(operation) || reply?.err !== undefined) events.push({ ...base, call })
      else
        events.push({ ...base, call, returned: { atMs, result: { kind: reply?.['done'] === true ? 'done' : 'free' } } })
      continue
    }
    const err = reply?.err
    if (err?.kind === 'AlreadyExists') {
      // Of a strong name it may be somebody who is only on the way to have it, or a node that refuses.
      if (order['scope'] !== 'CONSISTENT' || err.existing === undefined) continue
      events.push({
        ...base,
        call: { kind: 'register', pid },
        returned: { atMs, result: { kind: 'taken', pid: err.existing } },
      })
      continue
    }
    if (!owners.has(pid)) owners.set(pid, operation)
    if (err === undefined && reply !== undefined) {
      events.push({ ...base, call: { kind: 'register', pid }, returned: { atMs, result: { kind: 'done' } } })
    } else {
      // It may have happened, and been undone.
      events.push({ ...base, call: { kind: 'register', pid } })
      events.push({ ...base, call: { kind: 'release', pid } })
    }
  }
  for (const [pid, first] of owners) events.push(...releasesOf(history, name, pid, first))
  return events
}

/** The process of a client that never answered: as other answers of it told. */
function pidOf(history: History, { client, run }: Operation): string | undefined {
  for (const { client: other, run: then, reply } of history.operations) {
    if (other === client && then === run && reply?.pid !== undefined) return reply.pid
  }
  return undefined
}

/** What may have ended the ownership of a process besides its own wish: its end, that of its node, or a revocation. */
function releasesOf(history: History, name: string, pid: string, first: Operation): Event[] {
  const call = { kind: 'release', pid } as const
  const base = { client: first.client, call }
  const releases: Event[] = []
  for (const { ev, run, at, atMs, ...told } of history.remarks) {
    if (ev !== 'cancel' || told.pid !== pid || told['reason'] !== `name revoked: ${name}`) continue
    const toldMs = Math.min(atMs, latest(run, Number(at)))
    // Whoever had it: the answer cannot be told, since it may have been released otherwise before.
    releases.push({ ...base, calledMs: Math.min(calledMs(first), toldMs) })
  }
  for (const operation of history.of('die')) {
    if (operation.reply?.pid === pid || (operation.reply === undefined && operation.client === first.client)) {
      releases.push({ ...base, calledMs: calledMs(operation) })
    }
  }
  const endedMs = first.run?.endedMs
  // The session of a node that suffered may have ended before the node did.
  if (endedMs !== undefined) {
    const isSure = !history.wasInDoubt(first.node, calledMs(first), endedMs - 1)
    releases.push({ ...base, calledMs: isSure ? endedMs : calledMs(first) })
  }
  return releases
}

/** Strong: from the answer of the registration to the first moment at which it may have ended. */
function checkVisibility(history: History, name: string, operations: readonly Operation[]): string[] {
  const problems: string[] = []
  const lookups = operations.filter(
    ({ order, reply }) => order.op === 'lookup' && order['linearizable'] !== true && reply?.['sure'] === true,
  )
  for (const registration of operations) {
    const { order, reply, client, run } = registration
    if (order.op !== 'register' || reply === undefined || reply.err !== undefined || run === undefined) continue
    const fromMs = returnedMs(registration)
    const ends = history.operations
      .filter((each) => each.client === client && calledMs(each) >= fromMs)
      .filter((each) => each.order.op === 'die' || (each.order.op === 'unregister' && each.order['name'] === name))
      .map(calledMs)
    for (const { ev, pid, run: at, at: seconds } of history.remarks) {
      // Told at this moment, and so lost at some moment before.
      if (ev === 'cancel' && pid === reply.pid && earliest(at, Number(seconds)) > fromMs) ends.push(fromMs)
    }
    for (const { nodes, fromMs: since, toMs } of history.windows) {
      if (nodes.includes(registration.node) && toMs > fromMs - 1000) ends.push(since)
    }
    const toMs = Math.min(run.endedMs ?? Number.POSITIVE_INFINITY, ...ends)
    for (const lookup of lookups) {
      if (calledMs(lookup) < fromMs || returnedMs(lookup) > toMs) continue
      const found = lookup.reply?.['absent'] === true ? 'nobody' : String(lookup.reply?.['found'])
      if (found === reply.pid) continue
      const when = `${calledMs(lookup).toFixed(1)}..${returnedMs(lookup).toFixed(1)}`
      const what = `${lookup.client} finds ${found} under ${name} at ${when}, active for ${reply.pid} since ${fromMs.toFixed(1)}`
      if (found === 'nobody') history.notes.push(`strong name unknown for a moment: ${what}`)
      else problems.push(`${what} (N3)`)
    }
  }
  return problems
}

/** Who still counts on an eventual name at the end: those who were told that they have it and were not told that they lost it. */
export function claimsOf(history: History, name: string, isAlive: (pid: string) => boolean): string[] {
  const claims = new Set<string>()
  const told: { atMs: number; pid: string; claims: boolean }[] = []
  for (const operation of history.of('register', 'unregister')) {
    const { order, reply } = operation
    if (order['name'] !== name || reply === undefined || reply.err !== undefined) continue
    if (order.op === 'register') told.push({ atMs: returnedMs(operation), pid: reply.pid, claims: true })
    else if (reply['done'] === true) told.push({ atMs: returnedMs(operation), pid: reply.pid, claims: false })
  }
  for (const { ev, pid, run, at, ...rest } of history.remarks) {
    if (ev === 'cancel' && rest['reason'] === `name revoked: ${name}`)
      told.push({ atMs: earliest(run, Number(at)), pid, claims: false })
  }
  for (const { pid, claims: does } of told.toSorted((a, b) => a.atMs - b.atMs)) {
    if (does) claims.add(pid)
    else claims.delete(pid)
  }
  return [...claims].filter(isAlive).sort()
}

/** What a process was told of its revocation may be heard a little after an answer that shows it. */
const HEARD_MS = 3000

/**
 * Who was told that it has an eventual name, did not give it up and then hears that it has none to give up was told of the revocation, once it
 * lived on for a while. What a lookup finds says less: who loses for less than two seconds keeps its name. cluster.md §6, N8.
 */
export function checkUntold(history: History): string[] {
  const problems: string[] = []
  const ofPid = groupBy(
    history.operations.filter(({ reply }) => reply?.pid !== undefined),
    ({ reply }) => String(reply?.pid),
  )
  for (const [pid, operations] of ofPid) {
    const names = new Set(operations.map(({ order }) => String(order['name'])).filter((name) => name.startsWith('e:')))
    for (const name of names) {
      const revokedMs = history.remarks.flatMap((each) =>
        each.ev === 'cancel' && each.pid === pid && each['reason'] === `name revoked: ${name}` ? [each.atMs] : [],
      )
      problems.push(...untoldOf({ pid, name, operations, revokedMs }))
    }
  }
  return problems
}

interface OwnStory {
  readonly pid: string
  readonly name: string
  /** All of the process, answered ones alone. */
  readonly operations: readonly Operation[]
  /** When it was heard that the process was told. */
  readonly revokedMs: readonly number[]
}

function untoldOf({ pid, name, operations, revokedMs }: OwnStory): string[] {
  const problems: string[] = []
  /** When it began to have the name, as far as it was told; undefined: it does not count on it. */
  let sinceMs: number | undefined
  for (const operation of operations.toSorted((a, b) => calledMs(a) - calledMs(b))) {
    const { order, reply } = operation
    if (order['name'] !== name || reply === undefined) continue
    const atMs = calledMs(operation)
    if (sinceMs !== undefined && revokedMs.some((each) => each >= (sinceMs as number) && each <= atMs))
      sinceMs = undefined
    if (sinceMs !== undefined && order.op === 'unregister' && reply.err === undefined && reply['done'] === false) {
      // Whatever it said before it answered again was heard before that.
      const later = operations.find((each) => calledMs(each) >= returnedMs(operation) + HEARD_MS)
      const heardMs = later?.atMs ?? Number.POSITIVE_INFINITY
      if (!revokedMs.some((each) => each >= (sinceMs as number) && each <= heardMs) && later !== undefined)
        problems.push(
          `${pid} has ${name} since ${sinceMs.toFixed(0)}, lost it by ${atMs.toFixed(0)} and was not told (N8)`,
        )
      sinceMs = undefined
    }
    if (order.op === 'register' && reply.err === undefined) sinceMs ??= atMs
    if (order.op === 'unregister') sinceMs = undefined
  }
  return problems
}

const told = (events: readonly Event[]): string =>
  events
    .map(({ client, call, calledMs, returned }) => {
      const at = `${calledMs.toFixed(1)}..${returned?.atMs.toFixed(1) ?? ''}`
      return `  ${at} ${client} ${JSON.stringify(call)} ${JSON.stringify(returned?.result ?? 'unknown')}`
    })
    .join('\n')
