// The keeper of this node's session: opens it, renews it, and knows by itself when it must no longer be trusted. cluster.md §5.10; the
// leases of Gray and Cheriton (1989), held by the clock of the holder alone.

import { backoffMs } from '../../../runtime/base/backoff.ts'
import type { Env } from '../../../runtime/base/env.ts'

/** The share of a session's time for which its node trusts it after the sending of a renewal; the leader waits for all of it. */
const TRUSTED_SHARE = 0.8
const BACKOFF = { initialMs: 50, maxMs: 1000, factor: 2, jitter: 0.3 }

export interface SessionSettings {
  /** Of a session without renewals. */
  readonly ttlMs: number
  readonly renewIntervalMs: number
  /** Failed renewals in a row after which the leader counts as out of reach. */
  readonly graceCount: number
}

export type SessionInput =
  | { readonly kind: 'tick' }
  | { readonly kind: 'start' }
  /** The log has opened, or had opened, this node's session. */
  | { readonly kind: 'up'; readonly opening: number; readonly session: number }
  | { readonly kind: 'up-failed'; readonly opening: number }
  /** The log knows a later run of this node. */
  | { readonly kind: 'stale'; readonly opening: number; readonly epoch: number }
  /** `ttlMs`: what the leader lets it rely on; its own setting when it does not say. */
  | { readonly kind: 'renewed'; readonly renewal: number; readonly ttlMs?: number }
  | { readonly kind: 'renewal-failed'; readonly renewal: number }
  /** The log says that this session is over. */
  | { readonly kind: 'over'; readonly session: number }
  /** This run has another epoch now: its session is not its own. */
  | { readonly kind: 'epoch-raised' }
  | { readonly kind: 'close' }

export type SessionEffect =
  /** Propose NODE_UP; answered by `up`, `up-failed` or `stale`. */
  | { readonly kind: 'open'; readonly opening: number }
  /** Ask the leader; answered by `renewed`, `renewal-failed` or `over`. */
  | { readonly kind: 'renew'; readonly renewal: number; readonly session: number; readonly timeoutMs: number }
  /** Propose NODE_DOWN. */
  | { readonly kind: 'leave'; readonly session: number }
  | { readonly kind: 'event'; readonly event: SessionEvent }

export type SessionEvent =
  | { readonly kind: 'opened'; readonly session: number }
  /** Nothing that this node owns through the session may be trusted, until it is resumed. */
  | { readonly kind: 'suspended'; readonly session: number }
  /** The same session after a suspension; what was declared lost is to be given back. */
  | { readonly kind: 'resumed'; readonly session: number }
  /** All that this node owned is gone. */
  | { readonly kind: 'ended'; readonly session: number }
  /** A later run of this node is in the log: this one can own nothing any more. */
  | { readonly kind: 'fenced'; readonly epoch: number }
  | { readonly kind: 'leader-unreachable' }
  | { readonly kind: 'leader-reached' }

type SessionState = 'none' | 'open' | 'suspended' | 'fenced' | 'closed'

export class SessionKeeper {
  readonly #settings: SessionSettings
  readonly #env: Env
  #state: SessionState = 'none'
  /** Zero: none. */
  #session = 0
  #trustedUntilMs = Number.NEGATIVE_INFINITY
  #openings = 0
  /** The one under way; zero: none. */
  #opening = 0
  #attempts = 0
  #nextAtMs = Number.POSITIVE_INFINITY
  #renewals = 0
  /** The one under way; zero: none. */
  #renewal = 0
  #sentMs = 0
  #failures = 0

  constructor(settings: SessionSettings, env: Env) {
    this.#settings = settings
    this.#env = env
  }

  /** What it was at the last step; `isTrusted` is what decisions rest on. */
  get state(): SessionState {
    return this.#state
  }

  /** Of the session that is open or suspended; 0 without one. */
  get session(): number {
    return this.#state === 'open' || this.#state === 'suspended' ? this.#session : 0
  }

  /** By this node's monotonic clock; in the past without a session. */
  get trustedUntilMs(): number {
    return this.#state === 'open' ? this.#trustedUntilMs : Number.NEGATIVE_INFINITY
  }

  /** Right now, whatever timers have noticed. */
  get isTrusted(): boolean {
    return this.#env.nowMs() < this.trustedUntilMs
  }

  get isLeaderReachable(): boolean {
    return this.#failures < this.#settings.graceCount
  }

  /** When a tick is due; Infinity when nothing is. */
  get wakeAtMs(): number {
    const suspendAtMs = this.#state === 'open' ? this.#trustedUntilMs : Number.POSITIVE_INFINITY
    return Math.min(suspendAtMs, this.#renewal === 0 ? this.#nextAtMs : Number.POSITIVE_INFINITY)
  }

  step(input: SessionInput): SessionEffect[] {
    if (this.#state === 'closed' || this.#state === 'fenced') return []
    switch (input.kind) {
      case 'tick':
        return this.#tick()
      case 'start':
        return this.#open()
      case 'up':
        if (input.opening !== this.#opening) return []
        this.#opening = 0
        this.#attempts = 0
        // It may be an old one that nobody renewed: what it is worth the leader says.
        this.#session = input.session
        return this.#renew()
      case 'up-failed':
        if (input.opening !== this.#opening) return []
        this.#opening = 0
        this.#nextAtMs = this.#env.nowMs() + backoffMs(BACKOFF, ++this.#attempts, this.#env)
        return []
      case 'stale': {
        if (input.opening !== this.#opening) return []
        const ended = this.#end()
        this.#state = 'fenced'
        this.#nextAtMs = Number.POSITIVE_INFINITY
        return [...ended, event({ kind: 'fenced', epoch: input.epoch })]
      }
      case 'renewed':
        return this.#renewed(input.renewal, input.ttlMs ?? this.#settings.ttlMs)
      case 'renewal-failed': {
        if (input.renewal !== this.#renewal) return []
        this.#renewal = 0
        this.#failures++
        const waitMs = backoffMs(BACKOFF, this.#failures, this.#env)
        this.#nextAtMs = this.#env.nowMs() + Math.min(waitMs, this.#settings.renewIntervalMs)
        const isNews = this.#failures === this.#settings.graceCount
        return [...this.#suspendWhenDue(), ...(isNews ? [event({ kind: 'leader-unreachable' })] : [])]
      }
      case 'over':
        if (input.session !== this.#session || this.#session === 0) return []
        return [...this.#end(), ...this.#open()]
      case 'epoch-raised': {
        const ended = this.#end()
        this.#opening = 0
        return [...ended, ...this.#open()]
      }
      case 'close': {
        const session = this.#session
        const ended = this.#end()
        this.#state = 'closed'
        this.#nextAtMs = Number.POSITIVE_INFINITY
        return session === 0 ? ended : [...ended, { kind: 'leave', session }]
      }
    }
  }

  #tick(): SessionEffect[] {
    const effects = this.#suspendWhenDue()
    if (this.#renewal !== 0 || this.#env.nowMs() < this.#nextAtMs) return effects
    return [...effects, ...(this.#session === 0 ? this.#open() : this.#renew())]
  }

  #open(): SessionEffect[] {
    if (this.#opening !== 0) return []
    this.#opening = ++this.#openings
    this.#nextAtMs = Number.POSITIVE_INFINITY
    return [{ kind: 'open', opening: this.#opening }]
  }

  #renew(): SessionEffect[] {
    this.#renewal = ++this.#renewals
    // Before it is sent: the leader cannot have heard of it earlier.
    this.#sentMs = this.#env.nowMs()
    const { renewIntervalMs } = this.#settings
    this.#nextAtMs = this.#sentMs + renewIntervalMs
    return [{ kind: 'renew', renewal: this.#renewal, session: this.#session, timeoutMs: renewIntervalMs }]
  }

  #renewed(renewal: number, ttlMs: number): SessionEffect[] {
    if (renewal !== this.#renewal || this.#session === 0) return []
    this.#renewal = 0
    const effects: SessionEffect[] = []
    if (this.#failures >= this.#settings.graceCount) effects.push(event({ kind: 'leader-reached' }))
    this.#failures = 0
    const untilMs = this.#sentMs + TRUSTED_SHARE * ttlMs
    effects.push(...this.#suspendWhenDue())
    // An answer that came too late to trust is no reason to trust.
    if (this.#env.nowMs() >= untilMs) return effects
    this.#trustedUntilMs = untilMs
    const before = this.#state
    this.#state = 'open'
    if (before === 'none') effects.push(event({ kind: 'opened', session: this.#session }))
    if (before === 'suspended') effects.push(event({ kind: 'resumed', session: this.#session }))
    return effects
  }

  #suspendWhenDue(): SessionEffect[] {
    if (this.#state !== 'open' || this.#env.nowMs() < this.#trustedUntilMs) return []
    this.#state = 'suspended'
    return [event({ kind: 'suspended', session: this.#session })]
  }

  #end(): SessionEffect[] {
    const session = this.#session
    const was = this.#state
    this.#session = 0
    this.#renewal = 0
    this.#state = 'none'
    this.#trustedUntilMs = Number.NEGATIVE_INFINITY
    return was === 'none' ? [] : [event({ kind: 'ended', session })]
  }
}

function event(told: SessionEvent): SessionEffect {
  return { kind: 'event', event: told }
}
