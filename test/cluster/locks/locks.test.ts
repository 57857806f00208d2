// The locks of one node over a log that is a machine alone: what is asked, what is answered, and who is told of a loss. cluster.md §7.

import { beforeEach, describe, expect, test } from 'vitest'
import { Locks } from '../../../cluster/locks/locks.ts'
import type { Command } from '../../../cluster/state/core/commands.ts'
import { Machine } from '../../../cluster/state/core/machine.ts'
import { type Outcome, type StateEvent, toldAt } from '../../../cluster/state/core/outcomes.ts'
import type { SessionEvent } from '../../../cluster/state/core/session.ts'
import type { Query } from '../../../cluster/state/member.ts'
import type { ClusterState, SubmitOptions } from '../../../cluster/state/state.ts'
import { decodeCommands } from '../../../cluster/state/wire/commands.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import type { Packed } from '../../../runtime/base/msgpack.ts'
import { encodeCommands } from '../../tools/state-commands.ts'

const PID = '{n1@app:p|1.100}'
const OTHER = '{n1@app:p|1.200}'
/** How far the time of day is from the clock of the log. */
const WALL_MS = 1_700_000_000_000

/** A log that applies at once, with the session of one node; what waits is answered when its event comes. */
class FakeState {
  readonly machine = new Machine(decodeCommands)
  readonly #queries = new Map<string, Query>()
  readonly #waiting = new Map<number, (outcome: Outcome) => void>()
  readonly #sessions = new Set<(event: SessionEvent) => void>()
  readonly #events = new Set<(event: StateEvent) => void>()
  readonly commands: Command[] = []
  isTrusted = true
  refuses: (command: Command) => MoonmeshError | undefined = () => undefined
  /** Nobody leads. */
  isSilent = false
  #session = 0
  #seq = 0

  readonly world: World

  constructor(world: World) {
    this.world = world
    const up = this.#apply({ kind: 'node-up', node: 'n1', epoch: 1, role: 'server' }, 0, 0)
    if (up.status === 'session') this.#session = up.session
  }

  get replica(): Machine {
    return this.machine
  }

  submit(command: Command, { settled }: SubmitOptions = {}): Promise<Outcome> {
    this.commands.push(command)
    const refusal = this.refuses(command)
    if (refusal !== undefined) return Promise.reject(refusal)
    if (this.isSilent) return new Promise(() => {})
    const seq = ++this.#seq
    return new Promise((done) => {
      const resolve = (outcome: Outcome): void => {
        settled?.(outcome)
        done(outcome)
      }
      this.#waiting.set(seq, resolve)
      const outcome = this.#apply(command, this.#session, seq)
      if (outcome.status === 'pending') return
      this.#waiting.delete(seq)
      resolve(toldAt(this.machine.clockMs, outcome))
    })
  }

  #apply(command: Command, session: number, seq: number): Outcome {
    const data = encodeCommands([{ session, seq, floor: 0, command }])
    const { machine } = this
    const applied = machine.apply({ index: machine.index + 1, clockMs: this.world.nowMs, kind: 'commands', data })
    for (const event of applied.events) this.#happened(event)
    return applied.outcomes[0] as Outcome
  }

  tick(): void {
    const { machine } = this
    const { events } = machine.apply({ index: machine.index + 1, clockMs: this.world.nowMs, kind: 'tick' })
    for (const event of events) this.#happened(event)
  }

  #happened(event: StateEvent): void {
    if (event.kind === 'answer') this.#waiting.get(event.request.seq)?.(event.outcome)
    for (const listener of this.#events) listener(event)
  }

  session(event: SessionEvent): void {
    for (const listener of this.#sessions) listener(event)
  }

  addQuery(name: string, query: Query): void {
    this.#queries.set(name, query)
  }

  async read(name: string, args: Packed): Promise<Uint8Array> {
    return (this.#queries.get(name) as Query)(this.machine, args)
  }

  onSession(listener: (event: SessionEvent) => void): () => void {
    this.#sessions.add(listener)
    return () => this.#sessions.delete(listener)
  }

  onEvents(listener: (event: StateEvent) => void): () => void {
    this.#events.add(listener)
    return () => this.#events.delete(listener)
  }
}

class World {
  nowMs = 1000
  #timers: { atMs: number; run: () => void }[] = []

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.nowMs + delayMs, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  advance(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.nowMs = next.atMs
      next.run()
    }
    this.nowMs = endMs
  }
}

let world: World
let state: FakeState
let locks: Locks
let told: string[]
let owners: string[]

beforeEach(() => {
  world = new World()
  state = new FakeState(world)
  told = []
  owners = []
  const env = { nowMs: () => world.nowMs, wallMs: () => WALL_MS + world.nowMs, randomInt: () => 0, newId: () => 'id' }
  locks = new Locks({
    fabric: { env, after: (delayMs, run) => world.after(delayMs, run), log: () => {} },
    state: state as unknown as ClusterState,
    possessions: {
      asks: (pid) => {
        owners.push(pid)
        return { hasEnded: false, answered: () => {} }
      },
      exited: (pid) => void owners.push(`-${pid}`),
    },
    lost: (pid, name, reason) => void told.push(`${name} ${reason} ${pid}`),
  })
})

const acquire = (name: string, pid = PID, waitMs = 0, ttlMs = 0) => locks.acquire({ name, pid, waitMs, ttlMs })

async function tokenOf(answer: ReturnType<typeof acquire>): Promise<number> {
  const outcome = await answer
  return outcome.kind === 'granted' ? outcome.token : 0
}

test('a lock has one holder, and tokens rise', async () => {
  const first = await tokenOf(acquire('a'))
  expect(await acquire('a', OTHER)).toMatchObject({ kind: 'held', holder: PID, token: first })
  expect(await acquire('a')).toMatchObject({ kind: 'held' })
  expect([locks.isHeld('a', PID), locks.isHeld('a', OTHER)]).toEqual([true, false])
  expect(await locks.release('a', OTHER)).toBe(false)
  expect(await locks.release('a', PID)).toBe(true)
  expect(await locks.release('a', PID)).toBe(false)
  expect(await tokenOf(acquire('a', OTHER))).toBeGreaterThan(first)
  expect(owners).toContain(PID)
})

test('who does not get it is told since when it is held, by the clock of its node', async () => {
  await acquire('a')
  const sinceMs = world.nowMs + WALL_MS
  world.advance(2500)
  expect(await acquire('a', OTHER)).toMatchObject({ kind: 'held', holder: PID, sinceMs })
  expect(await locks.info('a')).toMatchObject({ holder: PID, heldMs: 2500, sinceMs })
})

test('who waits gets it in turn, or hears that the wait is over', async () => {
  await acquire('a')
  const second = acquire('a', OTHER, 5000)
  const third = acquire('a', '{n1@app:p|1.300}', 100)
  world.advance(200)
  state.tick()
  expect(await third).toEqual({ kind: 'timeout' })
  await locks.release('a', PID)
  expect(await second).toMatchObject({ kind: 'granted' })
  expect(locks.isHeld('a', OTHER)).toBe(true)
  expect(await locks.info('a')).toMatchObject({ holder: OTHER, waiters: 0 })
})

describe('a lock with a time', () => {
  test('is free afterwards, and its holder is told', async () => {
    await acquire('a', PID, 0, 1000)
    world.advance(979)
    expect(locks.isHeld('a', PID)).toBe(true)
    world.advance(21)
    expect(locks.isHeld('a', PID)).toBe(false)
    state.tick()
    expect(told).toEqual([`a expired ${PID}`])
    expect(await acquire('a', OTHER)).toMatchObject({ kind: 'granted' })
    world.advance(10_000)
    expect(told).toHaveLength(1)
  })

  test('counts from the grant, also after a wait', async () => {
    await acquire('a')
    const waiting = acquire('a', OTHER, 5000, 1000)
    world.advance(3000)
    await locks.release('a', PID)
    await waiting
    expect(locks.isHeld('a', OTHER)).toBe(true)
  })

  test('goes on when it is renewed', async () => {
    await acquire('a', PID, 0, 1000)
    world.advance(900)
    expect(await locks.renew('a', PID)).toBe(true)
    world.advance(900)
    state.tick()
    expect(locks.isHeld('a', PID)).toBe(true)
    world.advance(200)
    state.tick()
    expect(await locks.renew('a', PID)).toBe(false)
  })

  test('is over in time when the log says nothing', async () => {
    await acquire('a', PID, 0, 1000)
    state.isSilent = true
    world.advance(3000)
    expect(told).toEqual([`a expired ${PID}`])
    expect(state.commands.at(-1)).toMatchObject({ kind: 'lock-release', name: 'a' })
  })
})

test('a suspended session holds nothing; what was declared lost is given back when it is resumed', async () => {
  const token = await tokenOf(acquire('a'))
  state.isTrusted = false
  expect(locks.isHeld('a', PID)).toBe(false)
  state.session({ kind: 'suspended', session: 1 })
  expect(told).toEqual([`a lost ${PID}`])
  state.isTrusted = true
  expect(locks.isHeld('a', PID)).toBe(false)
  state.session({ kind: 'resumed', session: 1 })
  expect(state.commands.at(-1)).toEqual({ kind: 'lock-release', name: 'a', pid: PID, token })
  expect(await locks.info('a')).toBeUndefined()
})

test.each(['ended', 'suspended'] as const)(
  "a lock that is granted in the turn in which the session is %s is nobody's",
  async (kind) => {
    const acquiring = acquire('a')
    // The answer is there; whoever waits for it runs later.
    state.session({ kind, session: 1 })
    await expect(acquiring).rejects.toMatchObject({ kind: 'Unavailable' })
    expect(locks.isHeld('a', PID)).toBe(false)
    expect([told, locks.statistics().held]).toEqual([[], 0])
  },
)

test('who waited for longer than the lock lasts is not told of a loss while its time begins', async () => {
  await acquire('a')
  const waiting = acquire('a', OTHER, 60_000, 1000)
  world.advance(10_000)
  await locks.release('a', PID)
  // Another lock sets the timers anew meanwhile.
  await acquire('b', PID, 0, 1000)
  world.advance(100)
  expect(await waiting).toMatchObject({ kind: 'granted' })
  expect([told, locks.isHeld('a', OTHER)]).toEqual([[], true])
})

test('a lock that expires before its time could begin was never held', async () => {
  await acquire('a')
  const waiting = acquire('a', OTHER, 60_000, 1000)
  state.refuses = ({ kind }) => {
    if (kind !== 'lock-renew') return undefined
    world.advance(2000)
    state.tick()
    return undefined
  }
  await locks.release('a', PID)
  expect(await waiting).toEqual({ kind: 'timeout' })
  expect([told, await locks.info('a')]).toEqual([[], undefined])
})

test('what there was no room to give back is given back later', async () => {
  await acquire('a')
  state.refuses = () => new MoonmeshError('LimitExceeded', 'too many')
  state.session({ kind: 'suspended', session: 1 })
  await Promise.resolve()
  state.refuses = () => undefined
  world.advance(2000)
  expect(await locks.info('a')).toBeUndefined()
})

test('a lock whose time cannot be begun after the wait is given back, as its caller is told', async () => {
  await acquire('a')
  const waiting = acquire('a', OTHER, 5000, 60_000)
  state.refuses = ({ kind }) => (kind === 'lock-renew' ? new MoonmeshError('Unavailable', 'nobody leads') : undefined)
  await locks.release('a', PID)
  await expect(waiting).rejects.toMatchObject({ kind: 'Unavailable' })
  expect(locks.isHeld('a', OTHER)).toBe(false)
  expect(await locks.info('a')).toBeUndefined()
})

test('a release without an answer is tried on, and the caller hears of that', async () => {
  await acquire('a')
  state.isSilent = true
  const released = locks.release('a', PID)
  const failure = expect(released).rejects.toMatchObject({ kind: 'Unavailable', retryable: true })
  world.advance(10_000)
  await failure
  expect(locks.isHeld('a', PID)).toBe(false)
})

test('locks are listed by name, behind one and with a prefix', async () => {
  for (const name of ['b1', 'a', 'b2', 'c']) await acquire(name)
  const names = async (range?: { prefix?: string; after?: string }) => (await locks.list(range)).map(({ name }) => name)
  expect(await names()).toEqual(['a', 'b1', 'b2', 'c'])
  expect(await names({ prefix: 'b' })).toEqual(['b1', 'b2'])
  expect(await names({ prefix: 'b', after: 'b1' })).toEqual(['b2'])
})

test.each([
  ['a name that is none', { name: '@a' }],
  ['an endless wait', { waitMs: Number.POSITIVE_INFINITY }],
  ['a wait that is no number', { waitMs: Number.NaN }],
  ['a time too short to be renewed', { ttlMs: 1 }],
])('%s is refused', async (_, wrong) => {
  await expect(locks.acquire({ name: 'a', pid: PID, waitMs: 0, ttlMs: 0, ...wrong })).rejects.toMatchObject({
    kind: 'Invalid',
  })
  expect(state.commands).toEqual([])
})
