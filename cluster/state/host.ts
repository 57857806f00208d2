// Keeps the replica of this server: applies committed entries a slice of a turn at a time, saves it and replaces it by snapshots.
// cluster.md §5.12.

import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import type { Entry } from '../raft/core/entry.ts'
import type { SnapshotPosition } from '../raft/snapshots.ts'
import type { ReplicatedState, SavedState } from '../raft/state-machine.ts'
import { packConfiguration } from '../raft/wire/entry.ts'
import { type Applied, Machine } from './core/machine.ts'
import type { Outcome, StateEvent } from './core/outcomes.ts'
import type { Values } from './core/values.ts'
import { decodeCommands, decodeEnvelope, joinEnvelopes } from './wire/commands.ts'
import { readSnapshot, writeSnapshot } from './wire/snapshot.ts'

interface StateHostOptions {
  /** Monotonic milliseconds. */
  readonly nowMs: () => number
  /** Runs in the next turn of the event loop. */
  readonly defer: (run: () => void) => void
  /** Where the values of a store live. Default: in memory. */
  readonly values?: () => Values
  /** A listener threw; it is a bug of the listener and does not stop the replica. */
  readonly failed: (error: unknown) => void
}

type Work =
  | {
      readonly kind: 'apply'
      readonly entries: readonly Entry[]
      next: number
      /** The entry that is half applied, and its work. */
      half: { readonly entry: Entry; readonly steps: Generator<undefined, Applied> } | undefined
      readonly each: (entry: Entry, outcomes: readonly Outcome[]) => void
      readonly done: () => void
    }
  | {
      readonly kind: 'restore'
      readonly index: number
      readonly read: () => AsyncIterable<Uint8Array>
      readonly done: () => void
    }

/** How long of one turn of the event loop is spent applying. */
const SLICE_MS = 5

export class StateHost implements ReplicatedState {
  readonly #options: StateHostOptions
  readonly #applied = new Set<(index: number, events: readonly StateEvent[]) => void>()
  readonly #restored = new Set<(index: number) => void>()
  readonly machine: Machine
  /** In order; at most one `apply` and one `restore` are asked for at a time. */
  #work: Work[] = []
  #isWorking = false
  /** Of this turn. */
  #spentMs = 0
  #isTurnEnding = false
  #isOver = false
  onHalt: (error: Error) => void = () => {}

  constructor(options: StateHostOptions) {
    this.#options = options
    this.machine = this.#fresh()
  }

  get index(): number {
    return this.machine.index
  }

  get clockMs(): number {
    return this.machine.clockMs
  }

  get nextExpiryMs(): number | undefined {
    return this.machine.nextExpiryMs
  }

  get isIdle(): boolean {
    return this.#work.length === 0
  }

  check(command: Uint8Array): void {
    decodeEnvelope(command)
  }

  join(commands: readonly Uint8Array[]): Uint8Array {
    return joinEnvelopes(commands)
  }

  onApplied(listener: (index: number, events: readonly StateEvent[]) => void): () => void {
    this.#applied.add(listener)
    return () => this.#applied.delete(listener)
  }

  onRestored(listener: (index: number) => void): () => void {
    this.#restored.add(listener)
    return () => this.#restored.delete(listener)
  }

  apply(entries: readonly Entry[], each: (entry: Entry, outcomes: readonly Outcome[]) => void, done: () => void): void {
    this.#work.push({ kind: 'apply', entries, next: 0, half: undefined, each, done })
    this.#go()
  }

  restore(index: number, read: () => AsyncIterable<Uint8Array>, done: () => void): void {
    this.#work.push({ kind: 'restore', index, read, done })
    this.#go()
  }

  save(formation: string, { index, term, clockMs, configuration }: SnapshotPosition): SavedState {
    const view = this.machine.view()
    const { featureLevel } = view
    const header = { formation, index, term, clockMs, configuration: packConfiguration(configuration), featureLevel }
    return { pieces: writeSnapshot(header, view.records()), close: () => view.close() }
  }

  dropRestore(): void {
    this.#work = this.#work.filter(({ kind }) => kind !== 'restore')
  }

  clear(): void {
    const [work] = this.#work
    this.#work = []
    // An entry is applied or it is not.
    if (work?.kind === 'apply') while (work.half !== undefined && work.half.steps.next().done !== true);
    this.#replace(this.#fresh())
  }

  close(): void {
    this.#isOver = true
    this.#work = []
    this.#applied.clear()
    this.#restored.clear()
    this.machine.close()
  }

  #fresh(): Machine {
    return new Machine(decodeCommands, this.#options.values?.())
  }

  #go(): void {
    if (this.#isWorking || this.#isOver) return
    this.#isWorking = true
    for (let work = this.#work[0]; work !== undefined && !this.#isOver; work = this.#work[0]) {
      if (work.kind === 'restore') return void this.#restore(work)
      if (!this.#applySlice(work)) {
        this.#options.defer(() => {
          this.#isWorking = false
          this.#go()
        })
        return
      }
      this.#finish(work)
    }
    this.#isWorking = false
  }

  #finish(work: Work): void {
    // It may have been withdrawn meanwhile.
    if (this.#work[0] !== work) return
    this.#work.shift()
    work.done()
  }

  /** @returns whether all is applied */
  #applySlice(work: Work & { kind: 'apply' }): boolean {
    const { nowMs } = this.#options
    if (this.#spentMs >= SLICE_MS) return false
    const startMs = nowMs() - this.#spentMs
    this.#endTurn()
    for (;;) {
      let step: IteratorResult<undefined, Applied>
      try {
        work.half ??= this.#nextOf(work)
        if (work.half === undefined) return true
        step = work.half.steps.next()
      } catch (error) {
        this.#halt(`entry ${this.machine.index + 1}`, error)
        return true
      }
      if (step.done === true) {
        const { entry } = work.half
        work.half = undefined
        work.each(entry, step.value.outcomes)
        this.#tell(this.#applied, (listener) => listener(entry.index, step.value?.events ?? []))
      }
      this.#spentMs = nowMs() - startMs
      if (this.#spentMs >= SLICE_MS) return work.half === undefined && work.next >= work.entries.length
    }
  }

  #tell<L>(listeners: ReadonlySet<L>, tell: (listener: L) => void): void {
    for (const listener of listeners) {
      try {
        tell(listener)
      } catch (error) {
        this.#options.failed(error)
      }
    }
  }

  /** Starts with the next entry that is not applied yet. */
  #nextOf(work: Work & { kind: 'apply' }): (Work & { kind: 'apply' })['half'] {
    while (work.next < work.entries.length) {
      const entry = work.entries[work.next++] as Entry
      if (entry.index > this.machine.index) return { entry, steps: this.machine.applying(entry) }
    }
    return undefined
  }

  #endTurn(): void {
    if (this.#isTurnEnding) return
    this.#isTurnEnding = true
    this.#options.defer(() => {
      this.#isTurnEnding = false
      this.#spentMs = 0
    })
  }

  async #restore(work: Work & { kind: 'restore' }): Promise<void> {
    try {
      const restored = work.index > this.machine.index ? await this.#read(work) : undefined
      // It may have been withdrawn meanwhile.
      if (restored !== undefined && !this.#isOver && this.#work[0] === work) this.#replace(restored)
      else restored?.close()
    } catch (error) {
      if (!this.#isOver && this.#work[0] === work) return this.#halt(`the snapshot at ${work.index}`, error)
    } finally {
      this.#isWorking = false
    }
    this.#finish(work)
    this.#go()
  }

  async #read(work: Work & { kind: 'restore' }): Promise<Machine> {
    const restoring = Machine.restoring(decodeCommands, this.#options.values?.())
    try {
      await readSnapshot(this.#paced(work.read()), (section, record) => restoring.add(section, record))
      const restored = restoring.finish()
      if (restored.index !== work.index) throw new MoonmeshError('Internal', `it is of ${restored.index}`)
      return restored
    } catch (error) {
      restoring.drop()
      throw error
    }
  }

  /** What was read in one go is taken in over several turns of the event loop. */
  async *#paced(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { nowMs, defer } = this.#options
    let sinceMs = nowMs()
    for await (const piece of pieces) {
      yield piece
      if (nowMs() - sinceMs < SLICE_MS) continue
      await new Promise<void>((next) => defer(next))
      sinceMs = nowMs()
    }
  }

  #replace(machine: Machine): void {
    this.machine.replaceBy(machine)
    this.#tell(this.#restored, (listener) => listener(this.machine.index))
  }

  #halt(what: string, cause: unknown): void {
    this.#isOver = true
    this.#work = []
    const message = `${what} cannot be applied: ${messageOf(cause)}; this node's replica stops here, so as not to differ from the others`
    this.onHalt(new MoonmeshError('Internal', message, { cause }))
  }
}
