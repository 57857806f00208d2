// Random graphs, random events: what holds whatever happens.

import { expect, test } from 'vitest'
import type { MoonmeshError } from '../../../../runtime/base/errors.ts'
import { Sequence } from '../../../../runtime/supervisor/core/sequence.ts'
import type {
  ServiceDefinition,
  SupervisorEffect,
  SupervisorInput,
} from '../../../../runtime/supervisor/core/supervisor.ts'
import { fc } from '../../../tools/property.ts'
import { service } from '../services.ts'
import { Machine, notRetryable, raised, retryable } from './machine.ts'

const IDS = ['a', 'b', 'c', 'd', 'e']

type Request =
  | { readonly kind: 'running' | 'gone'; readonly id: string }
  | { readonly kind: 'reconfigure'; readonly definitions: readonly ServiceDefinition[] }

interface Instance {
  readonly attempt: number
  /** `ended`: while it was being stopped; the stop has not been answered yet. */
  state: 'starting' | 'running' | 'ended'
  isStopping: boolean
}

/** What exists outside the core. It checks each order the core gives against that. */
class World {
  readonly instances = new Map<string, Instance>()
  readonly openRequests = new Map<number, Request>()
  readonly machine: Machine
  /** The definitions in force, and who needs whom by them. */
  definitions: readonly ServiceDefinition[]
  #graph: Sequence
  /** Down until a person asks for them, or for something that needs them. */
  readonly #held = new Set<string>()
  /** Everything ever reported: any of it may arrive once more, late. */
  readonly #reports: SupervisorInput[] = []
  readonly #errors: readonly MoonmeshError[]
  /** The service whose start was given up as too long. */
  #abandoned: string | undefined
  readonly #lastAttempts = new Map<string, number>()
  #requestCount = 0
  /** What changes were answered with. */
  readonly changeReplies: (MoonmeshError | undefined)[] = []
  allStoppedCount = 0
  /** Between the start and the stop of all. */
  isOpen = true

  constructor(definitions: readonly ServiceDefinition[], errors: readonly MoonmeshError[]) {
    this.definitions = definitions
    this.#graph = graphOf(definitions)
    this.#errors = errors
    this.machine = new Machine(definitions, (effect) => this.#obey(effect))
  }

  #obey(effect: SupervisorEffect): void {
    switch (effect.kind) {
      case 'start': {
        expect(this.instances.has(effect.id), `one instance of ${effect.id}`).toBe(false)
        expect(this.#held.has(effect.id), `${effect.id} stays down`).toBe(false)
        expect(this.#lastAttempts.get(effect.id) ?? 0).toBeLessThan(effect.attempt)
        this.#lastAttempts.set(effect.id, effect.attempt)
        for (const need of this.#graph.dependenciesOf(effect.id)) {
          const instance = this.instances.get(need)
          expect(instance?.state, `${effect.id} starts when ${need} runs`).toBe('running')
          expect(instance?.isStopping).toBe(false)
        }
        this.instances.set(effect.id, { attempt: effect.attempt, state: 'starting', isStopping: false })
        break
      }
      case 'state-changed':
        this.#abandoned = effect.from === 'starting' && effect.to === 'stopping' && effect.error ? effect.id : undefined
        break
      case 'stop': {
        const instance = this.instances.get(effect.id)
        expect(instance?.attempt, `there is a ${effect.id} to stop`).toBe(effect.attempt)
        if (instance === undefined) break
        if (!instance.isStopping && this.#abandoned !== effect.id) {
          for (const dependent of this.#graph.dependentsOf(effect.id)) {
            expect(this.instances.has(dependent), `${dependent} stops before ${effect.id}`).toBe(false)
          }
        }
        instance.isStopping = true
        break
      }
      case 'reply':
        if (this.openRequests.get(effect.request)?.kind === 'reconfigure') this.changeReplies.push(effect.error)
        expect(this.openRequests.delete(effect.request), 'one answer a request').toBe(true)
        break
      case 'redefined':
        this.#redefined(effect)
        break
      case 'start-failed':
        this.isOpen = false
        break
      case 'all-stopped':
        this.allStoppedCount++
        expect(this.instances.size).toBe(0)
        expect(this.openRequests.size).toBe(0)
        break
      default:
        break
    }
  }

  #redefined({ request, gone, changed }: Extract<SupervisorEffect, { kind: 'redefined' }>): void {
    const change = this.openRequests.get(request)
    if (change?.kind !== 'reconfigure') throw new Error('somebody asked for new definitions')
    for (const id of this.#graph.withDependents([...gone, ...changed])) {
      expect(this.instances.has(id), `${id} is down before it is redefined`).toBe(false)
    }
    this.definitions = change.definitions
    this.#graph = graphOf(change.definitions)
    for (const id of gone) this.#held.delete(id)
    for (const open of this.openRequests.values()) if (open.kind === 'running') this.#release(open.id)
  }

  /** A person asks for it, and with it for what it needs. */
  #release(id: string): void {
    if (!this.isDefined(id)) return
    for (const each of this.#graph.reachableFrom([id])) this.#held.delete(each)
  }

  isDefined(id: string): boolean {
    return this.definitions.some((each) => each.id === id)
  }

  reconfigure(definitions: readonly ServiceDefinition[], changedIds: readonly string[]): void {
    const request = ++this.#requestCount
    this.openRequests.set(request, { kind: 'reconfigure', definitions })
    this.machine.step({ kind: 'reconfigure', definitions, changedIds: new Set(changedIds), request })
  }

  /** Does one of the things that can happen now. */
  act(pick: number, variant: number): void {
    const things = this.#things(variant)
    things[pick % things.length]?.()
  }

  #things(variant: number): (() => void)[] {
    const error = this.#errors[variant % this.#errors.length] ?? raised
    const things: (() => void)[] = []
    for (const [id, instance] of this.instances) {
      const { attempt } = instance
      if (instance.isStopping) things.push(() => this.stopped(id, variant % 2 === 0 ? 'graceful' : 'forced'))
      if (instance.state === 'starting') {
        things.push(() => this.started(id))
        things.push(() => this.#end(id, { kind: 'start-failed', id, attempt, error }))
      }
      if (instance.state === 'running') {
        things.push(() => this.#end(id, { kind: 'ended', id, attempt, ending: { ok: false, error } }))
        if (error === notRetryable)
          things.push(() => this.#end(id, { kind: 'ended', id, attempt, ending: { ok: true } }))
      }
    }
    const { nextDueMs } = this.machine.env
    if (nextDueMs !== undefined) things.push(() => this.machine.advance(nextDueMs))
    if (this.#reports.length > 0) {
      things.push(() => this.machine.step(this.#reports[variant % this.#reports.length] as SupervisorInput))
    }
    return things
  }

  ask(kind: 'start-service' | 'stop-service' | 'restart-service', id: string): void {
    const request = ++this.#requestCount
    this.openRequests.set(request, { kind: kind === 'stop-service' ? 'gone' : 'running', id })
    if (!this.isDefined(id)) return this.machine.step({ kind, id, request })
    if (kind === 'stop-service') for (const each of this.#graph.withDependents([id])) this.#held.add(each)
    // Before the start and after the stop nobody is asked for.
    else if (this.isOpen) this.#release(id)
    this.machine.step({ kind, id, request })
  }

  started(id: string): void {
    const instance = this.instances.get(id) as Instance
    instance.state = 'running'
    this.#report({ kind: 'started', id, attempt: instance.attempt })
  }

  stopped(id: string, how: 'graceful' | 'forced'): void {
    const { attempt } = this.instances.get(id) as Instance
    this.instances.delete(id)
    this.#report({ kind: 'stopped', id, attempt, how })
  }

  #end(id: string, report: SupervisorInput): void {
    const instance = this.instances.get(id) as Instance
    if (instance.isStopping) instance.state = 'ended'
    else this.instances.delete(id)
    this.#report(report)
  }

  #report(report: SupervisorInput): void {
    this.#reports.push(report)
    this.machine.step(report)
  }

  /** The core's view of who has an instance is the world's. */
  checkView(): void {
    const ids = this.machine.ids()
    expect(ids).toEqual(this.definitions.map((each) => each.id))
    for (const id of this.instances.keys()) expect(ids, `the instance of ${id} has a definition`).toContain(id)
    for (const id of ids) {
      const has = ['starting', 'running', 'stopping'].includes(this.machine.state(id))
      expect(has, `${id} is ${this.machine.state(id)}`).toBe(this.instances.has(id))
    }
  }

  /** Answers every stop until nothing is left to stop. */
  drain(): void {
    for (let i = 0; i < 100; i++) {
      const stopping = [...this.instances].find(([, instance]) => instance.isStopping)
      if (stopping === undefined) return
      this.stopped(stopping[0], 'graceful')
    }
  }

  /** Nothing fails any more but the starts of `broken`, and time passes. */
  settle(broken: Readonly<Record<string, MoonmeshError>> = {}): void {
    for (let i = 0; i < 100; i++) {
      for (const [id, instance] of [...this.instances]) {
        const { attempt } = instance
        const error = broken[id]
        if (instance.isStopping) this.stopped(id, 'graceful')
        else if (instance.state !== 'starting') continue
        else if (error === undefined) this.started(id)
        else this.#end(id, { kind: 'start-failed', id, attempt, error })
        this.checkView()
      }
      this.machine.advance(1000)
    }
  }

  stop(force: boolean): void {
    this.isOpen = false
    this.machine.stop(force)
  }

  replayAll(): void {
    for (const report of this.#reports) this.machine.step(report)
  }
}

function graphOf(definitions: readonly ServiceDefinition[]): Sequence {
  return new Sequence(definitions.map((each) => ({ ...each, startup: 'optional' })))
}

/** Services a..e; each may need some of those before it, so there is no cycle. */
function graphs(options: { mayFail: boolean }): fc.Arbitrary<ServiceDefinition[]> {
  const one = fc.record({
    needs: fc.subarray(IDS),
    autoStart: fc.boolean(),
    isOptional: fc.boolean(),
    maxAttempts: fc.nat(2),
    stableThresholdMs: fc.constantFrom(0, 5000),
  })
  return fc.tuple(...IDS.map(() => one)).map((all) =>
    all.map(({ needs, autoStart, isOptional, maxAttempts, stableThresholdMs }, i) =>
      service(IDS[i] as string, {
        needs: needs.filter((need) => IDS.indexOf(need) < i),
        autoStart,
        stableThresholdMs,
        startup: isOptional || !options.mayFail ? 'optional' : 'required',
        restart: { maxAttempts: options.mayFail ? maxAttempts : 0 },
      }),
    ),
  )
}

/** Another list: some of a graph, in another order. */
function lists(options: { mayFail: boolean }): fc.Arbitrary<ServiceDefinition[]> {
  return graphs(options).chain((all) => fc.shuffledSubarray(all))
}

type Command = { kind: 'act'; pick: number; variant: number } | { kind: 'ask'; ask: number; id: string } | Replacement

interface Replacement {
  kind: 'reconfigure'
  definitions: ServiceDefinition[]
  /** Of these, what is in force already is taken over from there. */
  kept: string[]
  changedIds: string[]
}

const act = fc.record({ kind: fc.constant('act' as const), pick: fc.nat(1000), variant: fc.nat(1000) })
const ask = fc.record({ kind: fc.constant('ask' as const), ask: fc.nat(2), id: fc.constantFrom(...IDS) })

function replacements(options: { mayFail: boolean }): fc.Arbitrary<Replacement> {
  return fc.record({
    kind: fc.constant('reconfigure' as const),
    definitions: lists(options),
    kept: fc.subarray(IDS),
    changedIds: fc.oneof(fc.constant<string[]>([]), fc.subarray(IDS)),
  })
}

/** The new list, where `kept` services stay as they are defined. */
function mixed(present: readonly ServiceDefinition[], { definitions, kept }: Replacement): ServiceDefinition[] {
  const known = new Map(present.map((each) => [each.id, each]))
  return definitions.map((each) => (kept.includes(each.id) ? (known.get(each.id) ?? each) : each))
}

function commandsOf(...arbitraries: { arbitrary: fc.Arbitrary<Command>; weight: number }[]): fc.Arbitrary<Command[]> {
  return fc.array(fc.oneof(...arbitraries), { maxLength: 60 })
}

const commands = commandsOf({ arbitrary: act, weight: 8 }, { arbitrary: ask, weight: 1 })
const commandsAndChanges = commandsOf(
  { arbitrary: act, weight: 8 },
  { arbitrary: ask, weight: 1 },
  { arbitrary: replacements({ mayFail: true }), weight: 1 },
)

function run(world: World, all: readonly Command[]): void {
  for (const command of all) {
    if (command.kind === 'act') world.act(command.pick, command.variant)
    else if (command.kind === 'reconfigure') {
      world.reconfigure(mixed(world.definitions, command), command.changedIds)
    } else
      world.ask(
        (['start-service', 'stop-service', 'restart-service'] as const)[command.ask] ?? 'start-service',
        command.id,
      )
    world.checkView()
  }
}

function anyOrder(before: fc.Arbitrary<Command[]>, after: fc.Arbitrary<Command[]>) {
  return fc.property(graphs({ mayFail: true }), before, after, fc.boolean(), (definitions, first, then, force) => {
    const world = new World(definitions, [raised, retryable, notRetryable])
    world.machine.start()
    run(world, first)
    world.stop(false)
    run(world, then)
    world.stop(force)
    world.drain()
    expect(world.allStoppedCount).toBeGreaterThan(0)
    expect(world.instances.size).toBe(0)
    expect(world.openRequests.size).toBe(0)
    expect(world.machine.env.timerCount).toBe(0)
    world.machine.take()
    world.replayAll()
    expect(world.machine.take()).toEqual([])
  })
}

const anyOrderOfEvents = anyOrder(commands, commands)

test('no order of events makes two instances, starts before a dependency or stops before a dependent; a stop leaves nothing', () => {
  fc.assert(anyOrderOfEvents, { numRuns: 1000 })
})

test('that also holds when the definitions change meanwhile; each change is answered once, and late results do no harm (§19.3)', () => {
  fc.assert(anyOrder(commandsAndChanges, commandsAndChanges), { numRuns: 1000 })
})

test('a start that is given up has failed, however final an earlier failure was', () => {
  const path = '666:0:0:0:3:1:1:1:1:1:1:1:2:2:2:4:3:1:3:3:3:13:11:16:16:18:19:20:20:28:25:25:29:29:31:31:28'
  fc.assert(anyOrderOfEvents, { seed: 835851784, path, endOnFailure: true })
})

test('once nothing fails any more, everything that is to run runs', () => {
  const acts = fc.array(act, { maxLength: 60 })
  fc.assert(
    fc.property(graphs({ mayFail: false }), acts, (definitions, before) => {
      const world = new World(definitions, [raised, retryable])
      world.machine.start()
      run(world, before)
      world.settle()
      const roots = definitions.filter((each) => each.lifecycle.autoStart).map((each) => each.id)
      const graph = graphOf(definitions)
      for (const id of graph.reachableFrom(roots)) expect(world.machine.state(id), id).toBe('running')
      world.machine.take()
    }),
    { numRuns: 500 },
  )
})

/** Ids that start with the node, and what they need. */
function dueOf(definitions: readonly ServiceDefinition[]): string[] {
  const roots = definitions.filter((each) => each.lifecycle.autoStart).map((each) => each.id)
  return [...graphOf(definitions).reachableFrom(roots)].sort()
}

const runningIn = (world: World): string[] =>
  world.machine
    .ids()
    .filter((id) => world.machine.state(id) === 'running')
    .sort()

test('once nothing fails any more, all changes are through, and everything that is to run by the last one runs (§19.3)', () => {
  const steps = commandsOf({ arbitrary: act, weight: 8 }, { arbitrary: replacements({ mayFail: false }), weight: 1 })
  fc.assert(
    fc.property(graphs({ mayFail: false }), steps, (definitions, before) => {
      const world = new World(definitions, [raised, retryable])
      world.machine.start()
      run(world, before)
      world.settle()
      expect(world.openRequests.size).toBe(0)
      expect(world.changeReplies.filter((error) => error !== undefined)).toEqual([])
      const running = runningIn(world)
      for (const id of dueOf(world.definitions)) expect(running, id).toContain(id)
      world.machine.take()
    }),
    { numRuns: 500 },
  )
})

/** Ids of the effects of one kind since the last `take`, sorted. */
const idsOf = (lines: readonly string[]): string[] => lines.map((line) => line.split(' ')[1] as string).sort()

test('a change stops what is gone, what changed and what depends on it, and nothing else; of that and the new, it starts what is due and nobody keeps down (§19.3)', () => {
  const change = replacements({ mayFail: true })
  const stops = fc.oneof(fc.constant<string[]>([]), fc.subarray(IDS, { maxLength: 2 }))
  fc.assert(
    fc.property(graphs({ mayFail: true }), stops, change, (definitions, stoppedIds, replacement) => {
      const world = new World(definitions, [])
      world.machine.start()
      world.settle()
      expect(runningIn(world)).toEqual(dueOf(definitions))
      for (const id of stoppedIds) world.ask('stop-service', id)
      world.settle()
      world.machine.take()
      const ran = runningIn(world)
      const graph = graphOf(definitions)
      const next = mixed(definitions, replacement)
      const isDefined = (id: string): boolean => next.some((each) => each.id === id)
      const ids = definitions.map((each) => each.id)
      const changed = ids.filter((id) => replacement.changedIds.includes(id) || !isKept(definitions, next, id))
      const leaving = graph.withDependents(changed)
      const held = graph.withDependents(stoppedIds).filter(isDefined)

      world.reconfigure(next, replacement.changedIds)
      world.settle()

      expect(world.changeReplies).toEqual([undefined])
      const lines = world.machine.take('stop', 'start')
      const stopped = idsOf(lines.filter((line) => line.startsWith('stop ')))
      const started = idsOf(lines.filter((line) => line.startsWith('start ')))
      expect(stopped).toEqual(ran.filter((id) => leaving.includes(id)))
      // What ran is to run, and so is what is due and new or changed; with what these need, but not where somebody keeps that down.
      const isNewer = (id: string): boolean => !ids.includes(id) || (changed.includes(id) && !held.includes(id))
      const roots = [...ran.filter(isDefined), ...dueOf(next).filter(isNewer)]
      const blocked = graphOf(next).withDependents(held)
      const running = graphOf(next)
        .reachableFrom([...new Set(roots)])
        .filter((id) => !blocked.includes(id))
      expect(runningIn(world)).toEqual([...running].sort())
      expect(started).toEqual(runningIn(world).filter((id) => !ran.includes(id) || leaving.includes(id)))
    }),
    { numRuns: 700 },
  )
})

test('a change that fails is taken back by another: what ran before runs again (§19.3)', () => {
  const errors = fc.constantFrom(raised, retryable, notRetryable)
  const failures = fc.dictionary(fc.constantFrom(...IDS), errors, { noNullPrototype: true })
  fc.assert(
    fc.property(
      graphs({ mayFail: true }),
      replacements({ mayFail: true }),
      failures,
      (definitions, replacement, broken) => {
        const world = new World(definitions, [])
        world.machine.start()
        world.settle()
        const before = runningIn(world)
        const next = mixed(definitions, replacement)
        world.reconfigure(next, replacement.changedIds)
        world.settle(broken)
        expect(world.changeReplies.length).toBe(1)
        const [failure] = world.changeReplies
        if (failure !== undefined) expect(next.map((each) => each.id)).toContain(failure.details?.['service'])
        const changedIds = [...new Set([...next, ...definitions].map((each) => each.id))].filter(
          (id) => replacement.changedIds.includes(id) || !isKept(definitions, next, id),
        )
        world.reconfigure(definitions, changedIds)
        world.settle()
        expect(world.changeReplies.slice(1)).toEqual([undefined])
        for (const id of before) expect(world.machine.state(id), id).toBe('running')
        world.machine.take()
      },
    ),
    { numRuns: 500 },
  )
})

function isKept(before: readonly ServiceDefinition[], after: readonly ServiceDefinition[], id: string): boolean {
  const text = (all: readonly ServiceDefinition[]): string => JSON.stringify(all.find((each) => each.id === id))
  return text(before) === text(after)
}
