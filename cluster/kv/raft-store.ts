// The versioned store as services of a node use it, on members of the group and on clients alike: writes that happen once, reads that are as new
// as every acknowledged write, and watches that go on over the loss of whoever served them. cluster.md §8.2 to §8.4.
//
// A watch is a position in the changes that a replica remembers. Whoever follows asks for what comes after the position, and waits at the replica
// if there is nothing: here where this node has one, else at a member. So a member that goes away, falls behind or restores a snapshot costs
// nothing but another question, and a slow reader holds nothing up.

import { backoffMs } from '../../runtime/base/backoff.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { UnpackError } from '../../runtime/base/msgpack.ts'
import { type Fabric, memberRole } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import type { Machine } from '../state/core/machine.ts'
import type { ClusterState } from '../state/state.ts'
import type { WatchBatch } from './core/changes.ts'
import type { KvCommand, KvResult } from './core/commands.ts'
import {
  decodeBatch,
  decodeItem,
  decodePage,
  decodePoll,
  encodeBatch,
  encodeItem,
  encodePage,
  encodePoll,
  getArgsOf,
  type ListArgs,
  listArgsOf,
  type PollArgs,
  packGetArgs,
  packListArgs,
  type VersionedItem,
  type VersionedPage,
} from './wire/reads.ts'

interface VersionedOptions {
  readonly fabric: Fabric
  readonly state: Pick<ClusterState, 'submit' | 'read' | 'addQuery' | 'replica' | 'barrier'>
  /** Undefined: this node is a client for good. */
  readonly consensus: Pick<Consensus, 'onApplied' | 'onRestored'> | undefined
}

interface CallOptions {
  readonly signal?: AbortSignal
}

type Written = Extract<KvResult, { ok: true }>

const QUERY_GET = 'kv.get'
const QUERY_LIST = 'kv.list'
const METHOD_WATCH = 'kv.watch'
/** How long a member keeps a question for changes. Then it makes sure that it has not been left behind. */
const POLL_MS = 15_000
const POLL_MS_MAX = 60_000
const BARRIER_MS = 5000
const BATCH_COUNT = 256
const BATCH_BYTES = 256 * 1024
const START_MS = 10_000
/** A member answers at most 1024 questions of one node at a time. */
const REMOTE_WATCHES_MAX = 512
const BACKOFF = { initialMs: 50, maxMs: 1000, factor: 2, jitter: 0.3 }

export class VersionedStores {
  readonly #fabric: Fabric
  readonly #state: VersionedOptions['state']
  readonly #closers: (() => void)[]
  /** Questions that wait for a change, by the number of their watch. */
  readonly #waiting = new Map<number, () => void>()
  readonly #abort = new AbortController()
  #remoteWatches = 0
  #watches = 0
  #resyncs = 0

  constructor({ fabric, state, consensus }: VersionedOptions) {
    this.#fabric = fabric
    this.#state = state
    state.addQuery(QUERY_GET, (machine, args) => readAs(() => encodeItem(itemIn(machine, getArgsOf(args)))))
    state.addQuery(QUERY_LIST, (machine, args) => readAs(() => encodePage(pageIn(machine, listArgsOf(args)))))
    this.#closers = [
      fabric.serve(METHOD_WATCH, async (body, { signal }) =>
        encodeBatch(
          await this.#pollHere(
            readAs(() => decodePoll(body)),
            signal,
          ),
        ),
      ),
    ]
    if (consensus !== undefined) {
      this.#closers.push(
        consensus.onApplied(() => this.#wake()),
        consensus.onRestored(() => this.#wake()),
      )
    }
  }

  /** Watches of this node's processes. */
  get watchCount(): number {
    return this.#watches
  }

  /** Times that one of them was told to list again. */
  get resyncCount(): number {
    return this.#resyncs
  }

  /** Keys of a namespace, and their bytes with those of the values; undefined where this node has no replica. */
  usageOf(namespace: string): { readonly keys: number; readonly bytes: number } | undefined {
    return this.#state.replica?.store.usageOf(namespace)
  }

  /**
   * @param options.stale whatever is applied here, or at the member that is asked; else as new as every acknowledged write
   * @returns undefined: there is no such key
   * @throws MoonmeshError `Unavailable`
   */
  async get(namespace: string, key: string, options: { stale: boolean }): Promise<VersionedItem | undefined> {
    return decodeItem(await this.#state.read(QUERY_GET, packGetArgs(namespace, key), options))
  }

  /** A page in the order of keys, of one moment. @throws MoonmeshError `Unavailable` */
  async list(args: ListArgs, options: { stale: boolean }): Promise<VersionedPage> {
    return decodePage(await this.#state.read(QUERY_LIST, packListArgs(args), options))
  }

  /**
   * Writes, once.
   * @throws MoonmeshError `AlreadyExists`, `NotFound`, `Conflict` (retryable) for conditions that do not hold, `details: { key, version }`;
   *   `Invalid`; `Unavailable` (`details.ambiguous`: it may have happened, or may yet); `Canceled`; `LimitExceeded`
   */
  async write(command: KvCommand, { signal }: CallOptions = {}): Promise<Written> {
    const outcome = await this.#state.submit({ kind: 'kv', command }, signal === undefined ? {} : { signal })
    if (outcome.status !== 'kv') {
      throw new MoonmeshError('Unavailable', `the write was not carried out: ${outcome.status}`, { retryable: true })
    }
    const { result } = outcome
    if (result.ok) return result
    const { kind, message, key, version } = result
    throw new MoonmeshError(kind, message, {
      retryable: kind === 'Conflict' || kind === 'Unavailable',
      details: {
        ...(key === undefined ? {} : { key }),
        ...(version === undefined ? {} : { version: String(version) }),
      },
    })
  }

  /**
   * Follows the keys that begin with `prefix`.
   * @param options.from the last version that the caller knows of; absent: that of this moment
   * @throws MoonmeshError `Unavailable` when nobody says what this moment is, `LimitExceeded`
   */
  async watch(
    namespace: string,
    prefix: string,
    { from, signal }: { from?: number } & CallOptions = {},
  ): Promise<StoreWatch> {
    const isRemote = this.#state.replica === undefined
    if (isRemote && this.#remoteWatches >= REMOTE_WATCHES_MAX) {
      const text = `this node is no member of the group, and follows ${REMOTE_WATCHES_MAX} prefixes already; close some`
      throw new MoonmeshError('LimitExceeded', text, { retryable: true })
    }
    this.#watches++
    if (isRemote) this.#remoteWatches++
    const watch = new StoreWatch({
      env: this.#fabric.env,
      endings: signal === undefined ? [this.#abort.signal] : [this.#abort.signal, signal],
      poll: (after, ending, failures) => this.#poll({ namespace, prefix, after, waitMs: POLL_MS }, ending, failures),
      pause: (delayMs) => this.#pause(delayMs),
      resynced: () => {
        this.#resyncs++
      },
      closed: () => {
        this.#watches--
        if (isRemote) this.#remoteWatches--
      },
    })
    try {
      await watch.begin(from)
      return watch
    } catch (error) {
      watch.close()
      throw error
    }
  }

  /** Nobody is answered any more. Idempotent. */
  close(): void {
    this.#abort.abort()
    for (const close of this.#closers.splice(0)) close()
    this.#wakeAll()
  }

  // ---- watching

  /** @param failures of this question so far: here first, then anywhere */
  async #poll(args: PollArgs, signal: AbortSignal, failures: number): Promise<WatchBatch> {
    const members = this.#members()
    const isHere = this.#state.replica !== undefined && (failures % 2 === 0 || members.length === 0)
    if (isHere) return this.#pollHere(args, signal)
    const to = members[this.#fabric.env.randomInt(Math.max(1, members.length))]
    if (to === undefined) throw new MoonmeshError('Unavailable', 'no member of the group is known', { retryable: true })
    const deadlineMs = args.waitMs + 2 * BARRIER_MS
    const bytes = await this.#fabric.request({ name: to, epoch: 0 }, METHOD_WATCH, encodePoll(args), {
      deadlineMs,
      signal,
    })
    return decodeBatch(bytes, args.namespace)
  }

  #members(): string[] {
    return this.#fabric.live().flatMap((node) => (memberRole(this.#fabric, node) === undefined ? [] : [node.name]))
  }

  /** What comes after a position, once there is something; empty when nothing came for so long. */
  async #pollHere({ namespace, prefix, after, waitMs }: PollArgs, signal: AbortSignal): Promise<WatchBatch> {
    const changes = this.#replica().store.changes
    // This moment is that of every write that was acknowledged; and who has seen more than is applied here waits for it.
    if (after === undefined || after > changes.latest) await this.#state.barrier(BARRIER_MS)
    if (after === undefined) return { kind: 'changes', changes: [], seen: changes.latest }
    const id = changes.watch(namespace, prefix, after)
    if (id === undefined)
      throw new MoonmeshError('LimitExceeded', 'too many watches at this member', { retryable: true })
    const take = (): WatchBatch => changes.take(id, BATCH_COUNT, BATCH_BYTES)
    try {
      const first = take()
      if (!isEmpty(first)) return first
      await this.#change(id, Math.min(waitMs, POLL_MS_MAX), signal)
      const second = take()
      if (!isEmpty(second) || signal.aborted) return second
      // Silence may be that of a member which is cut off.
      await this.#state.barrier(BARRIER_MS)
      return take()
    } finally {
      changes.unwatch(id)
    }
  }

  #replica(): Machine {
    const { replica } = this.#state
    if (replica === undefined) throw new MoonmeshError('Unavailable', 'no replica here', { retryable: true })
    return replica
  }

  /** Until the watch has something to take, it took too long, or nobody waits any more. */
  #change(id: number, waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(id)
        cancel()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const cancel = this.#fabric.after(waitMs, done)
      this.#waiting.set(id, done)
      signal.addEventListener('abort', done, { once: true })
      if (signal.aborted) done()
    })
  }

  #wake(): void {
    if (this.#waiting.size === 0) return
    for (const id of this.#state.replica?.store.changes.ready() ?? []) this.#waiting.get(id)?.()
  }

  #wakeAll(): void {
    for (const done of [...this.#waiting.values()]) done()
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#fabric.after(delayMs, resolve)
    })
  }
}

interface WatchParts {
  readonly env: Pick<Fabric['env'], 'nowMs' | 'randomInt'>
  /** Any of them closes the watch. */
  readonly endings: readonly AbortSignal[]
  poll(after: number | undefined, ending: AbortSignal, failures: number): Promise<WatchBatch>
  pause(delayMs: number): Promise<void>
  resynced(): void
  closed(): void
}

/** The changes under a prefix, each once and in the order of versions. Reading is the reader's: nothing is kept for a slow one. */
export class StoreWatch {
  readonly #parts: WatchParts
  readonly #ending = new AbortController()
  #seen: number | undefined
  #isClosed = false

  constructor(parts: WatchParts) {
    this.#parts = parts
    for (const signal of parts.endings) {
      if (signal.aborted) this.close()
      signal.addEventListener('abort', () => this.close(), { once: true, signal: this.#ending.signal })
    }
  }

  /** Everything up to this version was given out. */
  get version(): number {
    return this.#seen ?? 0
  }

  /** Finds the position to begin at. @throws MoonmeshError `Unavailable` */
  async begin(from: number | undefined): Promise<void> {
    this.#seen = from
    if (from !== undefined) return
    const endMs = this.#parts.env.nowMs() + START_MS
    await this.#ask(() => this.#parts.env.nowMs() < endMs)
  }

  /**
   * What comes next, once there is something: changes, or that some are lost and the keys are to be listed again.
   * @returns undefined: it was closed
   * @throws MoonmeshError when it cannot go on
   */
  async next(): Promise<WatchBatch | undefined> {
    for (;;) {
      const batch = await this.#ask(() => true)
      if (batch === undefined || !isEmpty(batch)) return batch
    }
  }

  /** Asks until there is an answer, here or there. */
  async #ask(goesOn: () => boolean): Promise<WatchBatch | undefined> {
    const { signal } = this.#ending
    for (let failures = 0; !this.#isClosed; failures++) {
      try {
        const batch = await this.#parts.poll(this.#seen, signal, failures)
        if (this.#isClosed) return undefined
        this.#seen = batch.kind === 'resync' ? batch.version : batch.seen
        if (batch.kind === 'resync') this.#parts.resynced()
        return batch
      } catch (error) {
        if (this.#isClosed) return undefined
        if (!isPassing(error) || !goesOn()) throw error
        await this.#parts.pause(backoffMs(BACKOFF, failures + 1, this.#parts.env))
      }
    }
    return undefined
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#ending.abort()
    this.#parts.closed()
  }
}

function itemIn(machine: Machine, { namespace, key }: { namespace: string; key: string }): VersionedItem | undefined {
  const entry = machine.store.get(namespace, key)
  return entry === undefined ? undefined : { ...itemOf(machine, entry), value: entry.value }
}

function pageIn(machine: Machine, { namespace, prefix, after, limit }: ListArgs): VersionedPage {
  const { items, cursor, hasMore } = machine.store.list(namespace, { prefix, after, limit })
  const full = items.map((item): VersionedItem => {
    const value = machine.store.get(namespace, item.key)?.value ?? new Uint8Array(0)
    return { ...itemOf(machine, item), value }
  })
  return { items: full, cursor, hasMore }
}

function itemOf(
  { clockMs }: Machine,
  { key, version, expiryMs }: { key: string; version: number; expiryMs: number },
): Omit<VersionedItem, 'value'> {
  return { key, version, ttlLeftMs: expiryMs === 0 ? undefined : Math.max(0, Math.ceil(expiryMs - clockMs)) }
}

const isEmpty = (batch: WatchBatch): boolean => batch.kind === 'changes' && batch.changes.length === 0

/** What another node sends wrong is its own fault. */
function readAs<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof UnpackError)) throw error
    throw new MoonmeshError('Invalid', `the request cannot be read: ${error.message}`, { retryable: false })
  }
}

/** Whether another attempt, or another member, may answer. */
function isPassing(error: unknown): boolean {
  if (error instanceof UnpackError) return true
  if (!(error instanceof MoonmeshError)) return false
  return ['Unavailable', 'Timeout', 'NotLeader', 'NotFound', 'Internal'].includes(error.kind)
}
