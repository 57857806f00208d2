// Random graphs, random events: what holds whatever happens.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MoonmeshError } from '../../../../runtime/base/errors.ts'
import { Sequence } from '../../../../runtime/supervisor/core/sequence.ts'
import type {
  ServiceDefinition,
  SupervisorEffect,
  SupervisorInput,
} from '../../../../runtime/supervisor/core/supervisor.ts'
import { service } from '../services.ts'
import { Machine, notRetryable, raised, retryable } from './machine.ts'

const IDS = ['a', 'b', 'c', 'd', 'e']

interface Instance {
  readonly attempt: number
  /** `ended`: while it was being stopped; the stop has not been answered yet. */
  state: 'starting' | 'running' | 'ended'
  isStopping: boolean
}

/** What exists outside the core. It checks each order the core gives against that. */
class World {
  readonly instances = new Map<string, Instance>()
  readonly openRequests = new Set<number>()
  readonly machine: Machine
  readonly #graph: Sequence
  /** Everything ever reported: any of it may arrive once more, late. */
  readonly #reports: SupervisorInput[] = []
  readonly #errors: readonly MoonmeshError[]
  /** The service whose start was given up as too long. */
  #abandoned: string | undefined
  #requestCount = 0
  allStoppedCount = 0

  constructor(definitions: readonly ServiceDefinition[], errors: readonly MoonmeshError[]) {
    this.#graph = new Sequence(definitions.map((each) => ({ ...each, startup: 'optional' })))
    this.#errors = errors
    this.machine = new Machine(definitions, (effect) => this.#obey(effect))
  }

  #obey(effect: SupervisorEffect): void {
    switch (effect.kind) {
      case 'start': {
        expect(this.instances.has(effect.id), `one instance of ${effect.id}`).toBe(false)
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
        expect(this.openRequests.delete(effect.request), 'one answer a request').toBe(true)
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
    this.openRequests.add(request)
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
    for (const id of IDS) {
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

  replayAll(): void {
    for (const report of this.#reports) this.machine.step(report)
  }
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

type Command = { kind: 'act'; pick: number; variant: number } | { kind: 'ask'; ask: number; id: string }

const act = fc.record({ kind: fc.constant('act' as const), pick: fc.nat(1000), variant: fc.nat(1000) })
const ask = fc.record({ kind: fc.constant('ask' as const), ask: fc.nat(2), id: fc.constantFrom(...IDS) })
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof({ arbitrary: act, weight: 8 }, { arbitrary: ask, weight: 1 }),
  { maxLength: 60 },
)

function run(world: World, all: readonly Command[]): void {
  for (const command of all) {
    if (command.kind === 'act') world.act(command.pick, command.variant)
    else
      world.ask(
        (['start-service', 'stop-service', 'restart-service'] as const)[command.ask] ?? 'start-service',
        command.id,
      )
    world.checkView()
  }
}

const anyOrderOfEvents = fc.property(
  graphs({ mayFail: true }),
  commands,
  commands,
  fc.boolean(),
  (definitions, before, after, force) => {
    const world = new World(definitions, [raised, retryable, notRetryable])
    world.machine.start()
    run(world, before)
    world.machine.stop(false)
    run(world, after)
    world.machine.stop(force)
    world.drain()
    expect(world.allStoppedCount).toBeGreaterThan(0)
    expect(world.instances.size).toBe(0)
    expect(world.openRequests.size).toBe(0)
    expect(world.machine.env.timerCount).toBe(0)
    world.machine.take()
    world.replayAll()
    expect(world.machine.take()).toEqual([])
  },
)

test('no order of events makes two instances, starts before a dependency or stops before a dependent; a stop leaves nothing', () => {
  fc.assert(anyOrderOfEvents, { numRuns: 1000 })
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
      for (let i = 0; i < 100; i++) {
        for (const [id, instance] of [...world.instances]) {
          if (instance.isStopping) world.stopped(id, 'graceful')
          else if (instance.state === 'starting') world.started(id)
        }
        world.machine.advance(1000)
      }
      const roots = definitions.filter((each) => each.lifecycle.autoStart).map((each) => each.id)
      const graph = new Sequence(definitions.map((each) => ({ ...each, startup: 'optional' })))
      for (const id of graph.reachableFrom(roots)) expect(world.machine.state(id), id).toBe('running')
      world.machine.take()
    }),
    { numRuns: 500 },
  )
})
