// Consensus in the real world: performs what the core decides with a store, a mesh and a replicated state, and answers who
// proposes, reads and changes. It decides nothing that the core could. cluster.md §5.

import { unreachable } from '../../runtime/base/assert.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import type { Fabric, Run } from '../fabric.ts'
import type { Machine } from '../state/core/machine.ts'
import type { Outcome, StateEvent } from '../state/core/outcomes.ts'
import type { SyncReport } from '../storage/storage.ts'
import { keptIn } from './agreement.ts'
import { type Consensus, type ConsensusStatus, type ProposalFailure, proposalFailure } from './consensus.ts'
import { Barriers } from './core/barriers.ts'
import type { Proposal, RaftEffect, RaftInput, Refusal, Role } from './core/effects.ts'
import type { Entry } from './core/entry.ts'
import { type Configuration, type ConfigurationChange, configurationOf, membersOf, NOBODY } from './core/membership.ts'
import type { AppendReply, Message, SnapshotMeta } from './core/messages.ts'
import { Proposals } from './core/proposals.ts'
import { Raft, type RaftOptions } from './core/raft.ts'
import type { RecoveredState } from './core/recovery.ts'
import { nameOf, type ServerId, serverId } from './core/server.ts'
import { isSlowSync } from './core/slow-disk.ts'
import { Sending } from './sending.ts'
import type { SnapshotWriter } from './snapshots.ts'
import type { ReplicatedState } from './state-machine.ts'
import { RaftStatistics } from './statistics.ts'
import type { Store, StoreMeta } from './store.ts'
import { type Envelope, RaftCodec, type Refused } from './wire/codec.ts'
import { packConfiguration, unpackConfiguration } from './wire/entry.ts'

interface RaftDriverOptions {
  readonly fabric: Fabric
  readonly state: ReplicatedState
  readonly raft: RaftOptions
  /** May lead. */
  readonly isEligible: boolean
  readonly openStore: (onSync: (report: SyncReport) => void) => Promise<Store>
  /** Does away with a store that is closed. */
  readonly wipeStore: () => Promise<void>
  /** Tells when the event loop stood still. @returns ends it */
  readonly onPause: (listener: () => void) => () => void
  /** Runs in the next turn of the event loop. */
  readonly defer: (run: () => void) => void
  /** Runs once all that this turn has made ready has run. */
  readonly soon: (run: () => void) => void
}

interface Waiter {
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: Error) => void
}

/** What an entry of ours answers when it is applied. */
type Awaiting =
  | { readonly kind: 'commands'; readonly waiters: readonly Waiter[]; readonly proposedMs: number }
  | { readonly kind: 'other'; readonly resolve: (index: number) => void; readonly reject: (error: Error) => void }
  | { readonly kind: 'tick' }

interface Reader {
  readonly resolve: (index: number) => void
  readonly reject: (error: Error) => void
  readonly sinceMs: number
}

interface Handover {
  readonly resolve: (leader: ServerId) => void
  readonly reject: (error: Error) => void
  /** Once our part is done: until when the successor has to be heard. */
  deadlineMs: number | undefined
}

/** One store, and the core that rests on it, from its opening to its end. */
interface Sitting {
  readonly store: Store
  readonly self: ServerId
  readonly codec: RaftCodec
  /** Of the core: of this node's file, and what the group has agreed on, as far as the store knows. */
  options: RaftOptions
  /** Undefined: in no group. */
  raft: Raft | undefined
  isOver: boolean
  /** The newest write that is durable and that the core was not told of. Numbers of writes are those of one core. */
  persisted: number
  isTellingPersisted: boolean
  /** Of an arriving snapshot, what is durable and the core was not told of. */
  chunkWritten?: ChunkWritten | undefined
}

type ChunkWritten = Extract<RaftInput, { kind: 'chunk-written' }>

/** After a failure of the disk. cluster.md §5.1 D6. */
const REOPEN_MS = 5000
/** Of one entry: what is applied without a look at the clock stays short. */
const BATCH_COMMANDS_MAX = 512
const BATCH_BYTES_SHARE = 0.5
/** Entries on their way, beyond which what is proposed gathers for the next: few large ones cost less than many small ones. */
const PIPELINE_MAX = 4
const WAITING_COMMANDS_MAX = 65_536
const READERS_MAX = 65_536
const SWEEP_MS = 50
const TICK_EVERY_MS = 1000
/** Of complaints to and about one server. */
const COMPLAINT_MS = 60_000
const REFUSAL_MS = 1000
const COMPLAINTS_MAX = 64
const SYNC_NEWS_MS = 500
const SYNC_WEIGHT = 0.1
/** How long a successor may take to be heard, in election timeouts. */
const HANDOVER_TIMEOUTS = 2
/** Of a snapshot that arrives: on their way to the disk, beyond which its sender waits. */
const WRITING_BYTES_MAX = 2 * 1024 * 1024
/** After as long without a chunk, a snapshot that is sent is closed. */
const SENDING_IDLE_MS = 60_000
/** A snapshot is written for this long in one turn of the event loop. */
const SAVE_SLICE_MS = 5

export class RaftDriver implements Consensus {
  readonly statistics = new RaftStatistics()
  readonly #options: RaftDriverOptions
  readonly #fabric: Fabric
  readonly #state: ReplicatedState
  #sitting: Sitting
  #failure: string | undefined
  #failedPart: ConsensusStatus['failedPart']
  /** As it was last told, as is the next. */
  #leader: ServerId | undefined
  #isReady = false
  #isHalted = false
  #isEligible: boolean
  readonly #listeners = new Set<() => void>()
  readonly #unsubscribe: (() => void)[] = []
  #closing: Promise<void> | undefined
  #changing: Promise<unknown> = Promise.resolve()

  #inputs: RaftInput[] = []
  #isStepping = false
  /** Numbers proposals, questions and changes. */
  #refs = 0
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}
  #cancelReopen: () => void = () => {}
  /** What the store holds must not be used again: it goes before another one is opened. */
  #isWipeDue = false

  #commands: { readonly command: Uint8Array; readonly waiter: Waiter }[] = []
  #commandBytes = 0
  #isFlushing = false
  readonly #proposals = new Proposals<Awaiting>()
  readonly #barriers = new Barriers<Reader>(READERS_MAX)
  #isAsking = false
  /** Not before: the last question failed. */
  #askAtMs = 0
  #isSweeping = false
  readonly #handovers = new Map<number, Handover>()
  #lastTickMs = Number.NEGATIVE_INFINITY

  #isSnapshotDue = false
  /** Snapshots on their way, one a server. */
  readonly #sendings = new Map<ServerId, Sending>()
  #isWatchingSendings = false
  /** When a snapshot began to arrive here. */
  #receiving: { readonly checksum: string; readonly startMs: number } | undefined
  /** Who waits for room on the lane of snapshots, by name. */
  readonly #awaitingRoom = new Map<string, (() => void)[]>()
  /** The chunk of a snapshot that is on its way to the disk. */
  #writing: Promise<unknown> | undefined
  #writingBytes = 0
  #adopting: string | undefined
  #syncMs = 0
  #syncToldMs = Number.NEGATIVE_INFINITY
  /** When something was last said to, or about, a server. */
  readonly #complaints = new Map<string, number>()

  private constructor(options: RaftDriverOptions, store: Store) {
    this.#options = options
    this.#fabric = options.fabric
    this.#state = options.state
    this.#isEligible = options.isEligible
    this.#sitting = this.#sittingOn(store)
  }

  /**
   * Opens the store, restores the replica and takes part in the group of the store, if it is in one.
   * @throws MoonmeshError of the store: locked, damaged, not writable
   */
  static async open(options: RaftDriverOptions): Promise<RaftDriver> {
    let driver: RaftDriver | undefined
    const store = await options.openStore((report) => {
      if (driver !== undefined) driver.#synced(report)
    })
    try {
      await finishForming(store)
      driver = new RaftDriver(options, store)
      await driver.#restoreFrom(store)
    } catch (error) {
      await store.close()
      throw error
    }
    driver.#subscribe()
    driver.#begin()
    return driver
  }

  // ── Consensus ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  get self(): ServerId {
    return this.#sitting.self
  }

  get machine(): Machine {
    return this.#state.machine
  }

  get meta(): StoreMeta {
    return this.#sitting.store.meta
  }

  status(): ConsensusStatus {
    const { raft, self, store } = this.#sitting
    const core = raft?.status()
    const { term } = store.recovered.hardState
    const configuration = core?.configuration ?? { index: 0, configuration: NOBODY }
    const isLeading = core?.role === 'leader'
    // Whatever becomes of the store, a replica that has halted stays so.
    const failedPart = this.#isHalted ? 'machine' : this.#failedPart
    return {
      self,
      formation: this.meta.formation,
      role: isLeading ? 'leader' : roleIn(configuration.configuration, self),
      raftRole: core?.role ?? 'follower',
      term: core?.term ?? term,
      leader: core?.leader,
      commit: core?.commit ?? 0,
      applied: this.#state.index,
      base: core?.base ?? { index: 0, term: 0 },
      last: core?.last ?? { index: 0, term: 0 },
      configuration,
      isReady: core?.isReady ?? false,
      failure: this.#failure,
      ...(failedPart === undefined ? {} : { failedPart }),
      isEmpty: raft === undefined && this.meta.formation === undefined && term === 0 && store.log.lastIndex === 0,
      uncommittedBytes: core?.uncommittedBytes ?? 0,
      followers: core?.followers ?? [],
      syncMs: this.#syncMs,
      logBytes: store.log.sizeBytes,
      snapshot: { index: store.snapshots.newest?.index ?? 0, term: store.snapshots.newest?.term ?? 0 },
    }
  }

  onStatus(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onApplied(listener: (index: number, events: readonly StateEvent[]) => void): () => void {
    return this.#state.onApplied(listener)
  }

  onRestored(listener: (index: number) => void): () => void {
    return this.#state.onRestored(listener)
  }

  propose(command: Uint8Array): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusalNow() ?? this.#commandProblem(command)
      if (refusal !== undefined) return reject(refusal)
      this.#commands.push({ command, waiter: { resolve, reject } })
      this.#commandBytes += command.length
      this.#flushSoon()
    })
  }

  proposeSettings(settings: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusalNow()
      if (refusal !== undefined) return reject(refusal)
      this.#offer({ kind: 'settings', data: settings }, { kind: 'other', resolve, reject })
    })
  }

  barrier(deadlineMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const nowMs = this.#fabric.env.nowMs()
      if (this.#closing !== undefined) return reject(closed())
      if (!this.#barriers.add({ resolve, reject, sinceMs: nowMs }, nowMs + deadlineMs)) {
        return reject(new MoonmeshError('Unavailable', 'too many reads wait for the leader', { retryable: true }))
      }
      this.#sweepLater()
      this.#askSoon()
    })
  }

  holdsQuorum(): boolean {
    const { raft } = this.#sitting
    return raft?.isReady === true && !raft.isTransferBegun && raft.hasQuorum()
  }

  tellCommit(name: string): void {
    const { raft } = this.#sitting
    if (raft?.role !== 'leader') return
    // A name has two stores until the one that is gone has left the group.
    const peers = membersOf(raft.log.newest.configuration).filter((server) => nameOf(server) === name)
    for (const peer of peers) this.#feed({ kind: 'tell-commit', peer })
  }

  async changeMembership(change: ConfigurationChange): Promise<void> {
    const refusal = this.#refusalNow()
    if (refusal !== undefined) throw refusal
    const { configuration } = (this.#sitting.raft as Raft).log.newest
    const isUp = (server: ServerId): boolean => this.#fabric.linked().some(({ name }) => name === nameOf(server))
    const live = [...new Set([...membersOf(configuration), change.server])].sort().filter(isUp)
    await new Promise<number>((resolve, reject) => {
      const ref = ++this.#refs
      this.#proposals.offer(ref, { kind: 'other', resolve, reject })
      this.#feed({ kind: 'change', ref, change, live })
    }).then(
      () => this.statistics.changed(change.op, 'ok'),
      (error: unknown) => {
        this.statistics.changed(change.op, 'refused')
        this.#log('info', 'raft_step_refused', { op: change.op, peer: nameOf(change.server), reason: messageOf(error) })
        throw error
      },
    )
  }

  transfer(to?: ServerId): Promise<ServerId> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusalNow()
      if (refusal !== undefined) return reject(refusal)
      const ref = ++this.#refs
      this.#handovers.set(ref, { resolve, reject, deadlineMs: undefined })
      this.#feed({ kind: 'transfer', ref, ...(to === undefined ? {} : { to }) })
    })
  }

  setEligible(isEligible: boolean): void {
    this.#isEligible = isEligible
    this.#feed({ kind: 'eligible', isEligible })
  }

  form(formation: string, configuration: Configuration, settings: Uint8Array): Promise<void> {
    return this.#change(async () => {
      const sitting = this.#sitting
      if (this.meta.formation === formation && sitting.raft !== undefined) return
      if (!this.status().isEmpty) {
        const detail = `this store is part of ${this.meta.formation ?? 'a group'} already, and cannot be of ${formation}`
        throw new MoonmeshError('Conflict', detail, { retryable: false })
      }
      const sorted = configurationOf(configuration.voters, configuration.standbys)
      const initial = Buffer.from(pack([packConfiguration(sorted), settings])).toString('base64')
      // With this the decision is on the disk; what follows can be made up for at the next start.
      await this.#onDisk(
        sitting,
        sitting.store.changeMeta((meta) => ({ ...meta, formation, initial })),
      )
      await this.#onDisk(sitting, finishForming(sitting.store))
      if (sitting.isOver) throw closed()
      sitting.raft = this.#coreOf(sitting, formedState(sitting.store.meta))
      this.#log('info', 'raft_bootstrapped', { formation, voters: sorted.voters.map(nameOf).join(' ') })
      this.#begin()
    })
  }

  changeMeta(change: (meta: StoreMeta) => StoreMeta): Promise<StoreMeta> {
    const sitting = this.#sitting
    return this.#onDisk(sitting, sitting.store.changeMeta(change))
  }

  reset(): Promise<void> {
    return this.#change(async () => {
      const { self } = this.#sitting
      this.#end('the store is being made anew')
      this.#isWipeDue = true
      try {
        await this.#openAnew()
      } catch (error) {
        this.#failure = messageOf(error)
        this.#failedPart = 'disk'
        this.#changed()
        this.#reopenLater()
        throw error
      }
      this.#log('warn', 'raft_store_reset', { old: self, new: this.self })
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const stop of this.#unsubscribe) stop()
    this.#end('this node is stopping')
    this.#cancelReopen()
    for (const reader of this.#barriers.clear()) reader.reject(closed())
    this.#listeners.clear()
    await this.#changing.catch(() => {})
    this.#state.close()
    await this.#sitting.store.close()
  }

  // ── Beginning and end of a core ───────────────────────────────────────────────────────────────────────────────────────

  #sittingOn(store: Store): Sitting {
    const self = serverId(this.#fabric.name, store.storeId)
    const codec = new RaftCodec(store.log.entryBytes)
    const options = this.#options.raft
    const fresh = { options, raft: undefined, isOver: false, persisted: 0, isTellingPersisted: false }
    const sitting: Sitting = { store, self, codec, ...fresh }
    const isNew = store.log.lastIndex > 0 && store.recovered.hardState.term === 0
    if (store.meta.formation !== undefined) {
      sitting.raft = this.#coreOf(sitting, isNew ? formedState(store.meta) : store.recovered)
    }
    return sitting
  }

  #coreOf(sitting: Sitting, recovered: RecoveredState): Raft {
    const { electionTimeoutMs, heartbeatTimeoutMs, entryBytesMax } = {
      ...this.#options.raft,
      ...keptIn(sitting.store.meta),
    }
    sitting.options = { ...this.#options.raft, electionTimeoutMs, heartbeatTimeoutMs, entryBytesMax }
    return new Raft(sitting.self, recovered, sitting.options, this.#fabric.env)
  }

  async #restoreFrom(store: Store): Promise<void> {
    const { snapshot } = store.recovered
    if (snapshot === undefined) return
    const startMs = this.#fabric.env.nowMs()
    await new Promise<void>((resolve, reject) => {
      this.#state.onHalt = (error) => {
        this.#halted(error)
        reject(error)
      }
      this.#state.restore(snapshot.index, () => store.snapshots.read(snapshot.checksum), resolve)
    })
    this.statistics.snapshot('restore', this.#fabric.env.nowMs() - startMs)
  }

  #subscribe(): void {
    const fabric = this.#fabric
    this.#state.onHalt = (error) => this.#halted(error)
    this.#unsubscribe.push(
      fabric.onMessage('raft', (from, bytes) => this.#received(from, bytes)),
      fabric.onMessage('rlog', (from, bytes) => this.#received(from, bytes)),
      fabric.onMessage('snapshot', async (from, bytes) => {
        this.#received(from, bytes)
        // What is on its way to the disk takes memory: the sender waits for it, but not for each chunk, so that many share a sync.
        if (this.#writingBytes > WRITING_BYTES_MAX) await this.#writing
      }),
      fabric.onRoom((to, lane) => {
        if (lane === 'rlog') for (const peer of this.#serversOf(to)) this.#feed({ kind: 'drained', peer })
        if (lane === 'snapshot') this.#room(to)
      }),
      fabric.onLink(({ kind, node: { name } }) => {
        this.#room(name)
        for (const peer of this.#serversOf(name)) {
          this.#feed(kind === 'down' ? { kind: 'unreachable', peer } : { kind: 'drained', peer })
        }
      }),
      this.#options.onPause(() => this.#feed({ kind: 'paused' })),
    )
  }

  /** The core is there: it learns what it has to know and starts to count time. */
  #begin(): void {
    this.#feed({ kind: 'eligible', isEligible: this.#isEligible })
    this.#arm()
    this.#changed()
  }

  /** The core says nothing any more; who waited for it is told. */
  #end(why: string, failedPart?: ConsensusStatus['failedPart']): void {
    const sitting = this.#sitting
    this.#failure = why
    this.#failedPart = failedPart
    if (sitting.isOver) return
    this.#silence(sitting)
    this.#state.dropRestore()
    this.#cancelWake()
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    this.#isSnapshotDue = false
    for (const to of [...this.#sendings.keys()]) this.#stopSending(to)
    this.#receiving = undefined
    this.#loseProposals()
    for (const awaiting of this.#proposals.withdrawn()) this.#refuse(awaiting, 'NotLeader', why)
    for (const [, { reject }] of this.#handovers) reject(proposalFailure('LeadershipLost', why))
    this.#handovers.clear()
    this.#barriers.restarted()
    for (const name of [...this.#awaitingRoom.keys()]) this.#room(name)
  }

  /** At once, also in the middle of what a step wants done: a leader that has halted must not pass for one until its process ends. */
  #silence(sitting: Sitting): void {
    let effects: readonly RaftEffect[] = []
    try {
      effects = sitting.raft?.step({ kind: 'storage-failed' }) ?? []
    } catch {
      // A core that has failed an assertion may fail another; nobody asks it anything from here on.
    }
    sitting.isOver = true
    for (const effect of effects) {
      // What a broken step has left behind besides is not to be done.
      const isNews = effect.kind === 'state' || effect.kind === 'read-failed' || effect.kind === 'transfer-ended'
      if (isNews) this.#perform(sitting, effect)
    }
  }

  #diskFailed(sitting: Sitting, error: unknown): void {
    if (sitting !== this.#sitting || sitting.isOver || this.#closing !== undefined) return
    this.statistics.diskFailures++
    this.#log('error', 'raft_storage_failed', { reason: messageOf(error) })
    this.#end(messageOf(error), 'disk')
    this.#changed()
    this.#reopenLater()
  }

  #reopenLater(): void {
    if (this.#closing !== undefined || this.#isHalted) return
    this.#cancelReopen()
    this.#cancelReopen = this.#fabric.after(REOPEN_MS, () => {
      this.#change(() => this.#reopen()).catch((error: unknown) => {
        this.#failure = messageOf(error)
        this.#complain('reopen', 'error', 'raft_storage_failed', { reason: messageOf(error) })
        this.#reopenLater()
      })
    })
  }

  /** Nothing that an earlier sync may have left behind is believed: all is read again from the disk. */
  async #reopen(): Promise<void> {
    // It may have been made anew meanwhile.
    if (!this.#sitting.isOver) return
    await this.#openAnew()
    this.#log('info', 'raft_storage_recovered', { last: this.#sitting.store.log.lastIndex })
  }

  async #openAnew(): Promise<void> {
    if (this.#isHalted) throw new MoonmeshError('Unavailable', this.#failure ?? 'the replica has halted')
    await this.#sitting.store.close().catch(() => {})
    if (this.#isWipeDue) {
      await this.#options.wipeStore()
      this.#isWipeDue = false
    }
    await this.#open()
  }

  async #open(): Promise<void> {
    const store = await this.#options.openStore((report) => this.#synced(report))
    try {
      // What was applied came from the log of another store.
      if (store.storeId !== this.#sitting.store.storeId) {
        this.#state.clear()
        // An index of that log must not be met by an entry of another one.
        this.#barriers.voided()
      }
      await finishForming(store)
      await this.#restoreFrom(store)
    } catch (error) {
      await store.close().catch(() => {})
      throw error
    }
    if (this.#closing !== undefined) {
      await store.close()
      throw closed()
    }
    this.#state.onHalt = (error) => this.#halted(error)
    this.#sitting = this.#sittingOn(store)
    this.#failure = undefined
    this.#failedPart = undefined
    this.#begin()
  }

  #halted(error: Error): void {
    if (this.#isHalted) return
    this.#isHalted = true
    this.#log('error', 'fsm_halted', { reason: error.message })
    this.#end(error.message, 'machine')
    this.#changed()
  }

  /** One at a time: they all touch what the server is. */
  #change<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#changing
      .catch(() => {})
      .then(() => {
        if (this.#closing !== undefined) throw closed()
        return act()
      })
    this.#changing = done
    done.catch(() => {
      // Whoever asked is told.
    })
    return done
  }

  /** Waits for a write; a failure of it is one of the disk. */
  async #onDisk<T>(sitting: Sitting, writing: Promise<T>): Promise<T> {
    try {
      return await writing
    } catch (error) {
      this.#diskFailed(sitting, error)
      throw error
    }
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  // ── The core ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #feed(input: RaftInput): void {
    this.#inputs.push(input)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let at = 0; at < this.#inputs.length; at++) {
        const sitting = this.#sitting
        if (sitting.raft === undefined || sitting.isOver) continue
        for (const effect of sitting.raft.step(this.#inputs[at] as RaftInput)) {
          if (sitting.isOver) break
          this.#perform(sitting, effect)
        }
      }
    } catch (error) {
      // A bug, here or there: what the core holds is not to be relied on any more.
      this.#halted(error as Error)
    } finally {
      this.#inputs = []
      this.#isStepping = false
    }
    this.#tellReady()
    this.#maybeSave()
    this.#arm()
  }

  /** A leader becomes ready by applying, which nothing else tells of. */
  #tellReady(): void {
    const { raft, isOver } = this.#sitting
    const isReady = raft?.isReady === true && !isOver
    if (isReady === this.#isReady) return
    this.#isReady = isReady
    if (isReady) this.#changed()
  }

  /** One timer: what was asked for earlier and is no longer due costs one turn of the loop. */
  #arm(): void {
    const { raft, isOver } = this.#sitting
    if (raft === undefined || isOver) return
    const atMs = Math.min(raft.wakeAtMs, this.#tickAtMs(this.#fabric.env.nowMs()))
    if (atMs >= this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = atMs
    this.#cancelWake = this.#fabric.after(Math.max(0, atMs - this.#fabric.env.nowMs()), () => this.#wake())
  }

  #wake(): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    const { raft } = this.#sitting
    if (raft === undefined) return
    const nowMs = this.#fabric.env.nowMs()
    if (nowMs >= this.#tickAtMs(nowMs)) {
      this.#lastTickMs = nowMs
      this.#offer({ kind: 'tick' }, { kind: 'tick' })
    }
    if (nowMs >= raft.wakeAtMs) this.#feed({ kind: 'tick' })
    else this.#arm()
  }

  /** When the clock of the log has to move because something falls due. The reading of the clock that asks: a later one would never be it. cluster.md §5.12. */
  #tickAtMs(nowMs: number): number {
    const dueMs = this.#state.nextExpiryMs
    const clockMs = dueMs === undefined ? undefined : this.#sitting.raft?.clockMs
    if (dueMs === undefined || clockMs === undefined) return Number.POSITIVE_INFINITY
    const atMs = nowMs + Math.max(0, dueMs - clockMs)
    return Math.max(atMs, this.#lastTickMs + TICK_EVERY_MS)
  }

  #perform(sitting: Sitting, effect: RaftEffect): void {
    const { store } = sitting
    switch (effect.kind) {
      case 'persist':
        store.log.persist(effect).then(
          () => this.#wasPersisted(sitting, effect.write),
          (error: unknown) => this.#diskFailed(sitting, error),
        )
        return
      case 'send':
        return this.#send(sitting, effect.to, effect.message)
      case 'send-chunk':
        return this.#sendChunk(sitting, effect)
      case 'apply': {
        const { entries, done } = effect
        const startMs = this.#fabric.env.nowMs()
        const each = (entry: Entry, outcomes: readonly Outcome[]): void => this.#applied(sitting, entry, outcomes)
        this.#afterWrites(sitting, () => {
          this.#state.apply(entries, each, () => {
            this.statistics.apply.observe((this.#fabric.env.nowMs() - startMs) / 1000)
            this.#feedFor(sitting, done)
          })
        })
        return
      }
      case 'restore':
        return this.#afterWrites(sitting, () => this.#restore(sitting, effect))
      case 'compact':
        store.log.compact(effect.base).catch((error: unknown) => this.#diskFailed(sitting, error))
        return
      case 'create-snapshot':
        this.#isSnapshotDue = true
        return
      case 'read-entries': {
        const { to, after, entriesMax, bytesMax } = effect
        store.log.read(after, { entriesMax, bytesMax }).then(
          (entries) => this.#feedFor(sitting, { kind: 'entries-read', to, after, entries }),
          (error: unknown) => this.#diskFailed(sitting, error),
        )
        return
      }
      case 'begin-snapshot':
        this.#receiving = { checksum: effect.snapshot.checksum, startMs: this.#fabric.env.nowMs() }
        this.#log('info', 'raft_snapshot_arrives', { index: effect.snapshot.index, bytes: effect.snapshot.sizeBytes })
        store.snapshots.begin(effect.snapshot).catch((error: unknown) => this.#diskFailed(sitting, error))
        return
      case 'write-chunk': {
        const { snapshot, offset, data, done } = effect
        this.#writingBytes += data.length
        const writing = store.snapshots
          .writeChunk(snapshot, offset, data)
          .finally(() => {
            this.#writingBytes -= data.length
          })
          .then(
            (isTaken) => (isTaken ? this.#wasWritten(sitting, done) : undefined),
            (error: unknown) => this.#diskFailed(sitting, error),
          )
        this.#writing = writing
        return
      }
      case 'finish-snapshot':
        return this.#finishSnapshot(sitting, effect.snapshot)
      case 'accepted':
        this.#proposals.accepted(effect.ref, effect.index, effect.term)
        return
      case 'refused':
        return this.#refused(effect.ref, effect.reason, effect.why, effect.leader)
      case 'read-ready':
        if (!this.#barriers.answered(effect.ref, effect.index)) return
        this.#askAtMs = 0
        this.#passReaders()
        return this.#askSoon()
      case 'read-failed':
        if (!this.#barriers.failed(effect.ref)) return
        // Asked again with the next sweep, or when a leader is there.
        this.#askAtMs = this.#fabric.env.nowMs() + SWEEP_MS
        return
      case 'transfer-ended':
        return this.#transferEnded(effect.ref, effect.ok, effect.why)
      case 'state':
        return this.#stateChanged(effect.role, effect.term, effect.leader)
      case 'configuration':
        this.#log('info', 'raft_config_changed', {
          index: effect.index,
          voters: effect.configuration.voters.map(nameOf).join(' '),
          standbys: effect.configuration.standbys.map(nameOf).join(' '),
        })
        this.statistics.keepPeers(membersOf(effect.configuration).map(nameOf))
        for (const to of [...this.#sendings.keys()]) {
          if (!membersOf(effect.configuration).includes(to)) this.#stopSending(to)
        }
        return this.#changed()
      case 'regressed':
        this.statistics.regressions++
        this.#log('error', 'raft_log_regression', { peer: nameOf(effect.server) })
        return this.#changed()
      case 'reset-required':
        this.#log('error', 'raft_log_regression', { peer: this.#fabric.name })
        this.reset().catch(() => {
          // Tried again until it works.
        })
        return
      default:
        return unreachable(effect)
    }
  }

  /** In this turn, but with what the step writes on its way to the disk: others wait for that, and nobody for the replica of a follower. */
  #afterWrites(sitting: Sitting, run: () => void): void {
    queueMicrotask(() => {
      if (sitting === this.#sitting && !sitting.isOver) run()
    })
  }

  /** What finishes late may be about a store that is no longer ours. */
  #feedFor(sitting: Sitting, input: RaftInput): void {
    if (sitting === this.#sitting && !sitting.isOver) this.#feed(input)
  }

  /** Writes that shared a sync are reported together. */
  #wasPersisted(sitting: Sitting, write: number): void {
    sitting.persisted = Math.max(sitting.persisted, write)
    if (sitting.isTellingPersisted) return
    sitting.isTellingPersisted = true
    queueMicrotask(() => {
      sitting.isTellingPersisted = false
      this.#feedFor(sitting, { kind: 'persisted', write: sitting.persisted })
    })
  }

  /** Of chunks that shared a sync the last one says it all. */
  #wasWritten(sitting: Sitting, done: ChunkWritten): void {
    const isTelling = sitting.chunkWritten !== undefined
    sitting.chunkWritten = done
    if (isTelling) return
    queueMicrotask(() => {
      const last = sitting.chunkWritten as ChunkWritten
      sitting.chunkWritten = undefined
      this.#feedFor(sitting, last)
    })
  }

  #synced({ durationMs }: SyncReport): void {
    this.statistics.fsync.observe(durationMs / 1000)
    const { heartbeatTimeoutMs } = this.#sitting.options
    const wasSlow = isSlowSync(this.#syncMs, heartbeatTimeoutMs)
    // The first one stands for all before it.
    this.#syncMs += (this.#syncMs === 0 ? 1 : SYNC_WEIGHT) * (durationMs - this.#syncMs)
    if (isSlowSync(this.#syncMs, heartbeatTimeoutMs) !== wasSlow) this.#changed()
    const nowMs = this.#fabric.env.nowMs()
    if (nowMs - this.#syncToldMs < SYNC_NEWS_MS) return
    this.#syncToldMs = nowMs
    this.#feed({ kind: 'sync-time', syncMs: this.#syncMs })
  }

  #stateChanged(role: Role, term: number, leader: ServerId | undefined): void {
    this.statistics.stateChanged(role, term, leader, this.#fabric.env.nowMs())
    if (role !== 'leader') this.#loseProposals()
    if (leader === undefined) {
      if (this.#leader !== undefined) this.#log('info', 'raft_leader_lost', { term, leader: nameOf(this.#leader) })
    } else {
      this.#log('info', 'raft_leader_elected', { term, leader: nameOf(leader) })
      this.#askAtMs = 0
      this.#askSoon()
    }
    this.#leader = leader
    if (leader !== undefined && leader !== this.self) {
      for (const [ref, { resolve, deadlineMs }] of [...this.#handovers]) {
        if (deadlineMs === undefined) continue
        this.#handovers.delete(ref)
        resolve(leader)
      }
    }
    this.#changed()
  }

  // ── Messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #send(sitting: Sitting, to: ServerId, message: Message): void {
    const { formation } = sitting.store.meta
    if (formation === undefined) return
    const bytes = sitting.codec.encode({ formation, from: sitting.self, to, message })
    const lane = message.kind === 'append' && message.entries.length > 0 ? 'rlog' : 'raft'
    const refusal = this.#fabric.send({ name: nameOf(to), epoch: 0 }, lane, bytes, replacement(to, message))
    if (refusal === undefined || message.kind !== 'append') return
    // The core expects no answer to what it has just sent, and hears at once that there will be none.
    this.#feed(
      refusal === 'queue_full' && lane === 'rlog' ? { kind: 'blocked', peer: to } : { kind: 'unreachable', peer: to },
    )
  }

  #sendChunk(sitting: Sitting, effect: Extract<RaftEffect, { kind: 'send-chunk' }>): void {
    const { to, term, round, snapshot, offset, lengthBytes } = effect
    const { checksum } = snapshot
    const deliver = async (data: Uint8Array | undefined): Promise<void> => {
      if (sitting.isOver) return
      if (data === undefined) {
        this.#stopSending(to)
        return this.#feedFor(sitting, { kind: 'chunk-failed', to, checksum })
      }
      const message: Message = { kind: 'snapshot', term, round, snapshot, offset, data }
      const { formation = '' } = sitting.store.meta
      const bytes = sitting.codec.encode({ formation, from: sitting.self, to, message })
      const run = { name: nameOf(to), epoch: 0 }
      if (this.#fabric.send(run, 'snapshot', bytes) !== 'queue_full') return
      await new Promise<void>((resolve) => {
        this.#awaitingRoom.set(run.name, [...(this.#awaitingRoom.get(run.name) ?? []), resolve])
      })
      // What is not taken now is asked for again by the core, when it notices that nothing moves.
      if (!sitting.isOver) this.#fabric.send(run, 'snapshot', bytes)
    }
    this.#sendingTo(sitting, to, checksum)
      .send({ offset, lengthBytes }, deliver)
      .catch((error: unknown) => this.#diskFailed(sitting, error))
  }

  #sendingTo({ store }: Sitting, to: ServerId, checksum: string): Sending {
    const nowMs = this.#fabric.env.nowMs()
    const before = this.#sendings.get(to)
    if (before?.checksum === checksum) {
      before.usedMs = nowMs
      return before
    }
    this.#stopSending(to)
    const sending = new Sending(checksum, nowMs, () => store.snapshots.reader(checksum))
    this.#sendings.set(to, sending)
    this.#watchSendings()
    return sending
  }

  #stopSending(to: ServerId): void {
    this.#sendings.get(to)?.close()
    this.#sendings.delete(to)
  }

  /** A snapshot that nobody asks for any more does not stay open. */
  #watchSendings(): void {
    if (this.#isWatchingSendings) return
    this.#isWatchingSendings = true
    this.#fabric.after(SENDING_IDLE_MS, () => {
      this.#isWatchingSendings = false
      const sinceMs = this.#fabric.env.nowMs() - SENDING_IDLE_MS
      for (const [to, { usedMs }] of [...this.#sendings]) if (usedMs <= sinceMs) this.#stopSending(to)
      if (this.#sendings.size > 0) this.#watchSendings()
    })
  }

  #room(name: string): void {
    const awaiting = this.#awaitingRoom.get(name) ?? []
    this.#awaitingRoom.delete(name)
    for (const resolve of awaiting) resolve()
  }

  #received(from: Run, bytes: Uint8Array): void {
    const sitting = this.#sitting
    if (sitting.isOver || this.#closing !== undefined) return
    let envelope: Envelope
    try {
      envelope = sitting.codec.decode(bytes)
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      this.statistics.dropped('malformed')
      return this.#complain(`malformed ${from.name}`, 'warn', 'raft_malformed', {
        peer: from.name,
        reason: error.message,
      })
    }
    if (nameOf(envelope.from) !== from.name) {
      this.statistics.dropped('forged')
      return this.#complain(`forged ${from.name}`, 'warn', 'raft_malformed', {
        peer: from.name,
        reason: `it speaks for ${nameOf(envelope.from)}`,
      })
    }
    const { message } = envelope
    if (message.kind === 'refused') return this.#wasRefused(envelope.from, message)
    if (envelope.to !== sitting.self) return this.#answerRefused(sitting, envelope, 'store_mismatch')
    if (envelope.formation !== sitting.store.meta.formation) return this.#foreign(sitting, envelope)
    if (message.kind === 'append-reply') this.#measure(sitting, envelope.from, message)
    if (message.kind === 'snapshot-reply' && message.isDone) this.#wasSent(envelope.from, message.checksum)
    this.#feed({ kind: 'message', from: envelope.from, message })
  }

  /** The round of a question is the time of its sending by the clock of this leader, in microseconds. */
  #measure({ raft }: Sitting, from: ServerId, { term, round, ok, isHeartbeat }: AppendReply): void {
    if (!ok || isHeartbeat || raft?.role !== 'leader' || term !== raft.term) return
    if (!membersOf(raft.log.newest.configuration).includes(from)) return
    this.statistics.appended(nameOf(from), this.#fabric.env.nowMs() - round / 1000)
  }

  #wasSent(to: ServerId, checksum: string): void {
    const sending = this.#sendings.get(to)
    if (sending?.checksum !== checksum) return
    this.#stopSending(to)
    this.statistics.snapshot('send', this.#fabric.env.nowMs() - sending.startMs)
  }

  /** Of another group than ours; or of the first one that wants us. cluster.md §5.4. */
  #foreign(sitting: Sitting, envelope: Envelope): void {
    const { formation, promise, released } = sitting.store.meta
    const { kind } = envelope.message
    // What became of its promise it learns from those who were promised.
    if (formation === undefined && promise !== undefined) return
    const isWanted = (kind === 'append' || kind === 'snapshot') && this.#holdsTo(envelope.formation)
    if (formation !== undefined || released.includes(envelope.formation) || !isWanted) {
      return this.#answerRefused(sitting, envelope, 'formation')
    }
    if (this.#adopting !== undefined) return
    this.#adopting = envelope.formation
    this.#change(async () => {
      if (sitting !== this.#sitting || sitting.isOver || sitting.store.meta.formation !== undefined) return
      // A promise to found another group may have been on its way to the disk: what counts is what is there by then.
      const meta = await this.#onDisk(
        sitting,
        sitting.store.changeMeta((now) =>
          mayJoin(now, envelope.formation) ? { ...now, formation: envelope.formation } : now,
        ),
      )
      if (meta.formation === undefined || sitting.isOver) return
      sitting.raft = this.#coreOf(sitting, sitting.store.recovered)
      this.#log('info', 'raft_joined', { formation: envelope.formation, peer: nameOf(envelope.from) })
      this.#begin()
    })
      .catch(() => {
        // The disk's failure is dealt with; whoever wants us will say so again.
      })
      .finally(() => {
        this.#adopting = undefined
      })
  }

  /** A server without a group goes to none but the one that it met first. */
  #holdsTo(formation: string): boolean {
    const { formation: met } = this.#fabric
    return met === undefined || formation.startsWith(met)
  }

  #answerRefused(sitting: Sitting, { from, formation, message }: Envelope, why: Refused['why']): void {
    this.statistics.dropped(why)
    if (!this.#isDue(`refuse ${from}`, REFUSAL_MS)) return
    const store = sitting.store.storeId
    const answer: Refused = { kind: 'refused', term: message.term, round: message.round, why, store }
    const bytes = sitting.codec.encode({ formation, from: sitting.self, to: from, message: answer })
    this.#fabric.send({ name: nameOf(from), epoch: 0 }, 'raft', bytes)
  }

  #wasRefused(from: ServerId, { why, store }: Refused): void {
    this.statistics.dropped(`refused_${why}`)
    this.#complain(`refused ${from}`, 'warn', 'raft_refused', { peer: nameOf(from), reason: why, store })
  }

  #serversOf(name: string): ServerId[] {
    const { raft } = this.#sitting
    if (raft === undefined) return []
    return membersOf(raft.log.newest.configuration).filter((server) => nameOf(server) === name)
  }

  // ── Proposals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #refusalNow(): MoonmeshError | undefined {
    const { raft } = this.#sitting
    if (this.#failure !== undefined || raft === undefined) {
      return proposalFailure('NotLeader', this.#failure ?? 'this server is in no group', undefined)
    }
    if (raft.role !== 'leader') {
      this.statistics.proposed('not_leader', 1)
      return proposalFailure('NotLeader', 'this server is not the leader', raft.leader)
    }
    return undefined
  }

  #commandProblem(command: Uint8Array): MoonmeshError | undefined {
    const { entryBytesMax, uncommittedBytesMax } = this.#sitting.options
    if (command.length > entryBytesMax) {
      return proposalFailure('Invalid', `a command of ${command.length} bytes; raft.max_entry_size is ${entryBytesMax}`)
    }
    if (this.#commands.length >= WAITING_COMMANDS_MAX || this.#commandBytes + command.length > uncommittedBytesMax) {
      this.statistics.proposed('overloaded', 1)
      return proposalFailure('Overloaded', 'too much waits to be proposed')
    }
    try {
      this.#state.check(command)
      return undefined
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      return proposalFailure('Invalid', `no command: ${error.message}`)
    }
  }

  /** What else is proposed in this turn of the event loop comes along; or, while enough is on its way, until some of it is committed. */
  #flushSoon(): void {
    if (this.#isFlushing || this.#commands.length === 0 || this.#proposals.count >= PIPELINE_MAX) return
    this.#isFlushing = true
    // Alone it should not wait; beside others a turn brings more together.
    const later = this.#proposals.count === 0 ? this.#options.soon : this.#options.defer
    later(() => this.#flushCommands())
  }

  #flushCommands(): void {
    this.#isFlushing = false
    const commands = this.#commands
    this.#commands = []
    this.#commandBytes = 0
    if (commands.length === 0) return
    const proposedMs = this.#fabric.env.nowMs()
    const bytesMax = this.#sitting.options.entryBytesMax * BATCH_BYTES_SHARE
    const proposals: Proposal[] = []
    for (let at = 0; at < commands.length; ) {
      let bytes = 0
      const from = at
      while (at < commands.length && at - from < BATCH_COMMANDS_MAX) {
        bytes += (commands[at] as { command: Uint8Array }).command.length
        if (at > from && bytes > bytesMax) break
        at++
      }
      const batch = commands.slice(from, at)
      const ref = ++this.#refs
      const data = this.#state.join(batch.map(({ command }) => command))
      this.#proposals.offer(ref, { kind: 'commands', waiters: batch.map(({ waiter }) => waiter), proposedMs })
      proposals.push({ ref, payload: { kind: 'commands', data } })
    }
    this.#propose(proposals)
  }

  #offer(payload: Proposal['payload'], awaiting: Awaiting): void {
    const ref = ++this.#refs
    this.#proposals.offer(ref, awaiting)
    this.#propose([{ ref, payload }])
  }

  #propose(proposals: readonly Proposal[]): void {
    this.#feed({ kind: 'propose', proposals })
    // A core that is over, or not there any more, has refused nothing.
    const { raft, isOver } = this.#sitting
    if (isOver || raft === undefined)
      for (const awaiting of this.#proposals.withdrawn()) this.#refuse(awaiting, 'NotLeader')
  }

  #applied(sitting: Sitting, entry: Entry, outcomes: readonly Outcome[]): void {
    this.#passReaders()
    if (sitting !== this.#sitting) return
    const { own, lost } = this.#proposals.applied(entry.index, entry.term)
    for (const awaiting of lost) this.#refuse(awaiting, 'LeadershipLost')
    if (own?.kind === 'commands') {
      this.statistics.proposed('ok', own.waiters.length)
      this.statistics.commit.observe((this.#fabric.env.nowMs() - own.proposedMs) / 1000)
      for (const [at, { resolve }] of own.waiters.entries()) resolve(outcomes[at] as Outcome)
    } else if (own?.kind === 'other') own.resolve(entry.index)
    this.#flushSoon()
  }

  /** What was appended and not applied may happen or not; nobody can tell here. */
  #loseProposals(): void {
    for (const awaiting of this.#proposals.lost()) this.#refuse(awaiting, 'LeadershipLost')
    // What gathered behind them was never appended, and is told so.
    this.#flushSoon()
  }

  #refused(ref: number, reason: Refusal, why: string | undefined, leader: ServerId | undefined): void {
    const handover = this.#handovers.get(ref)
    const awaiting = this.#proposals.refused(ref)
    this.#handovers.delete(ref)
    handover?.reject(new MoonmeshError('Conflict', why ?? reason))
    if (awaiting === undefined) return
    switch (reason) {
      case 'not-leader':
        return this.#refuse(awaiting, 'NotLeader', 'this server is not the leader', leader)
      case 'transferring':
        return this.#refuse(awaiting, 'Transferring', 'leadership is being handed over')
      case 'overloaded':
        return this.#refuse(awaiting, 'Overloaded', 'too much is proposed and not committed yet')
      case 'too-large':
        return this.#refuse(awaiting, 'Invalid', 'larger than raft.max_entry_size')
      case 'not-ready':
        return this.#refuse(awaiting, 'Overloaded', 'the leader has only just been elected')
      case 'configuration':
        if (awaiting.kind === 'other')
          awaiting.reject(new MoonmeshError('Conflict', why ?? reason, { retryable: true }))
        return
      default:
        return unreachable(reason)
    }
  }

  #refuse(awaiting: Awaiting, kind: ProposalFailure, why?: string, hint?: ServerId): void {
    if (awaiting.kind === 'tick') return
    const text = why ?? 'leadership was lost before the outcome was known'
    const error = proposalFailure(kind, text, hint)
    if (awaiting.kind === 'other') return awaiting.reject(error)
    this.statistics.proposed(RESULTS[kind], awaiting.waiters.length)
    for (const { reject } of awaiting.waiters) reject(error)
  }

  #transferEnded(ref: number, ok: boolean, why: string | undefined): void {
    const handover = this.#handovers.get(ref)
    if (handover === undefined) return
    const { leader } = this.#sitting.raft ?? {}
    if (!ok) {
      this.#handovers.delete(ref)
      handover.reject(new MoonmeshError('Conflict', why ?? 'the transfer failed', { retryable: true }))
    } else if (leader !== undefined && leader !== this.self) {
      this.#handovers.delete(ref)
      handover.resolve(leader)
    } else {
      handover.deadlineMs = this.#fabric.env.nowMs() + HANDOVER_TIMEOUTS * this.#sitting.options.electionTimeoutMs
      this.#sweepLater()
    }
  }

  // ── Reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads that begin together share a question. */
  #askSoon(): void {
    if (this.#isAsking || !this.#barriers.needsQuestion) return
    this.#isAsking = true
    this.#options.soon(() => {
      this.#isAsking = false
      this.#ask()
    })
  }

  #ask(): void {
    const { raft, isOver } = this.#sitting
    if (raft === undefined || isOver || !this.#barriers.needsQuestion) return
    if (this.#fabric.env.nowMs() < this.#askAtMs) return
    const ref = ++this.#refs
    this.#barriers.asked(ref)
    this.#feed({ kind: 'read', ref })
  }

  #passReaders(): void {
    const { index } = this.#state
    const nowMs = this.#fabric.env.nowMs()
    for (const { resolve, sinceMs } of this.#barriers.applied(index)) {
      this.statistics.read.observe((nowMs - sinceMs) / 1000)
      resolve(index)
    }
  }

  /** One timer for everything that waits until a deadline. */
  #sweepLater(): void {
    if (this.#isSweeping || this.#closing !== undefined) return
    this.#isSweeping = true
    this.#fabric.after(SWEEP_MS, () => {
      this.#isSweeping = false
      const nowMs = this.#fabric.env.nowMs()
      for (const { reject } of this.#barriers.expired(nowMs)) {
        reject(new MoonmeshError('Timeout', 'no leader confirmed the read in time', { retryable: true }))
      }
      for (const [ref, { reject, deadlineMs = Number.POSITIVE_INFINITY }] of [...this.#handovers]) {
        if (deadlineMs > nowMs) continue
        this.#handovers.delete(ref)
        reject(new MoonmeshError('Timeout', 'leadership was given up, and nobody was heard to lead since'))
      }
      this.#ask()
      if (this.#barriers.count > 0 || this.#handovers.size > 0) this.#sweepLater()
    })
  }

  // ── Snapshots ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Between entries, and when the core knows of all that is applied. */
  #maybeSave(): void {
    const sitting = this.#sitting
    const { raft, isOver, store } = sitting
    if (!this.#isSnapshotDue || raft === undefined || isOver) return
    if (!this.#state.isIdle || this.#state.index !== raft.applied) return
    this.#isSnapshotDue = false
    const { trailingBytes } = sitting.options
    const position = { ...raft.snapshotBasis(this.#state.index), clockMs: this.#state.clockMs }
    // The state of this moment, whatever happens to it while it is written.
    const saved = this.#state.save(store.meta.formation ?? '', position)
    const startMs = this.#fabric.env.nowMs()
    this.#write(store.snapshots.create(position), saved.pieces)
      .then(
        (snapshot) => {
          this.statistics.snapshot('write', this.#fabric.env.nowMs() - startMs, snapshot.sizeBytes)
          this.#log('info', 'raft_snapshot_written', { index: snapshot.index, bytes: snapshot.sizeBytes })
          this.#feedFor(sitting, {
            kind: 'snapshot-created',
            snapshot,
            keepAfter: store.log.indexWithin(trailingBytes, snapshot.index),
            holdAfter: store.log.indexWithin(trailingBytes + snapshot.sizeBytes, snapshot.index),
          })
        },
        (error: unknown) => {
          this.#feedFor(sitting, { kind: 'snapshot-failed' })
          this.#diskFailed(sitting, error)
        },
      )
      .finally(() => saved.close())
      .catch(() => {})
  }

  async #write(opening: Promise<SnapshotWriter>, pieces: Iterable<Uint8Array>): Promise<SnapshotMeta> {
    const writer = await opening
    try {
      let sliceMs = this.#fabric.env.nowMs()
      for (const piece of pieces) {
        await writer.write(piece)
        if (this.#fabric.env.nowMs() - sliceMs < SAVE_SLICE_MS) continue
        await new Promise<void>((next) => this.#options.defer(next))
        sliceMs = this.#fabric.env.nowMs()
      }
      return await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
  }

  #finishSnapshot(sitting: Sitting, snapshot: SnapshotMeta): void {
    const { checksum } = snapshot
    sitting.store.snapshots.finish(snapshot).then(
      (ok) => {
        this.statistics.installed(ok)
        const receiving = this.#receiving
        if (ok && receiving?.checksum === checksum) {
          this.statistics.snapshot('receive', this.#fabric.env.nowMs() - receiving.startMs)
        }
        this.#feedFor(sitting, { kind: 'snapshot-finished', checksum, ok })
      },
      (error: unknown) => this.#diskFailed(sitting, error),
    )
  }

  #restore(sitting: Sitting, { snapshot, done }: Extract<RaftEffect, { kind: 'restore' }>): void {
    const startMs = this.#fabric.env.nowMs()
    const read = (): AsyncIterable<Uint8Array> => sitting.store.snapshots.read(snapshot.checksum)
    this.#state.restore(snapshot.index, read, () => {
      this.statistics.snapshot('restore', this.#fabric.env.nowMs() - startMs)
      this.#log('info', 'raft_snapshot_installed', { index: snapshot.index, bytes: snapshot.sizeBytes })
      this.#loseProposals()
      this.#passReaders()
      this.#feedFor(sitting, done)
    })
  }

  // ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #log(level: 'info' | 'warn' | 'error', event: string, fields: Record<string, string | number>): void {
    const term = this.#sitting.raft?.term ?? 0
    this.#fabric.log(level, event, { term, ...fields })
  }

  /** At most once a minute about one thing. */
  #complain(about: string, level: 'warn' | 'error', event: string, fields: Record<string, string | number>): void {
    if (this.#isDue(about, COMPLAINT_MS)) this.#log(level, event, fields)
  }

  #isDue(about: string, everyMs: number): boolean {
    const nowMs = this.#fabric.env.nowMs()
    const last = this.#complaints.get(about)
    if (last !== undefined && nowMs - last < everyMs) return false
    if (this.#complaints.size >= COMPLAINTS_MAX) this.#complaints.clear()
    this.#complaints.set(about, nowMs)
    return true
  }
}

const RESULTS = {
  NotLeader: 'not_leader',
  Transferring: 'transferring',
  Overloaded: 'overloaded',
  LeadershipLost: 'leadership_lost',
  Invalid: 'invalid',
} as const satisfies Record<ProposalFailure, string>

/** What a newer one of makes an older one needless that has not been sent. cluster.md §4.5. */
function replacement(to: ServerId, message: Message): { replaces?: string } {
  switch (message.kind) {
    case 'append':
      return message.isHeartbeat ? { replaces: `heartbeat ${to}` } : {}
    case 'prevote':
    case 'vote':
      return { replaces: `${message.kind} ${to}` }
    case 'append-reply':
      if (message.isHeartbeat) return { replaces: `heartbeat-reply ${to}` }
      // A refusal answers one question.
      return message.ok ? { replaces: `append-reply ${to}` } : {}
    default:
      return {}
  }
}

function roleIn({ voters, standbys }: Configuration, self: ServerId): 'voter' | 'standby' | 'none' {
  return voters.includes(self) ? 'voter' : standbys.includes(self) ? 'standby' : 'none'
}

/** Whether a leader's messages may make a store of this META a member of its group. cluster.md §5.4. */
function mayJoin({ formation: own, promise, released }: StoreMeta, formation: string): boolean {
  return own === undefined && promise === undefined && !released.includes(formation)
}

function closed(): MoonmeshError {
  return new MoonmeshError('Canceled', 'consensus is closed: this node is stopping')
}

/** The first two entries of a group, which its founders write by themselves. cluster.md §5.4. */
function formedState({ initial = '' }: StoreMeta): RecoveredState {
  const packed = unpack(Buffer.from(initial, 'base64'))
  if (!Array.isArray(packed)) throw new UnpackError('the beginning of a group is a list')
  const [configuration, data] = packed as readonly unknown[]
  if (!(data instanceof Uint8Array)) throw new UnpackError('settings are bytes')
  const entries: Entry[] = [
    {
      index: 1,
      term: 1,
      clockMs: 0,
      kind: 'configuration',
      configuration: unpackConfiguration(configuration as never),
    },
    { index: 2, term: 1, clockMs: 0, kind: 'settings', data },
  ]
  return { hardState: { term: 1 }, base: { index: 0, term: 0 }, runs: [], entries }
}

/** A crash may come between the decision to begin a group and its first entries. */
async function finishForming(store: Store): Promise<void> {
  const { log, meta, recovered } = store
  if (meta.initial === undefined || log.lastIndex > 0 || recovered.hardState.term > 0) return
  const { hardState, entries } = formedState(meta)
  await log.persist({ hardState, log: { after: 0, entries } })
}
