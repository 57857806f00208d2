// A handful of servers on a table: messages lie between them until they are delivered, disks are as fast as they are told to
// be, and time passes when somebody says so.

import type { RaftEffect, RaftInput } from '../../../../cluster/raft/core/effects.ts'
import type { Entry, LogPosition } from '../../../../cluster/raft/core/entry.ts'
import { type Configuration, configurationOf } from '../../../../cluster/raft/core/membership.ts'
import type { Message, SnapshotMeta } from '../../../../cluster/raft/core/messages.ts'
import { RAFT_DEFAULTS, Raft, type RaftOptions } from '../../../../cluster/raft/core/raft.ts'
import { type RecoveredState, recover, type StoredState } from '../../../../cluster/raft/core/recovery.ts'
import { describeEffect } from '../../../tools/describe-raft.ts'

/** A disk of unlimited honesty. */
class TableDisk {
  term = 0
  vote: string | undefined
  base: LogPosition = { index: 0, term: 0 }
  entries: Entry[] = []
  snapshots: SnapshotMeta[] = []
  /** State of each snapshot, by index. */
  readonly states = new Map<number, string[]>()

  write(effect: Extract<RaftEffect, { kind: 'persist' }>): void {
    if (effect.hardState !== undefined) {
      this.term = effect.hardState.term
      this.vote = effect.hardState.vote
    }
    if (effect.reset !== undefined) {
      this.base = effect.reset
      this.entries = []
    }
    if (effect.log === undefined) return
    const kept = effect.log.after - this.base.index
    this.entries = [...this.entries.slice(0, kept), ...effect.log.entries]
  }

  compact(base: LogPosition): void {
    this.entries = this.entries.filter((entry) => entry.index > base.index)
    this.base = base
  }

  load(): RecoveredState {
    const snapshot = this.snapshots.at(-1)
    const runs: { first: number; term: number }[] = []
    for (const { index, term } of this.entries) if (runs.at(-1)?.term !== term) runs.push({ first: index, term })
    const stored: StoredState = {
      hardState: this.vote === undefined ? { term: this.term } : { term: this.term, vote: this.vote },
      ...(snapshot === undefined ? {} : { snapshot }),
      base: this.base,
      runs,
      lastIndex: this.base.index + this.entries.length,
      entries: this.entries.filter((entry) => entry.index > (snapshot?.index ?? 0)),
    }
    const recovery = recover(stored)
    if (!recovery.ok) throw new Error(`entry ${recovery.index}: ${recovery.why}`)
    if (recovery.isLogReplaced) {
      this.entries = []
      this.base = recovery.state.base
    }
    return recovery.state
  }
}

interface Seat {
  raft: Raft
  readonly disk: TableDisk
  /** Writes that are not on disk yet. */
  queue: Extract<RaftEffect, { kind: 'persist' }>[]
  isDiskSlow: boolean
  /** What a slow replica has not done yet. */
  work: (() => void)[]
  isReplicaSlow: boolean
  state: string[]
  appliedIndex: number
  readonly effects: RaftEffect[]
  incoming: SnapshotMeta | undefined
}

export interface Letter {
  readonly from: string
  readonly to: string
  readonly message: Message
}

interface GroupOptions {
  readonly voters: readonly string[]
  readonly standbys?: readonly string[]
  /** Servers outside of the configuration, with empty disks. */
  readonly others?: readonly string[]
  readonly raft?: Partial<RaftOptions>
}

export class Group {
  readonly #options: RaftOptions
  readonly #seats = new Map<string, Seat>()
  readonly #cuts = new Set<string>()
  letters: Letter[] = []
  nowMs = 1000
  #draws = 0
  /** How much of the log is worth keeping behind a snapshot. */
  limits: ((snapshot: SnapshotMeta) => { keepAfter?: number; holdAfter?: number }) | undefined
  /** Called with every effect as it is performed. */
  onEffect: ((server: string, effect: RaftEffect) => void) | undefined

  constructor({ voters, standbys = [], others = [], raft = {} }: GroupOptions) {
    this.#options = { ...RAFT_DEFAULTS, commitNewsMs: 0, ...raft }
    const configuration: Configuration = configurationOf(voters, standbys)
    for (const server of [...voters, ...standbys]) {
      const disk = new TableDisk()
      disk.term = 1
      disk.entries = [{ index: 1, term: 1, clockMs: 0, kind: 'configuration', configuration }]
      this.#seat(server, disk)
    }
    for (const server of others) this.#seat(server, new TableDisk())
  }

  get servers(): string[] {
    return [...this.#seats.keys()]
  }

  raft(server: string): Raft {
    return this.#of(server).raft
  }

  disk(server: string): TableDisk {
    return this.#of(server).disk
  }

  /** What the server has applied, as texts. */
  state(server: string): readonly string[] {
    return this.#of(server).state
  }

  effects(server: string): readonly RaftEffect[] {
    return this.#of(server).effects
  }

  /** Effects of one kind, of all time. */
  of<K extends RaftEffect['kind']>(server: string, kind: K): Extract<RaftEffect, { kind: K }>[] {
    return this.effects(server).filter((effect): effect is Extract<RaftEffect, { kind: K }> => effect.kind === kind)
  }

  leader(): string | undefined {
    const leaders = this.servers.filter((server) => this.raft(server).role === 'leader')
    return leaders.sort((a, b) => this.raft(b).term - this.raft(a).term)[0]
  }

  feed(server: string, input: RaftInput): readonly RaftEffect[] {
    const effects = this.#of(server).raft.step(input)
    for (const effect of effects) this.#perform(server, effect)
    return effects
  }

  propose(server: string, ...texts: string[]): void {
    const proposals = texts.map((text) => ({
      ref: this.#refOf(text),
      payload: { kind: 'commands', data: Buffer.from(text) } as const,
    }))
    this.feed(server, { kind: 'propose', proposals })
  }

  /** Delivers letters, and whatever follows from them, until nothing moves. */
  settle(limit = 10_000): void {
    for (let count = 0; this.letters.length > 0; count++) {
      if (count >= limit) throw new Error('they talk without end')
      this.deliver(this.letters.shift() as Letter)
    }
  }

  deliver({ from, to, message }: Letter): void {
    if (this.#cuts.has(`${from}>${to}`) || !this.#seats.has(to)) return
    this.feed(to, { kind: 'message', from, message })
  }

  /** Takes the letters of some kinds from the table. */
  take(isWanted: (letter: Letter) => boolean): Letter[] {
    const taken = this.letters.filter(isWanted)
    this.letters = this.letters.filter((letter) => !isWanted(letter))
    return taken
  }

  /** Lets time pass in small steps; everybody wakes when it is due and letters travel in no time. */
  pass(durationMs: number, options: { stepMs?: number; settle?: boolean } = {}): void {
    const endMs = this.nowMs + durationMs
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + (options.stepMs ?? 50))
      for (const server of this.servers) {
        if (this.raft(server).wakeAtMs <= this.nowMs) this.feed(server, { kind: 'tick' })
      }
      if (options.settle !== false) this.settle()
    }
  }

  /** Makes `server` the leader, with everybody's help. */
  elect(server: string): void {
    for (const other of this.servers) if (other !== server) this.feed(other, { kind: 'paused' })
    this.nowMs += 2 * this.#options.heartbeatTimeoutMs
    this.feed(server, { kind: 'campaign' })
    this.settle()
    if (this.raft(server).role !== 'leader') throw new Error(`${server} was not elected`)
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  isolate(server: string): void {
    for (const other of this.servers) {
      if (other === server) continue
      this.cut(server, other)
      this.cut(other, server)
    }
  }

  heal(): void {
    this.#cuts.clear()
  }

  slowDisk(server: string, isSlow = true): void {
    this.#of(server).isDiskSlow = isSlow
    if (!isSlow) this.sync(server)
  }

  /** Its replica applies and restores nothing until it is fast again. */
  slowReplica(server: string, isSlow = true): void {
    const seat = this.#of(server)
    seat.isReplicaSlow = isSlow
    if (!isSlow) for (let act = seat.work.shift(); act !== undefined; act = seat.work.shift()) act()
  }

  /** Brings some writes, or all, to the disk. */
  sync(server: string, count = Number.POSITIVE_INFINITY): void {
    const seat = this.#of(server)
    for (let done = 0; done < count && seat.queue.length > 0; done++) {
      const write = seat.queue.shift() as Extract<RaftEffect, { kind: 'persist' }>
      seat.disk.write(write)
      this.feed(server, write.done)
    }
  }

  /** Loses what is not on disk and starts again from it. */
  restart(server: string): void {
    const seat = this.#of(server)
    seat.queue = []
    seat.work = []
    seat.incoming = undefined
    const recovered = seat.disk.load()
    seat.state = [...(seat.disk.states.get(recovered.snapshot?.index ?? 0) ?? [])]
    seat.appliedIndex = recovered.snapshot?.index ?? 0
    seat.raft = this.#start(server, recovered)
  }

  snapshotMeta(server: string): SnapshotMeta {
    const seat = this.#of(server)
    const text = JSON.stringify(seat.state)
    const clockMs = seat.raft.log.entry(seat.appliedIndex)?.clockMs ?? 0
    const basis = seat.raft.snapshotBasis(seat.appliedIndex)
    return { ...basis, clockMs, sizeBytes: text.length, checksum: `sum of ${basis.index}` }
  }

  #seat(server: string, disk: TableDisk): void {
    this.#seats.set(server, {
      raft: this.#start(server, disk.load()),
      disk,
      queue: [],
      isDiskSlow: false,
      work: [],
      isReplicaSlow: false,
      state: [],
      appliedIndex: 0,
      effects: [],
      incoming: undefined,
    })
  }

  #start(server: string, recovered: RecoveredState): Raft {
    return new Raft(server, recovered, this.#options, {
      nowMs: () => this.nowMs,
      wallMs: () => this.nowMs,
      // Anything that differs from draw to draw will do.
      randomInt: (bound) => (this.#draws++ * 7919 + 13) % bound,
    })
  }

  #of(server: string): Seat {
    const seat = this.#seats.get(server)
    if (seat === undefined) throw new Error(`there is no ${server}`)
    return seat
  }

  #refs = new Map<string, number>()
  #refOf(text: string): number {
    const ref = this.#refs.get(text) ?? this.#refs.size + 1
    this.#refs.set(text, ref)
    return ref
  }

  #perform(server: string, effect: RaftEffect): void {
    const seat = this.#of(server)
    seat.effects.push(effect)
    this.onEffect?.(server, effect)
    switch (effect.kind) {
      case 'persist':
        seat.queue.push(effect)
        if (!seat.isDiskSlow) this.sync(server)
        return
      case 'send':
        this.letters.push({ from: server, to: effect.to, message: effect.message })
        return
      case 'apply':
        return this.#onReplica(seat, () => {
          for (const entry of effect.entries) {
            if (entry.kind === 'commands') seat.state.push(Buffer.from(entry.data).toString())
            seat.appliedIndex = entry.index
          }
          this.feed(server, effect.done)
        })
      case 'restore':
        return this.#onReplica(seat, () => {
          seat.state = [...(seat.disk.states.get(effect.snapshot.index) ?? [])]
          seat.appliedIndex = effect.snapshot.index
          this.feed(server, effect.done)
        })
      case 'compact':
        seat.disk.compact(effect.base)
        return
      case 'create-snapshot': {
        const snapshot = this.snapshotMeta(server)
        seat.disk.snapshots.push(snapshot)
        seat.disk.states.set(snapshot.index, [...seat.state])
        this.feed(server, { kind: 'snapshot-created', snapshot, ...this.limits?.(snapshot) })
        return
      }
      case 'read-entries': {
        const from = effect.after - seat.disk.base.index
        const entries = seat.disk.entries.slice(from, from + effect.entriesMax)
        this.feed(server, { kind: 'entries-read', to: effect.to, after: effect.after, entries })
        return
      }
      case 'send-chunk': {
        const { snapshot, offset, lengthBytes, term, round } = effect
        const state = JSON.stringify(seat.disk.states.get(snapshot.index))
        const data = Buffer.from(state).subarray(offset, offset + lengthBytes)
        this.letters.push({
          from: server,
          to: effect.to,
          message: { kind: 'snapshot', term, round, snapshot, offset, data },
        })
        return
      }
      case 'begin-snapshot':
        seat.incoming = effect.snapshot
        return
      case 'write-chunk': {
        const { snapshot } = effect
        const known = this.#parts.get(`${server} ${snapshot.checksum}`) ?? Buffer.alloc(0)
        const parts = Buffer.concat([known.subarray(0, effect.offset), effect.data])
        this.#parts.set(`${server} ${snapshot.checksum}`, parts)
        this.feed(server, effect.done)
        return
      }
      case 'finish-snapshot': {
        const { snapshot } = effect
        const bytes = this.#parts.get(`${server} ${snapshot.checksum}`) ?? Buffer.alloc(0)
        seat.disk.states.set(snapshot.index, JSON.parse(bytes.toString()) as string[])
        seat.disk.snapshots.push(snapshot)
        this.feed(server, { kind: 'snapshot-finished', checksum: snapshot.checksum, ok: true })
        return
      }
      default:
    }
  }

  #onReplica(seat: Seat, act: () => void): void {
    if (seat.isReplicaSlow) seat.work.push(act)
    else act()
  }

  #parts = new Map<string, Buffer>()
}

/** One line an effect, as transcripts show them. */
export function show(server: string, effects: readonly RaftEffect[]): string {
  return effects.map((effect) => `${server}: ${describeEffect(effect)}`).join('\n')
}
