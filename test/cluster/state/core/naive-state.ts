// Sessions, names and locks as one would write them down to be understood: lists that are searched from end to end, nothing indexed, nothing
// bounded. The machine is held against it. cluster.md §5.10, §5.11, §6.2, §6.4, §7.

import type { Command, Envelope } from '../../../../cluster/state/core/commands.ts'
import type {
  GlobalScope,
  Outcome,
  ReleaseReason,
  RequestId,
  StateEvent,
} from '../../../../cluster/state/core/outcomes.ts'

/** The last run of a node. */
interface Run {
  readonly node: string
  readonly epoch: number
  /** 0: over. */
  session: number
  floor: number
  results: Map<number, Outcome>
  /** Of what was told `pending`. */
  late: Map<number, Outcome>
}

interface Name {
  readonly name: string
  readonly pid: string
  readonly scope: GlobalScope
  readonly session: number
  readonly revision: number
  readonly sinceIndex: number
}

interface Reservation {
  readonly name: string
  readonly pid: string
  readonly session: number
  readonly revision: number
  required: number[]
  acked: number[]
  readonly expiryMs: number
  callers: RequestId[]
}

interface Waiter {
  readonly pid: string
  readonly request: RequestId
  readonly deadlineMs: number
  readonly ttlMs: number
}

interface Lock {
  readonly name: string
  readonly pid: string
  /** That it was asked for with. */
  readonly request: RequestId
  readonly token: number
  readonly sinceMs: number
  expiryMs: number
  queue: Waiter[]
}

const CALLERS_MAX = 16
const UNCHANGED = { status: 'ok', changed: false } as const
const CHANGED = { status: 'ok', changed: true } as const
const ABORTED = { status: 'aborted' } as const

export class NaiveState {
  index = 0
  clockMs = 0
  revision = 0
  runs: Run[] = []
  names: Name[] = []
  reservations: Reservation[] = []
  locks: Lock[] = []
  #events: StateEvent[] = []

  apply(clockMs: number, envelopes: readonly Envelope[]): { outcomes: Outcome[]; events: StateEvent[] } {
    this.index++
    this.clockMs = Math.max(this.clockMs, clockMs)
    this.#events = []
    for (let due = this.#due()[0]; due !== undefined; due = this.#due()[0]) due.end()
    const outcomes = envelopes.map((envelope) => this.#request(envelope))
    return { outcomes, events: this.#events }
  }

  /** When the next thing ends. */
  get nextExpiryMs(): number | undefined {
    return this.#ends()[0]?.atMs
  }

  result({ session, seq }: RequestId): Outcome | undefined {
    const run = this.#run(session)
    return run?.late.get(seq) ?? run?.results.get(seq)
  }

  #run(session: number): Run | undefined {
    return session === 0 ? undefined : this.runs.find((run) => run.session === session)
  }

  #due() {
    return this.#ends().filter(({ atMs }) => atMs <= this.clockMs)
  }

  #ends() {
    const ends = [
      ...this.locks
        .filter(({ expiryMs }) => expiryMs > 0)
        .map((lock) => ({ atMs: lock.expiryMs, kind: 'lock', key: lock.name, end: () => this.#free(lock, 'expired') })),
      ...this.reservations.map((reservation) => ({
        atMs: reservation.expiryMs,
        kind: 'strong',
        key: reservation.name,
        end: () => this.#timeOut(reservation),
      })),
      ...this.#waiters().map((waiter) => ({
        atMs: waiter.deadlineMs,
        kind: 'waiter',
        key: keyOf(waiter.request),
        end: () => this.#stopWaiting(waiter, { status: 'timeout' }),
      })),
    ]
    return ends.sort((a, b) => a.atMs - b.atMs || byText(a.kind, b.kind) || byText(a.key, b.key))
  }

  // ── Requests

  #request({ session, seq, floor, done = [], command }: Envelope): Outcome {
    if (session === 0) return this.#command(command, { session, seq })
    const run = this.#run(session)
    if (run === undefined) return { status: 'session-expired' }
    const known = this.result({ session, seq })
    if (known === undefined && seq < run.floor) return { status: 'stale-request' }
    run.floor = Math.max(run.floor, floor)
    run.results = new Map([...run.results].filter(([each]) => each >= run.floor))
    for (const each of done) {
      run.late.delete(each)
      if (each >= run.floor && !run.results.has(each)) run.results.set(each, ABORTED)
    }
    if (known !== undefined) return known
    const outcome = this.#command(command, { session, seq })
    this.#remember({ session, seq }, outcome)
    return outcome
  }

  #remember({ session, seq }: RequestId, outcome: Outcome): void {
    const run = this.#run(session)
    if (run === undefined || outcome.status === 'overloaded' || seq < run.floor) return
    if (outcome.status === 'pending') run.late.set(seq, outcome)
    else run.results.set(seq, outcome)
  }

  #answer(request: RequestId, outcome: Outcome): void {
    const late = this.#run(request.session)?.late
    if (late?.has(request.seq) === true) late.set(request.seq, outcome)
    this.#events.push({ kind: 'answer', request, outcome })
  }

  #command(command: Command, request: RequestId): Outcome {
    switch (command.kind) {
      case 'node-up':
        return this.#nodeUp(command.node, command.epoch)
      case 'node-down': {
        const run = this.#run(command.session)
        if (run === undefined || run.node !== command.node) return UNCHANGED
        this.#endSession(run, command.reason)
        return CHANGED
      }
      case 'proc-down': {
        const own = command.pids.filter((pid) => this.#sessionOf(pid) === request.session)
        return own.map((pid) => this.#processDown(pid)).includes(true) ? CHANGED : UNCHANGED
      }
      case 'register':
        return this.#register(command.name, command.pid)
      case 'unregister': {
        const bound = this.#bound(command.name)
        const isMeant = bound?.scope === command.scope && (command.pid ?? bound.pid) === bound.pid
        return bound !== undefined && isMeant ? { ...CHANGED, revision: this.#unbind(bound) } : UNCHANGED
      }
      case 'strong-open':
        return this.#openStrong(command.name, command.pid, command.ttlMs, request)
      case 'strong-ack': {
        const reservation = this.#reservation(command.name, command.revision)
        const news = command.sessions.filter(
          (session) => reservation?.required.includes(session) && !reservation.acked.includes(session),
        )
        if (reservation === undefined || news.length === 0) return UNCHANGED
        reservation.acked.push(...new Set(news))
        this.#activate(reservation)
        return CHANGED
      }
      case 'strong-reject': {
        const reservation = this.#reservation(command.name, command.revision)
        if (reservation?.required.includes(command.session) !== true) return UNCHANGED
        const by = this.#run(command.session)?.node ?? ''
        this.#giveUp(reservation, { status: 'rejected', by, holder: command.holder })
        return CHANGED
      }
      case 'strong-abort': {
        const reservation = this.#reservation(command.name, command.revision)
        if (reservation === undefined) return UNCHANGED
        this.#giveUp(reservation, ABORTED)
        return CHANGED
      }
      case 'lock-acquire':
        return this.#acquire(command, request)
      case 'lock-release': {
        const lock = this.#lock(command.name)
        if (lock?.pid !== command.pid || (command.token ?? lock.token) !== lock.token) return UNCHANGED
        this.#free(lock, 'released')
        return CHANGED
      }
      case 'lock-renew': {
        const lock = this.#lock(command.name)
        if (lock?.pid !== command.pid || lock.token !== command.token) return UNCHANGED
        this.revision++
        lock.expiryMs = command.ttlMs === 0 ? 0 : this.clockMs + command.ttlMs
        return CHANGED
      }
      case 'cancel':
        return this.#cancel({ session: request.session, seq: command.seq })
      default:
        throw new Error(`${command.kind} is not of sessions, names or locks`)
    }
  }

  #cancel(request: RequestId): Outcome {
    const waiter = this.#waiters().find((each) => isSame(each.request, request))
    const lock = this.locks.find((each) => isSame(each.request, request))
    const reservation = sorted(this.reservations).find(({ callers }) => callers.some((each) => isSame(each, request)))
    if (waiter !== undefined) this.#stopWaiting(waiter, ABORTED)
    else if (lock !== undefined) this.#free(lock, 'released')
    else if (reservation?.callers.length === 1) this.#giveUp(reservation, ABORTED)
    else if (reservation !== undefined) {
      reservation.callers = reservation.callers.filter((each) => !isSame(each, request))
      this.revision++
      this.#answer(request, ABORTED)
    } else {
      if (this.result(request) === undefined) this.#remember(request, ABORTED)
      return UNCHANGED
    }
    return CHANGED
  }

  // ── Sessions

  #nodeUp(node: string, epoch: number): Outcome {
    const run = this.runs.find((each) => each.node === node)
    if (run !== undefined && run.epoch > epoch) return { status: 'stale-epoch', epoch: run.epoch }
    if (run !== undefined && run.session > 0) {
      if (run.epoch === epoch) return { status: 'session', session: run.session }
      this.#endSession(run, 'restarted')
    }
    const session = ++this.revision
    this.runs = this.runs.filter((each) => each.node !== node)
    this.runs.push({ node, epoch, session, floor: 0, results: new Map(), late: new Map() })
    for (const reservation of this.reservations) reservation.required.push(session)
    this.#events.push({ kind: 'session-opened', node, epoch, session })
    return { status: 'session', session }
  }

  #endSession(run: Run, reason: string): void {
    const { session, node } = run
    // Who waits goes first, so that nothing is granted to what is gone; nobody is there to hear of it.
    for (const lock of this.locks) {
      this.revision += lock.queue.filter(({ request }) => request.session === session).length
      lock.queue = lock.queue.filter(({ request }) => request.session !== session)
    }
    for (const lock of sorted(this.locks)) if (lock.request.session === session) this.#free(lock, 'node-down')
    this.#releaseNames((owner) => owner.session === session)
    for (const reservation of sorted(this.reservations)) {
      reservation.callers = reservation.callers.filter((caller) => caller.session !== session)
      reservation.required = reservation.required.filter((each) => each !== session)
      reservation.acked = reservation.acked.filter((each) => each !== session)
      if (reservation.callers.length === 0) this.#giveUp(reservation, ABORTED)
      else this.#activate(reservation)
    }
    this.revision++
    Object.assign(run, { session: 0, floor: 0, results: new Map(), late: new Map() })
    this.#events.push({ kind: 'session-ended', node, session, reason })
  }

  #processDown(pid: string): boolean {
    const before = this.revision
    const waiters = this.#waiters().filter((waiter) => waiter.pid === pid)
    waiters.sort((a, b) => byText(keyOf(a.request), keyOf(b.request)))
    for (const waiter of waiters) this.#stopWaiting(waiter, ABORTED)
    for (const lock of sorted(this.locks)) if (lock.pid === pid) this.#free(lock, 'process-down')
    this.#releaseNames((owner) => owner.pid === pid)
    return this.revision > before
  }

  #sessionOf(pid: string): number | undefined {
    const { node, epoch } = partsOf(pid)
    return this.runs.find((run) => run.node === node && run.epoch === epoch && run.session > 0)?.session
  }

  #staleEpoch(pid: string): Outcome {
    const run = this.runs.find(({ node, session }) => node === partsOf(pid).node && session > 0)
    return { status: 'stale-epoch', epoch: run?.epoch ?? 0 }
  }

  // ── Names

  #bound(name: string): Name | undefined {
    return this.names.find((each) => each.name === name)
  }

  #reserved(name: string): Reservation | undefined {
    return this.reservations.find((each) => each.name === name)
  }

  #reservation(name: string, revision: number): Reservation | undefined {
    return this.reservations.find((each) => each.name === name && each.revision === revision)
  }

  #conflict(name: string, pid: string): Outcome | undefined {
    const [reserved, bound] = [this.#reserved(name), this.#bound(name)]
    if (reserved !== undefined && reserved.pid !== pid) return { status: 'conflict', pid: reserved.pid, reserved: true }
    if (bound !== undefined && bound.pid !== pid) return { status: 'conflict', pid: bound.pid, reserved: false }
    return undefined
  }

  #register(name: string, pid: string): Outcome {
    const session = this.#sessionOf(pid)
    if (session === undefined) return this.#staleEpoch(pid)
    const conflict = this.#conflict(name, pid)
    if (conflict !== undefined) return conflict
    const bound = this.#bound(name)
    if (bound !== undefined) return { ...UNCHANGED, revision: bound.revision }
    return { ...CHANGED, revision: this.#bind({ name, pid, session, scope: 'consistent' }) }
  }

  #openStrong(name: string, pid: string, ttlMs: number, caller: RequestId): Outcome {
    const session = this.#sessionOf(pid)
    if (session === undefined) return this.#staleEpoch(pid)
    const conflict = this.#conflict(name, pid)
    if (conflict !== undefined) return conflict
    const bound = this.#bound(name)
    if (bound?.scope === 'strong') return { ...UNCHANGED, revision: bound.revision }
    const reserved = this.#reserved(name)
    if (reserved !== undefined) {
      if (reserved.callers.length >= CALLERS_MAX) {
        return { status: 'overloaded', what: 'callers of one reservation' }
      }
      reserved.callers.push(caller)
      return { status: 'pending', revision: reserved.revision }
    }
    const revision = ++this.revision
    const required = this.runs.map((run) => run.session).filter((each) => each > 0)
    const expiryMs = this.clockMs + ttlMs
    this.reservations.push({ name, pid, session, revision, required, acked: [], expiryMs, callers: [caller] })
    this.#events.push({ kind: 'strong-opened', name, pid, revision })
    return { status: 'pending', revision }
  }

  #bind(binding: Omit<Name, 'revision' | 'sinceIndex'>): number {
    const { name, pid, scope } = binding
    const revision = ++this.revision
    this.names = this.names.filter((each) => each.name !== name)
    this.names.push({ ...binding, revision, sinceIndex: this.index })
    this.#events.push({ kind: 'binding', name, pid, scope, revision })
    return revision
  }

  #unbind({ name, scope }: Name): number {
    const revision = ++this.revision
    this.names = this.names.filter((each) => each.name !== name)
    this.#events.push({ kind: 'binding', name, pid: undefined, scope, revision })
    return revision
  }

  #releaseNames(isGone: (owner: { pid: string; session: number }) => boolean): void {
    for (const name of [...new Set([...this.names, ...this.reservations].map((each) => each.name))].sort(byText)) {
      const [bound, reserved] = [this.#bound(name), this.#reserved(name)]
      if (bound !== undefined && isGone(bound)) this.#unbind(bound)
      if (reserved !== undefined && isGone(reserved)) this.#giveUp(reserved, ABORTED)
    }
  }

  /** If all have agreed. */
  #activate(reservation: Reservation): void {
    const { name, pid, session, revision: opened, required, acked, callers } = reservation
    if (!required.every((each) => acked.includes(each))) return
    this.reservations = this.reservations.filter((each) => each !== reservation)
    const revision = this.#bind({ name, pid, session, scope: 'strong' })
    this.#events.push({ kind: 'strong-ended', name, revision: opened, active: true })
    for (const caller of callers) this.#answer(caller, { ...CHANGED, revision })
  }

  #timeOut(reservation: Reservation): void {
    const late = reservation.required.filter((session) => !reservation.acked.includes(session))
    const missing = late.map((session) => this.#run(session)?.node ?? '').sort(byText)
    this.#giveUp(reservation, { status: 'timeout', missing, missingCount: missing.length })
  }

  #giveUp(reservation: Reservation, outcome: Outcome): void {
    this.reservations = this.reservations.filter((each) => each !== reservation)
    this.revision++
    this.#events.push({ kind: 'strong-ended', name: reservation.name, revision: reservation.revision, active: false })
    for (const caller of reservation.callers) this.#answer(caller, outcome)
  }

  // ── Locks

  #lock(name: string): Lock | undefined {
    return this.locks.find((each) => each.name === name)
  }

  #waiters(): Waiter[] {
    return this.locks.flatMap(({ queue }) => queue)
  }

  #acquire({ name, pid, waitMs, ttlMs }: Command & { kind: 'lock-acquire' }, request: RequestId): Outcome {
    if (this.#sessionOf(pid) !== request.session) return this.#staleEpoch(pid)
    const lock = this.#lock(name)
    if (lock === undefined) return { status: 'granted', token: this.#grant(name, { pid, request, ttlMs }, []) }
    if (waitMs === 0 || lock.pid === pid) {
      return { status: 'held', pid: lock.pid, token: lock.token, sinceMs: lock.sinceMs }
    }
    lock.queue.push({ pid, request, deadlineMs: this.clockMs + waitMs, ttlMs })
    return { status: 'pending', revision: ++this.revision }
  }

  #grant(name: string, to: Omit<Waiter, 'deadlineMs'>, queue: Waiter[]): number {
    const { pid, request, ttlMs } = to
    const token = ++this.revision
    const expiryMs = ttlMs === 0 ? 0 : this.clockMs + ttlMs
    this.locks.push({ name, pid, request, token, sinceMs: this.clockMs, expiryMs, queue })
    this.#events.push({ kind: 'lock-granted', name, pid, token })
    return token
  }

  #free(lock: Lock, reason: ReleaseReason): void {
    const { name, pid, token } = lock
    this.locks = this.locks.filter((each) => each !== lock)
    this.revision++
    this.#events.push({ kind: 'lock-released', name, pid, token, reason })
    const [next, ...queue] = lock.queue
    if (next !== undefined) this.#answer(next.request, { status: 'granted', token: this.#grant(name, next, queue) })
  }

  #stopWaiting(waiter: Waiter, outcome: Outcome): void {
    for (const lock of this.locks) lock.queue = lock.queue.filter((each) => each !== waiter)
    this.revision++
    this.#answer(waiter.request, outcome)
  }
}

function partsOf(pid: string): { node: string; epoch: number } {
  const [, node = '', epoch = ''] = /^\{(.+)@.+\|(.+)\./.exec(pid) ?? []
  return { node, epoch: Number.parseInt(epoch, 36) }
}

const keyOf = ({ session, seq }: RequestId): string => `${session}.${seq}`
const isSame = (a: RequestId, b: RequestId): boolean => a.session === b.session && a.seq === b.seq
const byText = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
const sorted = <T extends { name: string }>(list: readonly T[]): T[] => [...list].sort((a, b) => byText(a.name, b.name))
