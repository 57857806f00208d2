// One run of one server in the simulated world: the real core on a simulated disk and network, with registers as its state
// machine. Does what a driver does and decides nothing.

import { createHash } from 'node:crypto'
import type { RaftEffect, RaftInput } from '../../cluster/raft/core/effects.ts'
import { entryBytes } from '../../cluster/raft/core/entry.ts'
import type { Message, SnapshotMeta } from '../../cluster/raft/core/messages.ts'
import { Proposals } from '../../cluster/raft/core/proposals.ts'
import { Raft, type RaftOptions } from '../../cluster/raft/core/raft.ts'
import { recover } from '../../cluster/raft/core/recovery.ts'
import { assert, unreachable } from '../../runtime/base/assert.ts'
import type { DiskImage, SimDisk } from './disk.ts'
import type { Network } from './network.ts'
import {
  type Command,
  encodeCommands,
  type Outcome,
  type RegisterResult,
  Registers,
  type RegisterValue,
} from './registers.ts'
import type { ClockOptions, World } from './world.ts'

export type ClientRequest =
  | { readonly kind: 'write'; readonly command: Command }
  | { readonly kind: 'read'; readonly key: string }

export type ClientReply =
  | { readonly kind: 'result'; readonly index: number; readonly result: RegisterResult | 'stale' }
  | { readonly kind: 'value'; readonly index: number; readonly value: RegisterValue }
  /** It has not happened and will not. */
  | { readonly kind: 'refused'; readonly leader: string | undefined }
  /** It may have happened. */
  | { readonly kind: 'unknown' }

export type RaftNetwork = Network<Message, ClientRequest, ClientReply>

/** Sees every step of every server. */
export interface RaftObserver {
  starting(node: RaftNode): void
  stepped(node: RaftNode, input: RaftInput, effects: readonly RaftEffect[]): void
  /** The machine is now where this entry, or a snapshot, has brought it. */
  applied(node: RaftNode, outcomes: readonly Outcome[]): void
  saved(node: RaftNode, meta: SnapshotMeta, bytes: Uint8Array): void
}

/** Bugs of the parts around the core, to see whether they are found. */
export interface PlantedBugs {
  readonly forgetfulSnapshots?: boolean
  /** Says that a write is on disk when it has been asked for. */
  readonly lyingDisk?: boolean
  /** Shifts the index that a snapshot says it was taken at. */
  readonly snapshotShift?: number
  /** Acknowledges a snapshot before its file is complete. */
  readonly hastySnapshots?: boolean
  /** Answers a proposal when it was appended. */
  readonly hastyAnswers?: boolean
  /** Reads local state without asking whether it is current. */
  readonly localReads?: boolean
}

interface RaftNodeOptions {
  readonly id: string
  readonly disk: SimDisk
  readonly raft: RaftOptions
  readonly clock: ClockOptions
  readonly bugs?: PlantedBugs
  /** The class to run; a broken one, to see whether that is noticed. */
  readonly core?: typeof Raft
  /** How long the state machine takes for a batch, at most. */
  readonly applyMaxMs: number
}

interface Waiting {
  readonly command: Command
  readonly reply: (reply: ClientReply | undefined) => void
}

export class RaftNode {
  readonly id: string
  readonly disk: SimDisk
  readonly raft: Raft
  machine = new Registers()
  isRunning = true
  /** The disk has failed and this run is over, but for stale reads. */
  isFailed = false
  /** When a message of each peer last came, in true time. */
  readonly heardMs = new Map<string, number>()
  frozenUntilMs = 0
  /** When it last woke from a freeze. */
  thawedMs = 0
  readonly startedMs: number
  readonly #world: World
  readonly #network: RaftNetwork
  readonly #observer: RaftObserver
  readonly #options: RaftNodeOptions
  readonly #rate: number
  readonly #offsetMs: number
  #wakeAtMs = Number.POSITIVE_INFINITY
  #inbox: (() => void)[] = []
  #refs = 0
  readonly #proposals = new Proposals<Waiting>()
  readonly #reads = new Map<number, { key: string; reply: Waiting['reply'] }>()
  #ready: { index: number; key: string; reply: Waiting['reply'] }[] = []
  /** Work of the state machine, in order. */
  #applyQueue: (() => void)[] = []
  #isApplying = false
  /** Waiters for the end of something that an operator asked for. */
  readonly #asked = new Map<number, (ok: boolean) => void>()

  constructor(world: World, network: RaftNetwork, options: RaftNodeOptions, observer: RaftObserver) {
    const { id, disk, clock } = options
    this.id = id
    this.disk = disk
    this.#world = world
    this.#network = network
    this.#observer = observer
    this.#options = options
    this.#rate = clock.rate ?? 1
    this.#offsetMs = clock.offsetMs ?? 0
    this.startedMs = world.nowMs
    this.thawedMs = world.nowMs
    const recovery = recover(disk.image.load())
    assert(recovery.ok, recovery.ok ? '' : `the disk of ${id} is intact: entry ${recovery.index}, ${recovery.why}`)
    const { state } = recovery
    if (recovery.isLogReplaced) {
      disk.image.entries.length = 0
      disk.image.base = state.base
    }
    const stored = disk.image.snapshot
    if (stored !== undefined) this.#restore(stored.meta, stored.bytes)
    const Core = options.core ?? Raft
    this.raft = new Core(id, state, options.raft, world.env(clock))
    disk.onFailure = () => this.#failed()
    network.attach(id, {
      packet: (from, message) => {
        this.#later(() => {
          this.heardMs.set(from, world.nowMs)
          this.feed({ kind: 'message', from, message })
        })
      },
      request: (_from, request, reply) => this.#later(() => this.#request(request, reply)),
    })
    observer.starting(this)
    this.#schedule()
  }

  get role(): Raft['role'] {
    return this.raft.role
  }

  get isFrozen(): boolean {
    return this.#world.nowMs < this.frozenUntilMs
  }

  /** Loses power, or is killed. */
  crash(): void {
    this.isRunning = false
    this.#network.detach(this.id)
    this.disk.lose()
    this.disk.onFailure = () => {}
  }

  /** Stands still for true milliseconds; what comes in waits. */
  freeze(durationMs: number): void {
    if (this.isFrozen) return
    this.frozenUntilMs = this.#world.nowMs + durationMs
    this.#world.after(durationMs, () => {
      this.frozenUntilMs = 0
      this.thawedMs = this.#world.nowMs
      if (!this.isRunning) return
      if (durationMs >= 1000) this.feed({ kind: 'paused' })
      // Timers may run before or after what has waited in the sockets.
      const inbox = this.#inbox
      this.#inbox = []
      const isTimerFirst = this.#world.chance.chance(0.3)
      if (isTimerFirst) this.#tick()
      for (const act of inbox) this.#later(act)
      if (!isTimerFirst) this.#tick()
    })
  }

  feed(input: RaftInput): void {
    if (!this.isRunning) return
    const effects = this.raft.step(input)
    this.#observer.stepped(this, input, effects)
    for (const effect of effects) this.#perform(effect)
    this.#schedule()
  }

  /** Asks for a change or a transfer; `done` when the core has answered. */
  ask(input: (ref: number) => RaftInput, done: (ok: boolean) => void = () => {}): void {
    const ref = ++this.#refs
    this.#asked.set(ref, done)
    this.feed(input(ref))
  }

  /** Runs `act` now, or after the freeze, unless the run has ended. */
  #later(act: () => void): void {
    if (!this.isRunning) return
    if (this.isFrozen) this.#inbox.push(act)
    else act()
  }

  #tick(): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    this.feed({ kind: 'tick' })
  }

  #schedule(): void {
    // A little late: what is early by a rounding error would be asked for again and again at the same moment.
    const atMs = (this.raft.wakeAtMs - this.#offsetMs) / this.#rate + 0.001
    if (!Number.isFinite(atMs) || atMs >= this.#wakeAtMs - 0.001) return
    this.#wakeAtMs = atMs
    const scheduled = atMs
    this.#world.after(atMs - this.#world.nowMs, () => {
      // A later call has asked for an earlier moment, which has passed; or the end of the freeze will see to it.
      if (!this.isRunning || this.isFrozen || this.#wakeAtMs < scheduled) return
      this.#tick()
    })
  }

  #failed(): void {
    if (!this.isRunning || this.isFailed) return
    this.isFailed = true
    this.feed({ kind: 'storage-failed' })
  }

  #perform(effect: RaftEffect): void {
    const { disk } = this
    switch (effect.kind) {
      case 'persist': {
        const { done } = effect
        const tell = (): void => this.#later(() => this.feed(done))
        if (this.#options.bugs?.lyingDisk === true) {
          disk.log.submit({ act: (image) => image.persist(effect), done: () => {} })
          return tell()
        }
        disk.log.submit({ act: (image) => image.persist(effect), done: tell })
        return
      }
      case 'send':
        this.#network.send(this.id, effect.to, effect.message, 1, channelOf(effect.message))
        return
      case 'send-chunk': {
        const { to, term, round, snapshot, offset, lengthBytes } = effect
        const stored = disk.image.snapshots.find(({ meta }) => meta.checksum === snapshot.checksum)
        if (stored === undefined) {
          this.#soon(() => this.feed({ kind: 'chunk-failed', to, checksum: snapshot.checksum }))
          return
        }
        const data = stored.bytes.subarray(offset, offset + lengthBytes)
        this.#network.send(this.id, to, { kind: 'snapshot', term, round, snapshot, offset, data }, data.length, 'bulk')
        return
      }
      case 'apply':
        this.#apply(() => {
          for (const entry of effect.entries) {
            assert(entry.index === this.machine.appliedIndex + 1, `${this.id} applies entries in order`)
            this.#settle(entry.index, entry.term, this.machine.apply(entry))
          }
          this.feed(effect.done)
        })
        return
      case 'restore':
        this.#apply(() => {
          const stored = disk.image.snapshots.find(({ meta }) => meta.checksum === effect.snapshot.checksum)
          assert(stored !== undefined, `${this.id} has the snapshot it restores`)
          this.#restore(stored.meta, stored.bytes)
          // What was waiting below has happened or not; nobody can tell here.
          for (const { reply } of this.#proposals.lost()) reply({ kind: 'unknown' })
          this.#observer.applied(this, [])
          this.feed(effect.done)
          this.#answerReads()
        })
        return
      case 'compact': {
        const { base } = effect
        disk.log.submit({ act: (image) => image.compact(base), done: () => {} })
        return
      }
      case 'create-snapshot':
        return this.#createSnapshot()
      case 'read-entries': {
        const { to, after, entriesMax, bytesMax } = effect
        this.#soon(() => {
          const { image } = disk
          const entries = []
          let bytes = 0
          for (let index = after + 1; entries.length < entriesMax && bytes < bytesMax; index++) {
            const entry = image.entry(index)
            if (entry === undefined) break
            entries.push(entry)
            bytes += 'data' in entry ? entry.data.length : 0
          }
          this.feed({ kind: 'entries-read', to, after, entries })
        })
        return
      }
      case 'begin-snapshot': {
        const meta = effect.snapshot
        const act = (image: DiskImage): void => {
          image.partial = { meta, bytes: new Uint8Array(0) }
        }
        disk.files.submit({ act, done: () => {} })
        return
      }
      case 'write-chunk':
        return this.#writeChunk(effect)
      case 'finish-snapshot':
        return this.#finishSnapshot(effect.snapshot)
      case 'accepted':
        return this.#accepted(effect)
      case 'refused': {
        this.#proposals.refused(effect.ref)?.reply({ kind: 'refused', leader: effect.leader })
        this.#answerAsked(effect.ref, false)
        return
      }
      case 'read-ready': {
        const read = this.#reads.get(effect.ref)
        this.#reads.delete(effect.ref)
        if (read === undefined) return
        this.#ready.push({ index: effect.index, ...read })
        return this.#answerReads()
      }
      case 'read-failed': {
        this.#reads.get(effect.ref)?.reply({ kind: 'refused', leader: this.raft.leader })
        this.#reads.delete(effect.ref)
        return
      }
      case 'transfer-ended':
        return this.#answerAsked(effect.ref, effect.ok)
      case 'state':
        if (effect.role === 'leader') return
        // What was appended may still be committed by another leader.
        for (const { reply } of this.#proposals.lost()) reply({ kind: 'unknown' })
        return
      case 'configuration':
      case 'regressed':
      case 'reset-required':
        return
      default:
        return unreachable(effect)
    }
  }

  #soon(act: () => void): void {
    this.#world.after(this.#world.chance.between(0, 2), () => this.#later(act))
  }

  #answerAsked(ref: number, ok: boolean): void {
    this.#asked.get(ref)?.(ok)
    this.#asked.delete(ref)
  }

  // ── State machine ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #apply(act: () => void): void {
    this.#applyQueue.push(act)
    if (!this.#isApplying) this.#applyNext()
  }

  #applyNext(): void {
    const act = this.#applyQueue.shift()
    this.#isApplying = act !== undefined
    if (act === undefined) return
    this.#world.after(this.#world.chance.between(0, this.#options.applyMaxMs), () => {
      this.#later(() => {
        act()
        this.#applyNext()
      })
    })
  }

  #settle(index: number, term: number, outcomes: readonly Outcome[]): void {
    this.#observer.applied(this, outcomes)
    const { own, lost } = this.#proposals.applied(index, term)
    for (const { reply } of lost) reply({ kind: 'unknown' })
    if (own !== undefined) {
      const { command, reply } = own
      const outcome = outcomes.find(({ session, seq }) => session === command.session && seq === command.seq)
      if (outcome === undefined) reply({ kind: 'unknown' })
      else reply({ kind: 'result', index, result: outcome.result })
    }
    this.#answerReads()
  }

  #answerReads(): void {
    const isReady = (read: { index: number }): boolean => read.index <= this.machine.appliedIndex
    for (const { key, reply } of this.#ready.filter(isReady)) {
      reply({ kind: 'value', index: this.machine.appliedIndex, value: this.machine.get(key) })
    }
    this.#ready = this.#ready.filter((read) => !isReady(read))
  }

  #restore(meta: SnapshotMeta, bytes: Uint8Array): void {
    this.machine = Registers.restore(Buffer.from(bytes).toString())
    const shift = this.#options.bugs?.snapshotShift ?? 0
    if (shift !== 0) this.machine.appliedIndex = meta.index
    assert(this.machine.appliedIndex === meta.index, `the snapshot ${meta.index} is of that index`)
  }

  // ── Clients ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #request(request: ClientRequest, reply: (reply: ClientReply | undefined) => void): void {
    if (this.isFailed) return reply({ kind: 'refused', leader: undefined })
    const ref = ++this.#refs
    if (request.kind === 'read') {
      if (this.#options.bugs?.localReads === true) {
        const { machine } = this
        return reply({ kind: 'value', index: machine.appliedIndex, value: machine.get(request.key) })
      }
      this.#reads.set(ref, { key: request.key, reply })
      this.feed({ kind: 'read', ref })
      return
    }
    this.#proposals.offer(ref, { command: request.command, reply })
    const data = encodeCommands([request.command])
    this.feed({ kind: 'propose', proposals: [{ ref, payload: { kind: 'commands', data } }] })
  }

  #accepted({ ref, index, term }: { ref: number; index: number; term: number }): void {
    this.#answerAsked(ref, true)
    if (this.#options.bugs?.hastyAnswers !== true) return this.#proposals.accepted(ref, index, term)
    const proposed = this.#proposals.refused(ref)
    if (proposed === undefined) return
    const { key, value } = proposed.command.op
    const { version } = this.machine.get(key)
    proposed.reply({ kind: 'result', index, result: { ok: true, value, version: version + 1 } })
  }

  // ── Snapshots ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #createSnapshot(): void {
    const shift = this.#options.bugs?.snapshotShift ?? 0
    const basis = this.raft.snapshotBasis(Math.min(this.machine.appliedIndex, this.raft.applied))
    // The machine may be ahead of what the core has been told.
    if (basis.index !== this.machine.appliedIndex) {
      this.#soon(() => this.#createSnapshot())
      return
    }
    const { clockMs } = this.machine
    const bytes = Buffer.from(this.machine.save(this.#options.bugs?.forgetfulSnapshots))
    const meta: SnapshotMeta = {
      ...basis,
      index: basis.index + shift,
      clockMs,
      sizeBytes: bytes.length,
      checksum: createHash('sha1').update(bytes).digest('hex').slice(0, 16),
    }
    this.#observer.saved(this, meta, bytes)
    this.disk.files.submit({
      act: (image) => keep(image.snapshots, { meta, bytes }),
      done: () => this.#later(() => this.feed({ kind: 'snapshot-created', snapshot: meta, ...this.#kept(meta) })),
    })
  }

  /** How much of the log is worth keeping behind a snapshot. */
  #kept({ index, sizeBytes }: SnapshotMeta): { keepAfter: number; holdAfter: number } {
    const within = (bytesMax: number): number => {
      let bytes = 0
      for (let at = index; ; at--) {
        const entry = this.disk.image.entry(at)
        if (entry === undefined) return at
        bytes += entryBytes(entry)
        if (bytes > bytesMax) return at
      }
    }
    const { trailingBytes } = this.#options.raft
    return { keepAfter: within(trailingBytes), holdAfter: within(trailingBytes + sizeBytes) }
  }

  #writeChunk({ snapshot, offset, data, done }: Extract<RaftEffect, { kind: 'write-chunk' }>): void {
    const write = (bytes: Uint8Array): ((image: DiskImage) => void) => {
      return (image) => {
        const partial = image.partial
        if (partial === undefined || partial.meta.checksum !== snapshot.checksum) return
        partial.bytes = Buffer.concat([partial.bytes.subarray(0, offset), bytes])
      }
    }
    // The file has grown and what it grew by never reached the disk.
    const torn = write(new Uint8Array(this.disk.chance.int(data.length + 1)))
    this.disk.files.submit({ act: write(data), torn, done: () => this.#later(() => this.feed(done)) })
  }

  #finishSnapshot(snapshot: SnapshotMeta): void {
    const { checksum } = snapshot
    let ok = false
    this.disk.files.submit({
      act: (image) => {
        const { partial } = image
        const bytes = partial?.bytes ?? new Uint8Array(0)
        ok = partial?.meta.checksum === checksum && sumOf(bytes) === checksum
        image.partial = undefined
        if (ok) keep(image.snapshots, { meta: snapshot, bytes })
      },
      done: () => this.#later(() => this.feed({ kind: 'snapshot-finished', checksum, ok })),
    })
    if (this.#options.bugs?.hastySnapshots === true) this.feed({ kind: 'snapshot-finished', checksum, ok: true })
  }
}

/** As on the mesh, where heartbeats may overtake entries. cluster.md §5.3. */
function channelOf(message: Message): string {
  return message.kind === 'append' && message.entries.length > 0 ? 'rlog' : 'raft'
}

const SNAPSHOTS_RETAINED = 2

function keep(
  snapshots: { meta: SnapshotMeta; bytes: Uint8Array }[],
  added: { meta: SnapshotMeta; bytes: Uint8Array },
): void {
  if (snapshots.some(({ meta }) => meta.index === added.meta.index)) return
  snapshots.push(added)
  snapshots.sort((a, b) => a.meta.index - b.meta.index)
  while (snapshots.length > SNAPSHOTS_RETAINED) snapshots.shift()
}

function sumOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex').slice(0, 16)
}
