// Locks: the part of the replicated state machine that owns them. cluster.md §7. A token is the revision of its grant, so it grows
// over all locks; expiry is decided by the log clock alone.

import { assert } from '../../../runtime/base/assert.ts'
import { type Packed, pack, unpack } from '../../../runtime/base/msgpack.ts'
import type { Expiries } from '../../state/core/expiries.ts'
import { Fields } from '../../state/core/fields.ts'
import { IndexBy } from '../../state/core/index-by.ts'
import { compareText } from '../../state/core/order.ts'
import type { ApplyContext, Outcome, ReleaseReason, RequestId } from '../../state/core/outcomes.ts'
import { Table, type TableView } from '../../state/core/table.ts'

const LOCKS_MAX = 1_000_000
/** Of one lock. */
const WAITERS_MAX = 1024

interface Waiter {
  readonly pid: string
  readonly request: RequestId
  /** Log clock, milliseconds. */
  readonly deadlineMs: number
  /** Of the grant to come; 0: none. */
  readonly ttlMs: number
}

interface Lock {
  readonly pid: string
  readonly session: number
  readonly token: number
  /** Of the holder's session: what it asked with. */
  readonly seq: number
  /** Log clock, milliseconds: of the grant. */
  readonly sinceMs: number
  /** Log clock, milliseconds; 0: never. */
  readonly expiryMs: number
  /** By request, in the order of the log: a Map keeps the order in which they came. */
  readonly queue: ReadonlyMap<string, Waiter>
}

interface Held extends Lock {
  readonly queue: Map<string, Waiter>
}

interface Asked {
  readonly name: string
  readonly pid: string
  readonly waitMs: number
  readonly ttlMs: number
  readonly request: RequestId
}

export class Locks {
  readonly #expiries: Expiries
  /** Invariant: only held locks are here, since a free lock has no waiters. */
  readonly #locks = new Table<Held>((held) => ({ ...held, queue: new Map(held.queue) }))
  /** From a waiting request to its lock. */
  readonly #waiting = new Map<string, string>()
  /** From the request that a holder asked with to its lock. */
  readonly #granted = new Map<string, string>()
  readonly #locksOfPid = new IndexBy<string>()
  readonly #locksOfSession = new IndexBy<number>()
  readonly #waitsOfPid = new IndexBy<string>()
  readonly #waitsOfSession = new IndexBy<number>()

  constructor(expiries: Expiries) {
    this.#expiries = expiries
  }

  get count(): number {
    return this.#locks.size
  }

  get waiterCount(): number {
    return this.#waiting.size
  }

  holder(name: string): Lock | undefined {
    return this.#locks.get(name)
  }

  /** Sorted. */
  names(): string[] {
    return this.#locks.keys()
  }

  acquire(ctx: ApplyContext, asked: Asked): Outcome {
    const { name, pid, waitMs, ttlMs, request } = asked
    // A process asks through its own node: otherwise the end of that node would not find the waiter.
    if (ctx.sessionOfPid(pid) !== request.session) return { status: 'stale-epoch', epoch: ctx.epochOfPidsNode(pid) }
    const held = this.#locks.get(name)
    if (held === undefined) {
      if (this.#locks.size >= LOCKS_MAX) return { status: 'overloaded', what: 'locks of the cluster' }
      const token = this.#grant(ctx, name, { pid, request, ttlMs, queue: new Map() })
      return { status: 'granted', token }
    }
    // Not reentrant, and who waits for itself waits for nothing.
    if (waitMs === 0 || held.pid === pid) {
      return { status: 'held', pid: held.pid, token: held.token, sinceMs: held.sinceMs }
    }
    if (held.queue.size >= WAITERS_MAX) return { status: 'overloaded', what: 'waiters of this lock' }
    this.#enqueue(name, this.#locks.own(name) as Held, { pid, request, deadlineMs: ctx.clockMs + waitMs, ttlMs })
    return { status: 'pending', revision: ctx.nextRevision() }
  }

  release(ctx: ApplyContext, options: { name: string; pid: string; token: number | undefined }): Outcome {
    const { name, pid, token } = options
    const held = this.#locks.get(name)
    if (held?.pid !== pid || (token !== undefined && held.token !== token)) return { status: 'ok', changed: false }
    this.#free(ctx, name, 'released')
    return { status: 'ok', changed: true }
  }

  renew(ctx: ApplyContext, options: { name: string; pid: string; token: number; ttlMs: number }): Outcome {
    const { name, pid, token, ttlMs } = options
    if (this.#locks.get(name)?.pid !== pid || this.#locks.get(name)?.token !== token) {
      return { status: 'ok', changed: false }
    }
    const held = this.#locks.own(name) as Held
    ctx.nextRevision()
    this.#put(name, { ...held, expiryMs: ttlMs === 0 ? 0 : ctx.clockMs + ttlMs })
    return { status: 'ok', changed: true }
  }

  /** Ends a wait, or the hold that came of it. @returns false: there is neither */
  cancel(ctx: ApplyContext, request: RequestId): boolean {
    const key = keyOf(request)
    if (this.#waiting.has(key)) {
      this.#dequeue(key)
      ctx.nextRevision()
      ctx.answer(request, { status: 'aborted' })
      return true
    }
    const name = this.#granted.get(key)
    if (name === undefined) return false
    this.#free(ctx, name, 'released')
    return true
  }

  expireLock(ctx: ApplyContext, name: string): void {
    this.#free(ctx, name, 'expired')
  }

  expireWaiter(ctx: ApplyContext, key: string): void {
    const { request } = this.#dequeue(key)
    ctx.nextRevision()
    ctx.answer(request, { status: 'timeout' })
  }

  /** Waiters first, so that nothing is granted to what is gone. */
  processDown(ctx: ApplyContext, pid: string): boolean {
    const waits = this.#waitsOfPid.of(pid).sort(compareText)
    const names = this.#locksOfPid.of(pid).sort(compareText)
    for (const key of waits) {
      const { request } = this.#dequeue(key)
      ctx.nextRevision()
      ctx.answer(request, { status: 'aborted' })
    }
    for (const name of names) this.#free(ctx, name, 'process-down')
    return waits.length + names.length > 0
  }

  /** Waiters first, as above. */
  *sessionEnded(ctx: ApplyContext, session: number): Generator<undefined, void> {
    // Nobody hears the answers of these: their session is gone.
    for (const key of this.#waitsOfSession.of(session).sort(compareText)) {
      this.#dequeue(key)
      ctx.nextRevision()
      yield
    }
    for (const name of this.#locksOfSession.of(session).sort(compareText)) {
      this.#free(ctx, name, 'node-down')
      yield
    }
  }

  view(): TableView<Lock> {
    return this.#locks.view()
  }

  /** One record of a snapshot. @throws UnpackError */
  load(record: Uint8Array): void {
    const f = new Fields(unpack(record))
    const name = f.text('name')
    const held: Held = {
      pid: f.text('pid'),
      session: f.count('session'),
      seq: f.count('seq'),
      token: f.count('token'),
      sinceMs: f.count('since'),
      expiryMs: f.count('expiry'),
      queue: new Map(),
    }
    this.#put(name, held)
    for (const item of f.list('waiters')) {
      const w = new Fields(item)
      const request = { session: w.count('session'), seq: w.count('seq') }
      this.#enqueue(name, held, {
        pid: w.text('pid'),
        request,
        deadlineMs: w.count('deadline'),
        ttlMs: w.count('ttl'),
      })
    }
  }

  #grant(
    ctx: ApplyContext,
    name: string,
    to: { pid: string; request: RequestId; ttlMs: number; queue: Map<string, Waiter> },
  ): number {
    const { pid, request, ttlMs, queue } = to
    const { session, seq } = request
    const token = ctx.nextRevision()
    const expiryMs = ttlMs === 0 ? 0 : ctx.clockMs + ttlMs
    this.#put(name, { pid, session, seq, token, sinceMs: ctx.clockMs, expiryMs, queue })
    ctx.emit({ kind: 'lock-granted', name, pid, token })
    return token
  }

  #free(ctx: ApplyContext, name: string, reason: ReleaseReason): void {
    const held = this.#locks.own(name)
    assert(held !== undefined, 'only a held lock is freed')
    this.#locks.delete(name)
    this.#expiries.delete('lock', name)
    this.#locksOfPid.delete(held.pid, name)
    this.#locksOfSession.delete(held.session, name)
    this.#granted.delete(keyOf(held))
    ctx.nextRevision()
    ctx.emit({ kind: 'lock-released', name, pid: held.pid, token: held.token, reason })
    const next = held.queue.entries().next()
    if (next.done === true) return
    const [key, { pid, request, ttlMs }] = next.value
    held.queue.delete(key)
    this.#forgetWait(key, pid, request)
    const token = this.#grant(ctx, name, { pid, request, ttlMs, queue: held.queue })
    ctx.answer(request, { status: 'granted', token })
  }

  #put(name: string, held: Held): void {
    this.#locks.set(name, held)
    this.#locksOfPid.add(held.pid, name)
    this.#locksOfSession.add(held.session, name)
    this.#granted.set(keyOf(held), name)
    if (held.expiryMs === 0) this.#expiries.delete('lock', name)
    else this.#expiries.set('lock', name, held.expiryMs)
  }

  #enqueue(name: string, held: Held, waiter: Waiter): void {
    const key = keyOf(waiter.request)
    held.queue.set(key, waiter)
    this.#waiting.set(key, name)
    this.#waitsOfPid.add(waiter.pid, key)
    this.#waitsOfSession.add(waiter.request.session, key)
    this.#expiries.set('waiter', key, waiter.deadlineMs)
  }

  #dequeue(key: string): Waiter {
    const held = this.#locks.own(this.#waiting.get(key) ?? '')
    const waiter = held?.queue.get(key)
    assert(held !== undefined && waiter !== undefined, 'a waiting request stands in the queue of a held lock')
    held.queue.delete(key)
    this.#forgetWait(key, waiter.pid, waiter.request)
    return waiter
  }

  #forgetWait(key: string, pid: string, request: RequestId): void {
    this.#waiting.delete(key)
    this.#waitsOfPid.delete(pid, key)
    this.#waitsOfSession.delete(request.session, key)
    this.#expiries.delete('waiter', key)
  }
}

export function lockRecord(name: string, lock: Lock): Uint8Array {
  const { pid, session, seq, token, sinceMs, expiryMs, queue } = lock
  const waiters: Packed[] = []
  for (const { pid, request, deadlineMs, ttlMs } of queue.values()) {
    waiters.push({ pid, session: request.session, seq: request.seq, deadline: deadlineMs, ttl: ttlMs })
  }
  return pack({ name, pid, session, seq, token, since: sinceMs, expiry: expiryMs, waiters })
}

function keyOf({ session, seq }: RequestId): string {
  return `${session}.${seq}`
}
