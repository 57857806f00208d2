// The versioned store: an order of everything that happened to a key; counters that count every addition; money that is neither made nor
// lost. cluster.md §8.2, V1.

import { checkLinearizable, type Model, type Operation as Timed } from '../../sim/checkers/linearizable.ts'
import { calledMs, type History, isUnknown, type Operation, returnedMs } from '../history.ts'
import { ACCOUNT_START, ACCOUNTS, COUNTERS } from '../workload.ts'

interface Call {
  readonly kind: 'get' | 'put' | 'delete'
  readonly value?: string
  readonly ifVersion?: number
  readonly ifAbsent?: boolean
}

type Result =
  | { readonly kind: 'found'; readonly value: string; readonly version: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'written'; readonly version: number }
  | { readonly kind: 'deleted' }
  /** A condition did not hold; version of what is there, where it was told. */
  | { readonly kind: 'refused'; readonly version?: number }

interface Register {
  readonly value?: string
  /** Undefined: of a write whose answer was lost, until somebody is told it. */
  readonly version?: number
  /** Versions only rise. */
  readonly latest: number
}

export const register: Model<Register, Call, Result> = {
  initial: { latest: 0 },
  key: ({ value, version, latest }) => `${value ?? ''} ${version ?? ''} ${latest}`,
  isRead: (call, result) => call.kind === 'get' || result.kind === 'refused' || result.kind === 'absent',
  step: (state, call, result) => {
    if (result === undefined) return unanswered(state, call)
    switch (result.kind) {
      case 'found':
        return state.value === result.value ? seen(state, result.version) : undefined
      case 'absent':
        return state.value === undefined ? state : undefined
      case 'refused':
        return refused(state, call, result.version)
      case 'written':
        if (!holds(state, call) || result.version <= state.latest || call.value === undefined) return undefined
        return { value: call.value, version: result.version, latest: result.version }
      case 'deleted':
        return state.value !== undefined && holds(state, call) ? { latest: state.latest } : undefined
    }
  },
}

function unanswered(state: Register, call: Call): Register {
  // It may also have found that its condition did not hold.
  if (call.kind === 'get' || !holds(state, call)) return state
  return call.kind === 'delete' ? { latest: state.latest } : { value: call.value as string, latest: state.latest }
}

function refused(state: Register, call: Call, version: number | undefined): Register | undefined {
  if (call.ifAbsent === true) {
    if (state.value === undefined) return undefined
    return version === undefined ? state : seen(state, version)
  }
  if (call.ifVersion === undefined) return undefined
  if (state.value === undefined) return version === undefined ? state : undefined
  // A version that nobody was told is another one than that of the condition: that one had been told.
  if (version === undefined) return state.version === call.ifVersion ? undefined : state
  return version === call.ifVersion ? undefined : seen(state, version)
}

function holds(state: Register, { ifAbsent, ifVersion }: Call): boolean {
  if (ifAbsent === true) return state.value === undefined
  return ifVersion === undefined || (state.value !== undefined && state.version === ifVersion)
}

function seen(state: Register, version: number): Register | undefined {
  if (state.version !== undefined) return state.version === version ? state : undefined
  return version > state.latest ? { ...state, version, latest: version } : undefined
}

type KvHistory = Timed<Call, Result>[]

/** The registers' histories, by key. */
function registersOf(operations: readonly Operation[]): Map<string, KvHistory> {
  const byKey = new Map<string, KvHistory>()
  for (const operation of operations) {
    const { order } = operation
    const key = order['key']
    if (typeof key !== 'string' || !key.startsWith('r:') || !['get', 'put', 'delete'].includes(order.op)) continue
    const call = {
      kind: order.op as Call['kind'],
      ...(order['value'] === undefined ? {} : { value: String(order['value']) }),
      ...(order['if_version'] === undefined ? {} : { ifVersion: Number(order['if_version']) }),
      ...(order['absent'] === true ? { ifAbsent: true } : {}),
    }
    const result = resultOf(operation)
    // Reads without an answer say nothing, and neither does what certainly did not happen.
    if (result === 'failed' || (result === undefined && call.kind === 'get')) continue
    const history = byKey.get(key) ?? []
    byKey.set(key, history)
    const base = { client: operation.client, call, calledMs: calledMs(operation) }
    history.push(result === undefined ? base : { ...base, returned: { atMs: returnedMs(operation), result } })
  }
  return byKey
}

function resultOf(operation: Operation): Result | 'failed' | undefined {
  const { order, reply } = operation
  if (isUnknown(operation) || reply === undefined) return undefined
  const { err } = reply
  const version = Number(err?.version ?? reply['version'])
  if (err !== undefined) {
    if (err.kind === 'Unavailable' || err.kind === 'Invalid') return 'failed'
    if (err.kind === 'NotFound') return order['if_version'] === undefined ? 'failed' : { kind: 'refused' }
    return Number.isNaN(version) ? { kind: 'refused' } : { kind: 'refused', version }
  }
  switch (order.op) {
    case 'get':
      return reply['absent'] === true ? { kind: 'absent' } : { kind: 'found', value: String(reply['value']), version }
    case 'put':
      return { kind: 'written', version }
    default:
      if (reply['existed'] === true) return { kind: 'deleted' }
      // Nothing was there; with a condition that is all that is known.
      return { kind: 'absent' }
  }
}

const STATES_MAX = 400_000

export function checkRegisters(history: History): string[] {
  return [...registersOf(history.operations)].flatMap(([key, operations]) => {
    const verdict = checkLinearizable(operations, register, { statesMax: STATES_MAX })
    if (verdict.ok) return []
    if (verdict.isUndecided === true) {
      history.notes.push(`${key}: too many orders to try (${operations.length} operations)`)
      return []
    }
    return [
      `no order explains ${key} (V1):\n${told(verdict.order.slice(-12))}\nand then none of\n${told(verdict.stuck)}`,
    ]
  })
}

const told = (operations: readonly Timed<Call, Result>[]): string =>
  operations
    .map(({ client, call, calledMs, returned }) => {
      const at = `${calledMs.toFixed(1)}..${returned?.atMs.toFixed(1) ?? ''}`
      return `  ${at} ${client} ${JSON.stringify(call)} ${JSON.stringify(returned?.result ?? 'unknown')}`
    })
    .join('\n')

/** @param final what the counters say at the end, by key */
export function checkCounters(history: History, final: ReadonlyMap<string, number>): string[] {
  const problems: string[] = []
  for (let i = 0; i < COUNTERS; i++) {
    const key = `count:${i}`
    const additions = history.of('add').filter(({ order }) => order['key'] === key)
    const made = additions.filter(({ reply }) => reply !== undefined && reply.err === undefined)
    // A client that stopped without an answer may have made one addition; one that was told that it cannot know, too.
    const unknown = additions.filter(isUnknown).length
    const numbers = new Map<number, string>()
    for (const { client, reply } of made) {
      const n = Number(reply?.['n'])
      const other = numbers.get(n)
      if (other !== undefined) problems.push(`${key}: ${client} and ${other} both made it ${n}`)
      numbers.set(n, client)
    }
    const value = final.get(key) ?? 0
    if (value < made.length || value > made.length + unknown) {
      problems.push(`${key} is ${value} after ${made.length} acknowledged additions and ${unknown} of unknown outcome`)
    }
    // What was acknowledged before another one began is below it.
    const ordered = made.toSorted((a, b) => returnedMs(a) - returnedMs(b))
    let highest = 0
    let at = 0
    for (const each of made.toSorted((a, b) => calledMs(a) - calledMs(b))) {
      for (let next = ordered[at]; next !== undefined && returnedMs(next) < calledMs(each); next = ordered[++at]) {
        highest = Math.max(highest, Number(next.reply?.['n']))
      }
      const n = Number(each.reply?.['n'])
      if (n <= highest) problems.push(`${key}: ${each.client} made it ${n}, after it had been ${highest}`)
    }
  }
  return problems
}

export function checkBank(history: History): string[] {
  const problems: string[] = []
  const moves = history
    .of('move')
    .filter(({ reply }) => reply !== undefined && reply.err === undefined)
    .toSorted((a, b) => returnedMs(a) - returnedMs(b))
  const newest = new Map<string, number>()
  let at = 0
  for (const page of history.of('list').toSorted((a, b) => calledMs(a) - calledMs(b))) {
    const items = page.reply?.['items'] as { key: string; value: number; version: string }[] | undefined
    if (items === undefined) continue
    const sum = items.reduce((total, { value }) => total + value, 0)
    if (items.length !== ACCOUNTS || sum !== ACCOUNTS * ACCOUNT_START) {
      problems.push(`${page.client} at ${page.sentMs.toFixed(0)}: ${items.length} accounts hold ${sum} (V1)`)
    }
    for (let next = moves[at]; next !== undefined && returnedMs(next) < calledMs(page); next = moves[++at]) {
      for (const key of [String(next.order['from']), String(next.order['to'])]) {
        newest.set(key, Math.max(newest.get(key) ?? 0, Number(next.reply?.['version'])))
      }
    }
    for (const { key, version } of items) {
      const known = newest.get(key) ?? 0
      if (Number(version) >= known) continue
      problems.push(
        `${page.client} at ${page.sentMs.toFixed(0)}: ${key} in version ${version}, after ${known} was acknowledged (R13)`,
      )
    }
  }
  return problems
}
