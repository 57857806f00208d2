// The leader's verdict on sessions: which are renewed, and which are over. cluster.md §5.10. It rests on what this leader heard itself,
// since the first entry of its term was applied; the log entry NODE_DOWN is what ends a session, for everybody at the same place.

import type { Env } from '../../../runtime/base/env.ts'

/** A session that is not renewed is over after so many times its length, even if gossip calls its node live. */
const PATIENCE = 4
const TICK_MS = 500
/** A tick that comes this much late did not come because this node stood still: nobody is to be blamed for the silence. */
const PAUSE_MS = 1000
/** NODE_DOWN proposals under way; the others come next. */
const PROPOSALS_MAX = 64

export type VerdictInput =
  | { readonly kind: 'tick' }
  /** This node leads and has applied the first entry of its term. */
  | { readonly kind: 'leading'; readonly sessions: readonly OpenSession[] }
  | { readonly kind: 'following' }
  | { readonly kind: 'opened'; readonly session: OpenSession }
  | { readonly kind: 'ended'; readonly session: number }
  /** A proposal that ends this session may be in the log from now on. */
  | { readonly kind: 'condemned'; readonly session: number }
  /** A proposal that ends it was not taken. */
  | { readonly kind: 'spared'; readonly session: number }
  /** Nodes that gossip calls alive or suspect, this one included, with their epochs. */
  | { readonly kind: 'live'; readonly epochs: ReadonlyMap<string, number> }

interface OpenSession {
  readonly session: number
  readonly node: string
  readonly epoch: number
}

/** Propose NODE_DOWN; answered by `ended`, or by `spared`. */
export interface DownEffect {
  readonly kind: 'down'
  readonly node: string
  readonly session: number
  readonly reason: 'dead' | 'silent'
}

interface Heard extends OpenSession {
  heardMs: number
  /** It may be over at any moment. */
  condemned: number
}

export class Verdict {
  readonly #ttlMs: () => number
  readonly #env: Env
  readonly #sessions = new Map<number, Heard>()
  #live: ReadonlyMap<string, number> = new Map()
  #isLeading = false
  #tickedMs = 0

  /** @param ttlMs how long any leader may have let a node rely on a renewal; it may change */
  constructor(ttlMs: () => number, env: Env) {
    this.#ttlMs = ttlMs
    this.#env = env
  }

  /** When a tick is due; Infinity when nothing is. */
  get wakeAtMs(): number {
    return this.#isLeading ? this.#tickedMs + TICK_MS : Number.POSITIVE_INFINITY
  }

  get isLeading(): boolean {
    return this.#isLeading
  }

  /**
   * A node asks to go on. `over`: the session has ended; `unsure`: it may have, or this node does not lead. The caller has looked at this
   * very moment whether the quorum holds.
   */
  renew(session: number): 'ok' | 'over' | 'unsure' {
    if (!this.#isLeading) return 'unsure'
    const heard = this.#sessions.get(session)
    if (heard === undefined) return 'over'
    if (heard.condemned > 0) return 'unsure'
    heard.heardMs = this.#env.nowMs()
    return 'ok'
  }

  step(input: VerdictInput): DownEffect[] {
    const nowMs = this.#env.nowMs()
    switch (input.kind) {
      case 'tick':
        return this.#tick(nowMs)
      case 'leading':
        this.#isLeading = true
        this.#tickedMs = nowMs
        this.#sessions.clear()
        for (const session of input.sessions) this.#hear(session, nowMs)
        return []
      case 'following':
        this.#isLeading = false
        this.#sessions.clear()
        return []
      case 'opened':
        if (this.#isLeading) this.#hear(input.session, nowMs)
        return []
      case 'ended':
        this.#sessions.delete(input.session)
        return []
      case 'condemned': {
        const heard = this.#sessions.get(input.session)
        if (heard !== undefined) heard.condemned++
        return []
      }
      case 'spared': {
        const heard = this.#sessions.get(input.session)
        if (heard !== undefined && heard.condemned > 0) heard.condemned--
        return []
      }
      case 'live':
        this.#live = input.epochs
        return []
    }
  }

  #hear(session: OpenSession, nowMs: number): void {
    this.#sessions.set(session.session, { ...session, heardMs: nowMs, condemned: 0 })
  }

  #tick(nowMs: number): DownEffect[] {
    if (!this.#isLeading) return []
    const lateMs = nowMs - this.#tickedMs - TICK_MS
    this.#tickedMs = nowMs
    // Renewals that came meanwhile wait to be read.
    if (lateMs >= PAUSE_MS) for (const heard of this.#sessions.values()) heard.heardMs += lateMs
    const ttlMs = this.#ttlMs()
    const condemned = [...this.#sessions.values()].filter((heard) => heard.condemned > 0).length
    const silent = [...this.#sessions.values()].filter(
      ({ condemned, heardMs }) => condemned === 0 && nowMs - heardMs >= ttlMs,
    )
    const effects: DownEffect[] = []
    for (const { node, epoch, session, heardMs } of silent.sort((a, b) => a.session - b.session)) {
      if (condemned + effects.length >= PROPOSALS_MAX) break
      const isLive = this.#live.get(node) === epoch
      if (isLive && nowMs - heardMs < PATIENCE * ttlMs) continue
      effects.push({ kind: 'down', node, session, reason: isLive ? 'silent' : 'dead' })
    }
    return effects
  }
}
