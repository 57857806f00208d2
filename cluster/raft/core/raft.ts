// One server of the consensus group, as a state machine. Raft (Ongaro, Ousterhout 2014) §5, §7; Ongaro's thesis §3.8
// (durability), §3.10 (transfer), §4.1 (one change at a time), §6.4 (reads), §9.6 (pre-vote); shape after etcd-io/raft
// raft.go; rules and numbers of cluster.md §5.
//
// Order of disk and network: a step gathers what must be written in one numbered write. Messages that rest on something
// not yet durable are held until the write that contains it is reported; entries of a leader travel beside its own write.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import type { PersistEffect, Proposal, RaftEffect, RaftInput, Refusal, Role } from './effects.ts'
import { type Entry, entryBytes, isUpToDate, type LogPosition, type Payload } from './entry.ts'
import { Log, type PlacedConfiguration } from './log.ts'
import {
  applyChange,
  type Configuration,
  type ConfigurationChange,
  membersOf,
  NOBODY,
  quorumProblem,
} from './membership.ts'
import type {
  AppendReply,
  AppendRequest,
  Message,
  PreVoteRequest,
  SnapshotMeta,
  SnapshotReply,
  SnapshotRequest,
  VoteReply,
  VoteRequest,
} from './messages.ts'
import { Progress } from './progress.ts'
import { majorityValue, tally } from './quorum.ts'
import { type Reader, Reads } from './reads.ts'
import type { RecoveredState } from './recovery.ts'
import type { ServerId } from './server.ts'

export interface RaftOptions {
  heartbeatTimeoutMs: number
  electionTimeoutMs: number
  /** How often an idle leader is heard. */
  commitTimeoutMs: number
  /** How long news of the commit index wait for entries to go with; 0: they go at once. */
  commitNewsMs: number
  appendEntriesMax: number
  appendBytesMax: number
  inflightMax: number
  inflightBytesMax: number
  /** Of one command. */
  entryBytesMax: number
  uncommittedBytesMax: number
  /** Applied entries after which a snapshot is due. */
  snapshotThreshold: number
  snapshotIntervalMs: number
  /** Bytes applied since the last snapshot that make one due at once. */
  snapshotLogBytes: number
  /** Kept behind a snapshot: as many entries at most, and as many bytes. */
  trailingEntries: number
  trailingBytes: number
  /** For so long after its last progress the log after what a follower has is kept for it, up to a snapshot's size more than otherwise. */
  holdMs: number
  /** Snapshots that are being sent at the same time. */
  snapshotStreamsMax: number
  snapshotChunkBytes: number
  snapshotWindowChunks: number
  /** Without a byte of progress, a snapshot is given up. */
  snapshotStallMs: number
  readMode: 'index' | 'lease'
  readsMax: number
  transferTimeoutMs: number
  /** Entries handed over for applying at once. */
  applyEntriesMax: number
  applyBytesMax: number
  /** Entries kept in memory. */
  cacheBytesMax: number
  /** A standby this close behind the commit index counts as caught up. */
  syncedLagEntries: number
  /** How long it must have been so before it can be promoted. */
  syncedForMs: number
  /** Share of the heartbeat timeout for which a lease is trusted, below 1: clocks of two nodes do not run alike. */
  leaseFactor: number
}

/** The numbers of cluster.md §2.1 and §5. */
export const RAFT_DEFAULTS: RaftOptions = {
  heartbeatTimeoutMs: 3000,
  electionTimeoutMs: 3000,
  commitTimeoutMs: 500,
  commitNewsMs: 3,
  appendEntriesMax: 16,
  appendBytesMax: 1024 * 1024,
  inflightMax: 64,
  inflightBytesMax: 8 * 1024 * 1024,
  entryBytesMax: 1024 * 1024,
  uncommittedBytesMax: 64 * 1024 * 1024,
  snapshotThreshold: 8192,
  snapshotIntervalMs: 120_000,
  snapshotLogBytes: 256 * 1024 * 1024,
  trailingEntries: 10_240,
  trailingBytes: 256 * 1024 * 1024,
  holdMs: 60_000,
  snapshotStreamsMax: 2,
  snapshotChunkBytes: 32 * 1024,
  snapshotWindowChunks: 128,
  snapshotStallMs: 10_000,
  readMode: 'index',
  readsMax: 4096,
  transferTimeoutMs: 3000,
  applyEntriesMax: 256,
  applyBytesMax: 4 * 1024 * 1024,
  cacheBytesMax: 64 * 1024 * 1024,
  syncedLagEntries: 64,
  syncedForMs: 1000,
  leaseFactor: 0.8,
}

export interface FollowerStatus {
  readonly server: ServerId
  readonly mode: 'probe' | 'replicate' | 'snapshot'
  readonly match: number
  readonly next: number
  readonly inflightCount: number
  readonly isRegressed: boolean
  /** Milliseconds since the sending of the newest question that it answered; Infinity: none in this term. */
  readonly silentMs: number
  readonly applied: number
  readonly syncMs: number
  readonly isSynced: boolean
}

interface RaftStatus {
  readonly role: Role
  readonly term: number
  readonly leader: ServerId | undefined
  readonly commit: number
  readonly applied: number
  readonly durable: number
  readonly base: LogPosition
  readonly last: LogPosition
  readonly configuration: PlacedConfiguration
  readonly snapshotIndex: number
  readonly isReady: boolean
  /** Its disk has failed, or its store must be made anew: it is silent. */
  readonly isFailed: boolean
  readonly uncommittedBytes: number
  readonly heldCount: number
  readonly followers: readonly FollowerStatus[]
}

/** A message that may leave once a write is durable. */
interface Held {
  readonly write: number
  readonly term: number
  readonly to: ServerId
  readonly message: Message
}

/** A message of the current step and what it rests on: the hard state, or also the log up to `index`. */
interface Resting {
  readonly to: ServerId
  readonly message: Message
  readonly index: number
}

interface Incoming {
  readonly snapshot: SnapshotMeta
  from: ServerId
  round: number
  /** Bytes handed to the disk. */
  received: number
  /** Bytes on the disk. */
  durable: number
  isFinishing: boolean
}

interface TransferOut {
  readonly ref: number
  readonly to: ServerId
  readonly deadlineMs: number
  isSent: boolean
}

const HELD_MAX = 8192
const FORWARDED_READS_MAX = 4096
/** A voter that would rather not lead does so when nobody else has for this many heartbeat timeouts. */
const INELIGIBLE_PATIENCE = 5
/** Who was removed is told so for this many heartbeat timeouts. */
const DEPARTURE_PATIENCE = 2

export class Raft {
  readonly id: ServerId
  readonly #options: RaftOptions
  readonly #env: Env
  readonly #log: Log

  #nowMs: number
  #effects: RaftEffect[] = []
  #resting: Resting[] = []
  #held: Held[] = []

  // Durable, or on its way to the disk.
  #term: number
  #vote: ServerId | undefined
  #isHardStateDirty = false
  /** The log after this index has changed in this step. */
  #dirtyAfter: number | undefined
  #dirtyReset: LogPosition | undefined
  /** Number of the newest write that was given out. */
  #write = 0
  /** Number of the newest write that is durable. */
  #written = 0
  /** The write with the newest hard state. */
  #hardWrite = 0
  /** Writes under way and how far the log reaches with each. A truncation lowers those before it. */
  #pendingWrites: { write: number; lastIndex: number }[] = []
  /** The log is on disk up to here, as it is in memory. */
  #durable: number
  #isFailed = false

  #commit: number
  #applied: number
  /** The last index that was handed over for applying. */
  #applying: number
  #snapshot: SnapshotMeta | undefined
  #isSnapshotting = false
  #snapshotCheckMs: number
  #bytesSinceSnapshot = 0
  /** Entries up to `through` may go, and those up to `atLeast` do, whoever lacks them. */
  #surplus = { through: 0, atLeast: 0 }
  /** Entries to apply are being fetched from our own disk. */
  #isFetching = false
  #incoming: Incoming | undefined

  #role: Role = 'follower'
  #leader: ServerId | undefined
  #reported: { role: Role; term: number; leader: ServerId | undefined }
  /** When the current leader of the time was last heard. */
  #leaderContactMs: number
  #electionAtMs: number
  #isEligible = true
  #leaderlessSinceMs: number
  #syncMs = 0
  /** The newest number drawn for a question. */
  #round = 0

  // As candidate.
  #votes = new Map<ServerId, boolean>()
  #campaignRound = 0

  // As leader.
  #progress = new Map<ServerId, Progress>()
  #noopIndex = 0
  #leaderSinceMs = 0
  #heartbeatAtMs = 0
  /** When followers that were sent nothing since hear of the commit index. */
  #newsAtMs = Number.POSITIVE_INFINITY
  #checkAtMs = 0
  #uncommittedBytes = 0
  #transfer: TransferOut | undefined
  /** A successor was told to stand for election in this term: it will not wait for us to fall silent. */
  #isLeaseVoid = false
  /** Our clock reading at which the log clock stood at `clockMs`. */
  #clockBase: { atMs: number; clockMs: number } | undefined
  readonly #reads: Reads

  /** Reads that the leader was asked for, by the round of the question. */
  #forwarded = new Map<number, { ref: number; deadlineMs: number }>()

  constructor(id: ServerId, recovered: RecoveredState, options: RaftOptions, env: Env) {
    const { snapshot, base, hardState, entries, runs } = recovered
    assert(options.heartbeatTimeoutMs > 0 && options.electionTimeoutMs > 0, 'timeouts are positive')
    assert(options.commitTimeoutMs < options.heartbeatTimeoutMs, 'a leader is heard before it is missed')
    assert(options.appendEntriesMax > 0 && options.inflightMax > 0, 'appends carry something')
    assert(options.leaseFactor < 1, 'a lease ends before a follower may vote again')
    this.id = id
    this.#options = options
    this.#env = env
    this.#nowMs = env.nowMs()
    this.#term = hardState.term
    this.#vote = hardState.vote
    const initial =
      snapshot === undefined
        ? { index: 0, configuration: NOBODY }
        : { index: snapshot.index, configuration: snapshot.configuration }
    const onDisk = { index: initial.index, clockMs: snapshot?.clockMs ?? 0 }
    this.#log = new Log({ base, runs, onDisk }, initial, entries)
    assert(snapshot === undefined || base.index <= snapshot.index, 'a snapshot covers what is no longer in the log')
    assert(snapshot !== undefined || base.index === 0, 'a log that does not start at the first entry has a snapshot')
    assert(snapshot === undefined || this.#log.lastIndex >= snapshot.index, 'the log reaches the snapshot')
    assert(this.#term >= this.#log.lastTerm, 'the term is not below that of the last entry')
    this.#durable = this.#log.lastIndex
    this.#snapshot = snapshot
    this.#commit = snapshot?.index ?? 0
    this.#applied = this.#commit
    this.#applying = this.#commit
    this.#reads = new Reads(options.readsMax)
    this.#reported = { role: 'follower', term: this.#term, leader: undefined }
    this.#leaderlessSinceMs = this.#nowMs
    if (recovered.partial !== undefined) {
      const { snapshot: arriving, offset } = recovered.partial
      this.#incoming = { snapshot: arriving, from: '', round: 0, received: offset, durable: offset, isFinishing: false }
    }
    // In term 1 nobody was ever elected: a group that was just formed need not wait. Otherwise a leader may have been heard
    // just before the restart, and its lease and its check of the quorum count on our not voting for a while.
    const isNewborn = this.#term <= 1
    this.#leaderContactMs = isNewborn ? Number.NEGATIVE_INFINITY : this.#nowMs
    this.#electionAtMs = isNewborn
      ? this.#nowMs + env.randomInt(Math.max(1, Math.floor(options.heartbeatTimeoutMs / 2)))
      : this.#nowMs + options.heartbeatTimeoutMs + env.randomInt(options.heartbeatTimeoutMs)
    this.#snapshotCheckMs = this.#nowMs + this.#snapshotDelayMs()
  }

  get role(): Role {
    return this.#role
  }

  get term(): number {
    return this.#term
  }

  get leader(): ServerId | undefined {
    return this.#leader
  }

  get commit(): number {
    return this.#commit
  }

  get applied(): number {
    return this.#applied
  }

  get log(): Pick<Log, 'base' | 'last' | 'lastIndex' | 'term' | 'entry' | 'newest' | 'configurationAt' | 'matches'> {
    return this.#log
  }

  /** A leader that has applied the first entry of its term: only now it knows what is committed. cluster.md §5.2. */
  get isReady(): boolean {
    return this.#role === 'leader' && this.#applied >= this.#noopIndex
  }

  /** When the next tick is due, monotonic milliseconds. */
  get wakeAtMs(): number {
    if (this.#isFailed) return Number.POSITIVE_INFINITY
    const asLeaderMs = Math.min(this.#heartbeatAtMs, this.#newsAtMs, this.#checkAtMs)
    const own = this.#role === 'leader' ? asLeaderMs : this.#electionAtMs
    const [forwarded] = this.#forwarded.values()
    return Math.min(own, this.#snapshotCheckMs, forwarded?.deadlineMs ?? Number.POSITIVE_INFINITY)
  }

  /**
   * Whether a read may be answered from local state at this moment, by the clock alone; to be asked after the read was
   * evaluated. Rests on clocks that run alike within the lease factor and do not stop with the process. cluster.md §5.7.
   */
  hasLease(): boolean {
    if (this.#options.readMode !== 'lease' || !this.isReady || this.#isLeaseVoid) return false
    return (
      this.#env.nowMs() < this.#quorumContactMs(false) + this.#options.leaseFactor * this.#options.heartbeatTimeoutMs
    )
  }

  /** Whether a majority was in contact within the check-quorum window, by the clock at this moment. */
  hasQuorum(): boolean {
    return (
      this.#role === 'leader' && this.#quorumContactMs(true) >= this.#env.nowMs() - this.#options.heartbeatTimeoutMs
    )
  }

  /** Whether a successor was named in this term. */
  get isTransferBegun(): boolean {
    return this.#transfer !== undefined || this.#isLeaseVoid
  }

  /** The log clock, for a leader that is ready; undefined otherwise. */
  get clockMs(): number | undefined {
    return this.isReady ? this.#clockNow() : undefined
  }

  /** What a snapshot of the state at `index`, which must be applied, says of itself. */
  snapshotBasis(index: number): { index: number; term: number; configuration: Configuration } {
    const term = this.#log.term(index)
    assert(index <= this.#applied && term !== undefined, `${index} is applied and in the log`)
    return { index, term, configuration: this.#log.configurationAt(index).configuration }
  }

  status(): RaftStatus {
    const nowMs = this.#env.nowMs()
    return {
      role: this.#role,
      term: this.#term,
      leader: this.#leader,
      commit: this.#commit,
      applied: this.#applied,
      durable: this.#durable,
      base: this.#log.base,
      last: this.#log.last,
      configuration: this.#log.newest,
      snapshotIndex: this.#snapshot?.index ?? 0,
      isReady: this.isReady,
      isFailed: this.#isFailed,
      uncommittedBytes: this.#uncommittedBytes,
      heldCount: this.#held.length,
      followers: [...this.#progress].map(([server, progress]) => ({
        server,
        mode: progress.mode,
        match: progress.match,
        next: progress.next,
        inflightCount: progress.inflightCount,
        isRegressed: progress.isRegressed,
        silentMs: progress.ackedRound === 0 ? Number.POSITIVE_INFINITY : nowMs - progress.ackedRound / 1000,
        applied: progress.applied,
        syncMs: progress.syncMs,
        isSynced: this.#isSynced(progress),
      })),
    }
  }

  step(input: RaftInput): RaftEffect[] {
    // After a failed write nothing in memory can be trusted to be on disk, and a store that has lost entries must be made
    // anew: this server is over, the driver makes another one.
    if (this.#isFailed) return []
    this.#nowMs = this.#env.nowMs()
    this.#handle(input)
    return this.#settle()
  }

  #handle(input: RaftInput): void {
    switch (input.kind) {
      case 'tick':
        return this.#tick()
      case 'message':
        return this.#message(input.from, input.message)
      case 'persisted':
        return this.#persisted(input.write)
      case 'applied':
        return this.#appliedTo(input.index)
      case 'propose':
        return this.#propose(input.proposals)
      case 'change':
        return this.#change(input.ref, input.change, input.live)
      case 'read':
        return this.#read(input.ref)
      case 'transfer':
        return this.#startTransfer(input.ref, input.to)
      case 'cancel-transfer':
        return this.#endTransfer('cancelled')
      case 'unreachable':
        return this.#unreachable(input.peer, false)
      case 'blocked':
        return this.#unreachable(input.peer, true)
      case 'drained':
        return this.#drained(input.peer)
      case 'entries-read':
        return this.#entriesRead(input.to, input.after, input.entries)
      case 'chunk-failed':
        return this.#chunkFailed(input.to, input.checksum)
      case 'chunk-written':
        return this.#chunkWritten(input.checksum, input.through)
      case 'snapshot-finished':
        return this.#snapshotFinished(input.checksum, input.ok)
      case 'snapshot-created':
        return this.#snapshotCreated(input.snapshot, input.keepAfter ?? 0, input.holdAfter ?? 0)
      case 'snapshot-failed':
        this.#isSnapshotting = false
        return
      case 'eligible':
        this.#isEligible = input.isEligible
        return
      case 'paused':
        if (this.#role !== 'leader') this.#restartElectionTimer()
        return
      case 'sync-time':
        this.#syncMs = input.syncMs
        return
      case 'tell-commit': {
        const progress = this.#progress.get(input.peer)
        if (progress !== undefined) this.#tellCommit(input.peer, progress)
        return
      }
      case 'campaign':
        if (this.#role !== 'leader' && this.#isVoter()) this.#preVote()
        return
      case 'storage-failed':
        return this.#end()
      default:
        return unreachable(input)
    }
  }

  /** Falls silent for good. */
  #end(): void {
    this.#becomeFollower(this.#term, undefined)
    this.#isFailed = true
  }

  /** Ends a step: one write for all that changed, then what may leave now, then what can be applied. */
  #settle(): RaftEffect[] {
    if (this.#isFailed) {
      this.#held = []
      this.#resting = []
      this.#effects = this.#effects.filter((effect) => effect.kind !== 'send')
      this.#reportState()
      return this.#take()
    }
    if (this.#role === 'leader' && this.#reads.needsRound) this.#heartbeatRound()
    const persist = this.#gatherWrite()
    for (const { to, message, index } of this.#resting) {
      const write = Math.max(this.#hardWrite, this.#writeCovering(index))
      if (write <= this.#written) this.#send(to, message)
      else this.#held.push({ write, term: this.#term, to, message })
    }
    this.#resting = []
    // A peer that asks again gets another answer, so the oldest can go when the disk stands still.
    if (this.#held.length > HELD_MAX) this.#held.splice(0, this.#held.length - HELD_MAX)
    this.#applyMore()
    this.#reportState()
    const effects = this.#take()
    return persist === undefined ? effects : [persist, ...effects]
  }

  #take(): RaftEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  #gatherWrite(): PersistEffect | undefined {
    if (!this.#isHardStateDirty && this.#dirtyAfter === undefined && this.#dirtyReset === undefined) return undefined
    const write = ++this.#write
    const persist: PersistEffect = { kind: 'persist', write, done: { kind: 'persisted', write } }
    if (this.#isHardStateDirty) {
      persist.hardState = this.#vote === undefined ? { term: this.#term } : { term: this.#term, vote: this.#vote }
      this.#hardWrite = write
    }
    if (this.#dirtyReset !== undefined) persist.reset = this.#dirtyReset
    if (this.#dirtyAfter !== undefined) {
      const slice = this.#log.after(this.#dirtyAfter, {
        entriesMax: Number.POSITIVE_INFINITY,
        bytesMax: Number.POSITIVE_INFINITY,
      })
      assert(slice.kind === 'entries', 'what was just appended is in memory')
      persist.log = { after: this.#dirtyAfter, entries: slice.entries }
    }
    this.#pendingWrites.push({ write, lastIndex: this.#log.lastIndex })
    this.#isHardStateDirty = false
    this.#dirtyAfter = undefined
    this.#dirtyReset = undefined
    return persist
  }

  /** The write after which the log is durable up to `index`. */
  #writeCovering(index: number): number {
    if (index <= this.#durable) return 0
    return this.#pendingWrites.find((pending) => pending.lastIndex >= index)?.write ?? this.#write
  }

  #persisted(write: number): void {
    assert(write <= this.#write, 'only what was given out can be done')
    if (write <= this.#written) return
    this.#written = write
    while (this.#pendingWrites.length > 0 && (this.#pendingWrites[0]?.write ?? 0) <= write) {
      this.#durable = Math.max(this.#durable, (this.#pendingWrites.shift() as { lastIndex: number }).lastIndex)
    }
    this.#release()
    this.#evict()
    if (this.#role === 'candidate' && this.#hardWrite <= write && !this.#votes.has(this.id)) {
      this.#countVote(this.id, true)
    }
    if (this.#role === 'leader') this.#maybeCommit()
  }

  /** Sends what waited for the disk. Of several acknowledgements of entries for one peer, one says it all. */
  #release(): void {
    let count = 0
    while ((this.#held[count]?.write ?? Number.POSITIVE_INFINITY) <= this.#written) count++
    const ready = this.#held.splice(0, count)
    // A later message may rest on an earlier write: answers to heartbeats do not wait for entries.
    if (this.#held.some((held) => held.write <= this.#written)) {
      ready.push(...this.#held.filter((held) => held.write <= this.#written))
      this.#held = this.#held.filter((held) => held.write > this.#written)
    }
    // An answer to a heartbeat repeats what was known before: it neither stands for an acknowledgement nor makes way for one.
    const furthest = new Map<ServerId, { held: Held; index: number }>()
    for (const held of ready) {
      const index = acknowledgedIndex(held.message)
      if (index !== undefined && index >= (furthest.get(held.to)?.index ?? 0)) furthest.set(held.to, { held, index })
    }
    for (const held of ready) {
      // The term may have moved on while the disk was busy; an answer for an old term helps nobody.
      if (held.term !== this.#term) continue
      if (acknowledgedIndex(held.message) !== undefined && furthest.get(held.to)?.held !== held) continue
      this.#send(held.to, held.message)
    }
  }

  #reportState(): void {
    const { role, term, leader } = this.#reported
    if (role === this.#role && term === this.#term && leader === this.#leader) return
    if (leader !== undefined && this.#leader === undefined) this.#leaderlessSinceMs = this.#nowMs
    this.#reported = { role: this.#role, term: this.#term, leader: this.#leader }
    this.#effects.push({ kind: 'state', ...this.#reported })
  }

  #send(to: ServerId, message: Message): void {
    this.#effects.push({ kind: 'send', to, message })
  }

  /** Sends once the hard state, and the log up to `index`, are durable. */
  #sendDurable(to: ServerId, message: Message, index = 0): void {
    this.#resting.push({ to, message, index })
  }

  #drawRound(): number {
    this.#round = Math.max(this.#round + 1, Math.floor(this.#nowMs * 1000))
    return this.#round
  }

  // ── Elections ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #isVoter(): boolean {
    return this.#log.newest.configuration.voters.includes(this.id)
  }

  #mayCampaign(): boolean {
    if (!this.#isVoter()) return false
    if (this.#isEligible) return true
    const sinceMs = Math.max(this.#leaderContactMs, this.#leaderlessSinceMs)
    return this.#nowMs - sinceMs >= INELIGIBLE_PATIENCE * this.#options.heartbeatTimeoutMs
  }

  #restartElectionTimer(): void {
    const { heartbeatTimeoutMs, electionTimeoutMs } = this.#options
    const baseMs = this.#role === 'follower' ? heartbeatTimeoutMs : electionTimeoutMs
    this.#electionAtMs = this.#nowMs + baseMs + this.#env.randomInt(Math.max(1, Math.floor(baseMs)))
  }

  /** Asks whether an election could be won, without disturbing anybody. Thesis §9.6. */
  #preVote(): void {
    this.#becomeFollower(this.#term, undefined)
    this.#role = 'pre-candidate'
    this.#votes = new Map()
    this.#restartElectionTimer()
    this.#campaignRound = this.#drawRound()
    const { term } = this
    const round = this.#campaignRound
    for (const voter of this.#log.newest.configuration.voters) {
      if (voter === this.id) continue
      this.#sendDurable(voter, { kind: 'prevote', term, round, last: this.#log.last, isTransfer: false })
    }
    this.#countVote(this.id, true)
  }

  #campaign(isTransfer: boolean): void {
    this.#becomeFollower(this.#term + 1, undefined)
    this.#role = 'candidate'
    this.#vote = this.id
    this.#isHardStateDirty = true
    this.#votes = new Map()
    this.#restartElectionTimer()
    this.#campaignRound = this.#drawRound()
    const { term } = this
    const round = this.#campaignRound
    // Our own vote is counted when it is durable, see #persisted; the others are asked then as well.
    for (const voter of this.#log.newest.configuration.voters) {
      if (voter === this.id) continue
      this.#sendDurable(voter, { kind: 'vote', term, round, last: this.#log.last, isTransfer })
    }
  }

  #countVote(from: ServerId, isGranted: boolean): void {
    this.#votes.set(from, isGranted)
    const result = tally(this.#log.newest.configuration.voters, this.#votes)
    if (result === 'pending') return
    if (result === 'lost') {
      const deadlineMs = this.#electionAtMs
      this.#becomeFollower(this.#term, undefined)
      this.#electionAtMs = deadlineMs
      return
    }
    if (this.#role === 'pre-candidate') this.#campaign(false)
    else this.#becomeLeader()
  }

  #becomeFollower(term: number, leader: ServerId | undefined): void {
    assert(term >= this.#term, 'terms do not go back')
    if (this.#role === 'leader') this.#leaveLeadership(term > this.#term)
    if (term > this.#term) {
      this.#term = term
      this.#vote = undefined
      this.#isHardStateDirty = true
    }
    const wasFollower = this.#role === 'follower'
    this.#role = 'follower'
    this.#leader = leader
    if (!wasFollower) this.#restartElectionTimer()
  }

  #becomeLeader(): void {
    this.#role = 'leader'
    this.#leader = this.id
    this.#leaderSinceMs = this.#nowMs
    this.#isLeaseVoid = false
    this.#clockBase = undefined
    this.#heartbeatAtMs = this.#nowMs + this.#options.commitTimeoutMs
    this.#newsAtMs = Number.POSITIVE_INFINITY
    this.#checkAtMs = this.#nowMs + this.#options.heartbeatTimeoutMs / 10
    this.#progress = new Map()
    this.#uncommittedBytes = 0
    for (let index = this.#commit + 1; index <= this.#log.lastIndex; index++) {
      this.#uncommittedBytes += entryBytes(this.#log.entry(index) as Entry)
    }
    for (const server of membersOf(this.#log.newest.configuration)) {
      if (server !== this.id) this.#progress.set(server, new Progress(this.#log.lastIndex + 1, this.#options))
    }
    this.#noopIndex = this.#log.lastIndex + 1
    this.#append({ kind: 'noop' })
    this.#broadcast()
    this.#maybeCommit()
  }

  #leaveLeadership(isSuperseded: boolean): void {
    for (const reader of this.#reads.clear()) this.#answerRead(reader, undefined)
    if (this.#transfer !== undefined) {
      const { ref } = this.#transfer
      this.#transfer = undefined
      if (isSuperseded) this.#effects.push({ kind: 'transfer-ended', ref, ok: true })
      else this.#effects.push({ kind: 'transfer-ended', ref, ok: false, why: 'leadership was lost' })
    }
    this.#progress = new Map()
    this.#uncommittedBytes = 0
    this.#clockBase = undefined
  }

  // ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #tick(): void {
    for (const [round, { ref, deadlineMs }] of this.#forwarded) {
      if (deadlineMs > this.#nowMs) break
      this.#forwarded.delete(round)
      this.#effects.push({ kind: 'read-failed', ref, reason: 'timeout' })
    }
    if (this.#nowMs >= this.#snapshotCheckMs) {
      this.#snapshotCheckMs = this.#nowMs + this.#snapshotDelayMs()
      this.#maybeSnapshot()
    }
    if (this.#role === 'leader') return this.#tickLeader()
    if (this.#nowMs < this.#electionAtMs) return
    if (this.#mayCampaign()) this.#preVote()
    else this.#restartElectionTimer()
  }

  #tickLeader(): void {
    if (this.#nowMs >= this.#checkAtMs) {
      this.#checkAtMs = this.#nowMs + this.#options.heartbeatTimeoutMs / 10
      if (this.#quorumContactMs(true) < this.#nowMs - this.#options.heartbeatTimeoutMs) {
        this.#becomeFollower(this.#term, undefined)
        return
      }
      if (this.#transfer !== undefined && this.#nowMs >= this.#transfer.deadlineMs)
        this.#endTransfer('no success in time')
      for (const [server, progress] of this.#progress) this.#revive(server, progress)
      this.#compactWhenFree()
    }
    if (this.#nowMs >= this.#heartbeatAtMs) return this.#heartbeatRound()
    if (this.#nowMs < this.#newsAtMs) return
    this.#newsAtMs = Number.POSITIVE_INFINITY
    for (const [server, progress] of this.#progress) this.#tellCommit(server, progress)
  }

  /** When a majority (ourselves: now) was last known to follow us. `grace`: an election counts as contact. */
  #quorumContactMs(grace: boolean): number {
    const nowMs = this.#env.nowMs()
    const floorMs = grace ? this.#leaderSinceMs : Number.NEGATIVE_INFINITY
    return majorityValue(
      this.#log.newest.configuration.voters.map((voter) =>
        voter === this.id ? nowMs : Math.max(floorMs, this.#contactMs(voter)),
      ),
    )
  }

  #contactMs(server: ServerId): number {
    const progress = this.#progress.get(server)
    if (progress === undefined || progress.isRegressed || progress.ackedRound === 0) return Number.NEGATIVE_INFINITY
    return progress.ackedRound / 1000
  }

  /** Goes back to asking where something sent long ago was never answered. */
  #revive(server: ServerId, progress: Progress): void {
    const { heartbeatTimeoutMs, snapshotStallMs } = this.#options
    if (progress.departsAt !== undefined && progress.departsAt <= this.#commit) {
      // Heartbeats tell it that its removal is committed; after a while it may as well never know.
      progress.departsByMs ??= this.#nowMs + DEPARTURE_PATIENCE * heartbeatTimeoutMs
      if (this.#nowMs >= progress.departsByMs) return void this.#progress.delete(server)
    }
    if (progress.oldestSentMs !== undefined && this.#nowMs - progress.oldestSentMs > heartbeatTimeoutMs) {
      progress.becomeProbe()
      this.#feed(server, progress)
    }
    const { transfer } = progress
    if (transfer === undefined) return
    if (this.#nowMs - transfer.progressMs > snapshotStallMs) {
      progress.becomeProbe()
      this.#rest(progress)
    } else if (this.#nowMs - Math.max(transfer.progressMs, transfer.sentMs) > heartbeatTimeoutMs) {
      transfer.isAgreed = false
      this.#offerSnapshot(server, progress)
    }
  }

  /** Leaves a probing follower alone until it answers the next heartbeat. */
  #rest(progress: Progress): void {
    progress.probe = { round: this.#round, sentMs: Number.NEGATIVE_INFINITY }
  }

  // ── Messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #message(from: ServerId, message: Message): void {
    switch (message.kind) {
      case 'prevote':
        return this.#preVoteRequest(from, message)
      case 'vote':
        return this.#voteRequest(from, message)
      default:
    }
    if (message.term > this.#term) {
      const isLeader = message.kind === 'append' || message.kind === 'snapshot'
      this.#becomeFollower(message.term, isLeader ? from : undefined)
    }
    switch (message.kind) {
      case 'prevote-reply':
      case 'vote-reply':
        return this.#voteReply(from, message)
      case 'append':
        return this.#appendRequest(from, message)
      case 'append-reply':
        return this.#appendReply(from, message)
      case 'snapshot':
        return this.#snapshotRequest(from, message)
      case 'snapshot-reply':
        return this.#snapshotReply(from, message)
      case 'timeout-now':
        if (message.term === this.#term && this.#leader === from && this.#isVoter()) this.#campaign(true)
        return
      case 'read-index':
        return this.#readIndexRequest(from, message.round)
      case 'read-index-reply': {
        const waiting = this.#forwarded.get(message.round)
        if (waiting === undefined) return
        this.#forwarded.delete(message.round)
        if (message.index === undefined) {
          this.#effects.push({ kind: 'read-failed', ref: waiting.ref, reason: 'not-ready' })
        } else this.#effects.push({ kind: 'read-ready', ref: waiting.ref, index: message.index })
        return
      }
      case 'reset-required':
        if (message.term !== this.#term || this.#leader !== from) return
        this.#effects.push({ kind: 'reset-required' })
        // Only this leader remembers what we have lost; the next one would count us again.
        return this.#end()
      default:
        return unreachable(message)
    }
  }

  /** Whether a leader was heard so recently that nobody has a reason to stand for election. cluster.md §5.2. */
  #isLeaderFresh(): boolean {
    return this.#role === 'leader' || this.#nowMs - this.#leaderContactMs < this.#options.heartbeatTimeoutMs
  }

  #preVoteRequest(from: ServerId, request: PreVoteRequest): void {
    const why =
      request.term + 1 <= this.#term
        ? 'term'
        : this.#isLeaderFresh() && !request.isTransfer
          ? 'leader'
          : isUpToDate(request.last, this.#log.last)
            ? undefined
            : 'log'
    this.#replyVote(from, 'prevote-reply', request.round, why)
  }

  #voteRequest(from: ServerId, request: VoteRequest): void {
    if (this.#isLeaderFresh() && !request.isTransfer)
      return this.#replyVote(from, 'vote-reply', request.round, 'leader')
    if (request.term > this.#term) this.#becomeFollower(request.term, undefined)
    const isFree = this.#vote === undefined ? this.#leader === undefined : this.#vote === from
    const why =
      request.term < this.#term
        ? 'term'
        : !isFree
          ? 'voted'
          : isUpToDate(request.last, this.#log.last)
            ? undefined
            : 'log'
    if (why === undefined && this.#vote === undefined) {
      // Who only asked whether an election could be won has not voted in this term either.
      if (this.#role === 'pre-candidate') this.#becomeFollower(this.#term, undefined)
      assert(this.#role === 'follower', 'candidates and leaders have voted')
      this.#vote = from
      this.#isHardStateDirty = true
    }
    if (why === undefined) this.#restartElectionTimer()
    this.#replyVote(from, 'vote-reply', request.round, why)
  }

  /** A refusal waits for the disk too: it may rest on a term or a vote that is still being written. */
  #replyVote(to: ServerId, kind: VoteReply['kind'], round: number, why: string | undefined): void {
    const reply: VoteReply = { kind, term: this.#term, round, granted: why === undefined }
    this.#sendDurable(to, why === undefined ? reply : { ...reply, why })
  }

  #voteReply(from: ServerId, reply: VoteReply): void {
    if (reply.round !== this.#campaignRound) return
    const expected = reply.kind === 'prevote-reply' ? 'pre-candidate' : 'candidate'
    if (this.#role !== expected || (expected === 'candidate' && reply.term !== this.#term && reply.granted)) return
    this.#countVote(from, reply.granted)
  }

  /** Follows `from`, who leads in our term. */
  #heard(from: ServerId): void {
    assert(this.#role !== 'leader', `one leader in term ${this.#term}`)
    assert(
      this.#leader === undefined || this.#leader === from,
      `${this.#leader} leads in term ${this.#term}, not ${from}`,
    )
    if (this.#role !== 'follower' || this.#leader !== from) this.#becomeFollower(this.#term, from)
    this.#leaderContactMs = this.#nowMs
    this.#restartElectionTimer()
  }

  #appendRequest(from: ServerId, request: AppendRequest): void {
    const { previous, entries, round, isHeartbeat } = request
    const reply = (ok: boolean, index: number): AppendReply => ({
      kind: 'append-reply',
      term: this.#term,
      round,
      ok,
      isHeartbeat,
      index,
      applied: this.#applied,
      syncMs: this.#syncMs,
    })
    if (request.term < this.#term) return this.#sendDurable(from, reply(false, previous.index))
    this.#heard(from)
    // What is committed is in the log of every leader, so nothing up to there needs comparing, or may differ.
    const isMatching = previous.index <= this.#commit || this.#log.matches(previous)
    if (!isMatching) {
      const hint = this.#log.conflict(previous)
      return this.#sendDurable(from, { ...reply(false, previous.index), hint })
    }
    const known = this.#log.term(previous.index)
    assert(known === undefined || known === previous.term, `committed entry ${previous.index} is the leader's`)
    for (const entry of entries) {
      if (entry.index <= this.#commit || this.#log.term(entry.index) === entry.term) continue
      if (entry.index <= this.#log.lastIndex) this.#truncateAfter(entry.index - 1)
      this.#dirtyAfter ??= this.#log.lastIndex
      this.#log.append(entry)
    }
    const lastNew = previous.index + entries.length
    this.#commitTo(Math.min(request.commit, lastNew))
    this.#sendDurable(from, reply(true, lastNew), lastNew)
  }

  #truncateAfter(index: number): void {
    assert(index >= this.#commit, `entry ${index + 1} is committed and stays`)
    this.#log.truncateAfter(index)
    this.#durable = Math.min(this.#durable, index)
    // A write still under way may carry entries that are gone: once done it proves only what both logs share.
    for (const pending of this.#pendingWrites) pending.lastIndex = Math.min(pending.lastIndex, index)
    this.#dirtyAfter = Math.min(this.#dirtyAfter ?? index, index)
  }

  // ── Replication ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #append(payload: Payload): Entry {
    const position = { index: this.#log.lastIndex + 1, term: this.#term, clockMs: this.#clockNow() }
    const entry: Entry = { ...position, ...payload }
    this.#dirtyAfter ??= this.#log.lastIndex
    this.#log.append(entry)
    this.#uncommittedBytes += entryBytes(entry)
    return entry
  }

  /** Never behind an entry, never ahead of the time that passed under leaders. cluster.md §5.12, log clock. */
  #clockNow(): number {
    const base = this.#clockBase
    const { lastClockMs } = this.#log
    return base === undefined ? lastClockMs : Math.max(lastClockMs, Math.floor(base.clockMs + this.#nowMs - base.atMs))
  }

  #broadcast(): void {
    for (const [server, progress] of this.#progress) this.#feed(server, progress)
  }

  /** Sends `server` all that its mode and limits allow. */
  #feed(server: ServerId, progress: Progress): void {
    while (!progress.isPaused) {
      const index = progress.next - 1
      const term = this.#log.term(index)
      if (term === undefined) return this.#startSnapshot(server, progress)
      const { appendEntriesMax: entriesMax, appendBytesMax: bytesMax } = this.#options
      const slice = this.#log.after(index, { entriesMax, bytesMax })
      if (slice.kind === 'on-disk') {
        progress.isReading = true
        this.#effects.push({ kind: 'read-entries', to: server, after: index, entriesMax, bytesMax })
        return
      }
      assert(slice.kind === 'entries', 'an entry with a known term is not compacted')
      if (slice.entries.length === 0 && progress.mode === 'replicate') break
      this.#sendEntries(server, progress, { index, term }, slice.entries)
    }
    if (this.#options.commitNewsMs === 0) this.#tellCommit(server, progress)
    else if (hasCommitNews(progress, this.#commit)) {
      // Who writes one thing after the other writes again within this time, and the entry brings the news: half as many messages.
      this.#newsAtMs = Math.min(this.#newsAtMs, this.#nowMs + this.#options.commitNewsMs)
    }
    if (this.#transfer?.to === server) this.#pushTransfer()
  }

  #tellCommit(server: ServerId, progress: Progress): void {
    if (hasCommitNews(progress, this.#commit)) this.#sendHeartbeat(server, progress, this.#drawRound())
  }

  #sendEntries(server: ServerId, progress: Progress, previous: LogPosition, entries: readonly Entry[]): void {
    const round = this.#drawRound()
    const bytes = entries.reduce((sum, entry) => sum + entryBytes(entry), 0)
    const lastIndex = previous.index + entries.length
    progress.sent({ lastIndex, bytes, count: entries.length, round, nowMs: this.#nowMs })
    progress.sentCommit = Math.max(progress.sentCommit, Math.min(this.#commit, lastIndex))
    this.#send(server, {
      kind: 'append',
      term: this.#term,
      round,
      previous,
      commit: this.#commit,
      entries,
      isHeartbeat: false,
      clockMs: this.#clockNow(),
    })
  }

  #heartbeatRound(): void {
    this.#heartbeatAtMs = this.#nowMs + this.#options.commitTimeoutMs
    this.#newsAtMs = Number.POSITIVE_INFINITY
    const round = this.#drawRound()
    this.#reads.begin(round)
    for (const [server, progress] of this.#progress) this.#sendHeartbeat(server, progress, round)
    this.#confirmReads()
  }

  /**
   * Asks for nothing but an answer. It may overtake appends, so it builds on what the follower has acknowledged.
   * cluster.md §5.3.
   */
  #sendHeartbeat(server: ServerId, progress: Progress, round: number): void {
    const term = this.#log.term(progress.match)
    const previous = term === undefined ? { index: 0, term: 0 } : { index: progress.match, term }
    const commit = Math.min(this.#commit, previous.index)
    progress.sentCommit = Math.max(progress.sentCommit, commit)
    const clockMs = this.#clockNow()
    const message: AppendRequest = {
      kind: 'append',
      term: this.#term,
      round,
      previous,
      commit,
      entries: [],
      isHeartbeat: true,
      clockMs,
    }
    this.#send(server, message)
  }

  /** The follower a reply of our term is about, with its contact noted; undefined when it is nobody's or makes no sense. */
  #progressOf(from: ServerId, reply: { term: number; round: number }): Progress | undefined {
    if (this.#role !== 'leader' || reply.term !== this.#term || reply.round > this.#round) return undefined
    const progress = this.#progress.get(from)
    if (progress !== undefined) progress.ackedRound = Math.max(progress.ackedRound, reply.round)
    return progress
  }

  #appendReply(from: ServerId, reply: AppendReply): void {
    const progress = this.#progressOf(from, reply)
    if (progress === undefined) return
    if (progress.isRegressed) {
      // It may not have heard; every heartbeat it answers is another chance to tell it.
      if (reply.isHeartbeat) this.#demandReset(from)
      return
    }
    progress.applied = reply.applied
    progress.syncMs = reply.syncMs
    if (reply.ok) this.#acknowledged(from, progress, reply)
    else this.#refused(from, progress, reply)
    this.#noteSync(progress)
    this.#confirmReads()
  }

  #acknowledged(from: ServerId, progress: Progress, reply: AppendReply): void {
    // An index that we do not have was never ours to acknowledge.
    if (reply.index > this.#log.lastIndex) return
    const isNews = progress.acknowledged(reply.index, this.#round, this.#nowMs)
    if (progress.mode === 'probe') {
      // A heartbeat that agrees on nothing new says only that the follower lives: a probe as old as that was lost.
      if (isNews || (!reply.isHeartbeat && progress.probe?.round === reply.round)) progress.becomeReplicate()
      else this.#retryProbe(progress, reply.round)
    } else if (progress.mode === 'snapshot' && this.#log.term(progress.match) !== undefined) {
      progress.becomeReplicate()
    }
    if (isNews) this.#maybeCommit()
    if (this.#role === 'leader') this.#feed(from, progress)
  }

  #retryProbe(progress: Progress, answeredRound: number): void {
    const { probe } = progress
    if (probe === undefined || probe.round >= answeredRound) return
    // The probe may be large and the disk it waits for slow: not more than two of them within the timeout.
    if (this.#nowMs - probe.sentMs >= this.#options.heartbeatTimeoutMs / 2) progress.probe = undefined
  }

  #refused(from: ServerId, progress: Progress, reply: AppendReply): void {
    if (reply.index <= progress.match && reply.round > progress.matchRound) {
      // It was asked after it had acknowledged that much, and no longer has it. cluster.md §5.3, regression.
      progress.isRegressed = true
      progress.becomeProbe()
      this.#effects.push({ kind: 'regressed', server: from })
      return this.#demandReset(from)
    }
    if (reply.isHeartbeat || reply.index <= progress.match) return
    if (progress.mode === 'snapshot') return
    if (progress.mode === 'probe' && progress.probe?.round !== reply.round) return
    const hint = reply.hint ?? { index: reply.index }
    const sameTerm = hint.term === undefined ? undefined : this.#log.lastIndexOf(hint.term)
    const next = sameTerm !== undefined && sameTerm < reply.index ? Math.max(sameTerm + 1, hint.index) : hint.index
    progress.becomeProbe(Math.min(next, reply.index))
    this.#feed(from, progress)
  }

  #demandReset(server: ServerId): void {
    this.#send(server, { kind: 'reset-required', term: this.#term, round: this.#drawRound() })
  }

  #noteSync(progress: Progress): void {
    if (this.#commit - progress.match > this.#options.syncedLagEntries) progress.syncedSinceMs = undefined
    else progress.syncedSinceMs ??= this.#nowMs
  }

  #isSynced(progress: Progress): boolean {
    const isNear = this.#commit - progress.match <= this.#options.syncedLagEntries
    const sinceMs = progress.syncedSinceMs
    return isNear && sinceMs !== undefined && this.#env.nowMs() - sinceMs >= this.#options.syncedForMs
  }

  #unreachable(peer: ServerId, isBlocked: boolean): void {
    const progress = this.#progress.get(peer)
    if (progress === undefined) return
    // A broken connection has an empty queue: nobody will say that it has drained.
    progress.isBlocked = isBlocked
    if (progress.transfer !== undefined) {
      progress.transfer.isAgreed = false
      return
    }
    progress.becomeProbe()
    this.#rest(progress)
  }

  #drained(peer: ServerId): void {
    const progress = this.#progress.get(peer)
    if (progress?.isBlocked !== true) return
    progress.isBlocked = false
    if (progress.mode === 'probe') progress.probe = undefined
    this.#feed(peer, progress)
  }

  #entriesRead(to: ServerId, after: number, entries: readonly Entry[]): void {
    if (to === this.id) return this.#fetched(after, entries)
    const progress = this.#progress.get(to)
    if (progress?.isReading !== true) return
    progress.isReading = false
    const term = this.#log.term(after)
    const isWanted = progress.next - 1 === after && !progress.isPaused && term !== undefined
    if (isWanted && entries.length === 0) return this.#rest(progress)
    // The log may have been another leader's when they were read: terms tell.
    if (isWanted && entries.every((entry) => this.#log.term(entry.index) === entry.term)) {
      this.#sendEntries(to, progress, { index: after, term }, entries)
    }
    this.#feed(to, progress)
  }

  // ── Commit and apply ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Counts only entries of our own term; earlier ones are committed with them. Raft §5.4.2. */
  #maybeCommit(): void {
    const index = majorityValue(
      this.#log.newest.configuration.voters.map((voter) => {
        if (voter === this.id) return this.#durable
        const progress = this.#progress.get(voter)
        return progress === undefined || progress.isRegressed ? 0 : progress.match
      }),
    )
    if (index <= this.#commit || this.#log.term(index) !== this.#term) return
    this.#commitTo(index)
    this.#broadcast()
  }

  #commitTo(index: number): void {
    if (index <= this.#commit) return
    assert(index <= this.#log.lastIndex, 'only what is in the log is committed')
    const before = this.#commit
    this.#commit = index
    if (this.#role === 'leader') {
      for (let at = before + 1; at <= index; at++) this.#uncommittedBytes -= entryBytes(this.#log.entry(at) as Entry)
    }
    for (const { index: at, configuration } of this.#log.configurationsBetween(before, index)) {
      this.#effects.push({ kind: 'configuration', index: at, configuration })
    }
  }

  #applyMore(): void {
    if (this.#applying > this.#applied || this.#isFetching) return
    // What is committed may still be on its way to our own disk; state that is shown must not be lost by a crash.
    const through = Math.min(this.#commit, this.#durable)
    if (through <= this.#applying) return
    const entriesMax = Math.min(this.#options.applyEntriesMax, through - this.#applying)
    const { applyBytesMax: bytesMax } = this.#options
    const slice = this.#log.after(this.#applying, { entriesMax, bytesMax })
    if (slice.kind === 'on-disk') {
      this.#isFetching = true
      this.#effects.push({ kind: 'read-entries', to: this.id, after: this.#applying, entriesMax, bytesMax })
      return
    }
    assert(slice.kind === 'entries', 'what is not applied is kept')
    this.#apply(slice.entries)
  }

  /** What left the memory before it was applied: a snapshot was being restored, or much came at once. */
  #fetched(after: number, entries: readonly Entry[]): void {
    this.#isFetching = false
    // A snapshot may have taken their place.
    if (after !== this.#applying || this.#applying > this.#applied || entries.length === 0) return
    assert(
      entries.every((entry) => this.#log.term(entry.index) === entry.term),
      'what is committed is on the disk as it is known',
    )
    this.#apply(entries)
  }

  #apply(entries: readonly Entry[]): void {
    this.#applying += entries.length
    for (const entry of entries) this.#bytesSinceSnapshot += entryBytes(entry)
    this.#effects.push({ kind: 'apply', entries, done: { kind: 'applied', index: this.#applying } })
  }

  /** Only what is committed and durable leaves the memory: the rest may still be cut, counted or written. */
  #evict(): void {
    this.#log.evict(Math.min(this.#commit, this.#durable), this.#options.cacheBytesMax)
  }

  #appliedTo(index: number): void {
    assert(index <= this.#applying, 'only what was handed over is applied')
    // Answers for a state that a snapshot has since replaced come too late to matter.
    if (index <= this.#applied) return
    const wasReady = this.isReady
    this.#applied = index
    this.#evict()
    if (!wasReady && this.isReady) this.#clockBase = { atMs: this.#nowMs, clockMs: this.#log.lastClockMs }
    if (this.#bytesSinceSnapshot >= this.#snapshotDueBytes) this.#maybeSnapshot()
  }

  #propose(proposals: readonly Proposal[]): void {
    let isAnyAccepted = false
    for (const { ref, payload } of proposals) {
      const reason = this.#refusalOf(payload)
      if (reason !== undefined) {
        this.#refuse(ref, reason)
        continue
      }
      const { index, term } = this.#append(payload)
      this.#effects.push({ kind: 'accepted', ref, index, term })
      isAnyAccepted = true
    }
    if (isAnyAccepted) this.#broadcast()
  }

  #refusalOf(payload: Payload): Refusal | undefined {
    if (this.#role !== 'leader') return 'not-leader'
    if (this.#transfer !== undefined) return 'transferring'
    const bytes = entryBytes(payload)
    if ('data' in payload && payload.data.length > this.#options.entryBytesMax) return 'too-large'
    return this.#uncommittedBytes + bytes > this.#options.uncommittedBytesMax ? 'overloaded' : undefined
  }

  #refuse(ref: number, reason: Refusal, why?: string): void {
    const leader = this.#leader
    this.#effects.push({
      kind: 'refused',
      ref,
      reason,
      ...(why === undefined ? {} : { why }),
      ...(leader === undefined ? {} : { leader }),
    })
  }

  // ── Membership ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #change(ref: number, change: ConfigurationChange, live: readonly ServerId[]): void {
    if (this.#role !== 'leader') return this.#refuse(ref, 'not-leader')
    if (this.#transfer !== undefined) return this.#refuse(ref, 'transferring')
    // Without a committed entry of our own term two leaders could each change an old configuration: Ongaro's note to
    // raft-dev of 2015 on single-server changes.
    if (!this.isReady) return this.#refuse(ref, 'not-ready')
    const { newest } = this.#log
    if (newest.index > this.#commit) return this.#refuse(ref, 'configuration', 'another change is under way')
    const result = applyChange(newest.configuration, change)
    if (!result.ok) return this.#refuse(ref, 'configuration', result.why)
    const problem = this.#changeProblem(change, result.configuration, live)
    if (problem !== undefined) return this.#refuse(ref, 'configuration', problem)
    const { index, term } = this.#append({ kind: 'configuration', configuration: result.configuration })
    this.#effects.push({ kind: 'accepted', ref, index, term })
    this.#adjustProgress(index)
    this.#broadcast()
    this.#maybeCommit()
  }

  #changeProblem(change: ConfigurationChange, next: Configuration, live: readonly ServerId[]): string | undefined {
    const { op, server } = change
    if (server === this.id && op !== 'add-standby') return `${server} leads; transfer the leadership first`
    if (op === 'promote') {
      const progress = this.#progress.get(server)
      if (progress === undefined || progress.isRegressed) return `${server} has lost entries and needs a new store`
      this.#noteSync(progress)
      if (!this.#isSynced(progress)) return `${server} has not caught up yet`
    }
    // A new standby counts for nothing yet, so nobody can be missed because of it.
    if (op === 'add-standby') return undefined
    const recentMs = this.#nowMs - this.#options.heartbeatTimeoutMs
    const available = new Set(live.filter((id) => this.#contactMs(id) >= recentMs))
    available.add(this.id)
    return quorumProblem(next, available)
  }

  /** After a change at `index`: starts with who is new, and lets who left know. */
  #adjustProgress(index: number): void {
    const members = membersOf(this.#log.newest.configuration)
    const next = new Map<ServerId, Progress>()
    for (const server of [...new Set([...members, ...this.#progress.keys()])].sort()) {
      if (server === this.id) continue
      const progress = this.#progress.get(server) ?? new Progress(this.#log.lastIndex + 1, this.#options)
      if (members.includes(server)) {
        progress.departsAt = undefined
        progress.departsByMs = undefined
      } else progress.departsAt ??= index
      next.set(server, progress)
    }
    this.#progress = next
    if (this.#transfer !== undefined && !this.#log.newest.configuration.voters.includes(this.#transfer.to)) {
      this.#endTransfer('the target is no longer a voter')
    }
  }

  // ── Transfer ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #startTransfer(ref: number, to: ServerId | undefined): void {
    const fail = (why: string) => this.#effects.push({ kind: 'transfer-ended', ref, ok: false, why })
    if (this.#role !== 'leader') return void fail('not the leader')
    if (this.#transfer !== undefined) return void fail('another transfer is under way')
    const target = to ?? this.#bestSuccessor()
    if (target === undefined) return void fail('there is no other voter in contact')
    if (target === this.id) return void fail('already the leader')
    if (!this.#log.newest.configuration.voters.includes(target)) return void fail(`${target} is not a voter`)
    this.#transfer = { ref, to: target, deadlineMs: this.#nowMs + this.#options.transferTimeoutMs, isSent: false }
    this.#feed(target, this.#progress.get(target) as Progress)
  }

  /** The voter with most of the log, then the one with the fastest disk, then the first by name. */
  #bestSuccessor(): ServerId | undefined {
    let best: { server: ServerId; progress: Progress } | undefined
    const recentMs = this.#nowMs - this.#options.heartbeatTimeoutMs
    for (const server of this.#log.newest.configuration.voters) {
      const progress = this.#progress.get(server)
      if (progress === undefined || this.#contactMs(server) < recentMs) continue
      const isBetter =
        best === undefined ||
        progress.match > best.progress.match ||
        (progress.match === best.progress.match && progress.syncMs < best.progress.syncMs)
      if (isBetter) best = { server, progress }
    }
    return best?.server
  }

  #pushTransfer(): void {
    const transfer = this.#transfer
    if (transfer === undefined || transfer.isSent) return
    if (this.#progress.get(transfer.to)?.match !== this.#log.lastIndex) return
    transfer.isSent = true
    this.#isLeaseVoid = true
    this.#send(transfer.to, { kind: 'timeout-now', term: this.#term, round: this.#drawRound() })
  }

  #endTransfer(why: string): void {
    if (this.#transfer === undefined) return
    this.#effects.push({ kind: 'transfer-ended', ref: this.#transfer.ref, ok: false, why })
    this.#transfer = undefined
  }

  // ── Reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #read(ref: number): void {
    if (this.#role === 'leader') return this.#readHere({ kind: 'local', ref })
    const fail = (reason: 'no-leader' | 'overloaded') => this.#effects.push({ kind: 'read-failed', ref, reason })
    if (this.#leader === undefined) return void fail('no-leader')
    if (this.#forwarded.size >= FORWARDED_READS_MAX) return void fail('overloaded')
    const round = this.#drawRound()
    this.#forwarded.set(round, { ref, deadlineMs: this.#nowMs + this.#options.heartbeatTimeoutMs })
    this.#sendDurable(this.#leader, { kind: 'read-index', term: this.#term, round })
  }

  #readIndexRequest(from: ServerId, round: number): void {
    if (this.#role === 'leader') this.#readHere({ kind: 'peer', server: from, round })
    else this.#sendDurable(from, { kind: 'read-index-reply', term: this.#term, round })
  }

  #readHere(reader: Reader): void {
    // What is committed is known only once the first entry of the term is; and a successor may already be at work.
    if (!this.isReady || this.#transfer?.isSent === true) return this.#answerRead(reader, undefined, 'not-ready')
    if (this.hasLease()) return this.#answerRead(reader, this.#commit)
    if (!this.#reads.add(reader, this.#commit)) this.#answerRead(reader, undefined, 'overloaded')
  }

  #confirmReads(): void {
    if (this.#role !== 'leader' || this.#reads.count === 0) return
    const round = majorityValue(
      this.#log.newest.configuration.voters.map((voter) => {
        if (voter === this.id) return this.#round
        const progress = this.#progress.get(voter)
        return progress === undefined || progress.isRegressed ? 0 : progress.ackedRound
      }),
    )
    for (const { reader, index } of this.#reads.confirmed(round)) this.#answerRead(reader, index)
  }

  #answerRead(
    reader: Reader,
    index: number | undefined,
    reason: 'not-ready' | 'overloaded' | 'leadership-lost' = 'leadership-lost',
  ): void {
    if (reader.kind === 'local') {
      if (index === undefined) this.#effects.push({ kind: 'read-failed', ref: reader.ref, reason })
      else this.#effects.push({ kind: 'read-ready', ref: reader.ref, index })
      return
    }
    const reply = { kind: 'read-index-reply', term: this.#term, round: reader.round } as const
    this.#sendDurable(reader.server, index === undefined ? reply : { ...reply, index })
  }

  // ── Snapshots ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Between once and twice the interval: servers that started together should not all write at the same time. */
  #snapshotDelayMs(): number {
    const { snapshotIntervalMs } = this.#options
    return snapshotIntervalMs + this.#env.randomInt(Math.max(1, Math.floor(snapshotIntervalMs)))
  }

  /** A large state is not written anew for every small part of it that changed. */
  get #snapshotDueBytes(): number {
    return Math.max(this.#options.snapshotLogBytes, (this.#snapshot?.sizeBytes ?? 0) / 4)
  }

  #maybeSnapshot(): void {
    if (this.#isSnapshotting) return
    const { snapshotThreshold } = this.#options
    const entries = this.#applied - (this.#snapshot?.index ?? 0)
    if (entries < snapshotThreshold && (entries === 0 || this.#bytesSinceSnapshot < this.#snapshotDueBytes)) return
    this.#isSnapshotting = true
    this.#bytesSinceSnapshot = 0
    this.#effects.push({ kind: 'create-snapshot' })
  }

  #snapshotCreated(snapshot: SnapshotMeta, keepAfter: number, holdAfter: number): void {
    this.#isSnapshotting = false
    assert(snapshot.index <= this.#applied, 'a snapshot holds what was applied')
    // One from the leader may have overtaken it.
    if (snapshot.index <= (this.#snapshot?.index ?? 0)) return
    this.#snapshot = snapshot
    const through = Math.max(snapshot.index - this.#options.trailingEntries, Math.min(keepAfter, snapshot.index))
    this.#surplus = { through, atLeast: Math.min(holdAfter, through) }
    this.#compactTo(this.#unneeded())
  }

  /**
   * How far the log may be cut without taking from a follower what it needs next. Nothing is kept for one that makes no progress; and for
   * one that lacks more than is worth keeping, another snapshot is the shorter way.
   */
  #unneeded(): number {
    const { through, atLeast } = this.#surplus
    let index = through
    for (const progress of this.#progress.values()) {
      const needed = progress.neededAfter(this.#nowMs - this.#options.holdMs)
      if (needed !== undefined && needed >= atLeast) index = Math.min(index, needed)
    }
    return index
  }

  /** Once nobody needs what was kept; step by step it would be written down too often. */
  #compactWhenFree(): void {
    if (this.#surplus.through > this.#log.base.index && this.#unneeded() === this.#surplus.through) {
      this.#compactTo(this.#surplus.through)
    }
  }

  #compactTo(through: number): void {
    const index = Math.min(through, this.#durable)
    if (index <= this.#log.base.index) return
    this.#log.compactTo(index)
    this.#effects.push({ kind: 'compact', base: this.#log.base })
    for (const progress of this.#progress.values()) {
      // What follows it is gone, so it would be of no use.
      if (progress.mode !== 'snapshot' || progress.next > index) continue
      progress.becomeProbe()
      this.#rest(progress)
    }
  }

  #startSnapshot(server: ServerId, progress: Progress): void {
    const streams = [...this.#progress.values()].filter((other) => other.transfer !== undefined).length
    const isRecent = this.#contactMs(server) >= this.#nowMs - this.#options.heartbeatTimeoutMs
    // What it has of one that was begun counts only as long as the log after that is there.
    const isOfUse = progress.begun !== undefined && this.#log.matches(progress.begun)
    const snapshot = isOfUse ? progress.begun : this.#snapshot
    assert(snapshot !== undefined, 'a log that begins late has a snapshot')
    if (streams >= this.#options.snapshotStreamsMax || !isRecent) return this.#rest(progress)
    progress.becomeSnapshot(snapshot, this.#nowMs)
    this.#offerSnapshot(server, progress)
  }

  /** Asks how much of the snapshot is there already. */
  #offerSnapshot(server: ServerId, progress: Progress): void {
    const { transfer } = progress
    if (transfer === undefined) return
    transfer.offerRound = this.#drawRound()
    transfer.sentMs = this.#nowMs
    const { snapshot, offerRound: round } = transfer
    this.#send(server, { kind: 'snapshot', term: this.#term, round, snapshot, offset: 0, data: new Uint8Array(0) })
  }

  #sendChunks(server: ServerId, progress: Progress): void {
    const { transfer } = progress
    if (transfer === undefined || !transfer.isAgreed) return
    const { snapshotChunkBytes, snapshotWindowChunks } = this.#options
    const { snapshot } = transfer
    while (
      transfer.sent < snapshot.sizeBytes &&
      transfer.sent - transfer.acked < snapshotChunkBytes * snapshotWindowChunks
    ) {
      const offset = transfer.sent
      const lengthBytes = Math.min(snapshotChunkBytes, snapshot.sizeBytes - offset)
      transfer.sent += lengthBytes
      transfer.sentMs = this.#nowMs
      const round = this.#drawRound()
      this.#effects.push({ kind: 'send-chunk', to: server, term: this.#term, round, snapshot, offset, lengthBytes })
    }
  }

  #snapshotReply(from: ServerId, reply: SnapshotReply): void {
    const progress = this.#progressOf(from, reply)
    this.#confirmReads()
    if (progress === undefined || progress.isRegressed) return
    if (reply.isDone) return this.#snapshotDone(from, progress, reply.index)
    const { transfer } = progress
    if (transfer === undefined) return
    const { snapshot } = transfer
    if (reply.index !== snapshot.index || reply.checksum !== snapshot.checksum) return
    const { sizeBytes } = snapshot
    if (reply.round === transfer.offerRound && !transfer.isAgreed) {
      if (transfer.acked === sizeBytes && reply.offset < sizeBytes) return this.#giveUpSnapshot(progress)
      transfer.isAgreed = true
      // All is there and being checked, which takes as long as it takes.
      if (reply.offset > transfer.acked || reply.offset === sizeBytes) progress.advanced(this.#nowMs)
      transfer.acked = Math.min(reply.offset, sizeBytes)
      transfer.sent = transfer.acked
    } else if (reply.offset > transfer.acked) {
      transfer.acked = Math.min(reply.offset, sizeBytes)
      transfer.sent = Math.max(transfer.sent, transfer.acked)
      progress.advanced(this.#nowMs)
    }
    this.#sendChunks(from, progress)
  }

  #snapshotDone(from: ServerId, progress: Progress, index: number): void {
    if (index > this.#log.lastIndex) return
    const isNews = progress.acknowledged(index, this.#round, this.#nowMs)
    // It may be an earlier leader's snapshot, or ours may have been cut from the log while it travelled.
    if (progress.mode === 'snapshot' && this.#log.term(progress.match) === undefined) return
    if (progress.mode !== 'replicate') progress.becomeReplicate()
    if (isNews) this.#maybeCommit()
    if (this.#role === 'leader') this.#feed(from, progress)
  }

  #chunkFailed(to: ServerId, checksum: string): void {
    const progress = this.#progress.get(to)
    if (progress?.transfer?.snapshot.checksum === checksum) this.#giveUpSnapshot(progress)
  }

  /** It is not kept any more, or what arrived was not what was announced: the next attempt is with the newest. */
  #giveUpSnapshot(progress: Progress): void {
    progress.begun = undefined
    progress.becomeProbe()
    this.#rest(progress)
  }

  #snapshotRequest(from: ServerId, request: SnapshotRequest): void {
    const { snapshot, round, offset, data } = request
    const reply = { round, index: snapshot.index, checksum: snapshot.checksum }
    if (request.term < this.#term) return this.#replySnapshot(from, { ...reply, offset: 0, isDone: false })
    this.#heard(from)
    if (snapshot.index <= this.#commit) {
      return this.#replySnapshot(from, { ...reply, offset: snapshot.sizeBytes, isDone: true }, snapshot.index)
    }
    let incoming = this.#incoming
    if (incoming === undefined || !isSameSnapshot(incoming.snapshot, snapshot)) {
      incoming = { snapshot, from, round, received: 0, durable: 0, isFinishing: false }
      this.#incoming = incoming
      this.#effects.push({ kind: 'begin-snapshot', snapshot })
    }
    incoming.from = from
    incoming.round = Math.max(incoming.round, round)
    if (incoming.isFinishing) {
      if (data.length > 0) return
      return this.#replySnapshot(from, { ...reply, offset: incoming.durable, isDone: false })
    }
    if (data.length === 0) {
      incoming.received = incoming.durable
      incoming.round = round
      if (incoming.durable === snapshot.sizeBytes) return this.#finishIncoming(incoming)
      return this.#replySnapshot(from, { ...reply, offset: incoming.durable, isDone: false })
    }
    // Out of turn: the sender notices that nothing moves and asks again where to go on.
    if (offset !== incoming.received || offset + data.length > snapshot.sizeBytes) return
    incoming.received += data.length
    const done = { kind: 'chunk-written', checksum: snapshot.checksum, through: incoming.received } as const
    this.#effects.push({ kind: 'write-chunk', snapshot, offset, data, done })
  }

  #chunkWritten(checksum: string, through: number): void {
    const incoming = this.#incoming
    if (incoming === undefined || incoming.snapshot.checksum !== checksum || through <= incoming.durable) return
    incoming.durable = through
    incoming.received = Math.max(incoming.received, through)
    if (through === incoming.snapshot.sizeBytes) return this.#finishIncoming(incoming)
    const { from, round, snapshot } = incoming
    this.#replySnapshot(from, { round, index: snapshot.index, checksum, offset: through, isDone: false })
  }

  #finishIncoming(incoming: Incoming): void {
    if (incoming.isFinishing) return
    incoming.isFinishing = true
    this.#effects.push({ kind: 'finish-snapshot', snapshot: incoming.snapshot })
  }

  #snapshotFinished(checksum: string, ok: boolean): void {
    const incoming = this.#incoming
    if (incoming === undefined || incoming.snapshot.checksum !== checksum) return
    this.#incoming = undefined
    const { snapshot, from, round } = incoming
    const reply = { round, index: snapshot.index, checksum }
    if (!ok) return this.#replySnapshot(from, { ...reply, offset: 0, isDone: false })
    if (snapshot.index > this.#commit) this.#install(snapshot)
    this.#replySnapshot(from, { ...reply, offset: snapshot.sizeBytes, isDone: true }, snapshot.index)
  }

  #install(snapshot: SnapshotMeta): void {
    const { index, term, clockMs, configuration } = snapshot
    this.#snapshot = snapshot
    if (this.#log.matches(snapshot)) {
      // The log has it all; it only did not know that it is committed.
      this.#commitTo(index)
      return
    }
    assert(this.#role !== 'leader', 'a leader has all that is committed')
    if (this.#role !== 'follower') this.#becomeFollower(this.#term, undefined)
    this.#log.reset({ index, term, clockMs }, configuration)
    this.#durable = 0
    for (const pending of this.#pendingWrites) pending.lastIndex = 0
    this.#dirtyAfter = undefined
    this.#dirtyReset = { index, term }
    this.#bytesSinceSnapshot = 0
    this.#commit = index
    this.#applying = index
    this.#effects.push({ kind: 'configuration', index, configuration })
    this.#effects.push({ kind: 'restore', snapshot, done: { kind: 'applied', index } })
  }

  #replySnapshot(
    to: ServerId,
    reply: { round: number; index: number; checksum: string; offset: number; isDone: boolean },
    index = 0,
  ): void {
    this.#sendDurable(to, { kind: 'snapshot-reply', term: this.#term, ...reply }, index)
  }
}

/** A pipeline that has run dry carries no news of the commit index any more. */
function hasCommitNews({ mode, inflightCount, sentCommit, match }: Progress, commit: number): boolean {
  return mode === 'replicate' && inflightCount === 0 && sentCommit < Math.min(commit, match)
}

/** Up to where `message` acknowledges entries that were offered; undefined when it does no such thing. */
function acknowledgedIndex(message: Message): number | undefined {
  return message.kind === 'append-reply' && message.ok && !message.isHeartbeat ? message.index : undefined
}

function isSameSnapshot(a: SnapshotMeta, b: SnapshotMeta): boolean {
  return a.index === b.index && a.term === b.term && a.checksum === b.checksum
}
