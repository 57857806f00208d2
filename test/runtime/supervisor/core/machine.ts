// The core with its effects noted down, and its timers on fake time.

import { MoonmeshError } from '../../../../runtime/base/errors.ts'
import {
  type Redefinition,
  type ServiceDefinition,
  type ServiceState,
  type ServiceStatus,
  SupervisorCore,
  type SupervisorEffect,
  type SupervisorInput,
} from '../../../../runtime/supervisor/core/supervisor.ts'
import { FakeEnv } from '../fake-env.ts'

export class Machine {
  readonly env = new FakeEnv()
  readonly #core: SupervisorCore
  readonly #onEffect: (effect: SupervisorEffect) => void
  readonly #timers = new Map<number, () => void>()
  readonly #attempts = new Map<string, number>()
  /** Everything since the last `take`. */
  #effects: SupervisorEffect[] = []
  #requestCount = 0

  constructor(definitions: readonly ServiceDefinition[], onEffect: (effect: SupervisorEffect) => void = () => {}) {
    this.#core = new SupervisorCore(definitions, this.env)
    this.#onEffect = onEffect
  }

  step(input: SupervisorInput): void {
    for (const effect of this.#core.step(input)) {
      this.#effects.push(effect)
      this.#onEffect(effect)
      if (effect.kind === 'start') this.#attempts.set(effect.id, effect.attempt)
      if (effect.kind === 'cancel-timer') {
        this.#timers.get(effect.timer)?.()
        this.#timers.delete(effect.timer)
      }
      if (effect.kind === 'set-timer') {
        const fire = (): void => {
          this.#timers.delete(effect.timer)
          this.step(effect.due)
        }
        this.#timers.set(effect.timer, this.env.setTimer(effect.delayMs, fire))
      }
    }
  }

  start(): void {
    this.step({ kind: 'start' })
  }

  stop(force = false): void {
    this.step({ kind: 'stop', force })
  }

  /** The number under which the reply comes. */
  request(kind: 'start-service' | 'stop-service' | 'restart-service', id: string): number {
    const request = ++this.#requestCount
    this.step({ kind, id, request })
    return request
  }

  /** The number under which the reply comes. */
  reconfigure(
    definitions: readonly ServiceDefinition[],
    changedIds: readonly string[] = [],
    knownIds?: Redefinition['knownIds'],
  ): number {
    const request = ++this.#requestCount
    this.step({ kind: 'reconfigure', definitions, changedIds: new Set(changedIds), knownIds, request })
    return request
  }

  /** What the world tells; of the latest attempt unless said otherwise. */
  started(id: string, attempt = this.attempt(id)): void {
    this.step({ kind: 'started', id, attempt })
  }

  startFailed(id: string, error: MoonmeshError, attempt = this.attempt(id)): void {
    this.step({ kind: 'start-failed', id, attempt, error })
  }

  returned(id: string, attempt = this.attempt(id)): void {
    this.step({ kind: 'ended', id, attempt, ending: { ok: true } })
  }

  failed(id: string, error: MoonmeshError, attempt = this.attempt(id)): void {
    this.step({ kind: 'ended', id, attempt, ending: { ok: false, error } })
  }

  stopped(id: string, how: 'graceful' | 'forced' = 'graceful', attempt = this.attempt(id)): void {
    this.step({ kind: 'stopped', id, attempt, how })
  }

  stopFailed(id: string, error: MoonmeshError, attempt = this.attempt(id)): void {
    this.step({ kind: 'stop-failed', id, attempt, error })
  }

  advance(ms: number): void {
    this.env.advance(ms)
  }

  attempt(id: string): number {
    return this.#attempts.get(id) ?? 0
  }

  ids(): string[] {
    return this.#core.snapshot().map((each) => each.id)
  }

  status(id: string): ServiceStatus {
    const status = this.#core.snapshot().find((each) => each.id === id)
    if (status === undefined) throw new Error(`no service ${id}`)
    return status
  }

  state(id: string): ServiceState {
    return this.status(id).state
  }

  states(): string {
    return this.#core
      .snapshot()
      .map((each) => `${each.id} ${each.state}`)
      .join(', ')
  }

  /** The effects since the last call, of some kinds or all, one line each. */
  take(...kinds: SupervisorEffect['kind'][]): string[] {
    const taken = this.#effects.filter((effect) => kinds.length === 0 || kinds.includes(effect.kind))
    this.#effects = []
    return taken.map(describeEffect)
  }
}

function describeEffect(effect: SupervisorEffect): string {
  switch (effect.kind) {
    case 'start':
      return `start ${effect.id} #${effect.attempt}`
    case 'stop':
      return `stop ${effect.id} #${effect.attempt} within ${effect.timeoutMs} ms: ${effect.reason}`
    case 'set-timer': {
      const { due } = effect
      const what = due.kind === 'timer' ? `${due.purpose} ${due.id}` : due.kind
      return `timer ${effect.timer} in ${effect.delayMs} ms: ${what}`
    }
    case 'cancel-timer':
      return `cancel timer ${effect.timer}`
    case 'state-changed':
      return `${effect.id}: ${effect.from} -> ${effect.to}${describeError(effect.error)}`
    case 'log':
      return `${effect.level}: ${effect.text}`
    case 'reply':
      return `reply ${effect.request}${describeError(effect.error)}`
    case 'redefined': {
      const parts = (['gone', 'added', 'changed'] as const).filter((part) => effect[part].length > 0)
      return `redefined ${effect.request}${parts.map((part) => `, ${part}: ${effect[part].join(' ')}`).join('')}`
    }
    case 'start-failed':
      return `start-failed${effect.id === undefined ? '' : ` ${effect.id}`}${describeError(effect.error)}`
    case 'ready':
    case 'all-stopped':
      return effect.kind
  }
}

function describeError(error: MoonmeshError | undefined): string {
  return error === undefined ? '' : ` (${error.kind}: ${error.message})`
}

/** A script that raised: retryable is unset. */
export const raised = new MoonmeshError('Internal', 'boom')
export const retryable = new MoonmeshError('Unavailable', 'try later', { retryable: true })
/** What `return nil, "no stock"` becomes. */
export const notRetryable = new MoonmeshError('Internal', 'no stock', { retryable: false })
export const terminated = new MoonmeshError('Internal', 'process terminated')
export const linkDown = new MoonmeshError('Internal', 'linked process failed')
