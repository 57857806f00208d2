// The machine against a naive one, command by command: requests that come again, under sessions that are over, after their floor, many to an
// entry, while time passes and snapshots are restored. cluster.md §5.10, §5.11, §6.2, §6.4, §7; N6.

import { isDeepStrictEqual } from 'node:util'
import { expect } from 'vitest'
import type { Command, Envelope } from '../../../../cluster/state/core/commands.ts'
import type { Machine } from '../../../../cluster/state/core/machine.ts'
import type { decodeCommands } from '../../../../cluster/state/wire/commands.ts'
import { fc } from '../../../tools/property.ts'
import { encodeCommands } from '../../../tools/state-commands.ts'
import { NaiveState } from './naive-state.ts'

/** The product's, or others with a bug in them. */
export interface MachineParts {
  readonly Machine: typeof Machine
  readonly decodeCommands: typeof decodeCommands
}

const NODES = ['a', 'b', 'c']
const EPOCHS = 3
const NAMES = ['x', 'y', '\ue000', '\u{1f600}']
const SPANS_MS = [0, 10, 20, 30]
/** Some of what waits outlives much of what happens. */
const WAITS_MS = [0, 20, 60, 200]
/** Few, so that many want the same. */
const LOCKS = NAMES.slice(0, 2)
const PROCESSES = 2

const pidOf = (node: string, epoch: number, n: number): string => `{${node}@h|${epoch.toString(36)}.${n}}`

const die = fc.nat(99)
const roll = fc.record({
  kind: fc.constantFrom<Command['kind']>(
    'node-up',
    'node-up',
    'node-down',
    'proc-down',
    'register',
    'register',
    'unregister',
    'strong-open',
    'strong-open',
    'strong-ack',
    'strong-ack',
    'strong-ack',
    'strong-reject',
    'strong-abort',
    'lock-acquire',
    'lock-acquire',
    'lock-acquire',
    'lock-acquire',
    'lock-release',
    'lock-release',
    'lock-renew',
    'cancel',
  ),
  who: die,
  name: die,
  process: die,
  pick: die,
  span: die,
  wait: die,
  floor: die,
  done: die,
  /** Something that was said before is said again. */
  again: die,
  chance: die,
})
type Roll = typeof roll extends fc.Arbitrary<infer T> ? T : never

const of = <T>(list: readonly T[], at: number): T => list[at % list.length] as T

/** From chance to commands that mostly make sense where they arrive. */
class Speaker {
  readonly #naive: NaiveState
  /** All that there ever were, with the highest seq that was used. */
  readonly #sessions: { node: string; session: number; seq: number }[] = []
  readonly #said: Envelope[] = []
  /** Said, and on their way for long. */
  #late: Envelope[] = []

  constructor(naive: NaiveState) {
    this.#naive = naive
  }

  envelope(roll: Roll): Envelope {
    for (const { node, session } of this.#naive.runs) {
      if (session > 0 && !this.#sessions.some((each) => each.session === session)) {
        this.#sessions.push({ node, session, seq: 0 })
      }
    }
    if (roll.again < 12 && this.#said.length > 0) return of(this.#said, roll.pick)
    if (roll.again > 92) {
      const [first, ...rest] = this.#late
      this.#late = rest
      if (first !== undefined) return first
    }
    const said = this.#fresh(roll)
    this.#said.push(said)
    if (roll.again > 30 || said.seq === 0) return said
    this.#late.push(said)
    return this.#fresh(roll)
  }

  #fresh(roll: Roll): Envelope {
    const open = this.#sessions.filter(({ session }) => this.#naive.runs.some((run) => run.session === session))
    const isOld = roll.chance < 8 || open.length === 0
    const own = of(isOld ? this.#sessions : open, roll.who)
    const command = this.#command(roll, own?.node ?? 'a')
    const isBare = /^(node|strong-(ack|reject|abort))/.test(command.kind) || own === undefined
    if (isBare) return { session: 0, seq: 0, floor: 0, command: own === undefined ? up(roll) : command }
    own.seq++
    // Mostly little is open, and at times a number is skipped: what it stood for may come later, or never.
    if (roll.span > 90) own.seq++
    const seq = roll.wait > 95 ? 1 + (roll.pick % own.seq) : own.seq
    const floor = Math.max(0, seq - (roll.floor % 12))
    const done = roll.done < 25 && seq > 1 ? [1 + (roll.done % (seq - 1))] : []
    if (command.kind === 'cancel') {
      if (seq === 1) return { session: own.session, seq, floor, command: { kind: 'proc-down', pids: [] } }
      const late = this.#late.filter(({ session }) => session === own.session && roll.wait > 50)
      const theirs = [...this.#open(own.session), ...late.map((each) => each.seq)].filter((each) => each < seq)
      const meant = theirs.length > 0 && roll.chance > 30 ? of(theirs, roll.pick) : 1 + (roll.pick % (seq - 1))
      return { session: own.session, seq, floor, done, command: { kind: 'cancel', seq: meant } }
    }
    return { session: own.session, seq, floor, done, command }
  }

  /** Requests of the session that hold something, or wait. */
  #open(session: number): number[] {
    const { locks, reservations } = this.#naive
    const requests = [
      ...locks.flatMap(({ request, queue }) => [request, ...queue.map((waiter) => waiter.request)]),
      ...reservations.flatMap(({ callers }) => callers),
    ]
    return requests.filter((request) => request.session === session).map(({ seq }) => seq)
  }

  #command(roll: Roll, node: string): Command {
    const { kind, pick, chance } = roll
    const { runs, locks, reservations } = this.#naive
    const name = of(NAMES, roll.name)
    const ttlMs = of(SPANS_MS, roll.span)
    // Of the node that speaks, in the run that is open; at times of anybody.
    const current = runs.find((run) => run.node === node)?.epoch ?? 1
    const pid =
      chance > 15
        ? pidOf(node, current, roll.process % PROCESSES)
        : pidOf(of(NODES, pick), 1 + (roll.process % EPOCHS), roll.process % PROCESSES)
    const reservation = reservations.length > 0 && chance > 5 ? of(reservations, pick) : undefined
    const revision = reservation?.revision ?? pick
    const reserved = reservation?.name ?? name
    const lock = locks.length > 0 && chance > 25 ? of(locks, pick) : undefined
    switch (kind) {
      case 'node-down': {
        const known = of(this.#sessions, roll.who)
        // What is ended is mostly left alone: much happens between two ends.
        const session = chance > 40 ? (known?.session ?? 1) : pick
        return { kind, node: chance > 10 ? (known?.node ?? 'a') : of(NODES, pick), session, reason: 'dead' }
      }
      case 'proc-down':
        return { kind, pids: chance > 60 ? [pid, pidOf(node, current, (roll.process + 1) % PROCESSES)] : [pid] }
      case 'register':
        return { kind, name, pid }
      case 'unregister':
        return { kind, name, pid: chance > 50 ? pid : undefined, scope: chance % 2 === 0 ? 'consistent' : 'strong' }
      case 'strong-open':
        return { kind, name, pid, ttlMs: 10 + of(WAITS_MS, roll.wait) }
      case 'strong-ack': {
        const missing = reservation?.required.filter((each) => !reservation.acked.includes(each)) ?? []
        const sessions = chance > 85 ? missing : [of([...missing, pick], roll.who)]
        return { kind, name: reserved, revision, sessions: chance > 95 ? [...sessions, ...sessions] : sessions }
      }
      case 'strong-reject': {
        const session = of([...(reservation?.required ?? []), pick], roll.who)
        return { kind, name: reserved, revision, session, holder: pid }
      }
      case 'strong-abort':
        return { kind, name: reserved, revision }
      case 'lock-acquire':
        return {
          kind,
          name: of(LOCKS, roll.name),
          pid,
          waitMs: of(WAITS_MS, roll.wait),
          ttlMs: of([0, 0, 10, 20], roll.span),
        }
      case 'lock-release':
        return chance % 3 === 0
          ? { kind, name: lock?.name ?? name, pid: lock?.pid ?? pid }
          : { kind, name: lock?.name ?? name, pid: lock?.pid ?? pid, token: lock?.token ?? pick }
      case 'lock-renew':
        return { kind, name: lock?.name ?? name, pid: lock?.pid ?? pid, token: lock?.token ?? pick, ttlMs }
      case 'cancel':
        return { kind, seq: 0 }
      default:
        return up(roll)
    }
  }
}

function up({ pick, chance }: Roll): Command {
  return { kind: 'node-up', node: of(NODES, pick), epoch: 1 + (chance % EPOCHS), role: 'voter' }
}

/** All that anybody may see of either. */
function seenOf(machine: Machine) {
  return {
    index: machine.index,
    clockMs: machine.clockMs,
    revision: machine.revision,
    nextExpiryMs: machine.nextExpiryMs,
    sessions: machine.sessions.sessions().map(({ node, epoch, session }) => ({ node, epoch, session })),
    epochs: NODES.map((node) => machine.sessions.epochOf(node)),
    names: machine.names.names().map((name) => ({ name, ...machine.names.lookup(name) })),
    reservations: machine.names.reservations().map((name) => {
      const { required, acked, ...rest } = machine.names.reservation(name) ?? { required: [], acked: [] }
      return { name, ...rest, required: ascending(required), acked: ascending(acked) }
    }),
    strong: machine.names.strongNames('', 10),
    locks: machine.locks.names().map((name) => {
      const { session, seq, queue, ...rest } = machine.locks.holder(name) ?? { session: 0, seq: 0, queue: new Map() }
      return { name, ...rest, request: { session, seq }, queue: [...queue.values()] }
    }),
    waiters: machine.locks.waiterCount,
  }
}

function seenOfNaive(naive: NaiveState): ReturnType<typeof seenOf> {
  const byName = (a: { name: string }, b: { name: string }) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))
  const strong = [...naive.reservations, ...naive.names.filter(({ scope }) => scope === 'strong')].sort(byName)
  return {
    index: naive.index,
    clockMs: naive.clockMs,
    revision: naive.revision,
    nextExpiryMs: naive.nextExpiryMs,
    sessions: naive.runs
      .filter(({ session }) => session > 0)
      .map(({ node, epoch, session }) => ({ node, epoch, session }))
      .sort((a, b) => a.session - b.session),
    epochs: NODES.map((node) => naive.runs.find((run) => run.node === node)?.epoch ?? 0),
    names: [...naive.names].sort(byName),
    reservations: [...naive.reservations]
      .sort(byName)
      .map((each) => ({ ...each, required: ascending(each.required), acked: ascending(each.acked) })),
    strong: [...new Set(strong.map(({ name }) => name))],
    locks: [...naive.locks].sort(byName),
    waiters: naive.locks.reduce((sum, { queue }) => sum + queue.length, 0),
  }
}

/** As `toEqual`, which takes much longer to find nothing. */
function same(got: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(got, expected)) expect(got).toEqual(expected)
}

const ascending = (numbers: Iterable<number>): number[] => [...numbers].sort((a, b) => a - b)

/**
 * Holds a machine against the naive one, through `numRuns` histories.
 * @throws Error with the shortest history found in which they differ
 */
export function holdAgainstNaive(
  { Machine, decodeCommands }: MachineParts,
  options: { readonly numRuns: number; readonly seed?: number; readonly isShortened?: boolean },
): void {
  const { numRuns, seed, isShortened = true } = options
  const entry = fc.record({
    rolls: fc.array(roll, { maxLength: 4 }),
    advanceMs: fc.constantFrom(0, 0, 0, 5, 10, 25),
    restore: fc.constantFrom(true, false, false),
  })
  const history = fc.array(entry, { minLength: 10, maxLength: 50 })
  const property = fc.property(history, (entries) => {
    const naive = new NaiveState()
    const speaker = new Speaker(naive)
    let machine = new Machine(decodeCommands)
    let clockMs = 0
    const apply = (envelopes: readonly Envelope[]): void => {
      const data = encodeCommands(envelopes)
      const applied = machine.apply({ index: machine.index + 1, clockMs, kind: 'commands', data })
      same(applied, naive.apply(clockMs, envelopes))
      same(seenOf(machine), seenOfNaive(naive))
      for (const { session, seq } of envelopes) same(machine.result({ session, seq }), naive.result({ session, seq }))
    }
    const up = (node: string): Command => ({ kind: 'node-up', node, epoch: 1, role: 'voter' })
    apply(NODES.map((node) => ({ session: 0, seq: 0, floor: 0, command: up(node) })))
    for (const { rolls, advanceMs, restore } of entries) {
      clockMs += advanceMs
      // They are drawn from what is there before the entry: some of them come too late within it.
      apply(rolls.map((each) => speaker.envelope(each)))
      if (restore) machine = Machine.restored(machine.snapshot(), decodeCommands)
    }
  })
  fc.assert(property, { numRuns, endOnFailure: !isShortened, ...(seed === undefined ? {} : { seed }) })
}
