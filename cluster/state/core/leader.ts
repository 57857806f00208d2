// Whom to ask for the leader's services: what this node's own consensus says, what others hinted at, or what members say when nobody
// here knows. cluster.md §5.11. Knowledge here is a guess: a wrong one costs a round trip and is then dropped.

import { backoffMs } from '../../../runtime/base/backoff.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { sortedNumbers } from './order.ts'

/** How many members are asked at a time. */
const ASKED_AT_ONCE = 3
const ASK_TIMEOUT_MS = 1000
/** Hints that are followed one after the other; two nodes that point at each other are not worth more. */
const HINTS_MAX = 3
const BACKOFF = { initialMs: 50, maxMs: 1000, factor: 2, jitter: 0.3 }

export type LeaderInput =
  | { readonly kind: 'tick' }
  /** What this node's own consensus takes for the leader. */
  | { readonly kind: 'own'; readonly leader: string | undefined; readonly term: number }
  /** Servers of the group that this node has a session of the mesh with, and all such nodes; both without this one. */
  | { readonly kind: 'topology'; readonly members: readonly string[]; readonly linked: ReadonlySet<string> }
  /** A member's answer; a leader undefined: it knows none, or did not answer. */
  | { readonly kind: 'told'; readonly ask: number; readonly leader: string | undefined; readonly term: number }
  /** `name` did not serve as the leader. `hint`: whom it took for the leader instead. */
  | { readonly kind: 'refuted'; readonly name: string; readonly hint: string | undefined }
  /** `name` served as the leader. */
  | { readonly kind: 'served'; readonly name: string }
  /** Somebody needs the leader. */
  | { readonly kind: 'wanted' }

export type LeaderEffect =
  /** Ask this member whom it takes for the leader. */
  | { readonly kind: 'ask'; readonly ask: number; readonly to: string; readonly timeoutMs: number }
  /** There is somebody to try: what waits may go. */
  | { readonly kind: 'known' }

/** `relay`: `to` is a member which is to pass the request on, once. */
interface Route {
  readonly to: string
  readonly leader: string
  readonly relay: boolean
}

export class LeaderFinder {
  readonly #self: string
  readonly #env: Env
  #own: string | undefined
  #leader: string | undefined
  /** Of what was heard of the leader, the highest. */
  #term = 0
  #members: readonly string[] = []
  #linked: ReadonlySet<string> = new Set()
  #hints = 0
  #isWanted = false
  readonly #asked = new Map<number, number>()
  #asks = 0
  #rounds = 0
  #nextRoundMs = 0

  constructor(self: string, env: Env) {
    this.#self = self
    this.#env = env
  }

  get leader(): string | undefined {
    return this.#leader
  }

  /** When a tick is due; Infinity when nothing is. */
  get wakeAtMs(): number {
    const unanswered = Math.min(...sortedNumbers(this.#asked.values()).slice(0, 1), Number.POSITIVE_INFINITY)
    const isSearching = this.#isWanted && this.#leader === undefined && this.#asked.size === 0
    return Math.min(unanswered, isSearching ? this.#nextRoundMs : Number.POSITIVE_INFINITY)
  }

  /** Undefined: nobody is known, or nobody who is known can be reached from here. */
  route(): Route | undefined {
    const leader = this.#leader
    if (leader === undefined) return undefined
    if (leader === this.#self || this.#linked.has(leader)) return { to: leader, leader, relay: false }
    const via = this.#members.filter((member) => member !== leader)
    const to = via[this.#env.randomInt(Math.max(1, via.length))]
    return to === undefined ? undefined : { to, leader, relay: true }
  }

  step(input: LeaderInput): LeaderEffect[] {
    switch (input.kind) {
      case 'tick': {
        const nowMs = this.#env.nowMs()
        for (const [ask, untilMs] of this.#asked) if (untilMs <= nowMs) this.#asked.delete(ask)
        return this.#search()
      }
      case 'own':
        this.#own = input.leader
        if (input.leader === undefined || input.term < this.#term) return []
        return this.#learn(input.leader, input.term)
      case 'topology': {
        const hadRoute = this.route() !== undefined
        this.#members = input.members
        this.#linked = input.linked
        if (this.#leader !== undefined) return !hadRoute && this.route() !== undefined ? [{ kind: 'known' }] : []
        // Somebody new may know more than those who did not.
        this.#nextRoundMs = Math.min(this.#nextRoundMs, this.#env.nowMs() + BACKOFF.initialMs)
        return this.#search()
      }
      case 'told': {
        if (!this.#asked.delete(input.ask)) return []
        const { leader, term } = input
        const isNews = leader !== undefined && (this.#leader === undefined || term > this.#term)
        return isNews ? this.#learn(leader, term) : this.#search()
      }
      case 'refuted':
        return this.#refuted(input.name, input.hint)
      case 'served':
        this.#hints = 0
        this.#rounds = 0
        return []
      case 'wanted':
        this.#isWanted = true
        return this.#search()
    }
  }

  #refuted(name: string, hint: string | undefined): LeaderEffect[] {
    if (this.#leader !== name && this.#leader !== undefined) return []
    this.#leader = undefined
    for (const other of [hint, this.#own]) {
      if (other === undefined || other === name || this.#hints >= HINTS_MAX) continue
      this.#hints++
      return this.#learn(other, this.#term)
    }
    return this.#search()
  }

  #learn(leader: string, term: number): LeaderEffect[] {
    const isNew = this.#leader !== leader
    this.#leader = leader
    this.#term = Math.max(this.#term, term)
    this.#asked.clear()
    if (!isNew) return []
    this.#isWanted = false
    return [{ kind: 'known' }]
  }

  #search(): LeaderEffect[] {
    const nowMs = this.#env.nowMs()
    if (!this.#isWanted || this.#leader !== undefined || this.#asked.size > 0 || nowMs < this.#nextRoundMs) return []
    this.#rounds++
    this.#nextRoundMs = nowMs + backoffMs(BACKOFF, this.#rounds, this.#env)
    this.#hints = 0
    // What the own consensus says counts again once others were asked in vain.
    if (this.#own !== undefined && this.#rounds % 2 === 0) return this.#learn(this.#own, this.#term)
    const members = [...this.#members]
    const effects: LeaderEffect[] = []
    while (members.length > 0 && effects.length < ASKED_AT_ONCE) {
      const [to] = members.splice(this.#env.randomInt(members.length), 1)
      const ask = ++this.#asks
      this.#asked.set(ask, nowMs + ASK_TIMEOUT_MS)
      effects.push({ kind: 'ask', ask, to: to as string, timeoutMs: ASK_TIMEOUT_MS })
    }
    return effects
  }
}
