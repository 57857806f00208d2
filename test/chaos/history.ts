// What was asked of the cluster and what it answered, and what was done to it. Times are of this program's monotonic clock.

import type { Answer, Order, Remark, Reply, Run } from './node.ts'
import type { Fault } from './plan.ts'

export interface Operation {
  readonly client: string
  readonly node: number
  readonly run: Run | undefined
  readonly order: Order
  readonly sentMs: number
  /** Absent: the node's run ended first. */
  readonly reply?: Reply
  readonly atMs?: number
}

/** A fault as it was. */
export interface Window {
  readonly fault: Fault
  readonly text: string
  /** Whom it struck. */
  readonly nodes: readonly number[]
  readonly fromMs: number
  toMs: number
}

interface Told extends Remark {
  readonly run: Run
  readonly node: number
  readonly atMs: number
}

/** What a driver says of an order for a client that it could not start. */
const STOPPING = /^host is (?:not running|shutting down)/

export class History {
  readonly operations: Operation[] = []
  readonly remarks: Told[] = []
  readonly windows: Window[] = []
  /** When a node said that its session is not to be trusted, or over. */
  readonly doubts: { readonly node: number; readonly atMs: number }[] = []
  /** What nodes logged as errors. */
  readonly errors: { readonly node: number; readonly atMs: number; readonly text: string }[] = []
  /** What must never happen, as soon as it is seen. */
  readonly violations: string[] = []
  /** What is worth knowing. */
  readonly notes: string[] = []

  add(client: string, node: number, order: Order, answer: Answer): Operation {
    const { run, sentMs } = answer
    const base = { client, node, run, order, sentMs }
    // A node that is stopping begins nothing any more.
    const isAnswered = answer.kind === 'reply' && !STOPPING.test(answer.reply.failed ?? '')
    const operation = isAnswered ? { ...base, reply: answer.reply, atMs: answer.atMs } : base
    this.operations.push(operation)
    if (isAnswered && answer.reply.failed !== undefined) {
      this.violations.push(`${client} failed at ${JSON.stringify(order)}: ${answer.reply.failed}`)
    }
    return operation
  }

  /** Whether something was wrong with the node in this time, as far as is known. */
  wasInDoubt(node: number, fromMs: number, toMs: number): boolean {
    return (
      this.doubts.some((each) => each.node === node && each.atMs >= fromMs && each.atMs <= toMs) ||
      this.windows.some((each) => each.nodes.includes(node) && each.fromMs <= toMs && each.toMs >= fromMs)
    )
  }

  of(...kinds: readonly string[]): Operation[] {
    return this.operations.filter(({ order }) => kinds.includes(order.op))
  }
}

/** The earliest moment at which it can have begun. */
export function calledMs({ sentMs, reply, run }: Operation): number {
  if (reply?.t0 === undefined || run === undefined) return sentMs
  return Math.max(sentMs, reply.t0 * 1000 + run.offsetLowMs)
}

/** The latest moment at which it can have ended. */
export function returnedMs({ atMs, reply, run }: Operation): number {
  const at = atMs ?? Number.POSITIVE_INFINITY
  if (reply?.t1 === undefined || run === undefined) return at
  return Math.min(at, reply.t1 * 1000 + run.offsetHighMs)
}

/** The latest moment here for a moment of the node's clock, in seconds. */
export const latest = (run: Run, seconds: number): number => seconds * 1000 + run.offsetHighMs

/** The earliest one. */
export const earliest = (run: Run, seconds: number): number => seconds * 1000 + run.offsetLowMs

/** It may have happened, or may happen yet, or not. */
export function isUnknown({ reply }: Operation): boolean {
  if (reply === undefined || reply.failed !== undefined) return true
  const { err } = reply
  if (err === undefined) return false
  return (
    err.ambiguous === true ||
    !['AlreadyExists', 'Conflict', 'NotFound', 'Invalid', 'Unavailable', 'Busy'].includes(err.kind)
  )
}

export function groupBy<T, K>(all: readonly T[], keyOf: (each: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const each of all) {
    const key = keyOf(each)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [each])
    else group.push(each)
  }
  return groups
}
