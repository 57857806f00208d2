// The convergent store of a node at work: carries out what the core decides, over gossip, the mesh and the disk. A node without a cluster
// has the same store and nobody to tell. cluster.md §8.5 to §8.8.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { Env } from '../../runtime/base/env.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { UnpackError } from '../../runtime/base/msgpack.ts'
import type { Fabric, Run } from '../fabric.ts'
import { failureReason } from '../storage/failure.ts'
import type { Files } from '../storage/files.ts'
import { readSealed, writeSealed } from '../storage/sealed-file.ts'
import {
  type CrdtCounters,
  type CrdtItem,
  type CrdtPage,
  type CrdtSettings,
  CrdtStore,
  type CrdtUsage,
} from './core/crdt.ts'
import { type Entry, encodeEntry } from './core/entry.ts'
import {
  defaultReplicaSettings,
  type OutgoingEffect,
  Replica,
  type ReplicaEffect,
  type ReplicaInput,
} from './core/replica.ts'
import { DurableNamespace } from './durable-namespace.ts'
import {
  decodeExchange,
  decodeExchangeAnswer,
  decodeHint,
  decodeLaneMessage,
  decodeOne,
  encodeExchange,
  encodeExchangeAnswer,
  encodeHint,
  encodeLaneMessage,
} from './wire/crdt.ts'

interface CrdtServiceOptions {
  /** Of this node. */
  readonly name: string
  readonly env: Env
  readonly settings: Partial<CrdtSettings>
  readonly files: Files
  /** Where durable namespaces and the clock are kept; undefined: nothing is. */
  readonly directory: string | undefined
  /** @returns cancels it */
  after(delayMs: number, run: () => void): () => void
  /** Runs it when this turn of the event loop has ended. */
  defer(run: () => void): void
  log: Fabric['log']
}

export interface CrdtStatistics extends CrdtCounters {
  readonly entries: number
  readonly tombstones: number
  readonly bytes: number
  /** Shards that the latest comparison with another node found to differ. */
  readonly shardsDiffering: number
  /** Entries that were too large for gossip and not taken by the mesh. */
  readonly pushesDropped: number
  /** Messages of other nodes that could not be read. */
  readonly unreadable: number
}

const SNAPSHOT_INTERVAL_MS = 30_000
const CLOCK_RETRY_MS = 1000
/** A lane of low priority, behind snapshots. */
const REQUEST_MS = 30_000
/** What waits for the clock to be on disk. */
const HELD_MAX = 8192
/** Of one node: two comparisons that it began and two that this node did. */
const PARKED_MAX = 8
const CLOCK_FILE = 'clock'
const COMPLAINT_INTERVAL_MS = 60_000

/** What leaves this node. */
type Leaving = OutgoingEffect | { kind: 'answer'; to: Run; bytes: Uint8Array }

export class CrdtService {
  readonly #options: CrdtServiceOptions
  readonly #replica: Replica
  /** The core appends what changes in these. */
  readonly #durable: Set<string>
  readonly #namespaces = new Map<string, Promise<DurableNamespace>>()
  readonly #opened = new Map<string, DurableNamespace>()
  /** Those that changed while they were read. */
  readonly #missed = new Set<string>()
  #fabric: Fabric | undefined
  #detach: (() => void)[] = []
  /** Nodes with a session. */
  readonly #linked = new Map<string, Run>()
  /** Messages that the mesh had no room for, by node. */
  readonly #parked = new Map<string, Uint8Array[]>()
  readonly #requests = new Map<number, { exchange: number; node: string; cancel: () => void }>()
  #nextRequest = 1
  /** Inputs that came while another was carried out. */
  readonly #inputs: ReplicaInput[] = []
  #isStepping = false
  /** The clock that is to be on disk before anything leaves; undefined: it is. */
  #unsavedMs: number | undefined
  #held: Leaving[] = []
  readonly #cancels = new Map<string, () => void>()
  #complainedAtMs = Number.NEGATIVE_INFINITY
  #clockWriting: Promise<void> = Promise.resolve()
  #handOver: { readonly node: string; comparisons: number; done(): void } | undefined
  #shardsDiffering = 0
  #pushesDropped = 0
  #unreadable = 0
  #isClosed = false
  #closing: Promise<void> | undefined

  private constructor(options: CrdtServiceOptions, savedMs: number | undefined) {
    this.#options = options
    this.#durable = new Set()
    const { name, env, settings } = options
    const store = new CrdtStore({ origin: name, hash: sha256, settings, savedMs }, env)
    this.#replica = new Replica(store, { ...defaultReplicaSettings, durable: this.#durable }, env)
  }

  /**
   * Reads the clock of an earlier run. Namespaces are read when they are declared.
   * @throws MoonmeshError when the directory cannot be used
   */
  static async open(options: CrdtServiceOptions): Promise<CrdtService> {
    const { directory, files } = options
    let savedMs: number | undefined
    if (directory !== undefined) {
      await files.makeDirectory(directory)
      savedMs = await readClock(options, directory)
    }
    const service = new CrdtService(options, savedMs)
    service.#wakeLater()
    service.#snapshotLater()
    return service
  }

  // ---- for scripts

  /**
   * A store of this namespace exists from now on.
   * @returns whether it is kept on disk: not where the node keeps nothing
   * @throws MoonmeshError when the disk cannot be read or written
   */
  async declare(namespace: string, { durable }: { durable: boolean }): Promise<boolean> {
    const { directory } = this.#options
    if (!durable || directory === undefined) return this.#opened.has(namespace)
    let opening = this.#namespaces.get(namespace)
    if (opening === undefined) {
      opening = this.#openNamespace(namespace, directory)
      this.#namespaces.set(namespace, opening)
      // The next attempt tries again.
      opening.catch(() => this.#namespaces.delete(namespace))
    }
    await opening
    return true
  }

  async #openNamespace(namespace: string, directory: string): Promise<DurableNamespace> {
    const { files, defer, log } = this.#options
    const { store } = this.#replica
    const heldBefore = store.sizeOf(namespace) > 0
    this.#durable.add(namespace)
    const opened = await DurableNamespace.open({
      files,
      directory,
      namespace,
      valueBytesMax: store.settings.valueBytesMax,
      restore: (entry) => store.restore(entry),
      view: () => ({ entries: store.view(namespace), latest: store.clock.latest }),
      defer,
      log,
    })
    if (this.#isClosed) {
      await opened.close()
      throw closed()
    }
    this.#opened.set(namespace, opened)
    if (this.#missed.delete(namespace) || heldBefore) opened.changed()
    return opened
  }

  /** Writes what a durable namespace holds; nothing happens for others. */
  async save(namespace: string): Promise<void> {
    await this.#opened.get(namespace)?.save()
  }

  /**
   * Visible here at once; others hear of it.
   * @param ttlMs 0: no deadline
   * @throws MoonmeshError `Invalid` (key, value or ttl out of bounds), `Unavailable` (the store is full, or closed)
   */
  set(namespace: string, key: string, value: Uint8Array, ttlMs: number): CrdtItem {
    this.#assertOpen()
    const { outcome, effects } = this.#replica.set(namespace, key, value, ttlMs)
    if (!outcome.ok)
      throw new MoonmeshError(outcome.kind, outcome.message, { retryable: outcome.kind === 'Unavailable' })
    this.#performAll(effects)
    return { key, value, version: outcome.version, expiryMs: outcome.entry.expiryMs }
  }

  /** Whether there was something. @throws MoonmeshError as `set` */
  delete(namespace: string, key: string): boolean {
    this.#assertOpen()
    const { outcome, effects } = this.#replica.delete(namespace, key)
    if (outcome === undefined) return false
    if (!outcome.ok)
      throw new MoonmeshError(outcome.kind, outcome.message, { retryable: outcome.kind === 'Unavailable' })
    this.#performAll(effects)
    return true
  }

  /** Resolves when the end of this program would not lose what was written so far; at once where nothing is kept. */
  async written(namespace: string): Promise<void> {
    await this.#opened.get(namespace)?.written()
  }

  get(namespace: string, key: string): CrdtItem | undefined {
    this.#assertOpen()
    return this.#replica.store.get(namespace, key)
  }

  list(namespace: string, options: { prefix: string; after: string; limit: number }): CrdtPage {
    this.#assertOpen()
    return this.#replica.store.list(namespace, options)
  }

  usageOf(namespace: string): CrdtUsage {
    return this.#replica.store.usageOf(namespace)
  }

  statistics(): CrdtStatistics {
    const { store } = this.#replica
    const { counters, entryCount, tombstoneCount, bytes } = store
    return {
      ...counters,
      entries: entryCount,
      tombstones: tombstoneCount,
      bytes,
      shardsDiffering: this.#shardsDiffering,
      pushesDropped: this.#pushesDropped,
      unreadable: this.#unreadable,
    }
  }

  // ---- others

  /** From now on the store is one of many. */
  attach(fabric: Fabric): void {
    this.#fabric = fabric
    this.#detach = [
      fabric.onGossip('crdt', (payload, from) => this.#heard(payload, from)),
      fabric.onExchange('crdt', () => [encodeHint(this.#replica.store.digest.hashes)]),
      fabric.onMessage('crdt', (from, bytes) => this.#received(from, bytes)),
      fabric.onRoom((to, lane) => {
        if (lane === 'crdt') this.#unpark(to)
      }),
      fabric.onLive(({ kind, node }) => {
        if (kind === 'joined') this.#feed({ kind: 'node-known', node: node.name })
        else if (kind === 'left' && !this.#linked.has(node.name)) this.#feed({ kind: 'node-down', node: node.name })
      }),
      fabric.onLink(({ kind, node }) => {
        if (kind === 'up') this.#linkUp(node)
        else this.#linkDown(node)
      }),
    ]
    for (const { name } of fabric.live()) this.#feed({ kind: 'node-known', node: name })
    for (const node of fabric.linked()) this.#linkUp(node)
  }

  /**
   * Makes sure that another node has what this one wrote, before it leaves: gossip may not have told of the latest yet. Resolves when the two
   * are equal, or it took too long.
   */
  async handOver(timeoutMs: number): Promise<void> {
    const [node] = this.#linked.keys()
    if (node === undefined || this.#isClosed) return
    await new Promise<void>((resolve) => {
      const cancel = this.#options.after(timeoutMs, resolve)
      const done = (): void => {
        cancel()
        resolve()
      }
      // The first comparison to end may have begun before the latest write.
      this.#handOver = { node, comparisons: 2, done }
      this.#feed({ kind: 'node-up', node })
    })
    this.#handOver = undefined
  }

  #compared(node: string): void {
    const handOver = this.#handOver
    if (handOver?.node !== node) return
    if (--handOver.comparisons > 0) this.#feed({ kind: 'node-up', node })
    else handOver.done()
  }

  #linkUp(node: Run): void {
    this.#linked.set(node.name, node)
    this.#feed({ kind: 'node-up', node: node.name })
  }

  #linkDown({ name, epoch }: Run): void {
    if (this.#linked.get(name)?.epoch !== epoch) return
    this.#linked.delete(name)
    this.#parked.delete(name)
    if (this.#handOver?.node === name) this.#handOver.done()
    for (const [id, request] of [...this.#requests]) if (request.node === name) this.#answered(id, undefined)
    this.#feed({ kind: 'node-down', node: name })
    // One that is only not reached may be chosen again, which calls it.
    if (this.#fabric?.live().some((node) => node.name === name) === true) this.#feed({ kind: 'node-known', node: name })
  }

  /** A frame of gossip: an entry, or in an exchange of full states the hashes of the other side. */
  #heard(payload: Uint8Array, from: string | undefined): void {
    this.#reading(from ?? '', () => {
      if (from !== undefined) this.#feed({ kind: 'hint', node: from, hashes: decodeHint(payload) })
      else this.#delta(decodeOne(payload, this.valueBytesMax))
    })
  }

  #received(from: Run, bytes: Uint8Array): void {
    this.#reading(from.name, () => {
      const { kind, id, body } = decodeLaneMessage(bytes)
      switch (kind) {
        case 'push':
          return this.#delta(decodeOne(body, this.valueBytesMax))
        case 'request': {
          const { answer, effects } = this.#replica.serve(decodeExchange(body, this.valueBytesMax))
          this.#performAll(effects)
          const reply = encodeLaneMessage({ kind: 'answer', id, body: encodeExchangeAnswer(answer) })
          return this.#leave({ kind: 'answer', to: from, bytes: reply })
        }
        case 'answer':
          if (this.#requests.get(id)?.node === from.name) this.#answered(id, body)
          return
      }
    })
  }

  #delta(entry: Entry): void {
    const { counters, clock } = this.#replica.store
    const before = counters.merges.won
    this.#feed({ kind: 'delta', entry })
    if (counters.merges.won > before) this.#fabric?.converged?.(Math.max(0, clock.readMs() - entry.hlc.ms))
  }

  /** What a value may have. */
  get valueBytesMax(): number {
    return this.#replica.store.settings.valueBytesMax
  }

  /** What others send is never our fault, and never our end. */
  #reading(from: string, read: () => void): void {
    if (this.#isClosed) return
    try {
      read()
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      this.#unreadable++
      const nowMs = this.#options.env.nowMs()
      if (nowMs - this.#complainedAtMs < COMPLAINT_INTERVAL_MS) return
      this.#complainedAtMs = nowMs
      const about = { reason: error.message, count: this.#unreadable }
      this.#options.log('warn', 'crdt_unreadable', from === '' ? about : { peer: from, ...about })
    }
  }

  #answered(id: number, body: Uint8Array | undefined): void {
    const request = this.#requests.get(id)
    if (request === undefined) return
    this.#requests.delete(id)
    request.cancel()
    let answer: ReturnType<typeof decodeExchangeAnswer> | undefined
    try {
      answer = body === undefined ? undefined : decodeExchangeAnswer(body, this.valueBytesMax)
    } finally {
      this.#feed({ kind: 'answered', exchange: request.exchange, answer })
    }
  }

  // ---- carrying out

  #feed(input: ReplicaInput): void {
    if (this.#isClosed) return
    this.#inputs.push(input)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        this.#performAll(this.#replica.step(next))
      }
    } finally {
      this.#isStepping = false
    }
  }

  #performAll(effects: readonly ReplicaEffect[]): void {
    for (const effect of effects) this.#perform(effect)
  }

  #perform(effect: ReplicaEffect): void {
    switch (effect.kind) {
      case 'save-clock':
        return this.#saveClock(effect.ms)
      case 'append': {
        const { entry } = effect
        const opened = this.#opened.get(entry.namespace)
        if (opened === undefined) this.#missed.add(entry.namespace)
        else opened.append(entry)
        return
      }
      case 'exchanged': {
        const { node, differing, received, sent } = effect
        this.#shardsDiffering = differing
        this.#compared(node)
        if (received + sent > 0) {
          this.#options.log('info', 'crdt_full_sync', { peer: node, shards: differing, received, sent })
        }
        return
      }
      default:
        return this.#leave(effect)
    }
  }

  /** At once, unless the clock is still on its way to the disk: no later run may give out a stamp that others know already. */
  #leave(leaving: Leaving): void {
    if (this.#unsavedMs === undefined) return this.#send(leaving)
    this.#held.push(leaving)
    const dropped = this.#held.length > HELD_MAX ? this.#held.shift() : undefined
    // Comparing finds what is dropped; a comparison of which something is dropped is over.
    if (dropped?.kind === 'request') this.#feed({ kind: 'answered', exchange: dropped.exchange, answer: undefined })
  }

  #send(leaving: Leaving): void {
    const fabric = this.#fabric
    switch (leaving.kind) {
      case 'gossip':
        fabric?.gossip('crdt', encodeEntry(leaving.entry), keyOf(leaving.entry))
        return
      case 'push': {
        const bytes = encodeLaneMessage({ kind: 'push', id: 0, body: encodeEntry(leaving.entry) })
        for (const node of leaving.nodes) {
          if (fabric?.send(this.#runOf(node), 'crdt', bytes) !== undefined) this.#pushesDropped++
        }
        return
      }
      case 'request': {
        const id = this.#nextRequest
        this.#nextRequest = (id % 0xffffffff) + 1
        const cancel = this.#options.after(REQUEST_MS, () => this.#answered(id, undefined))
        this.#requests.set(id, { exchange: leaving.exchange, node: leaving.node, cancel })
        const bytes = encodeLaneMessage({ kind: 'request', id, body: encodeExchange(leaving.request) })
        if (!this.#sendOrPark(this.#runOf(leaving.node), bytes)) this.#answered(id, undefined)
        return
      }
      case 'answer':
        this.#sendOrPark(leaving.to, leaving.bytes)
    }
  }

  #runOf(name: string): Run {
    return this.#linked.get(name) ?? { name, epoch: 0 }
  }

  /** False: it cannot go there. */
  #sendOrPark(to: Run, bytes: Uint8Array): boolean {
    const parked = this.#parked.get(to.name) ?? []
    const refusal = parked.length > 0 ? 'queue_full' : this.#fabric?.send(to, 'crdt', bytes)
    if (refusal === undefined) return this.#fabric !== undefined
    if (refusal !== 'queue_full' || parked.length >= PARKED_MAX) return false
    parked.push(bytes)
    this.#parked.set(to.name, parked)
    return true
  }

  #unpark(to: string): void {
    const parked = this.#parked.get(to)
    while (parked !== undefined && parked.length > 0) {
      if (this.#fabric?.send(this.#runOf(to), 'crdt', parked[0] as Uint8Array) === 'queue_full') return
      parked.shift()
    }
    this.#parked.delete(to)
  }

  // ---- the clock

  #saveClock(ms: number): void {
    const isSaving = this.#unsavedMs !== undefined
    if (this.#options.directory === undefined) return
    this.#unsavedMs = ms
    if (!isSaving) this.#writeClockNow(this.#options.directory)
  }

  #writeClockNow(directory: string): void {
    this.#clockWriting = this.#writeClock(directory)
  }

  async #writeClock(directory: string): Promise<void> {
    for (let ms = this.#unsavedMs; ms !== undefined; ms = this.#unsavedMs) {
      try {
        await writeSealed(this.#options.files, join(directory, CLOCK_FILE), { format: 1, ms })
      } catch (error) {
        const reason = failureReason(error) ?? 'io'
        this.#options.log('error', 'crdt_storage_failed', {
          what: 'cannot save the clock',
          reason,
          error: messageOf(error),
        })
        if (!this.#isClosed) this.#later('clock', CLOCK_RETRY_MS, () => this.#writeClockNow(directory))
        return
      }
      if (this.#unsavedMs !== ms) continue
      this.#unsavedMs = undefined
      const held = this.#held
      this.#held = []
      for (const each of held) this.#leave(each)
    }
  }

  // ---- time

  #wakeLater(): void {
    const dueMs = this.#replica.nextDueMs - this.#options.env.nowMs()
    this.#later('wake', Math.max(1, dueMs), () => {
      this.#feed({ kind: 'wake' })
      this.#wakeLater()
    })
  }

  #snapshotLater(): void {
    this.#later('snapshots', SNAPSHOT_INTERVAL_MS, () => {
      // One after the other: they share a disk.
      void this.#saveAll().then(() => this.#snapshotLater())
    })
  }

  async #saveAll(): Promise<void> {
    for (const namespace of this.#opened.values()) await namespace.save()
  }

  #later(what: string, delayMs: number, run: () => void): void {
    if (this.#isClosed) return
    this.#cancels.get(what)?.()
    this.#cancels.set(what, this.#options.after(delayMs, run))
  }

  #assertOpen(): void {
    if (this.#isClosed) throw closed()
  }

  /** Writes what is durable. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#isClosed = true
    for (const detach of this.#detach) detach()
    for (const cancel of this.#cancels.values()) cancel()
    for (const { cancel } of this.#requests.values()) cancel()
    this.#requests.clear()
    await this.#clockWriting
    await Promise.allSettled(this.#namespaces.values())
    for (const namespace of this.#opened.values()) await namespace.close()
  }
}

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

/** A later version of a key takes the place of one that still waits to be told. */
const keyOf = ({ namespace, key }: Entry): string => `${namespace}\0${key}`

function closed(): MoonmeshError {
  return new MoonmeshError('Unavailable', 'store is closed', { retryable: false })
}

async function readClock({ files, log }: CrdtServiceOptions, directory: string): Promise<number | undefined> {
  const path = join(directory, CLOCK_FILE)
  try {
    const content = (await readSealed(files, path)) as { ms?: unknown } | undefined
    const ms = content?.ms
    if (content === undefined || (Number.isSafeInteger(ms) && (ms as number) >= 0)) return ms as number | undefined
    log('warn', 'crdt_clock_damaged', { path })
  } catch (error) {
    if (failureReason(error) !== 'corrupt') throw error
    log('warn', 'crdt_clock_damaged', { path })
  }
  return undefined
}
