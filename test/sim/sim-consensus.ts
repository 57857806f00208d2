// Consensus of a simulated server: the real core on a simulated disk and network, with the real state machine. Does what the driver
// does and decides nothing.

import { createHash } from 'node:crypto'
import type { Consensus, ConsensusStatus } from '../../cluster/raft/consensus.ts'
import { Barriers } from '../../cluster/raft/core/barriers.ts'
import type { RaftEffect, RaftInput } from '../../cluster/raft/core/effects.ts'
import type { Entry } from '../../cluster/raft/core/entry.ts'
import { membersOf } from '../../cluster/raft/core/membership.ts'
import type { Message, SnapshotMeta } from '../../cluster/raft/core/messages.ts'
import { Proposals } from '../../cluster/raft/core/proposals.ts'
import { Raft, type RaftOptions } from '../../cluster/raft/core/raft.ts'
import { recover } from '../../cluster/raft/core/recovery.ts'
import { nameOf } from '../../cluster/raft/core/server.ts'
import type { Machine, Section } from '../../cluster/state/core/machine.ts'
import type { Outcome, StateEvent } from '../../cluster/state/core/outcomes.ts'
import { assert, unreachable } from '../../runtime/base/assert.ts'
import { type Packed, pack, unpack } from '../../runtime/base/msgpack.ts'
import type { DiskImage, SimDisk } from './disk.ts'
import type { Network } from './network.ts'
import type { SimFabric } from './sim-fabric.ts'
import type { StateParts } from './state-parts.ts'
import type { World } from './world.ts'

type RaftMessages = Network<Message, never, never>

interface SimConsensusOptions {
  readonly id: string
  readonly disk: SimDisk
  readonly raft: RaftOptions
  readonly parts: StateParts
  readonly applyMaxMs: number
}

export interface AppliedEntry {
  readonly entry: Entry
  readonly outcomes: readonly Outcome[]
  readonly events: readonly StateEvent[]
}

interface Waiter {
  resolve(outcome: Outcome): void
  reject(error: Error): void
}

const FORMATION = '00112233445566778899aabbccddeeff'

export class SimConsensus {
  readonly self: string
  readonly raft: Raft
  readonly machine: Machine
  readonly #world: World
  readonly #network: RaftMessages
  readonly #fabric: SimFabric
  readonly #options: SimConsensusOptions
  readonly #applied = new Set<(index: number, events: readonly StateEvent[]) => void>()
  readonly #restored = new Set<(index: number) => void>()
  readonly #statuses = new Set<() => void>()
  readonly #proposals = new Proposals<readonly Waiter[]>()
  readonly #barriers = new Barriers<{ resolve(index: number): void; reject(error: Error): void }>(10_000)
  /** Sees every entry after it was applied. */
  onEntry: (applied: AppliedEntry) => void = () => {}
  onEffects: (effects: readonly RaftEffect[]) => void = () => {}
  #refs = 0
  #wakeAtMs = Number.POSITIVE_INFINITY
  #batch: { command: Uint8Array; waiter: Waiter }[] = []
  #isAsking = false
  #queue: (() => void)[] = []
  #isApplying = false
  #status = ''

  constructor(world: World, network: RaftMessages, fabric: SimFabric, options: SimConsensusOptions) {
    this.#world = world
    this.#network = network
    this.#fabric = fabric
    this.#options = options
    this.self = options.id
    const { disk, id, parts } = options
    const recovery = recover(disk.image.load())
    assert(recovery.ok, `the disk of ${id} is intact`)
    if (recovery.isLogReplaced) {
      disk.image.entries.length = 0
      disk.image.base = recovery.state.base
    }
    this.machine = new parts.Machine(parts.decodeCommands)
    if (disk.image.snapshot !== undefined) this.#restore(disk.image.snapshot.bytes)
    this.raft = new Raft(id, recovery.state, options.raft, fabric.env)
    network.attach(id, {
      packet: (from, message) => fabric.later(() => this.feed({ kind: 'message', from, message })),
      request: () => {},
    })
    this.#schedule()
  }

  get asConsensus(): Consensus {
    return this as unknown as Consensus
  }

  stop(): void {
    this.#network.detach(this.self)
    this.#options.disk.lose()
  }

  status(): ConsensusStatus {
    const core = this.raft.status()
    const { voters, standbys } = core.configuration.configuration
    const role = voters.includes(this.self) ? 'voter' : standbys.includes(this.self) ? 'standby' : 'none'
    return {
      self: this.self,
      formation: FORMATION,
      role: core.role === 'leader' ? 'leader' : role,
      raftRole: core.role,
      term: core.term,
      leader: core.leader,
      commit: core.commit,
      applied: this.machine.index,
      base: core.base,
      last: core.last,
      configuration: core.configuration,
      isReady: this.raft.isReady,
      failure: undefined,
      isEmpty: false,
      uncommittedBytes: 0,
      followers: core.followers ?? [],
    }
  }

  onStatus(listener: () => void): () => void {
    this.#statuses.add(listener)
    return () => this.#statuses.delete(listener)
  }

  onApplied(listener: (index: number, events: readonly StateEvent[]) => void): () => void {
    this.#applied.add(listener)
    return () => this.#applied.delete(listener)
  }

  onRestored(listener: (index: number) => void): () => void {
    this.#restored.add(listener)
    return () => this.#restored.delete(listener)
  }

  propose(command: Uint8Array): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (this.raft.role !== 'leader') return reject(this.#failure('NotLeader', this.raft.leader))
      this.#options.parts.decodeEnvelope(command)
      this.#batch.push({ command, waiter: { resolve, reject } })
      if (this.#batch.length === 1) this.#soon(() => this.#flush())
    })
  }

  barrier(deadlineMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#barriers.add({ resolve, reject }, this.#fabric.env.nowMs() + deadlineMs)
      this.#ask()
      this.#fabric.after(deadlineMs, () => {
        const { MoonmeshError } = this.#options.parts
        for (const late of this.#barriers.expired(this.#fabric.env.nowMs())) {
          late.reject(new MoonmeshError('Timeout', 'no leader'))
        }
      })
    })
  }

  holdsQuorum(): boolean {
    return this.raft.isReady && !this.raft.isTransferBegun && this.raft.hasQuorum()
  }

  tellCommit(name: string): void {
    const { configuration } = this.raft.log.newest
    const peers = membersOf(configuration).filter((server) => nameOf(server) === name)
    for (const peer of peers) this.feed({ kind: 'tell-commit', peer })
  }

  feed(input: RaftInput): void {
    if (!this.#fabric.isRunning) return
    const effects = this.raft.step(input)
    this.onEffects(effects)
    for (const effect of effects) this.#perform(effect)
    this.#schedule()
    this.#told()
  }

  transferTo(to: string): void {
    this.feed({ kind: 'transfer', ref: ++this.#refs, to })
  }

  #told(): void {
    const { role, term, leader, isReady } = this.raft
    const status = `${role} ${term} ${leader} ${isReady}`
    if (status === this.#status) return
    this.#status = status
    for (const listener of this.#statuses) listener()
  }

  #failure(kind: string, hint?: string): Error {
    const { MoonmeshError } = this.#options.parts
    return new MoonmeshError(kind, kind, hint === undefined ? {} : { details: { hint } })
  }

  #flush(): void {
    const batch = this.#batch
    this.#batch = []
    const ref = ++this.#refs
    this.#proposals.offer(
      ref,
      batch.map(({ waiter }) => waiter),
    )
    const data = this.#options.parts.joinEnvelopes(batch.map(({ command }) => command))
    this.feed({ kind: 'propose', proposals: [{ ref, payload: { kind: 'commands', data } }] })
  }

  #refuse(waiters: readonly Waiter[], kind: string, hint?: string): void {
    for (const { reject } of waiters) reject(this.#failure(kind, hint))
  }

  #ask(): void {
    if (this.#isAsking || !this.#barriers.needsQuestion) return
    this.#isAsking = true
    this.#soon(() => {
      this.#isAsking = false
      if (!this.#barriers.needsQuestion) return
      const ref = ++this.#refs
      this.#barriers.asked(ref)
      this.feed({ kind: 'read', ref })
    })
  }

  #soon(act: () => void, maxMs = 1): void {
    this.#world.after(this.#world.chance.between(0, maxMs), () => this.#fabric.later(act))
  }

  #schedule(): void {
    const atMs = this.raft.wakeAtMs
    if (!Number.isFinite(atMs) || atMs >= this.#wakeAtMs - 0.001) return
    this.#wakeAtMs = atMs
    this.#fabric.after(Math.max(0, atMs - this.#fabric.env.nowMs()), () => {
      if (this.#wakeAtMs < atMs) return
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.feed({ kind: 'tick' })
    })
  }

  #perform(effect: RaftEffect): void {
    const { disk } = this.#options
    const later = (act: () => void): void => this.#fabric.later(act)
    switch (effect.kind) {
      case 'persist': {
        const { done } = effect
        disk.log.submit({ act: (image) => image.persist(effect), done: () => later(() => this.feed(done)) })
        return
      }
      case 'send': {
        const { to, message } = effect
        const isEntries = message.kind === 'append' && message.entries.length > 0
        this.#network.send(this.self, to, message, 1, isEntries ? 'rlog' : 'raft')
        return
      }
      case 'send-chunk': {
        const { to, term, round, snapshot, offset, lengthBytes } = effect
        const stored = disk.image.snapshots.find(({ meta }) => meta.checksum === snapshot.checksum)
        if (stored === undefined) {
          return this.#soon(() => this.feed({ kind: 'chunk-failed', to, checksum: snapshot.checksum }))
        }
        const data = stored.bytes.subarray(offset, offset + lengthBytes)
        this.#network.send(this.self, to, { kind: 'snapshot', term, round, snapshot, offset, data }, 1, 'bulk')
        return
      }
      case 'apply':
        return this.#enqueue(() => {
          for (const entry of effect.entries) this.#apply(entry)
          this.feed(effect.done)
        })
      case 'restore':
        return this.#enqueue(() => {
          const stored = disk.image.snapshots.find(({ meta }) => meta.checksum === effect.snapshot.checksum)
          assert(stored !== undefined, 'the snapshot that is restored is there')
          this.#restore(stored.bytes)
          for (const waiters of this.#proposals.lost()) this.#refuse(waiters, 'LeadershipLost')
          for (const listener of this.#restored) listener(this.machine.index)
          this.feed(effect.done)
          this.#passReaders()
        })
      case 'compact': {
        const { base } = effect
        disk.log.submit({ act: (image) => image.compact(base), done: () => {} })
        return
      }
      case 'create-snapshot':
        return this.#save()
      case 'read-entries': {
        const { to, after, entriesMax } = effect
        return this.#soon(() => {
          const entries: Entry[] = []
          for (let index = after + 1; entries.length < entriesMax; index++) {
            const entry = disk.image.entry(index)
            if (entry === undefined) break
            entries.push(entry)
          }
          this.feed({ kind: 'entries-read', to, after, entries })
        })
      }
      case 'begin-snapshot': {
        const meta = effect.snapshot
        const act = (image: DiskImage): void => {
          image.partial = { meta, bytes: new Uint8Array(0) }
        }
        disk.files.submit({ act, done: () => {} })
        return
      }
      case 'write-chunk': {
        const { snapshot, offset, data, done } = effect
        const act = ({ partial }: DiskImage): void => {
          if (partial?.meta.checksum !== snapshot.checksum) return
          partial.bytes = Buffer.concat([partial.bytes.subarray(0, offset), data])
        }
        disk.files.submit({ act, done: () => later(() => this.feed(done)) })
        return
      }
      case 'finish-snapshot': {
        const { snapshot } = effect
        let ok = false
        const act = (image: DiskImage): void => {
          const bytes = image.partial?.bytes ?? new Uint8Array(0)
          ok = image.partial?.meta.checksum === snapshot.checksum && sumOf(bytes) === snapshot.checksum
          image.partial = undefined
          if (ok) keep(image, { meta: snapshot, bytes })
        }
        const { checksum } = snapshot
        disk.files.submit({ act, done: () => later(() => this.feed({ kind: 'snapshot-finished', checksum, ok })) })
        return
      }
      case 'accepted':
        return this.#proposals.accepted(effect.ref, effect.index, effect.term)
      case 'refused': {
        const waiters = this.#proposals.refused(effect.ref)
        const kind = effect.reason === 'not-leader' ? 'NotLeader' : 'Overloaded'
        if (waiters !== undefined) this.#refuse(waiters, kind, effect.leader)
        return
      }
      case 'read-ready':
        if (this.#barriers.answered(effect.ref, effect.index)) this.#passReaders()
        return
      case 'read-failed':
        if (this.#barriers.failed(effect.ref)) this.#fabric.after(20, () => this.#ask())
        return
      case 'state':
        if (effect.role === 'leader') return
        for (const waiters of this.#proposals.lost()) this.#refuse(waiters, 'LeadershipLost')
        return
      case 'transfer-ended':
      case 'configuration':
      case 'regressed':
      case 'reset-required':
        return
      default:
        return unreachable(effect)
    }
  }

  #enqueue(act: () => void): void {
    this.#queue.push(act)
    if (!this.#isApplying) this.#next()
  }

  #next(): void {
    const act = this.#queue.shift()
    this.#isApplying = act !== undefined
    if (act === undefined) return
    this.#soon(() => {
      act()
      this.#next()
    }, this.#options.applyMaxMs)
  }

  #apply(entry: Entry): void {
    if (entry.index <= this.machine.index) return
    const data = 'data' in entry ? { data: entry.data } : {}
    const { index, clockMs, kind } = entry
    const { outcomes, events } = this.machine.apply({ index, clockMs, kind, ...data })
    this.onEntry({ entry, outcomes, events })
    const { own, lost } = this.#proposals.applied(index, entry.term)
    for (const waiters of lost) this.#refuse(waiters, 'LeadershipLost')
    for (const [at, { resolve }] of (own ?? []).entries()) resolve(outcomes[at] as Outcome)
    for (const listener of this.#applied) listener(index, events)
    this.#passReaders()
  }

  #passReaders(): void {
    for (const { resolve } of this.#barriers.applied(this.machine.index)) resolve(this.machine.index)
    this.#ask()
  }

  #save(): void {
    const basis = this.raft.snapshotBasis(Math.min(this.machine.index, this.raft.applied))
    if (basis.index !== this.machine.index) return this.#soon(() => this.#save())
    const sections = this.machine.snapshot()
    const bytes = pack(sections.map(({ id, records }) => [id, records]))
    const meta: SnapshotMeta = {
      ...basis,
      clockMs: this.machine.clockMs,
      sizeBytes: bytes.length,
      checksum: sumOf(bytes),
    }
    this.#options.disk.files.submit({
      act: (image) => keep(image, { meta, bytes }),
      done: () => this.#fabric.later(() => this.feed({ kind: 'snapshot-created', snapshot: meta })),
    })
  }

  #restore(bytes: Uint8Array): void {
    const { parts } = this.#options
    const sections = (unpack(bytes) as [number, Packed[]][]).map(([id, records]) => ({ id, records }))
    this.machine.replaceBy(parts.Machine.restored(sections as unknown as Section[], parts.decodeCommands))
  }
}

const SNAPSHOTS_RETAINED = 2

function keep(image: DiskImage, added: { meta: SnapshotMeta; bytes: Uint8Array }): void {
  if (image.snapshots.some(({ meta }) => meta.index === added.meta.index)) return
  image.snapshots.push(added)
  image.snapshots.sort((a, b) => a.meta.index - b.meta.index)
  while (image.snapshots.length > SNAPSHOTS_RETAINED) image.snapshots.shift()
}

function sumOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex').slice(0, 16)
}
