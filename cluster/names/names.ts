// Names that other nodes know too: the service over gossip and mesh. What is decided, the cores decide; here messages come in and go out.
// cluster.md §6.

import { createHash } from 'node:crypto'
import { assert } from '../../runtime/base/assert.ts'
import { toText } from '../../runtime/base/bytes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { Histogram } from '../../runtime/base/histogram.ts'
import { pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import { epochOf, parsePid } from '../../runtime/base/pid.ts'
import type { Fabric, Run } from '../fabric.ts'
import { Fields } from '../state/core/fields.ts'
import { STALE_MS } from './core/cache.ts'
import type { Change } from './core/change.ts'
import { Eventual, type EventualEffect, type EventualInput, type EventualSettings } from './core/eventual.ts'
import { type Holders, holderAgainst, resolveShared } from './core/resolve.ts'
import { GlobalNames, type GlobalNamesOptions } from './global.ts'
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
interface NamesHost {
  /**
   * Asks whether a process of this node is there. From then on its end is told with `exited`. `done` is called before anything that
   * happened to the process afterwards is told.
   */
  bear(pid: string, done: (problem: MoonmeshError | undefined) => void): void
  /** Of scope local. */
  localHolder(name: string): string | undefined
  /** Takes a name of scope local from its holder. */
  releaseLocal(name: string): void
  localCount(): number
  /** What names stand for from now on; `pid` undefined: nothing beyond this node. */
  changed(names: readonly { readonly name: string; readonly pid: string | undefined }[]): void
  /** A process of this node lost its name. */
  revoked(name: string, pid: string): void
}

interface NamesOptions {
  readonly fabric: Fabric
  readonly host: NamesHost
  readonly settings?: Partial<EventualSettings>
}

interface RegisterRequest {
  readonly name: string
  readonly pid: string
  readonly scope: ClusterScope
  /** The process that asks. */
  readonly caller: string
  readonly signal: AbortSignal
}

interface UnregisterRequest {
  readonly name: string
  readonly scope: ClusterScope
  readonly caller: string
  readonly signal: AbortSignal
}

/** A name as it resolves here. */
interface NameEntry {
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

/** What registering again would end with as well, as long as nothing else changes. */
const FINAL: ReadonlySet<string> = new Set(['AlreadyExists', 'NotFound', 'LimitExceeded', 'Invalid'])

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
  #global: GlobalNames | undefined
  /** Of other nodes, as gossip knows them. */
  readonly #epochs = new Map<string, number>()
  readonly #registrations = new Map<string, number>()

  constructor({ fabric, host, settings }: NamesOptions) {
    this.#fabric = fabric
    this.#host = host
    const own = { node: fabric.name, epoch: fabric.epoch, hash: sha256 }
    this.#eventual = new Eventual(settings === undefined ? own : { ...own, settings }, fabric.env)
    this.#undo.push(
      fabric.onLive(({ kind, node: { name, epoch } }) => this.#sawNode(kind !== 'left', name, epoch)),
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
    for (const { name, epoch } of fabric.live()) this.#sawNode(true, name, epoch)
    this.#schedule()
  }

  /** Consensus is there: consistent and strong names from now on. Once. */
  attach(options: Omit<GlobalNamesOptions, 'fabric' | 'scopes'>): void {
    assert(this.#global === undefined, 'attached once')
    this.#global = new GlobalNames({
      ...options,
      fabric: this.#fabric,
      scopes: {
        eventualHolder: (name, pid) => {
          const own = this.#eventual.ownPid(name)
          return own !== undefined && own !== pid ? own : this.#eventual.lookup(name)
        },
        localHolder: (name) => this.#host.localHolder(name),
        changed: (names) => this.#host.changed(names.map((name) => ({ name, pid: this.lookup(name) }))),
        lost: (name, pid) => this.#host.revoked(name, pid),
        giveWay: (name, pid) => this.#giveWay(name, pid),
      },
    })
    this.#global.begin()
  }

  /** A strong name of another process was there before this node joined. */
  #giveWay(name: string, pid: string): void {
    const own = this.#eventual.ownPid(name)
    if (own !== undefined && own !== pid) this.#perform(this.#eventual.revoke(name, pid))
    const local = this.#host.localHolder(name)
    if (local === undefined || local === pid) return
    this.#host.releaseLocal(name)
    this.#revoked(name, local)
  }

  #sawNode(isLive: boolean, node: string, epoch: number): void {
    const before = this.#epochs.get(node)
    if (isLive) this.#epochs.set(node, epoch)
    this.#step({ kind: isLive ? 'live' : 'gone', node, epoch })
    if (!isLive || before === undefined || before >= epoch || this.#global === undefined) return
    // Names of its earlier run resolve no more, though the log still has them.
    const names = this.#global.bindings('').flatMap(({ name, pid }) => (parsePid(pid)?.node === node ? [name] : []))
    if (names.length > 0) this.#host.changed(names.map((name) => ({ name, pid: this.lookup(name) })))
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
    try {
      await this.#fabric.request({ name: node, epoch }, REGISTER, pack({ name, pid, scope }), { signal })
    } catch (error) {
      throw error instanceof MoonmeshError ? decided(error) : error
    }
  }

  async #registerHere(request: RegisterRequest): Promise<void> {
    const { name, pid, scope, caller } = request
    const waits = scope === 'eventual' && this.isReady(name) === false && this.#eventual.ownPid(name) !== pid
    if (waits) await this.#global?.ready(name)
    await new Promise<void>((resolve, reject) => {
      const bind = (): void => {
        try {
          resolve(this.#bind(request))
        } catch (error) {
          reject(error)
        }
      }
      // Whoever asks for itself is there, unless time has passed, and is known to the node.
      if (pid === caller && !waits) bind()
      else this.#host.bear(pid, (problem) => (problem === undefined ? bind() : reject(problem)))
    })
  }

  /** Whether this name may be registered in the smaller scopes now; false: `whenReady` says when. */
  isReady(name: string): boolean {
    return this.#global === undefined || this.#global.isReady || name.startsWith('_sys.')
  }

  /** @throws MoonmeshError `Unavailable` when it takes too long */
  async whenReady(name: string): Promise<void> {
    await this.#global?.ready(name)
  }

  /** In the turn in which it is known that the process is there: its end comes afterwards. */
  #bind({ name, pid, scope, signal }: RegisterRequest): void | Promise<void> {
    if (this.#isClosed) throw stopping()
    if (scope !== 'eventual') {
      if (this.#global === undefined) throw noConsensus(scope)
      return this.#global.register(name, pid, scope, signal)
    }
    const holder = holderAgainst(scope, pid, this.#owners(name))
    if (holder !== undefined) throw taken(name, holder)
    const { outcome, effects } = this.#eventual.register(name, pid)
    this.#perform(effects)
    if (outcome.ok) return
    if (outcome.why === 'taken') throw taken(name, outcome.pid)
    throw new MoonmeshError('LimitExceeded', `there are ${outcome.what} already`, { retryable: false })
  }

  /** @returns false: no process of this node has it in this scope; of a consistent or strong name: the caller has it not */
  async unregister({ name, scope, caller, signal }: UnregisterRequest): Promise<boolean> {
    if (scope !== 'eventual') return this.#global?.unregister(name, caller, scope, signal) ?? false
    const { removed, effects } = this.#eventual.unregister(name)
    this.#perform(effects)
    return removed
  }

  /** A process of this node ended: its names are free. */
  exited(pid: string): void {
    this.#perform(this.#eventual.exited(pid))
    this.#global?.exited(pid)
  }

  /** What the name stands for beyond this node. */
  lookup(name: string): string | undefined {
    return resolveShared(this.#holders(name))
  }

  /** The scope of what `lookup` finds. */
  scopeOf(name: string): ClusterScope | undefined {
    const found = this.lookup(name)
    if (found === undefined) return undefined
    const global = this.#global?.lookup(name)
    return global?.pid === found ? global.scope : 'eventual'
  }

  /**
   * The same, and where this node cannot know, or `isLinearizable` is asked for, as the log has it.
   * @throws MoonmeshError `Unavailable` (no answer of the log)
   */
  async find(name: string, options: { isLinearizable: boolean; deadlineMs?: number }): Promise<string | undefined> {
    const { isLinearizable, deadlineMs } = options
    if (this.#global === undefined) {
      if (isLinearizable) throw noConsensus('consistent')
      return this.lookup(name)
    }
    if (!isLinearizable) {
      const known = this.lookup(name)
      if (known !== undefined || !this.#global.mayKnowMore(name)) return known
      // In a part of the cluster without a leader what is known here has to do.
      await this.#global.lookupInLog(name, deadlineMs ?? ASK_MS).catch(() => undefined)
      return this.lookup(name)
    }
    const found = await this.#global.lookupInLog(name, deadlineMs)
    return found?.pid ?? this.#eventual.lookup(name)
  }

  /** The process that the name stood for was not where it was sent to: the log is asked. */
  async mistrust(name: string): Promise<string | undefined> {
    await this.#global?.mistrust(name).catch(() => undefined)
    return this.lookup(name)
  }

  /** Who has, or is about to have, the name in a scope that is larger than the node. */
  holder(name: string): string | undefined {
    const { reserved, global, eventual } = this.#owners(name)
    return reserved ?? global ?? eventual
  }

  /** Sorted by name. */
  entries(prefix = ''): NameEntry[] {
    const global = this.#global?.bindings(prefix).map(({ name, pid, scope }) => ({ name, pid, scope })) ?? []
    const eventual = this.#eventual.names(prefix).map(({ name, pid }) => ({ name, pid, scope: 'eventual' as const }))
    return [...global, ...eventual].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  }

  /** Whether lookups and registrations here rest on all that is in the log. For readiness. */
  check(): { readonly name: 'names'; readonly ok: boolean; readonly detail: string } {
    const check = (ok: boolean, detail: string) => ({ name: 'names', ok, detail }) as const
    if (this.#global === undefined || this.#global.isReady) {
      const ageMs = this.#global?.ageMs ?? 0
      if (ageMs <= STALE_MS || !Number.isFinite(ageMs)) return check(true, 'strong names are known')
      return check(true, `what is known of the log is ${Math.round(ageMs / 1000)} s old`)
    }
    return check(false, 'strong names of this session are still asked for')
  }

  /** How long strong registrations of this node took, by result. */
  strongSeconds(): ReadonlyMap<string, Histogram> {
    return this.#global?.strongSeconds ?? new Map()
  }

  statistics(): NamesStatistics {
    const global = this.#global?.figures()
    return {
      names: [
        { scope: 'local', count: this.#host.localCount() },
        { scope: 'eventual', count: this.#eventual.count },
        { scope: 'consistent', count: global?.consistent ?? 0 },
        { scope: 'strong', count: global?.strong ?? 0 },
      ],
      revoked: [
        { cause: 'conflict', count: this.#eventual.counters.revoked },
        { cause: 'session', count: global?.lost ?? 0 },
      ],
      pending: global?.pending ?? 0,
      cacheAgeMs: global === undefined || !Number.isFinite(global.cacheAgeMs) ? 0 : global.cacheAgeMs,
      cacheMisses: global?.misses ?? 0,
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
    this.#global?.close()
    for (const undo of this.#undo.splice(0)) undo()
  }

  /** Who keeps others out: a strong name is its process's until the log says that it is not, though nobody resolves it here any more. */
  #owners(name: string): Holders {
    return { ...this.#holders(name), global: this.#global?.strongOwner(name) ?? this.#globalPid(name) }
  }

  #holders(name: string): Holders {
    return {
      global: this.#globalPid(name),
      reserved: this.#global?.reservedFor(name),
      eventual: this.#eventual.lookup(name),
      local: this.#host.localHolder(name),
    }
  }

  /** Unless gossip knows a later run of its node. */
  #globalPid(name: string): string | undefined {
    const pid = this.#global?.lookup(name)?.pid
    const parts = pid === undefined ? undefined : parsePid(pid)
    if (parts?.node === undefined) return pid
    const epoch = parts.node === this.#fabric.name ? this.#fabric.epoch : (this.#epochs.get(parts.node) ?? 0)
    return epochOf(parts.uniq) < epoch ? undefined : pid
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
          this.#revoked(effect.name, effect.pid)
          break
        case 'learned':
          this.#fabric.converged?.(effect.ageMs)
          break
      }
    }
    if (changed.length > 0) this.#host.changed(changed)
    this.#schedule()
  }

  #revoked(name: string, pid: string): void {
    this.#fabric.log('warn', 'name_revoked', { name: toText(name), pid: toText(pid) })
    this.#host.revoked(name, pid)
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

interface NamesStatistics {
  /** That resolve here. */
  readonly names: readonly { readonly scope: string; readonly count: number }[]
  /** That processes of this node lost. */
  readonly revoked: readonly { readonly cause: string; readonly count: number }[]
  /** Names that this node has agreed to reserve for a process. */
  readonly pending: number
  /** Since what is known of names in the log was told last; 0 on a member of the group. */
  readonly cacheAgeMs: number
  /** Names whose process was not where the cache had it. */
  readonly cacheMisses: number
  readonly malformed: number
  readonly registrations: readonly { readonly scope: string; readonly result: string; readonly count: number }[]
}

const COMPARE_TIMEOUT_MS = 5000
/** For what a lookup may cost at most that could do with what is known here. */
const ASK_MS = 2000

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

/** A refusal by another node, as the same one here: whether trying again may help does not travel. */
function decided(error: MoonmeshError): MoonmeshError {
  const { kind, message, details, cause } = error
  if (error.retryable !== undefined || !FINAL.has(kind)) return error
  return new MoonmeshError(kind, message, { retryable: false, cause, ...(details === undefined ? {} : { details }) })
}

function stopping(): MoonmeshError {
  return new MoonmeshError('Unavailable', 'the node stops', { retryable: true })
}

function noConsensus(scope: ClusterScope): MoonmeshError {
  return new MoonmeshError('Unavailable', `${scope} names need consensus, which this node has not`, {
    retryable: true,
  })
}
