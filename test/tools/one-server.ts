// Consensus of one server, which leads from the start and loses nothing: the real state machine, fed with what is proposed. For services
// whose own rules are to be tried.

import type { Consensus, ConsensusStatus } from '../../cluster/raft/consensus.ts'
import { proposalFailure } from '../../cluster/raft/consensus.ts'
import { configurationOf } from '../../cluster/raft/core/membership.ts'
import { Machine } from '../../cluster/state/core/machine.ts'
import type { Outcome, StateEvent } from '../../cluster/state/core/outcomes.ts'
import { decodeCommands, joinEnvelopes } from '../../cluster/state/wire/commands.ts'
import type { FakeFabric } from './fabric.ts'

const COMMIT_MS = 2
const TICK_MS = 100

export class OneServer implements Consensus {
  readonly machine = new Machine(decodeCommands)
  /** Proposals wait while it does not lead. */
  leads = true
  readonly #fabric: FakeFabric
  readonly #applied = new Set<(index: number, events: readonly StateEvent[]) => void>()
  readonly #status = new Set<() => void>()
  readonly #restored = new Set<(index: number) => void>()
  #cancel: () => void

  constructor(fabric: FakeFabric) {
    this.#fabric = fabric
    fabric.setTag('raft_role', 'voter')
    this.machine.apply({ index: 1, clockMs: 0, kind: 'noop' })
    this.#cancel = fabric.after(TICK_MS, () => this.#tick())
  }

  get self(): string {
    return `${this.#fabric.name}/${'0'.repeat(32)}`
  }

  status(): ConsensusStatus {
    const { index } = this.machine
    const role = this.leads ? 'leader' : 'voter'
    const position = { index, term: 1, clockMs: this.machine.clockMs }
    return {
      self: this.self,
      formation: 'ab'.repeat(16),
      role,
      raftRole: this.leads ? 'leader' : 'follower',
      term: 1,
      leader: this.leads ? this.self : undefined,
      commit: index,
      applied: index,
      base: position,
      last: position,
      configuration: { index: 1, configuration: configurationOf([this.self]) },
      isReady: this.leads,
      failure: undefined,
      isEmpty: false,
      followers: [],
      uncommittedBytes: 0,
    }
  }

  lead(leads: boolean): void {
    this.leads = leads
    for (const listener of [...this.#status]) listener()
  }

  async propose(command: Uint8Array): Promise<Outcome> {
    if (!this.leads) throw proposalFailure('NotLeader', 'it does not lead')
    await new Promise<void>((done) => this.#fabric.after(COMMIT_MS, done))
    if (!this.leads) throw proposalFailure('LeadershipLost', 'it leads no more')
    const [outcome] = this.#apply('commands', joinEnvelopes([command]))
    return outcome as Outcome
  }

  /** As if a snapshot of the same state had been installed. */
  restore(): void {
    for (const listener of [...this.#restored]) listener(this.machine.index)
  }

  onStatus(listener: () => void): () => void {
    return added(this.#status, listener)
  }

  onApplied(listener: (index: number, events: readonly StateEvent[]) => void): () => void {
    return added(this.#applied, listener)
  }

  onRestored(listener: (index: number) => void): () => void {
    return added(this.#restored, listener)
  }

  async barrier(): Promise<number> {
    return this.machine.index
  }

  holdsQuorum(): boolean {
    return this.leads
  }

  tellCommit(): void {}

  setEligible(): void {}

  get meta(): never {
    return unused()
  }

  proposeSettings = unused
  changeMembership = unused
  transfer = unused
  form = unused
  changeMeta = unused
  reset = unused

  async close(): Promise<void> {
    this.#cancel()
  }

  #apply(kind: 'commands' | 'tick', data?: Uint8Array): readonly Outcome[] {
    const clockMs = Math.floor(this.#fabric.env.nowMs())
    const index = this.machine.index + 1
    const entry = { index, clockMs, kind, ...(data === undefined ? {} : { data }) }
    const { outcomes, events } = this.machine.apply(entry)
    for (const listener of [...this.#applied]) listener(index, events)
    return outcomes
  }

  #tick(): void {
    this.#cancel = this.#fabric.after(TICK_MS, () => this.#tick())
    const dueMs = this.machine.nextExpiryMs
    if (this.leads && dueMs !== undefined && dueMs <= this.#fabric.env.nowMs()) this.#apply('tick')
  }
}

const unused = (): never => {
  throw new Error('not part of this')
}

function added<T>(set: Set<T>, value: T): () => void {
  set.add(value)
  return () => set.delete(value)
}
