// The invariants of consensus, R1 to R14 of cluster.md §13, held against every step of every server. The checker keeps what
// was ever true: who led in a term, what an index was committed as, what was acknowledged.

import type { RaftEffect, RaftInput } from '../../../cluster/raft/core/effects.ts'
import type { Entry } from '../../../cluster/raft/core/entry.ts'
import { membersOf } from '../../../cluster/raft/core/membership.ts'
import type { Message, SnapshotMeta } from '../../../cluster/raft/core/messages.ts'
import type { RaftOptions } from '../../../cluster/raft/core/raft.ts'
import { describeEffect, describeInput } from '../../tools/describe-raft.ts'
import type { DiskImage } from '../disk.ts'
import type { RaftNode, RaftObserver } from '../raft-node.ts'
import type { Outcome, RegisterResult } from '../registers.ts'
import type { World } from '../world.ts'
import { InvariantError } from './invariant-error.ts'

interface Known {
  readonly entry: Entry
  readonly text: string
  readonly previousTerm: number | undefined
}

/** How far a server has got that the leader has begun to send a snapshot to. */
interface Newcomer {
  checksum: string
  /** Bytes of the snapshot. */
  offset: number
  /** It needs the log after this. */
  index: number
  movedMs: number
}

/** What the checker remembers of a run. */
interface View {
  /** Of a leader. */
  readonly newcomers: Map<string, Newcomer>
  /** Nobody is worth keeping entries up to here for. */
  holdAfter: number
  wasLeader: boolean
  term: number
  commit: number
  applied: number
  lastIndex: number
}

export class RaftChecker implements RaftObserver {
  readonly #world: World
  readonly #options: RaftOptions
  /** The disk of every store that ever was, by server. */
  readonly #disks: (server: string) => DiskImage | undefined
  readonly #views = new Map<RaftNode, View>()
  readonly #leaders = new Map<number, string>()
  readonly #entries = new Map<string, Known>()
  readonly #votes = new Map<string, string>()
  /** By index: the term of what is committed there. */
  readonly #committed: number[] = [0]
  readonly #digests = new Map<number, number>()
  readonly #snapshots = new Map<number, string>()
  /** By session and number: the index at which a request happened, and what came of it. */
  readonly #happened = new Map<string, { readonly index: number; readonly result: RegisterResult }>()
  #elections = 0
  /** Told of every new leader. */
  onElected: ((node: RaftNode) => void) | undefined

  constructor(world: World, options: RaftOptions, disks: (server: string) => DiskImage | undefined) {
    this.#world = world
    this.#options = options
    this.#disks = disks
  }

  get elections(): number {
    return this.#elections
  }

  get lastCommitted(): number {
    return this.#committed.length - 1
  }

  starting(node: RaftNode): void {
    const { raft } = node
    this.#views.set(node, {
      newcomers: new Map(),
      holdAfter: 0,
      wasLeader: false,
      term: raft.term,
      commit: raft.commit,
      applied: raft.applied,
      lastIndex: raft.log.lastIndex,
    })
    if (raft.commit > 0) this.#agrees(node, raft.commit)
  }

  stepped(node: RaftNode, input: RaftInput, effects: readonly RaftEffect[]): void {
    this.#world.note(() =>
      [`${node.id} ← ${describeInput(input)}`, ...effects.map(describeEffect)].join('\n             '),
    )
    const view = this.#views.get(node) as View
    const { raft } = node
    if (raft.role !== 'leader' || raft.term !== view.term) view.newcomers.clear()
    if (input.kind === 'snapshot-created') view.holdAfter = Math.max(view.holdAfter, input.holdAfter ?? 0)
    if (input.kind === 'chunk-failed') view.newcomers.delete(input.to)
    if (input.kind === 'message' && input.message.term === raft.term) this.#moved(view, input.from, input.message)
    for (const effect of effects) {
      switch (effect.kind) {
        case 'compact':
          this.#compacted(node, view, effect.base.index)
          break
        case 'persist':
          if (effect.log !== undefined) this.#appended(node, view, effect.log.after, effect.log.entries)
          break
        case 'send':
          this.#sent(node, effect.to, effect.message)
          if (effect.message.kind === 'snapshot') this.#offered(view, effect.to, effect.message.snapshot)
          break
        case 'apply':
          this.#applying(node, view, effect.entries)
          break
        default:
      }
    }
    this.#check(node, raft.term >= view.term, `its term fell from ${view.term} to ${raft.term}`)
    const isLeader = raft.role === 'leader'
    if (isLeader && !(view.wasLeader && view.term === raft.term)) this.#elected(node)
    this.#check(node, raft.commit >= view.commit, `its commit index fell from ${view.commit} to ${raft.commit} (R5)`)
    if (raft.commit > view.commit) this.#commits(node, input)
    this.#check(node, raft.applied >= view.applied, 'its applied index fell (R5)')
    view.wasLeader = isLeader
    view.term = raft.term
    view.commit = raft.commit
    view.applied = raft.applied
    view.lastIndex = raft.log.lastIndex
  }

  #offered(view: View, to: string, { index, checksum }: SnapshotMeta): void {
    if (view.newcomers.get(to)?.checksum === checksum) return
    view.newcomers.set(to, { checksum, offset: 0, index, movedMs: this.#world.nowMs })
  }

  #moved(view: View, from: string, message: Message): void {
    const newcomer = view.newcomers.get(from)
    if (newcomer === undefined) return
    const { nowMs } = this.#world
    if (message.kind === 'snapshot-reply' && message.checksum === newcomer.checksum) {
      // It has lost what it had, and will get another.
      if (message.offset < newcomer.offset) return void view.newcomers.delete(from)
      if (message.offset > newcomer.offset) newcomer.movedMs = nowMs
      newcomer.offset = message.offset
    }
    if (message.kind !== 'append-reply') return
    if (!message.ok) return void view.newcomers.delete(from)
    if (message.index > newcomer.index) {
      newcomer.index = message.index
      newcomer.movedMs = nowMs
    }
  }

  /** Who is being sent a snapshot finds the log after it: it does not need one after the other (§5.12). */
  #compacted(node: RaftNode, view: View, base: number): void {
    const members = membersOf(node.raft.log.newest.configuration)
    // Clocks of servers do not run alike.
    const sinceMs = this.#world.nowMs - 0.9 * this.#options.holdMs
    for (const [server, { index, movedMs }] of view.newcomers) {
      if (movedMs <= sinceMs || index < view.holdAfter || !members.includes(server)) continue
      this.#check(
        node,
        base <= index,
        `it drops the log up to ${base}; ${server} has got to ${index} and goes on (§5.12)`,
      )
    }
  }

  /** R5, R12 and exactly once. */
  applied(node: RaftNode, outcomes: readonly Outcome[]): void {
    const { appliedIndex: index, digest } = node.machine
    const known = this.#digests.get(index)
    if (known === undefined) this.#digests.set(index, digest)
    this.#check(node, known === undefined || known === digest, `its state at ${index} is another than elsewhere (R12)`)
    for (const { session, seq, result, isNew } of outcomes) {
      if (!isNew || result === 'stale') continue
      const key = `${session} ${seq}`
      const before = this.#happened.get(key) ?? { index, result }
      this.#happened.set(key, before)
      this.#check(node, before.index === index, `request ${key} happened at ${before.index} and again at ${index} (N6)`)
    }
  }

  /** What came of a request that has happened somewhere; undefined when it has not. */
  resultOf({ session, seq }: { session: string; seq: number }): RegisterResult | undefined {
    return this.#happened.get(`${session} ${seq}`)?.result
  }

  /** R12: one index, one snapshot. */
  saved(node: RaftNode, meta: SnapshotMeta, bytes: Uint8Array): void {
    const text = Buffer.from(bytes).toString()
    const known = this.#snapshots.get(meta.index) ?? text
    this.#snapshots.set(meta.index, known)
    this.#check(node, known === text, `its snapshot at ${meta.index} differs from another server's (R12)`)
  }

  /** R13: a read that began when everything up to `floor` had been answered shows at least that. */
  readAnswered(client: string, index: number, floor: number): void {
    if (index >= floor) return
    this.#fail(`${client} read state ${index} after a write at ${floor} was acknowledged (R13)`)
  }

  /** What cannot be seen in one step: a leader that nobody answers steps down within the window (§5.2, fault 6). */
  watch(nodes: Iterable<RaftNode>): void {
    const { heartbeatTimeoutMs } = this.#options
    for (const node of nodes) {
      if (!node.isRunning || node.isFrozen || node.role !== 'leader') continue
      const { voters } = node.raft.log.newest.configuration
      const sinceMs = Math.max(node.thawedMs, this.#electedMs.get(node) ?? 0)
      const heard = voters.map((voter) =>
        voter === node.id ? this.#world.nowMs : Math.max(sinceMs, node.heardMs.get(voter) ?? 0),
      )
      const contactMs = heard.sort((a, b) => b - a)[Math.floor(voters.length / 2)] as number
      const silentMs = this.#world.nowMs - contactMs
      const allowedMs = 1.2 * heartbeatTimeoutMs + 50
      this.#check(node, silentMs <= allowedMs, `it leads without a majority for ${Math.round(silentMs)} ms (§5.2)`)
      const status = node.raft.status()
      const { uncommittedBytes, last, commit } = status
      const isCounted = last.index > commit ? uncommittedBytes > 0 : uncommittedBytes === 0
      this.#check(node, isCounted, `${uncommittedBytes} bytes are said to be uncommitted (M3)`)
      for (const follower of status.followers) {
        const isBounded = follower.inflightCount <= this.#options.inflightMax
        this.#check(node, isBounded, `${follower.inflightCount} appends to ${follower.server} are under way (M3)`)
      }
    }
  }

  /** Who led in a term. */
  readonly #led = new Map<number, RaftNode>()
  readonly #electedMs = new Map<RaftNode, number>()

  /** R1, R4. */
  #elected(node: RaftNode): void {
    const { raft } = node
    this.#elections++
    this.#electedMs.set(node, this.#world.nowMs)
    const other = this.#leaders.get(raft.term) ?? node.id
    this.#check(node, other === node.id, `${other} leads in term ${raft.term} as well (R1)`)
    this.#leaders.set(raft.term, node.id)
    this.#led.set(raft.term, node)
    for (let index = raft.log.base.index + 1; index < this.#committed.length; index++) {
      const isThere = raft.log.term(index) === this.#committed[index]
      this.#check(node, isThere, `it leads in term ${raft.term} without the committed entry ${index} (R4)`)
    }
    this.onElected?.(node)
  }

  /** R2, R3, R9, R14. */
  #appended(node: RaftNode, view: View, after: number, entries: readonly Entry[]): void {
    const { raft } = node
    const leads = raft.role === 'leader' && view.wasLeader && raft.term === view.term
    this.#check(node, !leads || after >= view.lastIndex, `it leads and changes its log after ${after} (R2)`)
    this.#check(node, after >= view.commit, `it replaces the log after ${after}, of which ${view.commit} is committed`)
    let previousTerm = after === raft.log.base.index ? raft.log.base.term : raft.log.term(after)
    let previousClockMs = 0
    for (const entry of entries) {
      const key = `${entry.index} ${entry.term}`
      const known = this.#entries.get(key)
      if (known === undefined) {
        this.#entries.set(key, { entry, text: textOf(entry), previousTerm })
        if (raft.role === 'leader' && entry.kind === 'configuration') this.#configured(node, entry)
      } else {
        const isSame = known.entry === entry || known.text === textOf(entry)
        this.#check(node, isSame && known.previousTerm === previousTerm, `its entry ${key} is another (R3)`)
      }
      this.#check(node, entry.clockMs >= previousClockMs, `the clock of entry ${key} goes back (R14)`)
      const allowedMs = this.#world.nowMs * 1.02 + 1
      this.#check(node, entry.clockMs <= allowedMs, `the clock of entry ${key} is ahead of all time that passed (R14)`)
      previousClockMs = entry.clockMs
      previousTerm = entry.term
    }
  }

  /** R9, as a leader appends a configuration. */
  #configured(node: RaftNode, entry: Extract<Entry, { kind: 'configuration' }>): void {
    const { raft } = node
    const before = raft.log.configurationAt(entry.index - 1)
    const { heartbeatTimeoutMs } = this.#options
    this.#check(node, before.index <= raft.commit, `it changes a configuration that is not committed (R9)`)
    this.#check(
      node,
      raft.log.term(raft.commit) === raft.term,
      'it changes the configuration before its first entry (R9)',
    )
    const [old, next] = [before.configuration, entry.configuration]
    const moved = new Set(membersOf(next).concat(membersOf(old)))
    for (const server of [...moved]) {
      const isSameRole =
        old.voters.includes(server) === next.voters.includes(server) &&
        old.standbys.includes(server) === next.standbys.includes(server)
      if (isSameRole) moved.delete(server)
    }
    this.#check(node, moved.size === 1, `its change concerns ${[...moved].join(', ')} (R9)`)
    this.#check(node, next.voters.length > 0, 'nobody votes any more (R9)')
    const [server] = [...moved] as [string]
    if (next.voters.includes(server)) {
      const lastIndex = Math.max(this.#disks(server)?.lastIndex ?? 0, this.#disks(server)?.snapshot?.meta.index ?? 0)
      const isClose = raft.commit - lastIndex <= this.#options.syncedLagEntries + 64
      this.#check(node, isClose, `it promotes ${server}, who is at ${lastIndex} of ${raft.commit} (R9)`)
    }
    if (old.voters.includes(server) || next.voters.includes(server)) {
      // What it counts as contact was asked at most a timeout ago, and answered since.
      const sinceMs = this.#world.nowMs - 1.05 * heartbeatTimeoutMs - 1
      const present = next.voters.filter((id) => id === node.id || (node.heardMs.get(id) ?? -1) >= sinceMs)
      const isQuorum = present.length > next.voters.length / 2
      this.#check(node, isQuorum, `it changes to ${next.voters.join(' ')} and has heard ${present.join(' ')} (§5.5)`)
    }
  }

  /** R6, R7: what leaves the server is true on its disk. */
  #sent(node: RaftNode, to: string, message: Message): void {
    const { image } = node.disk
    const { id } = node
    switch (message.kind) {
      case 'vote':
        this.#voted(node, message.term, id)
        return
      case 'vote-reply':
        if (message.granted) this.#voted(node, message.term, to)
        else this.#seen(node, message)
        return
      case 'append-reply': {
        this.#seen(node, message)
        if (!message.ok) return
        const isThere = image.holds(message.index, node.raft.log.term(message.index))
        this.#check(node, isThere, `it acknowledges ${message.index}, which is not on its disk (R6)`)
        this.#sameAsLeader(node, message.term, message.index)
        return
      }
      case 'snapshot-reply': {
        if (!message.isDone) return
        const isThere = image.holds(message.index, node.raft.log.term(message.index))
        this.#check(node, isThere, `it acknowledges the snapshot ${message.index}, which is not on its disk (R6)`)
        return
      }
      default:
    }
  }

  /** What is acknowledged to a leader is the leader's. Raft §5.3. */
  #sameAsLeader(node: RaftNode, term: number, index: number): void {
    const leader = this.#led.get(term)
    if (leader === undefined || !leader.isRunning || leader.role !== 'leader' || leader.raft.term !== term) return
    const theirs = leader.raft.log.term(index)
    const ours = node.raft.log.term(index)
    if (theirs === undefined && index <= leader.raft.log.lastIndex) return
    const isSame = ours === undefined || theirs === ours
    this.#check(
      node,
      isSame,
      `it acknowledges ${index} of term ${ours} to ${leader.id}, whose own is of term ${theirs} (R3)`,
    )
  }

  #seen(node: RaftNode, { kind, term }: Message): void {
    const durable = node.disk.image.hardState?.term ?? 0
    this.#check(node, durable >= term, `it sends ${kind} of term ${term} and its disk knows ${durable} (R6)`)
  }

  #voted(node: RaftNode, term: number, candidate: string): void {
    const key = `${node.id} ${term}`
    const before = this.#votes.get(key) ?? candidate
    this.#votes.set(key, before)
    this.#check(node, before === candidate, `it votes for ${candidate} and for ${before} in term ${term} (R7)`)
    const { hardState } = node.disk.image
    const isDurable = hardState !== undefined && hardState.term === term && hardState.vote === candidate
    this.#check(node, isDurable, `its vote for ${candidate} in term ${term} is not on its disk (R6)`)
  }

  /** R5, R8. */
  #commits(node: RaftNode, input: RaftInput): void {
    const { raft } = node
    const { commit } = raft
    this.#agrees(node, commit)
    if (commit <= this.lastCommitted) return
    for (let index = this.#committed.length; index <= commit; index++) {
      const term = raft.log.term(index)
      this.#check(node, term !== undefined, `it commits ${index} and does not have it`)
      this.#committed.push(term as number)
    }
    const isLeader = raft.role === 'leader'
    this.#check(node, isLeader, `it follows and is the first to call ${commit} committed, by ${input.kind} (R8)`)
    const { voters } = raft.log.newest.configuration
    const term = raft.log.term(commit)
    const holders = voters.filter((voter) => this.#disks(voter)?.holds(commit, term) === true)
    const isQuorum = holders.length > voters.length / 2
    this.#check(
      node,
      isQuorum,
      `it commits ${commit} of term ${term}, which only ${holders.join(' ')} have on disk (R8)`,
    )
    this.#check(node, term === raft.term, `it commits ${commit} of the earlier term ${term} by counting (§5.4.2)`)
  }

  #agrees(node: RaftNode, commit: number): void {
    const { log } = node.raft
    const known = Math.min(commit, this.lastCommitted)
    for (let index = Math.max(log.base.index + 1, (this.#views.get(node)?.commit ?? 0) + 1); index <= known; index++) {
      const isSame = log.term(index) === this.#committed[index]
      this.#check(node, isSame, `it calls ${index} of term ${log.term(index)} committed, elsewhere it is another (R5)`)
    }
  }

  /** R5: in order, once, and only what is committed. */
  #applying(node: RaftNode, view: View, entries: readonly Entry[]): void {
    for (const { index, term } of entries) {
      this.#check(node, index > view.applied, `it applies ${index} again (R5)`)
      const isCommitted = index <= node.raft.commit && (this.#committed[index] ?? term) === term
      this.#check(node, isCommitted, `it applies ${index} of term ${term}, which is not committed (R5)`)
    }
  }

  #check(node: RaftNode, fact: boolean, text: string): void {
    if (!fact) this.#fail(`${node.id}: ${text}`)
  }

  #fail(text: string): never {
    throw new InvariantError(`${text}; seed ${this.#world.seed}, at ${Math.round(this.#world.nowMs)} ms`)
  }
}

function textOf(entry: Entry): string {
  switch (entry.kind) {
    case 'commands':
    case 'settings':
      return `${entry.kind} ${Buffer.from(entry.data).toString()}`
    case 'configuration':
      return JSON.stringify(entry.configuration)
    default:
      return entry.kind
  }
}
