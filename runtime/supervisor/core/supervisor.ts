// The life of all services of a node: who starts, who stops, who starts again, in which order. lua-core.md §22; shutdown order and
// late exits after erlang/otp supervisor.erl.
//
// An input changes what is wanted or tells what happened; `#reconcile` then starts and stops whatever may move. Each service has at
// most one instance: from `starting` until the world has said that it ended, was stopped, or never came to be. An instance is known
// by its attempt number; what the world tells of an earlier attempt is ignored.

import { assert, unreachable } from '../../base/assert.ts'
import type { Env } from '../../base/env.ts'
import { type ErrorKind, MoonmeshError } from '../../base/errors.ts'
import { type RestartOptions, RestartPolicy } from './restart.ts'
import { Sequence } from './sequence.ts'

export type ServiceState = 'unknown' | 'starting' | 'running' | 'stopping' | 'stopped' | 'failed' | 'exited'

/** How a host or service is started, stopped and started again. lua-core.md §4.3. */
export interface Lifecycle {
  /** Starts with the node. */
  readonly autoStart: boolean
  /** Limit for reaching `running`. */
  readonly startTimeoutMs: number
  /** Limit for a graceful stop. */
  readonly stopTimeoutMs: number
  /** After running this long, the count of attempts returns to zero. */
  readonly stableThresholdMs: number
  /** `required`: failing to start fails the start of all. `optional`: the failed branch is skipped. */
  readonly startup: 'required' | 'optional'
  readonly restart: RestartOptions
}

export interface ServiceDefinition {
  readonly id: string
  /** The entry's kind, for display. */
  readonly kind: string
  readonly lifecycle: Lifecycle
  /** Ids that must run first. An id that is no service itself counts as running. */
  readonly dependencies: readonly string[]
}

export interface ServiceStatus {
  readonly id: string
  readonly kind: string
  readonly state: ServiceState
  /** Starts in a row without a stable run. */
  readonly attempts: number
  /** Wall-clock milliseconds since 1970 at which it entered its state. */
  readonly sinceMs: number
  /** Why it last failed; gone once it runs again. */
  readonly error?: MoonmeshError
  /** Milliseconds until it is started again; present while it waits for that. */
  readonly nextRestartMs?: number
  /** It starts as soon as these run; present while it waits for them. */
  readonly waitsFor?: readonly string[]
}

/** How an instance ended by itself. */
export type Ending = { ok: true } | { ok: false; error: MoonmeshError }

type TimerPurpose = 'start-timeout' | 'restart' | 'launch'

export type SupervisorInput =
  | { kind: 'start' }
  /** `force`: nobody is given time to end by itself. */
  | { kind: 'stop'; force: boolean }
  /** Asks for one service; answered by the effect `reply` with the same request number. */
  | { kind: 'start-service' | 'stop-service' | 'restart-service'; id: string; request: number }
  /**
   * The complete new list of definitions. Services that are gone from it, or defined otherwise, have no instance by then, and no cycle is in
   * it; new ones are down until someone starts them. Only while services run.
   */
  | { kind: 'redefine'; definitions: readonly ServiceDefinition[] }
  | { kind: 'started'; id: string; attempt: number }
  | { kind: 'start-failed'; id: string; attempt: number; error: MoonmeshError }
  | { kind: 'ended'; id: string; attempt: number; ending: Ending }
  | { kind: 'stopped'; id: string; attempt: number; how: 'graceful' | 'forced' }
  | { kind: 'stop-failed'; id: string; attempt: number; error: MoonmeshError }
  | { kind: 'timer'; id: string; purpose: TimerPurpose; timer: number }

export type SupervisorEffect =
  | { kind: 'start'; id: string; attempt: number }
  /** May repeat with a shorter timeout while the first is under way. */
  | { kind: 'stop'; id: string; attempt: number; timeoutMs: number; reason: string }
  | { kind: 'set-timer'; timer: number; delayMs: number; due: SupervisorInput }
  | { kind: 'cancel-timer'; timer: number }
  | { kind: 'state-changed'; id: string; from: ServiceState; to: ServiceState; error?: MoonmeshError }
  | { kind: 'log'; level: 'info' | 'warn' | 'error'; id: string; text: string }
  | { kind: 'reply'; request: number; error?: MoonmeshError }
  /** Every service that is to start with the node runs or is skipped. */
  | { kind: 'ready' }
  /** The start of all failed, by the fault of service `id`. What runs is stopped; `all-stopped` follows. */
  | { kind: 'start-failed'; id?: string; error: MoonmeshError }
  /** Nothing is left: no instance, no timer, no open request. */
  | { kind: 'all-stopped' }

/**
 * Where a service is in the start of all: `waiting` for its dependencies to have run, `open` while its time to reach `running`
 * passes, then `done` or `skipped`. `none`: it takes no part.
 */
type Launch = 'none' | 'waiting' | 'open' | 'done' | 'skipped'

interface Service {
  readonly id: string
  readonly definition: ServiceDefinition
  readonly policy: RestartPolicy
  state: ServiceState
  sinceMs: number
  error: MoonmeshError | undefined
  /** The number of the latest start; rises forever. */
  attempt: number
  /** It is to run: now, or as soon as its delay is over and its dependencies run. */
  isWanted: boolean
  /** The present instance has to go, once nothing needs it any more. Invariant: only with an instance. */
  isStopRequested: boolean
  /** The instance is stopped because it took too long to start. Invariant: only while `stopping`. */
  isAbandoned: boolean
  /** The instance was given no time to end by itself, on request. */
  isForced: boolean
  /** With which error the instance ended while it was being stopped. */
  lastWords: MoonmeshError | undefined
  /** Invariant: the start timeout while `starting`, a restart while `failed`, otherwise none. */
  timer: { readonly number: number; readonly dueMs: number } | undefined
  launch: Launch
  /** Invariant: only while the launch is `open`. */
  launchTimer: number | undefined
}

/** Somebody waits for a service to run (again), or for services to be gone. */
type Request =
  | { readonly kind: 'running'; readonly id: string; readonly needs: ReadonlySet<string> }
  | { readonly kind: 'gone'; readonly left: Set<string> }

type Phase = 'idle' | 'starting' | 'running' | 'stopping' | 'stopped'

const STOP_REASON = 'service stopping'

const NEXT_STATES: Readonly<Record<ServiceState, readonly ServiceState[]>> = {
  unknown: ['starting'],
  starting: ['running', 'stopping', 'failed', 'exited'],
  running: ['stopping', 'failed', 'exited'],
  stopping: ['stopped', 'failed'],
  stopped: ['starting'],
  failed: ['starting', 'stopped'],
  exited: ['starting'],
}

export class SupervisorCore {
  readonly #env: Env
  #sequence: Sequence
  #services = new Map<string, Service>()
  readonly #requests = new Map<number, Request>()
  /** Of services that were redefined or are no more. */
  readonly #lastAttempts = new Map<string, number>()
  #phase: Phase = 'idle'
  #isForced = false
  #timerCount = 0
  #effects: SupervisorEffect[] = []

  constructor(definitions: readonly ServiceDefinition[], env: Env) {
    this.#env = env
    this.#sequence = sequenceOf(definitions)
    for (const definition of definitions) this.#services.set(definition.id, this.#fresh(definition, 0))
  }

  /** @param attempt the number of the last start of a service of this id */
  #fresh(definition: ServiceDefinition, attempt: number): Service {
    const { restart, stableThresholdMs } = definition.lifecycle
    return {
      id: definition.id,
      definition,
      policy: new RestartPolicy({ ...restart, stableThresholdMs }, this.#env),
      state: 'unknown',
      sinceMs: this.#env.wallMs(),
      error: undefined,
      attempt,
      isWanted: false,
      isStopRequested: false,
      isAbandoned: false,
      isForced: false,
      lastWords: undefined,
      timer: undefined,
      launch: 'none',
      launchTimer: undefined,
    }
  }

  step(input: SupervisorInput): SupervisorEffect[] {
    this.#effects = []
    this.#take(input)
    this.#reconcile()
    return this.#effects
  }

  /** One status a service, in the order of the definitions. */
  snapshot(): ServiceStatus[] {
    const nowMs = this.#env.nowMs()
    return [...this.#services.values()].map((service) => {
      const { id, definition, policy, state, sinceMs, error, timer } = service
      const waitsFor = this.#isPending(service) && timer === undefined ? this.#missingFor(service) : []
      return {
        id,
        kind: definition.kind,
        state,
        attempts: policy.attempts(nowMs),
        sinceMs,
        ...(error === undefined ? {} : { error }),
        ...(state === 'failed' && timer !== undefined ? { nextRestartMs: Math.max(0, timer.dueMs - nowMs) } : {}),
        ...(waitsFor.length === 0 ? {} : { waitsFor }),
      }
    })
  }

  #take(input: SupervisorInput): void {
    switch (input.kind) {
      case 'start':
        return this.#start()
      case 'stop':
        return this.#stop(input.force)
      case 'start-service':
      case 'restart-service':
      case 'stop-service':
        return this.#request(input.kind, input.id, input.request)
      case 'started':
      case 'start-failed':
      case 'ended':
      case 'stopped':
      case 'stop-failed': {
        const service = this.#services.get(input.id)
        // A late result: that service or instance is gone, or another instance has taken its place.
        if (service === undefined || input.attempt !== service.attempt || !hasInstance(service)) return
        return this.#report(service, input)
      }
      case 'timer':
        return this.#services.has(input.id)
          ? this.#timedOut(this.#service(input.id), input.purpose, input.timer)
          : undefined
      case 'redefine':
        return this.#redefine(input.definitions)
      default:
        return unreachable(input)
    }
  }

  // ---- what people ask for

  #start(): void {
    assert(this.#phase === 'idle', 'services are started once')
    const { cycle } = this.#sequence
    if (cycle !== undefined) {
      const id = cycle[0] as string
      const text = `services need each other: ${cycle.join(' -> ')}; remove one of these dependencies`
      this.#phase = 'stopping'
      this.#effects.push({ kind: 'start-failed', id, error: failure('Invalid', text) })
      return
    }
    this.#phase = 'starting'
    const roots = [...this.#services.values()].filter((service) => service.definition.lifecycle.autoStart)
    for (const id of this.#sequence.reachableFrom(roots.map((service) => service.id))) {
      const service = this.#service(id)
      service.isWanted = true
      service.launch = 'waiting'
    }
    this.#openLaunches()
  }

  #stop(force: boolean): void {
    if (this.#phase === 'starting') {
      this.#effects.push({
        kind: 'start-failed',
        error: failure('Canceled', 'stopped before all services were running'),
      })
    }
    this.#stopAll()
    if (!force || this.#isForced) return
    this.#isForced = true
    for (const service of this.#services.values()) if (service.state === 'stopping') this.#halt(service)
  }

  #stopAll(): void {
    this.#phase = 'stopping'
    this.#takeDown([...this.#services.keys()])
  }

  #request(kind: 'start-service' | 'stop-service' | 'restart-service', id: string, request: number): void {
    const service = this.#services.get(id)
    if (service === undefined) return this.#reply(request, failure('NotFound', `there is no service ${id}`))
    if (kind === 'stop-service') {
      const ids = [...this.#sequence.dependentsOf(id), id]
      this.#takeDown(ids)
      const left = ids.filter((each) => hasInstance(this.#service(each)))
      if (left.length === 0) this.#reply(request)
      else this.#requests.set(request, { kind: 'gone', left: new Set(left) })
      return
    }
    if (this.#phase !== 'starting' && this.#phase !== 'running') {
      return this.#reply(request, failure('InvalidState', `service ${id} cannot start: the node is ${this.#phase}`))
    }
    if (kind === 'restart-service') this.#bounce(service)
    const needs = this.#sequence.reachableFrom([id])
    for (const each of needs) this.#want(this.#service(each))
    if (isUp(service)) this.#reply(request)
    else this.#requests.set(request, { kind: 'running', id, needs: new Set(needs) })
  }

  /** What stays as it was goes on; an attempt's number is never used again for the same id. */
  #redefine(definitions: readonly ServiceDefinition[]): void {
    assert(this.#phase === 'running', 'services are redefined while they run')
    const before = this.#services
    this.#sequence = sequenceOf(definitions)
    assert(this.#sequence.cycle === undefined, 'the new definitions have no cycle')
    this.#services = new Map()
    for (const definition of definitions) {
      const known = before.get(definition.id)
      const stays = known !== undefined && isSame(known.definition, definition)
      if (known !== undefined && !stays) this.#leave(known)
      const service = stays ? { ...known, definition } : this.#fresh(definition, this.#attemptOf(definition.id, known))
      this.#services.set(definition.id, service)
    }
    for (const [id, service] of before) if (!this.#services.has(id)) this.#leave(service)
  }

  #leave(service: Service): void {
    assert(!hasInstance(service), `service ${service.id} is down before it is redefined`)
    this.#cancelTimer(service)
    this.#lastAttempts.set(service.id, service.attempt)
  }

  #attemptOf(id: string, known: Service | undefined): number {
    return known?.attempt ?? this.#lastAttempts.get(id) ?? 0
  }

  /** It is to run, and a person says so: earlier failures are forgotten and no delay is kept. */
  #want(service: Service): void {
    service.isWanted = true
    if (hasInstance(service)) return
    this.#cancelTimer(service)
    service.policy.reset()
  }

  /** The instance goes and a new one comes; so for all that needs it. Without an instance nothing has to go. */
  #bounce(service: Service): void {
    if (!hasInstance(service)) return
    for (const id of [service.id, ...this.#sequence.dependentsOf(service.id)]) {
      const each = this.#service(id)
      if (!hasInstance(each)) continue
      each.isStopRequested = true
      each.policy.reset()
    }
  }

  /** These are not to run any more. Whoever waits for one of them to run is told so. */
  #takeDown(ids: readonly string[]): void {
    for (const id of ids) {
      const service = this.#service(id)
      const isRestartPending = service.state === 'failed' && service.isWanted
      service.isWanted = false
      this.#closeLaunch(service, 'skipped')
      if (hasInstance(service)) service.isStopRequested = true
      else this.#cancelTimer(service)
      if (isRestartPending) this.#enter(service, 'stopped', service.error)
      this.#refuse(id, failure('Canceled', `service ${id} is being stopped`))
    }
  }

  // ---- what the world tells of the present instance

  #report(service: Service, input: Extract<SupervisorInput, { attempt: number }>): void {
    const { state } = service
    switch (input.kind) {
      case 'started':
        if (state === 'starting') this.#started(service)
        return
      case 'start-failed':
        // While it is being stopped, the start fails because of that: the answer to the stop says what is left.
        if (state === 'starting') this.#lost(service, { ok: false, error: input.error })
        return
      case 'ended':
        if (state !== 'stopping') this.#lost(service, input.ending)
        else if (!input.ending.ok) service.lastWords = input.ending.error
        return
      case 'stopped':
        if (state === 'stopping') this.#stopped(service, input.how)
        return
      case 'stop-failed':
        if (state === 'stopping') this.#stopFailed(service, input.error)
        return
      default:
        return unreachable(input)
    }
  }

  #started(service: Service): void {
    this.#cancelTimer(service)
    service.policy.running(this.#env.nowMs())
    this.#enter(service, 'running')
    this.#closeLaunch(service, 'done')
    this.#openLaunches()
    if (!isUp(service)) return
    for (const [number, request] of this.#requests) {
      if (request.kind === 'running' && request.id === service.id) this.#reply(number)
    }
  }

  /** The instance ended by itself or never came to be. */
  #lost(service: Service, ending: Ending): void {
    const isExpected = service.isStopRequested
    const hasRun = service.state === 'running'
    const isFinal = ending.ok || ending.error.retryable === false
    this.#cancelTimer(service)
    service.isStopRequested = false
    service.isAbandoned = false
    this.#enter(service, isFinal ? 'exited' : 'failed', ending.ok ? undefined : ending.error)
    if (!isExpected) this.#decide(service, ending, hasRun)
    // It ended before its turn to be stopped: what comes next was decided by whoever asked for the stop.
    else if (hasRun && !ending.ok)
      this.#log('warn', service.id, `failed before it was stopped: ${ending.error.message}`)
    this.#gone(service)
  }

  /** Whether, when and why it is started again. */
  #decide(service: Service, ending: Ending, hasRun: boolean): void {
    const { id, policy } = service
    const nowMs = this.#env.nowMs()
    if (ending.ok) {
      this.#log('info', id, 'returned; it is not restarted')
      return this.#giveUp(service, failure('Unavailable', `service ${id} has returned and does not run any more`))
    }
    const { error } = ending
    const what = `${hasRun ? service.state : 'could not be started'}: ${error.message}`
    if (error.retryable === false) {
      const hint = hasRun ? ' (nor is any error that is returned as plain text)' : ''
      this.#log('warn', id, `${what}; it is not restarted, because the error is not retryable${hint}`)
      return this.#giveUp(service, error)
    }
    const missing = this.#missingFor(service)
    if (missing.length > 0) {
      // Most likely it went down with what it needs; a start that could not go well is not held against it.
      policy.excused(nowMs)
      this.#log('warn', id, `${what}; it restarts when ${this.#describe(missing)} again`)
      return this.#refuse(id, error)
    }
    const delayMs = policy.failed(nowMs)
    if (delayMs === undefined) {
      const rule = `restart.max_attempts is ${policy.maxAttempts}, and no run was stable`
      this.#log('error', id, `${what}; it is not restarted, because ${rule}`)
      return this.#giveUp(service, error)
    }
    const number = this.#setTimer(service, 'restart', delayMs)
    service.timer = { number, dueMs: nowMs + delayMs }
    const attempt = `attempt ${policy.attempts(nowMs) + 1}${policy.maxAttempts === 0 ? '' : ` of ${policy.maxAttempts}`}`
    this.#log('warn', id, `${what}; it restarts in ${Math.round(delayMs)} ms (${attempt})`)
    this.#refuse(id, error)
  }

  #stopped(service: Service, how: 'graceful' | 'forced'): void {
    const { id, lastWords } = service
    if (service.isAbandoned) {
      assert(service.error !== undefined, 'an abandoned start has an error')
      return this.#lost(service, { ok: false, error: service.error })
    }
    if (how === 'forced' && !service.isForced) {
      const text = `did not end within ${service.definition.lifecycle.stopTimeoutMs} ms of CANCEL and was terminated`
      this.#log('warn', id, text)
      this.#enter(service, 'failed', failure('Timeout', 'stop timeout'))
    } else {
      // That it ended with an error is news only if nobody made it.
      const error = how === 'graceful' ? lastWords : undefined
      if (error !== undefined) this.#log('warn', id, `ended with an error while stopping: ${error.message}`)
      this.#enter(service, 'stopped', error)
    }
    service.isStopRequested = false
    this.#gone(service)
  }

  #stopFailed(service: Service, error: MoonmeshError): void {
    // Nobody knows whether that instance still runs, so there is no second one unless a person asks for it.
    service.isStopRequested = false
    service.isAbandoned = false
    this.#enter(service, 'failed', error)
    this.#log('error', service.id, `could not be stopped: ${error.message}; it is not restarted`)
    this.#giveUp(service, error)
    this.#gone(service, error)
  }

  /** It does not run again by itself. */
  #giveUp(service: Service, error: MoonmeshError): void {
    const { id } = service
    service.isWanted = false
    this.#refuse(id, error)
    this.#launchFailed(service, error)
    for (const dependent of this.#sequence.dependentsOf(id)) {
      const each = this.#service(dependent)
      if (hasInstance(each) || !this.#sequence.dependenciesOf(dependent).includes(id)) continue
      this.#launchFailed(each, failure('Unavailable', `it needs ${id}, which is ${service.state}: ${error.message}`))
    }
  }

  #timedOut(service: Service, purpose: TimerPurpose, number: number): void {
    const { id } = service
    const { startTimeoutMs, startup } = service.definition.lifecycle
    if (purpose === 'launch') {
      if (service.launchTimer !== number) return
      service.launchTimer = undefined
      const missing = this.#missingFor(service)
      const error =
        service.error ??
        (missing.length > 0
          ? failure('Unavailable', `it waited ${startTimeoutMs} ms until ${this.#describe(missing)}`)
          : overdue(startTimeoutMs))
      // Why an earlier start failed says nothing about whether this one may be tried again.
      if (service.state === 'starting' && startup === 'required') this.#abandon(service, overdue(startTimeoutMs))
      this.#launchFailed(service, error)
      return
    }
    if (service.timer?.number !== number) return
    service.timer = undefined
    if (purpose === 'start-timeout') return this.#abandon(service, overdue(startTimeoutMs))
    const missing = this.#missingFor(service)
    if (missing.length > 0) this.#log('info', id, `restarts when ${this.#describe(missing)} again`)
  }

  /** The start takes too long: what there is of it is stopped, then it has failed. */
  #abandon(service: Service, error: MoonmeshError): void {
    this.#halt(service, error)
    service.isAbandoned = true
  }

  // ---- the start of all

  /** Time to reach `running` counts from when all dependencies have run. */
  #openLaunches(): void {
    if (this.#phase !== 'starting') return
    for (const id of this.#sequence.order) {
      const service = this.#service(id)
      if (service.launch !== 'waiting') continue
      if (!this.#sequence.dependenciesOf(id).every((each) => this.#service(each).launch === 'done')) continue
      service.launch = 'open'
      service.launchTimer = this.#setTimer(service, 'launch', service.definition.lifecycle.startTimeoutMs)
    }
  }

  #closeLaunch(service: Service, launch: 'done' | 'skipped'): void {
    service.launch = launch
    if (service.launchTimer !== undefined) this.#effects.push({ kind: 'cancel-timer', timer: service.launchTimer })
    service.launchTimer = undefined
  }

  #launchFailed(service: Service, cause: MoonmeshError): void {
    if (this.#phase !== 'starting' || !isLaunching(service)) return
    const { id } = service
    const consequence = this.#sequence.failureOf(id)
    if (consequence.kind === 'abort') {
      const error = new MoonmeshError(cause.kind, `service ${id} did not start: ${cause.message}`, {
        ...(cause.retryable === undefined ? {} : { retryable: cause.retryable }),
        details: { service: id },
        cause,
      })
      this.#log('error', id, `did not start: ${cause.message}; it is required, so everything stops`)
      this.#effects.push({ kind: 'start-failed', id, error })
      return this.#stopAll()
    }
    const skipped = consequence.ids.filter((each) => each !== id && isLaunching(this.#service(each)))
    for (const each of [...skipped, id]) this.#closeLaunch(this.#service(each), 'skipped')
    const branch = skipped.length === 0 ? '' : `; skipped with it: ${skipped.join(', ')}`
    this.#log('warn', id, `did not start: ${cause.message}; it is optional, so the rest goes on${branch}`)
  }

  // ---- movement

  #reconcile(): void {
    if (this.#phase === 'idle' || this.#phase === 'stopped') return
    const services = this.#sequence.order.map((id) => this.#service(id))
    if (this.#phase !== 'stopping') for (const service of services) if (this.#canStart(service)) this.#begin(service)
    for (const service of services.reverse()) if (this.#canStop(service)) this.#halt(service)
    if (this.#phase === 'starting' && !services.some(isLaunching)) {
      this.#phase = 'running'
      this.#effects.push({ kind: 'ready' })
    }
    if (this.#phase === 'stopping' && !services.some(hasInstance)) {
      assert(
        services.every((service) => service.timer === undefined && service.launchTimer === undefined),
        'no timer outlives the services',
      )
      assert(this.#requests.size === 0, 'no request outlives the services')
      this.#phase = 'stopped'
      this.#effects.push({ kind: 'all-stopped' })
    }
  }

  #canStart(service: Service): boolean {
    return this.#isPending(service) && service.timer === undefined && this.#missingFor(service).length === 0
  }

  #canStop(service: Service): boolean {
    if (!service.isStopRequested || service.state === 'stopping') return false
    return this.#sequence.canStop(service.id, (id) => hasInstance(this.#service(id)))
  }

  #begin(service: Service): void {
    service.attempt++
    service.lastWords = undefined
    service.policy.starting()
    this.#enter(service, 'starting', service.error)
    const { startTimeoutMs } = service.definition.lifecycle
    const number = this.#setTimer(service, 'start-timeout', startTimeoutMs)
    service.timer = { number, dueMs: this.#env.nowMs() + startTimeoutMs }
    this.#effects.push({ kind: 'start', id: service.id, attempt: service.attempt })
  }

  /** Stops the instance; of one that is already being stopped, cuts its time short. */
  #halt(service: Service, error?: MoonmeshError): void {
    this.#cancelTimer(service)
    if (service.state !== 'stopping') this.#enter(service, 'stopping', error)
    service.isForced = this.#isForced
    const timeoutMs = service.isForced ? 0 : service.definition.lifecycle.stopTimeoutMs
    this.#effects.push({ kind: 'stop', id: service.id, attempt: service.attempt, timeoutMs, reason: STOP_REASON })
  }

  #enter(service: Service, to: ServiceState, error?: MoonmeshError): void {
    const { id, state: from } = service
    assert(NEXT_STATES[from].includes(to), `service ${id} may go from ${from} to ${to}`)
    service.state = to
    service.sinceMs = this.#env.wallMs()
    service.error = error
    // A new start remembers why the last one failed, but that is not why it starts.
    const reason = error === undefined || to === 'starting' ? {} : { error }
    this.#effects.push({ kind: 'state-changed', id, from, to, ...reason })
  }

  // ---- requests

  #reply(request: number, error?: MoonmeshError): void {
    this.#requests.delete(request)
    this.#effects.push({ kind: 'reply', request, ...(error === undefined ? {} : { error }) })
  }

  /** Tells whoever waits for `id`, or for something that needs it, that it does not run. */
  #refuse(id: string, error: MoonmeshError): void {
    for (const [number, request] of this.#requests) {
      if (request.kind !== 'running' || !request.needs.has(id)) continue
      const wrapped =
        request.id === id
          ? error
          : new MoonmeshError(error.kind, `service ${request.id} needs ${id}: ${error.message}`, { cause: error })
      this.#reply(number, wrapped)
    }
  }

  /** With an error: nobody knows whether it is. */
  #gone({ id }: Service, error?: MoonmeshError): void {
    for (const [number, request] of this.#requests) {
      if (request.kind !== 'gone' || !request.left.delete(id)) continue
      if (error !== undefined || request.left.size === 0) this.#reply(number, error)
    }
  }

  // ---- helpers

  #service(id: string): Service {
    const service = this.#services.get(id)
    assert(service !== undefined, `service ${id} is defined`)
    return service
  }

  /** Wanted, but without an instance. */
  #isPending(service: Service): boolean {
    return service.isWanted && !hasInstance(service)
  }

  #missingFor(service: Service): readonly string[] {
    return this.#sequence.missingFor(service.id, (id) => isUp(this.#service(id)))
  }

  /** `a (failed) and b (starting) run` */
  #describe(ids: readonly string[]): string {
    const names = ids.map((id) => {
      const { state, isStopRequested } = this.#service(id)
      return `${id} (${isStopRequested ? 'stopping' : state})`
    })
    return `${names.join(' and ')} ${ids.length === 1 ? 'runs' : 'run'}`
  }

  #setTimer({ id }: Service, purpose: TimerPurpose, delayMs: number): number {
    const timer = ++this.#timerCount
    this.#effects.push({ kind: 'set-timer', timer, delayMs, due: { kind: 'timer', id, purpose, timer } })
    return timer
  }

  #cancelTimer(service: Service): void {
    if (service.timer === undefined) return
    this.#effects.push({ kind: 'cancel-timer', timer: service.timer.number })
    service.timer = undefined
  }

  #log(level: 'info' | 'warn' | 'error', id: string, text: string): void {
    this.#effects.push({ kind: 'log', level, id, text: `service ${id} ${text}` })
  }
}

function sequenceOf(definitions: readonly ServiceDefinition[]): Sequence {
  return new Sequence(
    definitions.map(({ id, dependencies, lifecycle }) => ({ id, dependencies, startup: lifecycle.startup })),
  )
}

/** Whether a service may go on under the new definition without noticing. */
export function isSame(a: ServiceDefinition, b: ServiceDefinition): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** A chain of dependencies that leads back to its first id; undefined when there is none. */
export function cycleOf(definitions: readonly ServiceDefinition[]): readonly string[] | undefined {
  return sequenceOf(definitions).cycle
}

/** Something of it may exist in the world. */
function hasInstance({ state }: Service): boolean {
  return state === 'starting' || state === 'running' || state === 'stopping'
}

/** Runs, and is going to. */
function isUp(service: Service): boolean {
  return service.state === 'running' && !service.isStopRequested
}

function isLaunching({ launch }: Service): boolean {
  return launch === 'waiting' || launch === 'open'
}

function failure(kind: ErrorKind, message: string): MoonmeshError {
  return new MoonmeshError(kind, message)
}

function overdue(startTimeoutMs: number): MoonmeshError {
  return failure('Timeout', `it did not reach running within ${startTimeoutMs} ms`)
}
