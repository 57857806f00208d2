// Names that other nodes know too: the service over gossip and mesh. What is decided, the cores decide; here messages come in and go out.
// cluster.md §6.

import { createHash } from 'node:crypto'
import { toText } from '../../runtime/base/bytes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import { epochOf, parsePid } from '../../runtime/base/pid.ts'
import type { ErrorValue } from '../../runtime/base/value.ts'
import type { Fabric, Run } from '../fabric.ts'
import { Fields } from '../state/core/fields.ts'
import type { Change } from './core/change.ts'
import { Eventual, type EventualEffect, type EventualInput, type EventualSettings } from './core/eventual.ts'
import { type Holders, holderAgainst, resolveShared } from './core/resolve.ts'
import {
  COMPARE,
  changeFrames,
  decodeDigest,
  decodeFrame,
  decodePull,
  decodePullAnswer,
  digestFrames,
  encodeDigest,
  encodePull,
  encodePullAnswer,
  PULL,
} from './wire/eventual.ts'

export type ClusterScope = 'eventual' | 'consistent' | 'strong'

/** The node's part: its processes and their local names. Names and PIDs are byte strings. */
export interface NamesHost {
  /**
   * Asks whether a process of this node is there. From then on its end is told with `exited`. `done` is called before anything that
   * happened to the process afterwards is told.
   */
  bear(pid: string, done: (problem: MoonmeshError | ErrorValue | undefined) => void): void
  /** Of scope local. */
  localHolder(name: string): string | undefined
  localCount(): number
  /** What names stand for from now on; `pid` undefined: nothing beyond this node. */
  changed(names: readonly { readonly name: string; readonly pid: string | undefined }[]): void
  /** A process of this node lost its name. */
  revoked(name: string, pid: string): void
}

export interface NamesOptions {
  readonly fabric: Fabric
  readonly host: NamesHost
  readonly settings?: Partial<EventualSettings>
}

export interface RegisterRequest {
  readonly name: string
  readonly pid: string
  readonly scope: ClusterScope
  /** The process that asks. */
  readonly caller: string
  readonly signal: AbortSignal
}

export interface UnregisterRequest {
  readonly name: string
  readonly scope: ClusterScope
  readonly caller: string
  readonly signal: AbortSignal
}

/** A name as it resolves here. */
export interface NameEntry {
  readonly name: string
  readonly pid: string
  readonly scope: ClusterScope
}

/** Registers a name for a process at the node of the process, which sees to it that the name ends with it. */
const REGISTER = 'names.register'
/** Changes are told together that come in such a time. */
const GOSSIP_BATCH_MS = 5
/** Changes that wait to be told. Of more than these the last are told: who hears them sees what is missing, and asks. */
const GOSSIP_WAITING_MAX = 256

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

export class Names {
  readonly #fabric: Fabric
  readonly #host: NamesHost
  readonly #eventual: Eventual
  readonly #undo: (() => void)[] = []
  #waiting: Change[] = []
  #cancelFlush: (() => void) | undefined
  #cancelWake: () => void = () => {}
  #wakeAtMs = Number.POSITIVE_INFINITY
  #isClosed = false
  /** Frames and answers that could not be read. */
  #malformed = 0
  readonly #registrations = new Map<string, number>()

  constructor({ fabric, host, settings }: NamesOptions) {
    this.#fabric = fabric
    this.#host = host
    const own = { node: fabric.name, epoch: fabric.epoch, hash: sha256 }
    this.#eventual = new Eventual(settings === undefined ? own : { ...own, settings }, fabric.env)
    this.#undo.push(
      fabric.onLive(({ kind, node: { name: node, epoch } }) =>
        this.#step({ kind: kind === 'left' ? 'gone' : 'live', node, epoch }),
      ),
      fabric.onGossip('eventualNames', (payload, from) => this.#heard(payload, from)),
      fabric.onExchange('eventualNames', () => digestFrames(this.#eventual.digest())),
      fabric.serve(PULL, (body) => encodePullAnswer(this.#eventual.answerPull(readable(() => decodePull(body))))),
      fabric.serve(COMPARE, (body, { peer }) => {
        const entries = readable(() => decodeDigest(body))
        const beyond = encodeDigest(this.#eventual.beyond(entries))
        this.#step({ kind: 'digest', node: peer, entries })
        return beyond
      }),
      fabric.serve(REGISTER, async (body, { signal }) => {
        const fields = readable(() => new Fields(unpack(body)))
        const [name, pid] = readable(() => [fields.text('name'), fields.text('pid')] as const)
        const scope = readable(() => scopeOf(fields.text('scope')))
        await this.#registerHere({ name, pid, scope, caller: '', signal })
        return pack(true)
      }),
    )
    for (const { name: node, epoch } of fabric.live()) this.#step({ kind: 'live', node, epoch })
    this.#schedule()
  }

  /**
   * Binds the name in this scope. The first registration wins.
   * @throws MoonmeshError `AlreadyExists` (details: `existing_pid`), `NotFound` (no such process), `LimitExceeded`, `Unavailable`, `Timeout`
   */
  async register(request: RegisterRequest): Promise<void> {
    try {
      await this.#registerAnywhere(request)
      this.#count(request.scope, 'ok')
    } catch (error) {
      this.#count(request.scope, error instanceof MoonmeshError ? error.kind : 'Internal')
      throw error
    }
  }

  #registerAnywhere(request: RegisterRequest): Promise<void> {
    const node = parsePid(request.pid)?.node
    return node === undefined || node === this.#fabric.name
      ? this.#registerHere(request)
      : this.#registerThere(request, node)
  }

  async #registerThere({ name, pid, scope, signal }: RegisterRequest, node: string): Promise<void> {
    const epoch = epochOf(parsePid(pid)?.uniq ?? '')
    const run = this.#fabric.live().find((each) => each.name === node)
    if (run === undefined || run.epoch !== epoch) throw noProcess(pid)
    await this.#fabric.request({ name: node, epoch }, REGISTER, pack({ name, pid, scope }), { signal })
  }

  #registerHere(request: RegisterRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      const bind = (): void => {
        try {
          this.#bind(request)
          resolve()
        } catch (error) {
          reject(error)
        }
      }
      // Whoever asks for itself is there, and is known to the node.
      if (request.pid === request.caller) bind()
      else this.#host.bear(request.pid, (problem) => (problem === undefined ? bind() : reject(problem)))
    })
  }

  /** In the turn in which it is known that the process is there: its end comes afterwards. */
  #bind({ name, pid, scope }: RegisterRequest): void {
    if (this.#isClosed) throw stopping()
    if (scope !== 'eventual') throw noConsensus(scope)
    const holder = holderAgainst(scope, pid, this.#holders(name))
    if (holder !== undefined) throw taken(name, holder)
    const { outcome, effects } = this.#eventual.register(name, pid)
    this.#perform(effects)
    if (outcome.ok) return
    if (outcome.why === 'taken') throw taken(name, outcome.pid)
    throw new MoonmeshError('LimitExceeded', `there are ${outcome.what} already`, { retryable: false })
  }

  /** @returns false: no process of this node has it in this scope */
  async unregister({ name, scope }: UnregisterRequest): Promise<boolean> {
    if (scope !== 'eventual') return false
    const { removed, effects } = this.#eventual.unregister(name)
    this.#perform(effects)
    return removed
  }

  /** A process of this node ended: its names are free. */
  exited(pid: string): void {
    this.#perform(this.#eventual.exited(pid))
  }

  /** What the name stands for beyond this node. */
  lookup(name: string): string | undefined {
    return resolveShared(this.#holders(name))
  }

  /** Who has, or is about to have, the name in a scope that is larger than the node. */
  holder(name: string): string | undefined {
    const { reserved, global, eventual } = this.#holders(name)
    return reserved ?? global ?? eventual
  }

  /** Sorted by name. */
  entries(prefix = ''): NameEntry[] {
    return this.#eventual.names(prefix).map(({ name, pid }) => ({ name, pid, scope: 'eventual' }))
  }

  statistics(): NamesStatistics {
    return {
      names: [
        { scope: 'local', count: this.#host.localCount() },
        { scope: 'eventual', count: this.#eventual.count },
      ],
      revoked: [{ cause: 'conflict', count: this.#eventual.counters.revoked }],
      malformed: this.#malformed,
      registrations: [...this.#registrations]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, count]) => {
          const [scope = '', result = ''] = key.split(' ')
          return { scope, result, count }
        }),
    }
  }

  /** Idempotent. What is bound stays until others see this node go. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelWake()
    this.#cancelFlush?.()
    for (const undo of this.#undo.splice(0)) undo()
  }

  #holders(name: string): Holders {
    return {
      global: undefined,
      reserved: undefined,
      eventual: this.#eventual.lookup(name),
      local: this.#host.localHolder(name),
    }
  }

  #count(scope: ClusterScope, result: string): void {
    const key = `${scope} ${result}`
    this.#registrations.set(key, (this.#registrations.get(key) ?? 0) + 1)
  }

  // ---- eventual names

  #heard(payload: Uint8Array, from: string | undefined): void {
    let frame: ReturnType<typeof decodeFrame>
    try {
      frame = decodeFrame(payload)
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      this.#malformed++
      return
    }
    if (frame.kind === 'changes') this.#step(frame)
    else this.#step({ ...frame, node: from })
  }

  #step(input: EventualInput): void {
    if (this.#isClosed) return
    this.#perform(this.#eventual.step(input))
  }

  #perform(effects: readonly EventualEffect[]): void {
    const changed: { name: string; pid: string | undefined }[] = []
    for (const effect of effects) {
      switch (effect.kind) {
        case 'gossip':
          this.#tell(effect.changes)
          break
        case 'pull':
          void this.#pull(effect)
          break
        case 'compare':
          void this.#compare(effect.node)
          break
        case 'resolved':
          changed.push({ name: effect.name, pid: this.lookup(effect.name) })
          break
        case 'revoked':
          this.#fabric.log('warn', 'name_revoked', { name: toText(effect.name), pid: toText(effect.pid) })
          this.#host.revoked(effect.name, effect.pid)
          break
        case 'learned':
          this.#fabric.converged?.(effect.ageMs)
          break
      }
    }
    if (changed.length > 0) this.#host.changed(changed)
    this.#schedule()
  }

  #tell(changes: readonly Change[]): void {
    this.#waiting.push(...changes)
    if (this.#waiting.length > 2 * GOSSIP_WAITING_MAX) this.#waiting = this.#waiting.slice(-GOSSIP_WAITING_MAX)
    this.#cancelFlush ??= this.#fabric.after(GOSSIP_BATCH_MS, () => this.#flush())
  }

  #flush(): void {
    this.#cancelFlush = undefined
    const changes = this.#waiting.slice(-GOSSIP_WAITING_MAX)
    this.#waiting = []
    for (const frame of changeFrames(changes)) this.#fabric.gossip('eventualNames', frame, keyOf(frame))
  }

  async #pull({ node, pull, request, timeoutMs }: EventualEffect & { kind: 'pull' }): Promise<void> {
    const bytes = await this.#ask(node, PULL, encodePull(request), timeoutMs)
    const answer = bytes === undefined ? undefined : this.#read(() => decodePullAnswer(bytes))
    this.#step({ kind: 'pulled', pull, answer })
  }

  async #compare(node: string): Promise<void> {
    const bytes = await this.#ask(node, COMPARE, encodeDigest(this.#eventual.digest()), COMPARE_TIMEOUT_MS)
    const entries = bytes === undefined ? undefined : this.#read(() => decodeDigest(bytes))
    if (entries !== undefined && entries.length > 0) this.#step({ kind: 'digest', node, entries })
  }

  /** Undefined: no answer. */
  async #ask(node: string, method: string, body: Uint8Array, deadlineMs: number): Promise<Uint8Array | undefined> {
    const to: Run = { name: node, epoch: 0 }
    try {
      return await this.#fabric.request(to, method, body, { deadlineMs })
    } catch (error) {
      if (error instanceof MoonmeshError) return undefined
      throw error
    }
  }

  #read<T>(decode: () => T): T | undefined {
    try {
      return decode()
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      this.#malformed++
      return undefined
    }
  }

  #schedule(): void {
    const dueMs = this.#eventual.nextDueMs
    if (this.#isClosed || dueMs === this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = dueMs
    this.#cancelWake = this.#fabric.after(Math.max(0, dueMs - this.#fabric.env.nowMs()), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.#step({ kind: 'wake' })
    })
  }
}

export interface NamesStatistics {
  /** That resolve here. */
  readonly names: readonly { readonly scope: string; readonly count: number }[]
  /** That processes of this node lost. */
  readonly revoked: readonly { readonly cause: string; readonly count: number }[]
  readonly malformed: number
  readonly registrations: readonly { readonly scope: string; readonly result: string; readonly count: number }[]
}

const COMPARE_TIMEOUT_MS = 5000

/** Frames begin with origin, epoch and number of their first change, so no two that differ share this. */
function keyOf(frame: Uint8Array): string {
  return createHash('sha256').update(frame).digest('base64').slice(0, 16)
}

/** What a peer sent for us to answer. */
function readable<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof UnpackError)) throw error
    throw new MoonmeshError('Invalid', `a request about names cannot be read: ${error.message}`, { retryable: false })
  }
}

function scopeOf(text: string): ClusterScope {
  if (text === 'eventual' || text === 'consistent' || text === 'strong') return text
  throw new UnpackError('no scope of the cluster')
}

function taken(name: string, holder: string): MoonmeshError {
  const details = { name: toText(name), existing_pid: toText(holder) }
  return new MoonmeshError('AlreadyExists', 'name already registered', { retryable: false, details })
}

function noProcess(pid: string): MoonmeshError {
  return new MoonmeshError('NotFound', `process not found: ${toText(pid)}`, { retryable: false })
}

function stopping(): MoonmeshError {
  return new MoonmeshError('Unavailable', 'the node stops', { retryable: true })
}

function noConsensus(scope: ClusterScope): MoonmeshError {
  return new MoonmeshError('Unavailable', `${scope} names need consensus, which this node has not`, {
    retryable: true,
  })
}
