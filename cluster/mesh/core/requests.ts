// Requests and their answers on class system: every request ends exactly once, with an answer, at its deadline, by being cancelled
// or with the session. cluster.md §4.7.

import { unreachable } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { Heap } from '../../../runtime/base/heap.ts'

/** What crosses the wire; a body is one msgpack value, whose bytes are nobody's business here. */
export type RequestMessage =
  | {
      readonly kind: 'request'
      readonly id: number
      readonly method: string
      readonly remainingMs: number
      readonly body: Uint8Array
    }
  | { readonly kind: 'ok'; readonly id: number; readonly body: Uint8Array }
  | { readonly kind: 'error'; readonly id: number; readonly error: RequestError }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'one-way'; readonly method: string; readonly body: Uint8Array }

export interface RequestError {
  readonly kind: string
  readonly message: string
  /** Facts for programs, as msgpack would carry them. */
  readonly details: unknown
}

export type RequestOutcome =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly error: RequestError }

/** One request of another node that is being answered here. */
export interface Served {
  readonly peer: string
  readonly epoch: number
  readonly id: number
  /** Tells apart sessions with one peer, in which numbers begin anew. */
  readonly session: number
}

export type RequestInput =
  | { kind: 'received'; peer: string; epoch: number; message: RequestMessage }
  /** The handler is done. */
  | { kind: 'answer'; to: Served; outcome: RequestOutcome }
  | { kind: 'cancel'; peer: string; id: number }
  /** The link session ended: nothing of it will be answered. */
  | { kind: 'session-over'; peer: string; reason: string }
  | { kind: 'wake' }

export type RequestEffect =
  | { kind: 'send'; peer: string; message: RequestMessage; isReply: boolean }
  /** The caller's request is over. */
  | { kind: 'done'; peer: string; id: number; outcome: RequestOutcome }
  /** Run the handler; `deadlineMs` is on the clock of `Env.nowMs`. */
  | { kind: 'serve'; served: Served; method: string; deadlineMs: number; body: Uint8Array }
  /** Nobody waits for the answer any more. */
  | { kind: 'abort'; served: Served; reason: 'cancelled' | 'deadline' | 'session' }
  | { kind: 'notify'; peer: string; epoch: number; method: string; body: Uint8Array }

export const DEADLINE_MS_DEFAULT = 10_000
const DEADLINE_MS_MAX = 3_600_000
/** Of one peer. */
export const SERVED_MAX = 1024
const PENDING_MAX = 65_536

interface Pending {
  readonly method: string
  readonly deadlineMs: number
}

interface Peer {
  readonly session: number
  nextId: number
  readonly pending: Map<number, Pending>
  /** Deadline of what is being answered. */
  readonly served: Map<number, number>
}

export interface RequestCounters {
  requests: number
  timeouts: number
  served: number
  overloaded: number
  lateReplies: number
}

export class Requests {
  readonly #env: Env
  readonly #peers = new Map<string, Peer>()
  #sessions = 0
  readonly #deadlines = new Heap<{ peer: Peer; name: string; id: number; isServed: boolean; epoch: number }>()
  readonly counters: RequestCounters = { requests: 0, timeouts: 0, served: 0, overloaded: 0, lateReplies: 0 }

  constructor(env: Env) {
    this.#env = env
  }

  get nextDueMs(): number {
    return this.#deadlines.nextKey ?? Number.POSITIVE_INFINITY
  }

  pendingCount(peer: string): number {
    return this.#peers.get(peer)?.pending.size ?? 0
  }

  /** Numbers a request; it is to be sent, and `forget` takes it back when that fails. Undefined: too many wait already. */
  begin(peer: string, method: string, deadlineMs: number): { id: number; deadlineMs: number } | undefined {
    const entry = this.#peer(peer)
    if (entry.pending.size >= PENDING_MAX) return undefined
    const id = entry.nextId++
    const atMs = this.#env.nowMs() + Math.min(Math.max(0, deadlineMs), DEADLINE_MS_MAX)
    entry.pending.set(id, { method, deadlineMs: atMs })
    this.#deadlines.push(atMs, { peer: entry, name: peer, id, isServed: false, epoch: 0 })
    this.counters.requests++
    this.#prune()
    return { id, deadlineMs: atMs }
  }

  forget(peer: string, id: number): void {
    const entry = this.#peers.get(peer)
    entry?.pending.delete(id)
    // Nobody of that name may ever be reached, and then no session of it ends.
    if (entry?.nextId === 2 && entry.pending.size === 0 && entry.served.size === 0) this.#peers.delete(peer)
  }

  /** Peers of which something is kept. */
  get peerCount(): number {
    return this.#peers.size
  }

  step(input: RequestInput): RequestEffect[] {
    switch (input.kind) {
      case 'received':
        return this.#received(input.peer, input.epoch, input.message)
      case 'answer': {
        const { to, outcome } = input
        // Cancelled, past its deadline or of a session that is over: nobody waits.
        const peer = this.#peers.get(to.peer)
        if (peer?.session !== to.session || !peer.served.delete(to.id)) return []
        const message: RequestMessage = outcome.ok
          ? { kind: 'ok', id: to.id, body: outcome.body }
          : { kind: 'error', id: to.id, error: outcome.error }
        return [{ kind: 'send', peer: to.peer, message, isReply: true }]
      }
      case 'cancel': {
        const { peer, id } = input
        if (this.#peers.get(peer)?.pending.delete(id) !== true) return []
        return [
          { kind: 'send', peer, message: { kind: 'cancel', id }, isReply: true },
          { kind: 'done', peer, id, outcome: failure('Canceled', 'request cancelled') },
        ]
      }
      case 'session-over':
        return this.#sessionOver(input.peer, input.reason)
      case 'wake':
        return this.#wake()
      default:
        return unreachable(input)
    }
  }

  #received(name: string, epoch: number, message: RequestMessage): RequestEffect[] {
    const peer = this.#peer(name)
    switch (message.kind) {
      case 'request': {
        const { id, method, body } = message
        const served: Served = { peer: name, epoch, id, session: peer.session }
        // A number twice is a peer that breaks the protocol; the first handler's answer will be the only one.
        if (peer.served.has(id)) return []
        if (peer.served.size >= SERVED_MAX) {
          this.counters.overloaded++
          const { error } = failure('Unavailable', `overloaded: ${SERVED_MAX} requests are being answered`, {
            reason: 'overloaded',
          })
          return [{ kind: 'send', peer: name, message: { kind: 'error', id, error }, isReply: true }]
        }
        if (message.remainingMs <= 0) return []
        const deadlineMs = this.#env.nowMs() + Math.min(message.remainingMs, DEADLINE_MS_MAX)
        peer.served.set(id, deadlineMs)
        this.#deadlines.push(deadlineMs, { peer, name, id, isServed: true, epoch })
        this.counters.served++
        this.#prune()
        return [{ kind: 'serve', served, method, deadlineMs, body }]
      }
      case 'ok':
        return this.#done(peer, name, message.id, { ok: true, body: message.body })
      case 'error':
        return this.#done(peer, name, message.id, { ok: false, error: message.error })
      case 'cancel':
        if (!peer.served.delete(message.id)) return []
        return [
          { kind: 'abort', served: { peer: name, epoch, id: message.id, session: peer.session }, reason: 'cancelled' },
        ]
      case 'one-way':
        return [{ kind: 'notify', peer: name, epoch, method: message.method, body: message.body }]
      default:
        return unreachable(message)
    }
  }

  #done(peer: Peer, name: string, id: number, outcome: RequestOutcome): RequestEffect[] {
    if (!peer.pending.delete(id)) {
      this.counters.lateReplies++
      return []
    }
    return [{ kind: 'done', peer: name, id, outcome }]
  }

  #sessionOver(name: string, reason: string): RequestEffect[] {
    const peer = this.#peers.get(name)
    if (peer === undefined) return []
    this.#peers.delete(name)
    const out: RequestEffect[] = []
    const outcome = failure('Unavailable', `node down: ${name} (${reason})`, { reason: 'node_down', node: name })
    for (const id of peer.pending.keys()) out.push({ kind: 'done', peer: name, id, outcome })
    for (const id of peer.served.keys()) {
      out.push({ kind: 'abort', served: { peer: name, epoch: 0, id, session: peer.session }, reason: 'session' })
    }
    peer.pending.clear()
    peer.served.clear()
    return out
  }

  #wake(): RequestEffect[] {
    const nowMs = this.#env.nowMs()
    const out: RequestEffect[] = []
    while ((this.#deadlines.nextKey ?? Number.POSITIVE_INFINITY) <= nowMs) {
      const due = this.#deadlines.pop()
      if (due === undefined) break
      const { peer, name, id, isServed, epoch } = due
      if (isServed) {
        if (peer.served.delete(id)) {
          out.push({ kind: 'abort', served: { peer: name, epoch, id, session: peer.session }, reason: 'deadline' })
        }
        continue
      }
      const pending = peer.pending.get(id)
      if (pending === undefined) continue
      peer.pending.delete(id)
      this.counters.timeouts++
      const outcome = failure('Timeout', `${name} did not answer ${pending.method} in time`, { node: name })
      // The other side stops working on what nobody waits for.
      out.push({ kind: 'send', peer: name, message: { kind: 'cancel', id }, isReply: true })
      out.push({ kind: 'done', peer: name, id, outcome })
    }
    return out
  }

  /** Most requests end long before their deadline: what the heap remembers of them is dropped before it is the larger part. */
  #prune(): void {
    if (this.#deadlines.count < 1024 || (this.#deadlines.count & 1023) !== 0) return
    let live = 0
    for (const { pending, served } of this.#peers.values()) live += pending.size + served.size
    if (this.#deadlines.count < 2 * live) return
    this.#deadlines.prune(({ peer, id, isServed }) => (isServed ? peer.served.has(id) : peer.pending.has(id)))
  }

  #peer(name: string): Peer {
    let peer = this.#peers.get(name)
    if (peer === undefined) {
      peer = { session: ++this.#sessions, nextId: 1, pending: new Map(), served: new Map() }
      this.#peers.set(name, peer)
    }
    return peer
  }
}

function failure(kind: string, message: string, details: unknown = null): { ok: false; error: RequestError } {
  return { ok: false, error: { kind, message, details } }
}
