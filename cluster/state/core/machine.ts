// The replicated state machine: applies committed entries, in order, and nothing else moves it. cluster.md §5.10–5.12; sessions
// after Ongaro's thesis §6.3. Two machines that applied the same entries, or restored a snapshot of them, are equal byte for byte.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import { type PackedMap, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { epochOf, parsePid } from '../../../runtime/base/pid.ts'
import { Locks, lockRecord } from '../../locks/core/locks.ts'
import { Bindings, nameRecord, reservationRecord } from '../../names/core/bindings.ts'
import type { Command, DecodeCommands, Envelope } from './commands.ts'
import { digestOf } from './digest.ts'
import { Expiries } from './expiries.ts'
import { Fields } from './fields.ts'
import type { ApplyContext, Outcome, RequestId, StateEvent } from './outcomes.ts'
import { NODES_MAX, Sessions, sessionRecord } from './sessions.ts'
import { Store, type StoreContext } from './store.ts'
import type { TableView } from './table.ts'
import { MemoryValues, type Values } from './values.ts'

/** An entry as the machine sees it; every other kind of the log only moves the clock. */
interface Committed {
  /** The one after the last. */
  readonly index: number
  readonly clockMs: number
  readonly kind: 'noop' | 'configuration' | 'commands' | 'tick' | 'settings'
  readonly data?: Uint8Array
}

export interface Applied {
  /** One for each command of the entry, in its order. */
  readonly outcomes: readonly Outcome[]
  /** What changed, in order; delivered after the entry, never during it. */
  readonly events: readonly StateEvent[]
}

/** @see cluster.md §5.12 for the numbers */
export const SECTIONS = { settings: 1, sessions: 2, names: 3, strong: 4, locks: 5, kv: 6 } as const

export interface Section {
  readonly id: number
  /** Each one msgpack value, sorted by key. */
  readonly records: readonly Uint8Array[]
}

/** How much there is of what. */
export interface StateCounts {
  /** Open ones. */
  readonly sessions: number
  /** Bindings, consistent and strong. */
  readonly names: number
  /** Strong names that are being agreed on. */
  readonly reservations: number
  /** Held. */
  readonly locks: number
  readonly keys: number
  /** Of the values of all keys. */
  readonly valueBytes: number
}

/** The state of one moment, for a snapshot that is written while the machine goes on. */
export interface MachineView {
  readonly index: number
  readonly clockMs: number
  readonly revision: number
  readonly featureLevel: number
  readonly settings: PackedMap
  readonly counts: StateCounts
  /** In the order of sections, and of keys within one. Equal states give equal records. */
  records(): Generator<{ readonly section: number; readonly record: Uint8Array }>
  /** Until then the machine copies what it changes. Idempotent. */
  close(): void
}

/** A state that comes in record by record; nothing reads it before it is whole. */
interface Restoring {
  /** In the order of the view that made them. @throws UnpackError */
  add(section: number, record: Uint8Array): void
  /** @throws UnpackError */
  finish(): Machine
  /** It will not be finished. */
  drop(): void
}

/** All that one state consists of: replaced together. */
class Parts {
  readonly expiries = new Expiries()
  readonly sessions = new Sessions()
  readonly names = new Bindings(this.expiries)
  readonly locks = new Locks(this.expiries)
  readonly store: Store
  index = 0
  clockMs = 0
  revision = 0
  /** Of the last entry that is wholly applied. */
  appliedRevision = 0
  settings: PackedMap = {}
  featureLevel = 0

  constructor(values: Values) {
    this.store = new Store(values)
  }
}

/** What may be asked of the names outside of an entry. */
type NamesRead = Pick<
  Bindings,
  'count' | 'lookup' | 'reservation' | 'reservations' | 'names' | 'namesOf' | 'strongNames'
>
type LocksRead = Pick<Locks, 'count' | 'waiterCount' | 'holder' | 'names'>
type SessionsRead = Pick<Sessions, 'get' | 'ofNode' | 'epochOf' | 'sessions' | 'count'>
type StoreRead = Pick<Store, 'changes' | 'keyCount' | 'valueBytes' | 'namespaces' | 'usageOf' | 'get' | 'peek' | 'list'>

export class Machine {
  readonly #decode: DecodeCommands
  #parts: Parts
  /** An entry is half applied. */
  #isApplying = false

  /** @param values where those of the store live; they are the machine's from here on */
  constructor(decode: DecodeCommands, values: Values = new MemoryValues()) {
    this.#decode = decode
    this.#parts = new Parts(values)
  }

  get index(): number {
    return this.#parts.index
  }

  get clockMs(): number {
    return this.#parts.clockMs
  }

  get revision(): number {
    return this.#parts.revision
  }

  /** Without what an entry that is half applied has changed: events of all that is up to here have been told. */
  get appliedRevision(): number {
    return this.#parts.appliedRevision
  }

  /** The committed settings, of which the leader's file is only a proposal. */
  get settings(): PackedMap {
    return this.#parts.settings
  }

  /** Commands beyond it are not proposed. */
  get featureLevel(): number {
    return this.#parts.featureLevel
  }

  get sessions(): SessionsRead {
    return this.#parts.sessions
  }

  get names(): NamesRead {
    return this.#parts.names
  }

  get locks(): LocksRead {
    return this.#parts.locks
  }

  get store(): StoreRead {
    return this.#parts.store
  }

  /** When the leader must see to it that the clock moves; log clock. Undefined: nothing will fall due. */
  get nextExpiryMs(): number | undefined {
    const { expiries, store } = this.#parts
    const nextMs = Math.min(expiries.nextMs ?? Number.POSITIVE_INFINITY, store.nextExpiryMs)
    return Number.isFinite(nextMs) ? nextMs : undefined
  }

  /** The remembered answer of a request; `pending` while it is open. */
  result(request: RequestId): Outcome | undefined {
    return this.#parts.sessions.result(request)
  }

  /**
   * @throws UnpackError, AssertionError: the entry cannot be applied, and the node must stop applying. Skipping it would make
   *   this node differ from the others.
   */
  apply(entry: Committed): Applied {
    const work = this.applying(entry)
    for (;;) {
      const step = work.next()
      if (step.done === true) return step.value
    }
  }

  /**
   * The same in small pieces, each a matter of microseconds: other work of the node may come between them, but no other entry and no
   * view. Must be run to its end. `index` moves with the last piece.
   */
  *applying(entry: Committed): Generator<undefined, Applied> {
    const parts = this.#parts
    assert(!this.#isApplying, 'one entry is applied at a time')
    assert(entry.index === parts.index + 1, `entry ${entry.index} follows ${parts.index}`)
    // Before anything changes: an entry that cannot be read is not half applied.
    const envelopes = entry.kind === 'commands' ? this.#decode(entry.data ?? new Uint8Array()) : []
    const settings = entry.kind === 'settings' ? new Fields(unpack(entry.data ?? new Uint8Array())) : undefined
    const level = settings?.countOr('feature_level', 0) ?? 0
    this.#isApplying = true
    parts.clockMs = Math.max(parts.clockMs, entry.clockMs)
    const events: StateEvent[] = []
    const ctx = this.#context(entry.index, events)
    // Time first: a command sees what its own clock has ended.
    yield* this.#expire(ctx)
    if (entry.kind === 'settings') {
      parts.settings = unpack(entry.data as Uint8Array) as PackedMap
      parts.featureLevel = Math.max(parts.featureLevel, level)
      parts.revision++
    }
    const outcomes: Outcome[] = []
    for (const envelope of envelopes) {
      yield
      outcomes.push(yield* this.#request(ctx, envelope))
    }
    parts.store.advance(parts.revision)
    parts.index = entry.index
    parts.appliedRevision = parts.revision
    this.#isApplying = false
    return { outcomes, events }
  }

  /** Whether an entry is half applied: there is no view of that. */
  get isApplying(): boolean {
    return this.#isApplying
  }

  /** What is applied at this moment. Not while an entry is half applied. */
  view(): MachineView {
    assert(!this.#isApplying, 'between entries')
    const { sessions, names, locks, store, index, clockMs, revision, featureLevel, settings } = this.#parts
    const head = pack({ index, clock: clockMs, rev: revision, level: featureLevel, settings: sorted(settings) })
    const tables = [sessions.view(), names.namesView(), names.reservationsView(), locks.view()] as const
    const values = store.view()
    const counts = {
      sessions: sessions.count,
      names: tables[1].size,
      reservations: tables[2].size,
      locks: tables[3].size,
      keys: store.keyCount,
      valueBytes: store.valueBytes,
    }
    function* records(): Generator<{ section: number; record: Uint8Array }> {
      yield { section: SECTIONS.settings, record: head }
      yield* packed(SECTIONS.sessions, tables[0], sessionRecord)
      yield* packed(SECTIONS.names, tables[1], nameRecord)
      yield* packed(SECTIONS.strong, tables[2], reservationRecord)
      yield* packed(SECTIONS.locks, tables[3], lockRecord)
      for (const record of values.records()) yield { section: SECTIONS.kv, record }
    }
    const close = (): void => {
      for (const table of tables) table.close()
      values.close()
    }
    return { index, clockMs, revision, featureLevel, settings, counts, records, close }
  }

  /** Every section of a view at once. */
  snapshot(): Section[] {
    const view = this.view()
    const sections = Object.values(SECTIONS).map((id) => ({ id, records: [] as Uint8Array[] }))
    for (const { section, record } of view.records()) sections.find(({ id }) => id === section)?.records.push(record)
    view.close()
    return sections
  }

  /** A machine in the state of the snapshot. @throws UnpackError */
  static restored(sections: readonly Section[], decode: DecodeCommands): Machine {
    const restoring = Machine.restoring(decode)
    for (const { id, records } of sections) for (const record of records) restoring.add(id, record)
    return restoring.finish()
  }

  static restoring(decode: DecodeCommands, values?: Values): Restoring {
    const machine = new Machine(decode, values)
    const parts = machine.#parts
    let section = 0
    return {
      add: (id, record) => {
        if (id < section || (section === 0 && id !== SECTIONS.settings)) throw new UnpackError('sections out of order')
        section = id
        if (id === SECTIONS.settings) readHead(parts, record)
        else if (id === SECTIONS.sessions) parts.sessions.load(record)
        else if (id === SECTIONS.names) parts.names.loadName(record)
        else if (id === SECTIONS.strong) parts.names.loadReservation(record)
        else if (id === SECTIONS.locks) parts.locks.load(record)
        else if (id === SECTIONS.kv) parts.store.load(record)
        // What a later version adds is state all the same: without it this node would differ from the others.
        else throw new UnpackError(`section ${id} is unknown`)
      },
      finish: () => {
        if (section === 0) throw new UnpackError('a snapshot without its first section')
        parts.sessions.loaded()
        return machine
      },
      drop: () => machine.close(),
    }
  }

  /** Takes over the state of `restored`, which is of no further use. Who follows the store is told to list again. */
  replaceBy(restored: Machine): void {
    assert(!this.#isApplying && !restored.#isApplying, 'between entries')
    const before = this.#parts
    restored.#parts.store.succeed(before.store)
    this.#parts = restored.#parts
    before.store.retire()
  }

  /** Lets go of the values. Views that are open stay readable. Idempotent. */
  close(): void {
    this.#parts.store.retire()
  }

  /** Equal on nodes that applied the same entries; 16 hex digits. Against accidents, not against forgery. */
  digest(): string {
    return digestOf(this.snapshot())
  }

  #context(index: number, events: StateEvent[]): ApplyContext {
    return {
      index,
      clockMs: this.#parts.clockMs,
      nextRevision: () => ++this.#parts.revision,
      sessionOfPid: (pid) => this.#sessionOfPid(pid),
      epochOfPidsNode: (pid) => this.#parts.sessions.ofNode(parsePid(pid)?.node ?? '')?.epoch ?? 0,
      openSessions: () => this.#parts.sessions.numbers(),
      nodeOf: (session) => this.#parts.sessions.get(session)?.node ?? '',
      emit: (event) => events.push(event),
      answer: (request, outcome) => {
        this.#parts.sessions.answer(request, outcome)
        events.push({ kind: 'answer', request, outcome })
      },
    }
  }

  #sessionOfPid(pid: string): number | undefined {
    const parts = parsePid(pid)
    const open = parts?.node === undefined ? undefined : this.#parts.sessions.ofNode(parts.node)
    return open !== undefined && open.epoch === epochOf(parts?.uniq ?? '') ? open.session : undefined
  }

  /** In the order of (expiry, kind, key), where the kind of the store's keys, `kv`, comes first. */
  *#expire(ctx: ApplyContext): Generator<undefined, void> {
    const { expiries, store, names, locks } = this.#parts
    for (;;) {
      const storeMs = store.nextExpiryMs
      const othersMs = expiries.nextMs ?? Number.POSITIVE_INFINITY
      if (Math.min(storeMs, othersMs) > ctx.clockMs) return
      if (storeMs <= othersMs) store.expireNext(this.#storeContext(ctx))
      else {
        for (const expiry of expiries.takeNext()) {
          if (!expiries.isLive(expiry)) continue
          const { kind, key } = expiry
          if (kind === 'lock') locks.expireLock(ctx, key)
          else if (kind === 'strong') names.expire(ctx, key)
          else locks.expireWaiter(ctx, key)
          yield
        }
      }
      yield
    }
  }

  #storeContext({ clockMs, nextRevision }: ApplyContext): StoreContext {
    return { clockMs, nextRevision, lockToken: (name) => this.#parts.locks.holder(name)?.token }
  }

  *#request(ctx: ApplyContext, { session, seq, floor, done = [], command }: Envelope): Generator<undefined, Outcome> {
    if (session === 0) return yield* this.#run(ctx, command, { session, seq })
    const request = { session, seq }
    const standing = this.#parts.sessions.receive(request, floor, done)
    if (standing.kind === 'answered') return standing.outcome
    const outcome = yield* this.#run(ctx, command, request)
    this.#parts.sessions.remember(request, outcome)
    return outcome
  }

  *#run(ctx: ApplyContext, command: Command, request: RequestId): Generator<undefined, Outcome> {
    switch (command.kind) {
      case 'node-up':
        return yield* this.#nodeUp(ctx, command)
      case 'node-down': {
        const isCurrent = this.#parts.sessions.ofNode(command.node)?.session === command.session
        if (isCurrent) yield* this.#endSession(ctx, command.session, command.reason)
        return { status: 'ok', changed: isCurrent }
      }
      case 'proc-down': {
        // A node answers for its own processes only.
        const own = command.pids.filter((pid) => this.#sessionOfPid(pid) === request.session)
        let changed = false
        for (const pid of own) {
          const hadLocks = this.#parts.locks.processDown(ctx, pid)
          const hadNames = this.#parts.names.processDown(ctx, pid)
          changed ||= hadLocks || hadNames
          yield
        }
        return { status: 'ok', changed }
      }
      case 'register':
        return this.#parts.names.register(ctx, command.name, command.pid)
      case 'unregister':
        return this.#parts.names.unregister(ctx, { name: command.name, pid: command.pid, scope: command.scope })
      case 'strong-open':
        return this.#parts.names.openStrong(ctx, { ...command, caller: request })
      case 'strong-ack':
        return this.#parts.names.acknowledge(ctx, command)
      case 'strong-reject':
        return this.#parts.names.reject(ctx, command)
      case 'strong-abort':
        return this.#parts.names.abort(ctx, command)
      case 'lock-acquire':
        return this.#parts.locks.acquire(ctx, { ...command, request })
      case 'lock-release':
        return this.#parts.locks.release(ctx, { name: command.name, pid: command.pid, token: command.token })
      case 'lock-renew':
        return this.#parts.locks.renew(ctx, command)
      case 'cancel':
        return this.#cancel(ctx, { session: request.session, seq: command.seq })
      case 'kv':
        return { status: 'kv', result: this.#parts.store.apply(command.command, this.#storeContext(ctx)) }
      default:
        return unreachable(command)
    }
  }

  #cancel(ctx: ApplyContext, request: RequestId): Outcome {
    const { locks, names, sessions } = this.#parts
    const changed = locks.cancel(ctx, request) || names.cancel(ctx, request)
    // One that is still on its way finds that it was answered.
    if (!changed && sessions.result(request) === undefined) sessions.remember(request, { status: 'aborted' })
    return { status: 'ok', changed }
  }

  *#nodeUp(
    ctx: ApplyContext,
    { node, epoch, role }: { node: string; epoch: number; role: string },
  ): Generator<undefined, Outcome> {
    const known = this.#parts.sessions.epochOf(node)
    if (known > epoch) return { status: 'stale-epoch', epoch: known }
    const open = this.#parts.sessions.ofNode(node)
    if (open?.epoch === epoch) return { status: 'session', session: open.session }
    if (open === undefined && this.#parts.sessions.count >= NODES_MAX) {
      return { status: 'overloaded', what: 'nodes of the cluster' }
    }
    if (open !== undefined) yield* this.#endSession(ctx, open.session, 'restarted')
    const session = ctx.nextRevision()
    this.#parts.sessions.open({ session, node, epoch, role })
    this.#parts.names.sessionOpened(session)
    ctx.emit({ kind: 'session-opened', node, epoch, session })
    return { status: 'session', session }
  }

  *#endSession(ctx: ApplyContext, session: number, reason: string): Generator<undefined, void> {
    const node = ctx.nodeOf(session)
    yield* this.#parts.locks.sessionEnded(ctx, session)
    yield* this.#parts.names.sessionEnded(ctx, session)
    this.#parts.sessions.end(session, ctx.nextRevision())
    ctx.emit({ kind: 'session-ended', node, session, reason })
  }
}

function* packed<Row>(
  section: number,
  table: TableView<Row>,
  recordOf: (key: string, row: Row) => Uint8Array,
): Generator<{ section: number; record: Uint8Array }> {
  for (const [key, row] of table.rows()) yield { section, record: recordOf(key, row) }
}

/** @throws UnpackError */
function readHead(parts: Parts, record: Uint8Array): void {
  const fields = new Fields(unpack(record))
  parts.index = fields.count('index')
  parts.clockMs = fields.count('clock')
  parts.revision = fields.count('rev')
  parts.appliedRevision = parts.revision
  parts.featureLevel = fields.count('level')
  parts.settings = fields.map('settings')
  parts.store.begin({ version: parts.revision, clockMs: parts.clockMs })
}

function sorted(map: PackedMap): PackedMap {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)))
}
