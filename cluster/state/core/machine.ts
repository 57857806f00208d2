// The replicated state machine: applies committed entries, in order, and nothing else moves it. cluster.md §5.10–5.12; sessions
// after Ongaro's thesis §6.3. Two machines that applied the same entries, or restored a snapshot of them, are equal byte for byte.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import { type PackedMap, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { epochOf, parsePid } from '../../../runtime/base/pid.ts'
import { Locks } from '../../locks/core/locks.ts'
import { Bindings } from '../../names/core/bindings.ts'
import { type Command, decodeCommands, type Envelope } from './commands.ts'
import { digestOf } from './digest.ts'
import { Expiries, type Expiry } from './expiries.ts'
import { Fields } from './fields.ts'
import type { ApplyContext, Outcome, RequestId, StateEvent } from './outcomes.ts'
import { NODES_MAX, Sessions } from './sessions.ts'

/** An entry as the machine sees it; every other kind of the log only moves the clock. */
export interface Committed {
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
export const SECTIONS = { settings: 1, sessions: 2, names: 3, strong: 4, locks: 5 } as const

export interface Section {
  readonly id: number
  /** Each one msgpack value, sorted by key. */
  readonly records: readonly Uint8Array[]
}

export class Machine {
  readonly #expiries = new Expiries()
  readonly #sessions = new Sessions()
  readonly names = new Bindings(this.#expiries)
  readonly locks = new Locks(this.#expiries)
  #index = 0
  #clockMs = 0
  #revision = 0
  #settings: PackedMap = {}
  #featureLevel = 0

  get index(): number {
    return this.#index
  }

  get clockMs(): number {
    return this.#clockMs
  }

  get revision(): number {
    return this.#revision
  }

  /** The committed settings, of which the leader's file is only a proposal. */
  get settings(): PackedMap {
    return this.#settings
  }

  /** Commands beyond it are not proposed. */
  get featureLevel(): number {
    return this.#featureLevel
  }

  get sessions(): Pick<Sessions, 'get' | 'ofNode' | 'epochOf' | 'sessions' | 'count'> {
    return this.#sessions
  }

  /** When the leader must see to it that the clock moves; log clock. Undefined: nothing will fall due. */
  get nextExpiryMs(): number | undefined {
    return this.#expiries.nextMs
  }

  /** The remembered answer of a request; `pending` while it is open. */
  result(request: RequestId): Outcome | undefined {
    return this.#sessions.result(request)
  }

  /**
   * @throws UnpackError, AssertionError: the entry cannot be applied, and the node must stop applying. Skipping it would make
   *   this node differ from the others.
   */
  apply(entry: Committed): Applied {
    assert(entry.index === this.#index + 1, `entry ${entry.index} follows ${this.#index}`)
    const envelopes = entry.kind === 'commands' ? decodeCommands(entry.data ?? new Uint8Array()) : []
    const settings = entry.kind === 'settings' ? new Fields(unpack(entry.data ?? new Uint8Array())) : undefined
    const level = settings?.countOr('feature_level', 0) ?? 0
    this.#index = entry.index
    this.#clockMs = Math.max(this.#clockMs, entry.clockMs)
    const events: StateEvent[] = []
    const ctx = this.#context(events)
    // Time first: a command sees what its own clock has ended.
    for (const expiry of this.#expiries.due(this.#clockMs)) if (this.#expiries.isLive(expiry)) this.#expire(ctx, expiry)
    if (entry.kind === 'settings') {
      this.#settings = unpack(entry.data as Uint8Array) as PackedMap
      this.#featureLevel = Math.max(this.#featureLevel, level)
      this.#revision++
    }
    return { outcomes: envelopes.map((envelope) => this.#request(ctx, envelope)), events }
  }

  /** Every section, sorted; equal states give equal bytes. */
  snapshot(): Section[] {
    const head = pack({
      index: this.#index,
      clock: this.#clockMs,
      rev: this.#revision,
      level: this.#featureLevel,
      settings: sorted(this.#settings),
    })
    return [
      { id: SECTIONS.settings, records: [head] },
      { id: SECTIONS.sessions, records: this.#sessions.records() },
      { id: SECTIONS.names, records: this.names.nameRecords() },
      { id: SECTIONS.strong, records: this.names.reservationRecords() },
      { id: SECTIONS.locks, records: this.locks.records() },
    ]
  }

  /** A machine in the state of the snapshot. @throws UnpackError */
  static restored(sections: readonly Section[]): Machine {
    const machine = new Machine()
    const records = (id: number): readonly Uint8Array[] => sections.find((section) => section.id === id)?.records ?? []
    const [head] = records(SECTIONS.settings)
    if (head === undefined) throw new UnpackError('a snapshot without its first section')
    const fields = new Fields(unpack(head))
    machine.#index = fields.count('index')
    machine.#clockMs = fields.count('clock')
    machine.#revision = fields.count('rev')
    machine.#featureLevel = fields.count('level')
    machine.#settings = fields.map('settings')
    machine.#sessions.restore(records(SECTIONS.sessions))
    machine.names.restore(records(SECTIONS.names), records(SECTIONS.strong))
    machine.locks.restore(records(SECTIONS.locks))
    return machine
  }

  /** Equal on nodes that applied the same entries; 16 hex digits. Against accidents, not against forgery. */
  digest(): string {
    return digestOf(this.snapshot())
  }

  #context(events: StateEvent[]): ApplyContext {
    return {
      index: this.#index,
      clockMs: this.#clockMs,
      nextRevision: () => ++this.#revision,
      sessionOfPid: (pid) => this.#sessionOfPid(pid),
      epochOfPidsNode: (pid) => this.#sessions.ofNode(parsePid(pid)?.node ?? '')?.epoch ?? 0,
      openSessions: () => this.#sessions.sessions().map(({ session }) => session),
      nodeOf: (session) => this.#sessions.get(session)?.node ?? '',
      emit: (event) => events.push(event),
      answer: (request, outcome) => {
        this.#sessions.remember(request, outcome)
        events.push({ kind: 'answer', request, outcome })
      },
    }
  }

  #sessionOfPid(pid: string): number | undefined {
    const parts = parsePid(pid)
    const open = parts?.node === undefined ? undefined : this.#sessions.ofNode(parts.node)
    return open !== undefined && open.epoch === epochOf(parts?.uniq ?? '') ? open.session : undefined
  }

  #expire(ctx: ApplyContext, { kind, key }: Expiry): void {
    if (kind === 'lock') this.locks.expireLock(ctx, key)
    else if (kind === 'strong') this.names.expire(ctx, key)
    else this.locks.expireWaiter(ctx, key)
  }

  #request(ctx: ApplyContext, { session, seq, floor, command }: Envelope): Outcome {
    if (session === 0) return this.#run(ctx, command, { session, seq })
    const request = { session, seq }
    const standing = this.#sessions.receive(request, floor)
    if (standing.kind === 'answered') return standing.outcome
    const outcome = this.#run(ctx, command, request)
    // A reservation may have become active, and answered, while it was being opened.
    const answered = outcome.status === 'pending' ? this.#sessions.result(request) : undefined
    if (answered !== undefined) return answered
    this.#sessions.remember(request, outcome)
    return outcome
  }

  #run(ctx: ApplyContext, command: Command, request: RequestId): Outcome {
    switch (command.kind) {
      case 'node-up':
        return this.#nodeUp(ctx, command)
      case 'node-down': {
        const isCurrent = this.#sessions.ofNode(command.node)?.session === command.session
        if (isCurrent) this.#endSession(ctx, command.session, command.reason)
        return { status: 'ok', changed: isCurrent }
      }
      case 'proc-down': {
        // A node answers for its own processes only.
        const own = command.pids.filter((pid) => this.#sessionOfPid(pid) === request.session)
        let changed = false
        for (const pid of own) {
          const hadLocks = this.locks.processDown(ctx, pid)
          const hadNames = this.names.processDown(ctx, pid)
          changed ||= hadLocks || hadNames
        }
        return { status: 'ok', changed }
      }
      case 'register':
        return this.names.register(ctx, command.name, command.pid)
      case 'unregister':
        return this.names.unregister(ctx, { name: command.name, pid: command.pid, scope: command.scope })
      case 'strong-open':
        return this.names.openStrong(ctx, { ...command, caller: request })
      case 'strong-ack':
        return this.names.acknowledge(ctx, command)
      case 'strong-reject':
        return this.names.reject(ctx, command)
      case 'strong-abort':
        return this.names.abort(ctx, command)
      case 'lock-acquire':
        return this.locks.acquire(ctx, { ...command, request })
      case 'lock-release':
        return this.locks.release(ctx, { name: command.name, pid: command.pid, token: command.token })
      case 'lock-renew':
        return this.locks.renew(ctx, command)
      case 'lock-cancel':
        return this.locks.cancel(ctx, { session: request.session, seq: command.seq })
      default:
        return unreachable(command)
    }
  }

  #nodeUp(ctx: ApplyContext, { node, epoch, role }: { node: string; epoch: number; role: string }): Outcome {
    const known = this.#sessions.epochOf(node)
    if (known > epoch) return { status: 'stale-epoch', epoch: known }
    const open = this.#sessions.ofNode(node)
    if (open?.epoch === epoch) return { status: 'session', session: open.session }
    if (open === undefined && this.#sessions.count >= NODES_MAX) {
      return { status: 'overloaded', what: 'nodes of the cluster' }
    }
    if (open !== undefined) this.#endSession(ctx, open.session, 'restarted')
    const session = ctx.nextRevision()
    this.#sessions.open({ session, node, epoch, role })
    this.names.sessionOpened(session)
    ctx.emit({ kind: 'session-opened', node, epoch, session })
    return { status: 'session', session }
  }

  #endSession(ctx: ApplyContext, session: number, reason: string): void {
    const node = ctx.nodeOf(session)
    this.locks.sessionEnded(ctx, session)
    this.names.sessionEnded(ctx, session)
    this.#sessions.end(session, ctx.nextRevision())
    ctx.emit({ kind: 'session-ended', node, session, reason })
  }
}

function sorted(map: PackedMap): PackedMap {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)))
}
