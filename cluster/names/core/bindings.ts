// Consistent and strong names: the part of the replicated state machine that owns them. cluster.md §6.2, §6.4. Everything here
// happens inside the application of an entry, the same on every node.

import { assert } from '../../../runtime/base/assert.ts'
import { toBytes, toText } from '../../../runtime/base/bytes.ts'
import { pack, unpack } from '../../../runtime/base/msgpack.ts'
import { SortedMap } from '../../kv/core/sorted-map.ts'
import type { Expiries } from '../../state/core/expiries.ts'
import { Fields } from '../../state/core/fields.ts'
import { IndexBy } from '../../state/core/index-by.ts'
import { compareText, sortedNumbers } from '../../state/core/order.ts'
import type { ApplyContext, GlobalScope, Outcome, RequestId } from '../../state/core/outcomes.ts'
import { Table, type TableView } from '../../state/core/table.ts'

const NAMES_MAX = 1_000_000
const PENDING_MAX = 1024
/** Requests that wait for one reservation; more of one PID are a mistake of its program. */
const CALLERS_MAX = 16
const MISSING_MAX = 16

interface Binding {
  readonly pid: string
  readonly scope: GlobalScope
  /** Of the PID's run, open. */
  readonly session: number
  readonly revision: number
  readonly sinceIndex: number
}

/** A strong name that is not active yet. */
export interface Reservation {
  readonly pid: string
  readonly session: number
  readonly revision: number
  /** Sessions that must acknowledge. */
  readonly required: ReadonlySet<number>
  /** Invariant: a subset of `required`. */
  readonly acked: ReadonlySet<number>
  /** Log clock, milliseconds. */
  readonly expiryMs: number
  readonly callers: readonly RequestId[]
}

interface Pending extends Reservation {
  readonly required: Set<number>
  readonly acked: Set<number>
  readonly callers: RequestId[]
}

export class Bindings {
  readonly #expiries: Expiries
  readonly #names = new Table<Binding>()
  readonly #pending = new Table<Pending>((pending) => ({
    ...pending,
    required: new Set(pending.required),
    acked: new Set(pending.acked),
    callers: [...pending.callers],
  }))
  /** Names that are strong, or reserved. */
  readonly #strong = new SortedMap<true>()
  readonly #byPid = new IndexBy<string>()
  readonly #bySession = new IndexBy<number>()

  constructor(expiries: Expiries) {
    this.#expiries = expiries
  }

  get count(): number {
    return this.#names.size
  }

  lookup(name: string): Binding | undefined {
    return this.#names.get(name)
  }

  reservation(name: string): Reservation | undefined {
    return this.#pending.get(name)
  }

  /** Sorted. */
  reservations(): string[] {
    return this.#pending.keys()
  }

  /** Sorted names that start with `prefix`; linear, for people and not for lookups. */
  names(prefix = ''): string[] {
    return this.#names.keys().filter((name) => name.startsWith(prefix))
  }

  /** Names that are strong or reserved, in byte order behind `after`. */
  strongNames(after: string, limit: number): string[] {
    const names: string[] = []
    for (const [name] of this.#strong.range({ after: toBytes(after) })) {
      if (names.length >= limit) break
      names.push(toText(name))
    }
    return names
  }

  namesOf(pid: string): string[] {
    return this.#byPid.of(pid).filter((name) => this.#names.get(name)?.pid === pid)
  }

  register(ctx: ApplyContext, name: string, pid: string): Outcome {
    const session = ctx.sessionOfPid(pid)
    if (session === undefined) return { status: 'stale-epoch', epoch: ctx.epochOfPidsNode(pid) }
    const refusal = this.#conflict(name, pid)
    if (refusal !== undefined) return refusal
    const bound = this.#names.get(name)
    // A strong name of the same PID promises more than a consistent one: it stays what it is.
    if (bound !== undefined) return { status: 'ok', changed: false, revision: bound.revision }
    if (this.#names.size >= NAMES_MAX) return { status: 'overloaded', what: 'names of the cluster' }
    return { status: 'ok', changed: true, revision: this.#bind(ctx, { name, pid, session, scope: 'consistent' }) }
  }

  unregister(ctx: ApplyContext, options: { name: string; pid: string | undefined; scope: GlobalScope }): Outcome {
    const { name, pid, scope } = options
    const bound = this.#names.get(name)
    if (bound === undefined || bound.scope !== scope || (pid !== undefined && bound.pid !== pid)) {
      return { status: 'ok', changed: false }
    }
    return { status: 'ok', changed: true, revision: this.#unbind(ctx, name) }
  }

  openStrong(ctx: ApplyContext, options: { name: string; pid: string; ttlMs: number; caller: RequestId }): Outcome {
    const { name, pid, ttlMs, caller } = options
    const session = ctx.sessionOfPid(pid)
    if (session === undefined) return { status: 'stale-epoch', epoch: ctx.epochOfPidsNode(pid) }
    const refusal = this.#conflict(name, pid)
    if (refusal !== undefined) return refusal
    const bound = this.#names.get(name)
    if (bound?.scope === 'strong') return { status: 'ok', changed: false, revision: bound.revision }
    const running = this.#pending.get(name)
    if (running !== undefined) {
      if (running.callers.length >= CALLERS_MAX) return { status: 'overloaded', what: 'callers of one reservation' }
      this.#pending.own(name)?.callers.push(caller)
      return { status: 'pending', revision: running.revision }
    }
    if (this.#pending.size >= PENDING_MAX) return { status: 'overloaded', what: 'reservations of the cluster' }
    if (this.#names.size >= NAMES_MAX) return { status: 'overloaded', what: 'names of the cluster' }
    const revision = ctx.nextRevision()
    const expiryMs = ctx.clockMs + ttlMs
    const required = new Set(ctx.openSessions())
    this.#reserve(name, { pid, session, revision, required, acked: new Set(), expiryMs, callers: [caller] })
    ctx.emit({ kind: 'strong-opened', name, pid, revision })
    return { status: 'pending', revision }
  }

  acknowledge(ctx: ApplyContext, options: { name: string; revision: number; sessions: readonly number[] }): Outcome {
    const pending = this.#pendingOf(options)
    if (pending === undefined) return { status: 'ok', changed: false }
    const news = options.sessions.filter((session) => pending.required.has(session) && !pending.acked.has(session))
    if (news.length === 0) return { status: 'ok', changed: false }
    const own = this.#pending.own(options.name) as Pending
    for (const session of news) own.acked.add(session)
    this.#settle(ctx, options.name, own)
    return { status: 'ok', changed: true }
  }

  reject(ctx: ApplyContext, options: { name: string; revision: number; session: number; holder: string }): Outcome {
    const pending = this.#pendingOf(options)
    // Only who must agree can refuse: a fenced session no longer speaks for its node.
    if (pending === undefined || !pending.required.has(options.session)) return { status: 'ok', changed: false }
    const by = ctx.nodeOf(options.session)
    this.#drop(ctx, options.name, pending, { status: 'rejected', by, holder: options.holder })
    return { status: 'ok', changed: true }
  }

  abort(ctx: ApplyContext, options: { name: string; revision: number }): Outcome {
    const pending = this.#pendingOf(options)
    if (pending === undefined) return { status: 'ok', changed: false }
    this.#drop(ctx, options.name, pending, { status: 'aborted' })
    return { status: 'ok', changed: true }
  }

  /** One caller no longer waits; the last one takes the reservation along. @returns false: it was not waiting */
  cancel(ctx: ApplyContext, { session, seq }: RequestId): boolean {
    const isMeant = (caller: RequestId): boolean => caller.session === session && caller.seq === seq
    // As many as there are reservations, at most a thousand.
    const name = this.#pending.keys().find((name) => this.#pending.get(name)?.callers.some(isMeant))
    const pending = name === undefined ? undefined : this.#pending.own(name)
    if (name === undefined || pending === undefined) return false
    if (pending.callers.length === 1) this.#drop(ctx, name, pending, { status: 'aborted' })
    else {
      pending.callers.splice(pending.callers.findIndex(isMeant), 1)
      ctx.nextRevision()
      ctx.answer({ session, seq }, { status: 'aborted' })
    }
    return true
  }

  /** The reservation's time is over. */
  expire(ctx: ApplyContext, name: string): void {
    const pending = this.#pending.get(name)
    assert(pending !== undefined, 'only a reservation expires')
    const late = sortedNumbers(pending.required).filter((session) => !pending.acked.has(session))
    const missing = late.map((session) => ctx.nodeOf(session)).sort(compareText)
    const missingCount = missing.length
    this.#drop(ctx, name, pending, { status: 'timeout', missing: missing.slice(0, MISSING_MAX), missingCount })
  }

  processDown(ctx: ApplyContext, pid: string): boolean {
    const names = this.#byPid.of(pid).sort(compareText)
    for (const name of names) this.#release(ctx, name, (owner) => owner.pid === pid)
    return names.length > 0
  }

  /** A new session must acknowledge everything that is not active yet. */
  sessionOpened(session: number): void {
    for (const name of this.#pending.keys()) this.#pending.own(name)?.required.add(session)
  }

  /** Names first, then reservations of the dead, then what waited for its acknowledgement. */
  *sessionEnded(ctx: ApplyContext, session: number): Generator<undefined, void> {
    for (const name of this.#bySession.of(session).sort(compareText)) {
      this.#release(ctx, name, (owner) => owner.session === session)
      yield
    }
    for (const name of this.reservations()) {
      yield
      const pending = this.#pending.own(name) as Pending
      removeCallers(pending.callers, session)
      // The PID lives elsewhere, but nobody is left who asked for it.
      if (pending.callers.length === 0) {
        this.#drop(ctx, name, pending, { status: 'aborted' })
        continue
      }
      pending.required.delete(session)
      pending.acked.delete(session)
      this.#settle(ctx, name, pending)
    }
  }

  namesView(): TableView<Binding> {
    return this.#names.view()
  }

  reservationsView(): TableView<Reservation> {
    return this.#pending.view()
  }

  /** One record of a snapshot. @throws UnpackError */
  loadName(record: Uint8Array): void {
    const f = new Fields(unpack(record))
    const scope = f.count('scope') === 1 ? 'strong' : 'consistent'
    const [session, revision, sinceIndex] = [f.count('session'), f.count('rev'), f.count('since')]
    this.#set(f.text('name'), { pid: f.text('pid'), scope, session, revision, sinceIndex })
  }

  /** One record of a snapshot. @throws UnpackError */
  loadReservation(record: Uint8Array): void {
    const f = new Fields(unpack(record))
    const callers: RequestId[] = []
    const flat = f.counts('callers')
    for (let i = 0; i + 1 < flat.length; i += 2) {
      callers.push({ session: flat[i] as number, seq: flat[i + 1] as number })
    }
    this.#reserve(f.text('name'), {
      pid: f.text('pid'),
      session: f.count('session'),
      revision: f.count('rev'),
      required: new Set(f.counts('required')),
      acked: new Set(f.counts('acked')),
      expiryMs: f.count('expiry'),
      callers,
    })
  }

  #conflict(name: string, pid: string): Outcome | undefined {
    const pending = this.#pending.get(name)
    if (pending !== undefined && pending.pid !== pid) return { status: 'conflict', pid: pending.pid, reserved: true }
    const bound = this.#names.get(name)
    return bound !== undefined && bound.pid !== pid
      ? { status: 'conflict', pid: bound.pid, reserved: false }
      : undefined
  }

  #pendingOf({ name, revision }: { name: string; revision: number }): Pending | undefined {
    const pending = this.#pending.get(name)
    return pending?.revision === revision ? pending : undefined
  }

  #settle(ctx: ApplyContext, name: string, pending: Pending): void {
    if (pending.acked.size < pending.required.size) return
    const { pid, session, callers } = pending
    this.#forgetReservation(name, pending)
    const bound = this.#names.get(name)
    assert(bound === undefined || bound.pid === pid, 'nobody else got a reserved name')
    const revision = this.#bind(ctx, { name, pid, session, scope: 'strong' })
    ctx.emit({ kind: 'strong-ended', name, revision: pending.revision, active: true })
    for (const caller of callers) ctx.answer(caller, { status: 'ok', changed: true, revision })
  }

  #drop(ctx: ApplyContext, name: string, pending: Pending, outcome: Outcome): void {
    this.#forgetReservation(name, pending)
    ctx.nextRevision()
    ctx.emit({ kind: 'strong-ended', name, revision: pending.revision, active: false })
    for (const caller of pending.callers) ctx.answer(caller, outcome)
  }

  #release(ctx: ApplyContext, name: string, isGone: (owner: { pid: string; session: number }) => boolean): void {
    const bound = this.#names.get(name)
    if (bound !== undefined && isGone(bound)) this.#unbind(ctx, name)
    const pending = this.#pending.get(name)
    if (pending !== undefined && isGone(pending)) this.#drop(ctx, name, pending, { status: 'aborted' })
  }

  #bind(ctx: ApplyContext, to: { name: string; pid: string; session: number; scope: GlobalScope }): number {
    const { name, pid, session, scope } = to
    const revision = ctx.nextRevision()
    this.#set(name, { pid, scope, session, revision, sinceIndex: ctx.index })
    ctx.emit({ kind: 'binding', name, pid, scope, revision })
    return revision
  }

  #unbind(ctx: ApplyContext, name: string): number {
    const bound = this.#names.get(name) as Binding
    this.#names.delete(name)
    this.#unindex(name, bound)
    this.#indexStrong(name)
    const revision = ctx.nextRevision()
    ctx.emit({ kind: 'binding', name, pid: undefined, scope: bound.scope, revision })
    return revision
  }

  #set(name: string, binding: Binding): void {
    this.#names.set(name, binding)
    this.#index(name, binding)
    this.#indexStrong(name)
  }

  #reserve(name: string, pending: Pending): void {
    this.#pending.set(name, pending)
    this.#index(name, pending)
    this.#indexStrong(name)
    this.#expiries.set('strong', name, pending.expiryMs)
  }

  #forgetReservation(name: string, pending: Pending): void {
    this.#pending.delete(name)
    this.#expiries.delete('strong', name)
    this.#unindex(name, pending)
    this.#indexStrong(name)
  }

  #index(name: string, owner: { pid: string; session: number }): void {
    this.#byPid.add(owner.pid, name)
    this.#bySession.add(owner.session, name)
  }

  #indexStrong(name: string): void {
    const isStrong = this.#pending.has(name) || this.#names.get(name)?.scope === 'strong'
    if (isStrong) this.#strong.set(toBytes(name), true)
    else this.#strong.delete(toBytes(name))
  }

  /** A binding and a reservation of one PID share their place in the indices: it goes with the last of them. */
  #unindex(name: string, { pid, session }: { pid: string; session: number }): void {
    if (this.#names.has(name) || this.#pending.has(name)) return
    this.#byPid.delete(pid, name)
    this.#bySession.delete(session, name)
  }
}

export function nameRecord(name: string, { pid, scope, session, revision, sinceIndex }: Binding): Uint8Array {
  return pack({ name, pid, scope: scope === 'strong' ? 1 : 0, session, rev: revision, since: sinceIndex })
}

export function reservationRecord(name: string, reservation: Reservation): Uint8Array {
  const { pid, session, revision, required, acked, expiryMs, callers } = reservation
  return pack({
    name,
    pid,
    session,
    rev: revision,
    required: sortedNumbers(required),
    acked: sortedNumbers(acked),
    expiry: expiryMs,
    callers: callers.flatMap(({ session, seq }) => [session, seq]),
  })
}

function removeCallers(callers: RequestId[], session: number): void {
  for (let i = callers.length - 1; i >= 0; i--) if (callers[i]?.session === session) callers.splice(i, 1)
}
