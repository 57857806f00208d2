// Eventual names: every run of a node keeps a log of its own names, which the others copy; which process a name stands for follows from
// the copies and from who is live. Nobody is asked before a name is taken; of two who took one, one is told to let go. cluster.md §6.5.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import { backoffMs } from '../../../runtime/base/backoff.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { getOrAdd } from '../../../runtime/base/maps.ts'
import type { Hash } from '../../kv/core/digest.ts'
import { HybridClock } from '../../kv/core/hlc.ts'
import { type Bound, type Change, compareDots, type Dot } from './change.ts'
import { Origin, WAITING_MAX } from './origin.ts'

/** How far a run's log goes, and what holds at its end. */
export interface DigestEntry {
  readonly origin: string
  readonly epoch: number
  readonly seq: number
  /** A byte string of 8. */
  readonly hash: string
}

export interface PullRequest {
  readonly origin: string
  readonly epoch: number
  /** All up to this number is known; 0: the whole state is wanted. */
  readonly have: number
}

export type PullAnswer =
  /** All from `have` + 1 on. */
  | { readonly kind: 'changes'; readonly changes: readonly Change[] }
  | { readonly kind: 'state'; readonly seq: number; readonly dots: readonly Dot[] }
  /** Nothing is known of this run. */
  | { readonly kind: 'unknown' }

export type EventualInput =
  /** Gossip calls this run of a node alive or suspect. */
  | { kind: 'live'; node: string; epoch: number }
  | { kind: 'gone'; node: string; epoch: number }
  | { kind: 'changes'; changes: readonly Change[] }
  /** `node`: whose digest it is; undefined when that is not known. */
  | { kind: 'digest'; node: string | undefined; entries: readonly DigestEntry[] }
  /** A pull ended: with its answer, or without one. */
  | { kind: 'pulled'; pull: number; answer: PullAnswer | undefined }
  /** Something is due, see `nextDueMs`. */
  | { kind: 'wake' }

export type EventualEffect =
  /** Tell everybody. */
  | { kind: 'gossip'; changes: readonly Change[] }
  /** Ask a node; the answer comes back as `pulled` with the same number. */
  | { kind: 'pull'; node: string; pull: number; request: PullRequest; timeoutMs: number }
  /** Send the digest to this node, and take what it answers as its digest. */
  | { kind: 'compare'; node: string }
  /** The name stands for another process now, or for none. */
  | { kind: 'resolved'; name: string; pid: string | undefined }
  /** A process of this node lost its name to another one. */
  | { kind: 'revoked'; name: string; pid: string; winner: string }
  /** A binding of another node was taken over, this long after it was made, by two clocks. */
  | { kind: 'learned'; ageMs: number }

type RegisterOutcome =
  | { readonly ok: true; readonly changed: boolean }
  | { readonly ok: false; readonly why: 'taken'; readonly pid: string }
  | { readonly ok: false; readonly why: 'full'; readonly what: string }

export interface EventualSettings {
  /** Names of all nodes, as seen by the node that registers. */
  readonly namesMax: number
  readonly namesPerOriginMax: number
  /** Runs that are known, live or not. */
  readonly originsMax: number
  /** So long another node's binding must be the better one without a break. */
  readonly revokeAfterMs: number
  /** After it was live last. */
  readonly keepDeadMs: number
  readonly compareIntervalMs: number
}

const defaultEventualSettings: EventualSettings = {
  namesMax: 100_000,
  namesPerOriginMax: 10_000,
  originsMax: 4096,
  revokeAfterMs: 2000,
  keepDeadMs: 24 * 60 * 60 * 1000,
  compareIntervalMs: 10_000,
}

/** A gap may close by itself: packets overtake each other. */
const GAP_PATIENCE_MS = 100
const PULL_TIMEOUT_MS = 5000
const PULLS_MAX = 8
/** Failed attempts at one run; the next digest begins anew. */
const PULL_ATTEMPTS_MAX = 8
const PULL_BACKOFF = { initialMs: 200, maxMs: 5000, factor: 2, jitter: 0.3 } as const
/** Nodes remembered to have more of a run. */
const HOLDERS_MAX = 4
/** What was pulled is told on when it is little: then it was lost on the way, and others may lack it as well. */
const TOLD_ON_MAX = 16
/** Two logs of one length that differ are made equal at most this often. */
const WHOLE_AGAIN_MS = 60_000
const SWEEP_INTERVAL_MS = 60_000
/** Stamps further ahead than this do not carry our clock along. */
const SKEW_MAX_MS = 60_000

/** A run of which others have more. */
interface Behind {
  readonly epoch: number
  seq: number
  readonly holders: string[]
  /** When to ask. */
  atMs: number
  attempt: number
  /** The number of the pull that is out. */
  running: number | undefined
  /** The names that hold differ: only the origin itself can say. */
  isWhole: boolean
}

export class Eventual {
  readonly node: string
  readonly epoch: number
  readonly #env: Env
  readonly #hash: Hash
  readonly #settings: EventualSettings
  readonly #clock: HybridClock
  readonly #own: Origin
  /** The latest known run of each node, this one's too. */
  readonly #origins = new Map<string, Origin>()
  readonly #live = new Map<string, number>()
  /** Who bound the name, live or not. Invariant: none is empty, one dot of each origin. */
  readonly #dots = new Map<string, Dot[]>()
  readonly #winners = new Map<string, Dot>()
  readonly #namesOf = new Map<string, Set<string>>()
  /** Own names that another's binding beats, since when. */
  readonly #losing = new Map<string, number>()
  readonly #behind = new Map<string, Behind>()
  readonly #pulls = new Map<number, PullRequest>()
  readonly #wholeAtMs = new Map<string, number>()
  #dotCount = 0
  #nextPull = 1
  #compareAtMs: number
  #sweepAtMs: number
  #effects: EventualEffect[] = []
  readonly counters = { revoked: 0, pulls: 0, states: 0, refused: 0 }

  constructor(options: { node: string; epoch: number; hash: Hash; settings?: Partial<EventualSettings> }, env: Env) {
    this.node = options.node
    this.epoch = options.epoch
    this.#env = env
    this.#hash = options.hash
    this.#settings = { ...defaultEventualSettings, ...options.settings }
    this.#clock = new HybridClock({ skewMaxMs: SKEW_MAX_MS }, env)
    this.#own = new Origin({ name: this.node, epoch: this.epoch }, this.#hash, env.nowMs())
    this.#origins.set(this.node, this.#own)
    this.#live.set(this.node, this.epoch)
    this.#compareAtMs = env.nowMs() + env.randomInt(this.#settings.compareIntervalMs)
    this.#sweepAtMs = env.nowMs() + SWEEP_INTERVAL_MS
  }

  // ---- what processes of this node do

  /** @param pid of a process of this node: its end is this node's to tell */
  register(name: string, pid: string, priority = 0): { outcome: RegisterOutcome; effects: EventualEffect[] } {
    const winner = this.#winners.get(name)
    if (winner !== undefined && winner.bound.pid !== pid) {
      return { outcome: { ok: false, why: 'taken', pid: winner.bound.pid }, effects: [] }
    }
    const own = this.#own.dots.get(name)
    if (own !== undefined) {
      const isSame = own.bound.pid === pid
      const outcome: RegisterOutcome = isSame
        ? { ok: true, changed: false }
        : { ok: false, why: 'taken', pid: own.bound.pid }
      return { outcome, effects: [] }
    }
    const { namesMax, namesPerOriginMax } = this.#settings
    const full =
      this.#own.dots.size >= namesPerOriginMax
        ? `${namesPerOriginMax} eventual names of node ${this.node}`
        : this.#dots.size >= namesMax && !this.#dots.has(name)
          ? `${namesMax} eventual names of the cluster`
          : undefined
    if (full !== undefined) return { outcome: { ok: false, why: 'full', what: full }, effects: [] }
    this.#write(name, { pid, hlc: this.#clock.next().hlc, priority })
    return { outcome: { ok: true, changed: true }, effects: this.#taken() }
  }

  /** @param pid whose name it must be; absent: whoever of this node has it. `removed` false: it is not this node's */
  unregister(name: string, pid?: string): { removed: boolean; effects: EventualEffect[] } {
    const dot = this.#own.dots.get(name)
    if (dot === undefined || (pid !== undefined && dot.bound.pid !== pid)) return { removed: false, effects: [] }
    this.#write(name, undefined)
    return { removed: true, effects: this.#taken() }
  }

  /** A process of this node ended. */
  exited(pid: string): EventualEffect[] {
    for (const name of [...(this.#namesOf.get(pid) ?? [])].sort()) this.#write(name, undefined)
    return this.#taken()
  }

  /** Gives up a name that a stronger registration needs, as if it had been lost to `winner`. */
  revoke(name: string, winner: string): EventualEffect[] {
    const dot = this.#own.dots.get(name)
    if (dot !== undefined) this.#revoke(dot, winner)
    return this.#taken()
  }

  // ---- what others may ask

  lookup(name: string): string | undefined {
    return this.#winners.get(name)?.bound.pid
  }

  /** This node's binding of the name, though another's may beat it. */
  ownPid(name: string): string | undefined {
    return this.#own.dots.get(name)?.bound.pid
  }

  /** Names of a process of this node. */
  namesOf(pid: string): string[] {
    return [...(this.#namesOf.get(pid) ?? [])].sort()
  }

  /** Sorted, those that resolve. */
  names(prefix = ''): { name: string; pid: string }[] {
    const found: { name: string; pid: string }[] = []
    for (const [name, dot] of this.#winners) if (name.startsWith(prefix)) found.push({ name, pid: dot.bound.pid })
    return found.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  get count(): number {
    return this.#winners.size
  }

  /** Every run that has ever changed anything, by name. */
  digest(): DigestEntry[] {
    const entries: DigestEntry[] = []
    for (const { name, epoch, seq, hash } of this.#origins.values()) {
      if (seq > 0) entries.push({ origin: name, epoch, seq, hash })
    }
    return entries.sort((a, b) => (a.origin < b.origin ? -1 : 1))
  }

  /** What this node knows beyond the digest of another. */
  beyond(entries: readonly DigestEntry[]): DigestEntry[] {
    const theirs = new Map(entries.map((entry) => [entry.origin, entry]))
    return this.digest().filter(({ origin, epoch, seq }) => {
      const other = theirs.get(origin)
      return other === undefined || other.epoch < epoch || (other.epoch === epoch && other.seq < seq)
    })
  }

  answerPull({ origin, epoch, have }: PullRequest): PullAnswer {
    const known = this.#origins.get(origin)
    if (known === undefined || known.epoch !== epoch || known.seq < have) return { kind: 'unknown' }
    const changes = have === 0 ? undefined : known.since(have)
    if (changes !== undefined) return { kind: 'changes', changes }
    const dots = [...known.dots.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    return { kind: 'state', seq: known.seq, dots }
  }

  /** When `wake` is due at the latest; monotonic milliseconds. */
  get nextDueMs(): number {
    let dueMs = Math.min(this.#compareAtMs, this.#sweepAtMs)
    for (const sinceMs of this.#losing.values()) dueMs = Math.min(dueMs, sinceMs + this.#settings.revokeAfterMs)
    if (this.#pulls.size >= PULLS_MAX) return dueMs
    for (const [origin, behind] of this.#behind) if (this.#mayPull(origin, behind)) dueMs = Math.min(dueMs, behind.atMs)
    return dueMs
  }

  step(input: EventualInput): EventualEffect[] {
    switch (input.kind) {
      case 'live':
        this.#becameLive(input.node, input.epoch)
        break
      case 'gone':
        this.#wentAway(input.node, input.epoch)
        break
      case 'changes':
        this.#received(input.changes)
        break
      case 'digest':
        for (const entry of input.entries) this.#compared(entry, input.node)
        break
      case 'pulled':
        this.#pulled(input.pull, input.answer)
        break
      case 'wake':
        this.#wake()
        break
      default:
        unreachable(input)
    }
    return this.#taken()
  }

  // ---- liveness

  #becameLive(node: string, epoch: number): void {
    if (node === this.node) return
    this.#live.set(node, epoch)
    const known = this.#origins.get(node)
    if (known !== undefined && known.epoch < epoch) this.#drop(known)
    else if (known?.epoch === epoch) this.#reconsiderAll(known)
    const behind = this.#behind.get(node)
    if (behind === undefined) return
    if (behind.epoch < epoch) this.#behind.delete(node)
    else behind.atMs = Math.min(behind.atMs, this.#env.nowMs())
  }

  #wentAway(node: string, epoch: number): void {
    if (node === this.node || this.#live.get(node) !== epoch) return
    this.#live.delete(node)
    const known = this.#origins.get(node)
    if (known?.epoch !== epoch) return
    known.lastLiveMs = this.#env.nowMs()
    this.#reconsiderAll(known)
  }

  #isVisible({ origin, epoch }: Dot): boolean {
    return this.#live.get(origin) === epoch
  }

  #drop(run: Origin): void {
    this.#origins.delete(run.name)
    for (const dot of run.dots.values()) this.#removeDot(dot)
    this.#reconsiderAll(run)
  }

  // ---- changes

  /** One of this node's own. */
  #write(name: string, bound: Bound | undefined): void {
    const before = this.#own.dots.get(name)
    const change: Change = { origin: this.node, epoch: this.epoch, seq: this.#own.seq + 1, name, bound }
    this.#own.append(change)
    if (before !== undefined) this.#removeDot(before)
    if (bound !== undefined) this.#addDot(change as Dot)
    this.#effects.push({ kind: 'gossip', changes: [change] })
    this.#reconsider(name)
  }

  #received(changes: readonly Change[]): void {
    const news: Change[] = []
    for (const change of changes) {
      const { bound } = change
      if (!this.#merge(change, undefined, news) || bound === undefined) continue
      this.#effects.push({ kind: 'learned', ageMs: Math.max(0, this.#clock.readMs() - bound.hlc.ms) })
    }
    if (news.length > 0) this.#effects.push({ kind: 'gossip', changes: news })
  }

  /** @param news what changed something here is added @returns whether it did, at once */
  #merge(change: Change, holder: string | undefined, news: Change[]): boolean {
    const { origin, epoch, seq } = change
    const run = this.#runOf(origin, epoch)
    if (run === undefined || seq <= run.seq) return false
    if (seq > run.seq + 1) {
      if (run.waiting.size < WAITING_MAX) run.waiting.set(seq, change)
      this.#isBehind({ origin, epoch, seq, holder })
      return false
    }
    for (let next: Change | undefined = change; next !== undefined; next = run.waiting.get(run.seq + 1)) {
      run.waiting.delete(next.seq)
      this.#append(run, next)
      news.push(next)
    }
    return true
  }

  /** The log to go on with; a newer run takes the place of an older one. Undefined: this run says nothing that counts. */
  #runOf(origin: string, epoch: number): Origin | undefined {
    if (origin === this.node || epoch < (this.#live.get(origin) ?? 0)) return undefined
    const known = this.#origins.get(origin)
    if (known !== undefined && known.epoch >= epoch) return known.epoch === epoch ? known : undefined
    if (known !== undefined) this.#drop(known)
    if (this.#origins.size >= this.#settings.originsMax && !this.#dropOneDead()) {
      this.counters.refused++
      return undefined
    }
    const run = new Origin({ name: origin, epoch }, this.#hash, this.#env.nowMs())
    this.#origins.set(origin, run)
    return run
  }

  #dropOneDead(): boolean {
    let oldest: Origin | undefined
    for (const run of this.#origins.values()) {
      if (this.#live.get(run.name) === run.epoch) continue
      if (oldest === undefined || run.lastLiveMs < oldest.lastLiveMs) oldest = run
    }
    if (oldest !== undefined) this.#drop(oldest)
    return oldest !== undefined
  }

  #append(run: Origin, change: Change): void {
    const before = run.dots.get(change.name)
    const isKept = change.bound === undefined || before !== undefined || this.#hasRoom(run.dots.size)
    if (!isKept) this.counters.refused++
    run.append(change, isKept)
    if (before !== undefined) this.#removeDot(before)
    if (isKept && change.bound !== undefined) {
      this.#addDot(change as Dot)
      if (!this.#clock.isAhead(change.bound.hlc)) this.#clock.observe(change.bound.hlc)
    }
    this.#reconsider(change.name)
  }

  /** Registering keeps to the limits; who does not, or registered when others did too, gets twice the room before he is passed over. */
  #hasRoom(ofOrigin: number): boolean {
    return ofOrigin < this.#settings.namesPerOriginMax && this.#dotCount < 2 * this.#settings.namesMax
  }

  // ---- what is missing

  #compared({ origin, epoch, seq, hash }: DigestEntry, holder: string | undefined): void {
    if (origin === this.node || epoch < (this.#live.get(origin) ?? 0)) return
    const run = this.#origins.get(origin)
    if (run !== undefined && run.epoch > epoch) return
    const have = run?.epoch === epoch ? run.seq : 0
    if (seq > have) return this.#isBehind({ origin, epoch, seq, holder })
    if (run === undefined || seq < have || run.hash === hash || run.isTruncated) return
    // One of the two is wrong, and the origin knows which.
    if (this.#env.nowMs() < (this.#wholeAtMs.get(origin) ?? 0)) return
    this.#wholeAtMs.set(origin, this.#env.nowMs() + WHOLE_AGAIN_MS)
    this.#isBehind({ origin, epoch, seq, holder: undefined })
    const behind = this.#behind.get(origin)
    if (behind !== undefined) behind.isWhole = true
  }

  #isBehind(more: { origin: string; epoch: number; seq: number; holder: string | undefined }): void {
    const { origin, epoch, seq, holder } = more
    const known = this.#behind.get(origin)
    if (known !== undefined && known.epoch > epoch) return
    let behind = known
    if (behind === undefined || behind.epoch < epoch) {
      if (known === undefined && this.#behind.size >= this.#settings.originsMax) return
      const atMs = this.#env.nowMs() + GAP_PATIENCE_MS
      behind = { epoch, seq, holders: [], atMs, attempt: 0, running: undefined, isWhole: false }
      this.#behind.set(origin, behind)
    }
    behind.seq = Math.max(behind.seq, seq)
    if (holder === undefined || holder === origin || holder === this.node || behind.holders.includes(holder)) return
    behind.holders.push(holder)
    if (behind.holders.length > HOLDERS_MAX) behind.holders.shift()
  }

  /** Names of a run that is not live do not resolve: what is missing of it can wait until it is. */
  #mayPull(origin: string, { epoch, running }: Behind): boolean {
    return running === undefined && this.#live.get(origin) === epoch
  }

  #pullDue(): void {
    const nowMs = this.#env.nowMs()
    for (const origin of [...this.#behind.keys()].sort()) {
      const behind = this.#behind.get(origin) as Behind
      if (this.#pulls.size >= PULLS_MAX) return
      if (behind.atMs > nowMs || !this.#mayPull(origin, behind)) continue
      const run = this.#origins.get(origin)
      const have = run?.epoch === behind.epoch && !behind.isWhole ? run.seq : 0
      if (run?.epoch === behind.epoch && have >= behind.seq) {
        // What was missing came by itself.
        this.#behind.delete(origin)
        continue
      }
      const pull = this.#nextPull++
      const request = { origin, epoch: behind.epoch, have }
      behind.running = pull
      this.#pulls.set(pull, request)
      this.counters.pulls++
      const node = this.#sourceOf(origin, behind)
      this.#effects.push({ kind: 'pull', node, pull, request, timeoutMs: PULL_TIMEOUT_MS })
    }
  }

  /** The origin first, then who is known to have more. */
  #sourceOf(origin: string, { holders, attempt, isWhole }: Behind): string {
    const others = isWhole ? [] : holders.filter((node) => this.#live.has(node))
    return attempt === 0 ? origin : (others[(attempt - 1) % (others.length + 1)] ?? origin)
  }

  #pulled(pull: number, answer: PullAnswer | undefined): void {
    const request = this.#pulls.get(pull)
    if (request === undefined) return
    this.#pulls.delete(pull)
    const { origin, epoch } = request
    const behind = this.#behind.get(origin)
    if (behind?.running === pull) behind.running = undefined
    if (answer !== undefined && answer.kind !== 'unknown') this.#takeOver(request, answer)
    if (behind === undefined || this.#behind.get(origin) !== behind || behind.epoch !== epoch) return
    const run = this.#origins.get(origin)
    const isWhole = behind.isWhole && (request.have !== 0 || answer?.kind !== 'state')
    if (run?.epoch === epoch && run.seq >= behind.seq && !isWhole) {
      this.#behind.delete(origin)
      return
    }
    behind.attempt++
    if (behind.attempt >= PULL_ATTEMPTS_MAX) this.#behind.delete(origin)
    else behind.atMs = this.#env.nowMs() + backoffMs(PULL_BACKOFF, behind.attempt, this.#env)
  }

  #takeOver({ origin, epoch }: PullRequest, answer: Exclude<PullAnswer, { kind: 'unknown' }>): void {
    const isOfRun = (change: Change): boolean => change.origin === origin && change.epoch === epoch
    if (answer.kind === 'changes') {
      const news: Change[] = []
      for (const change of answer.changes) if (isOfRun(change)) this.#merge(change, undefined, news)
      if (news.length > 0 && news.length <= TOLD_ON_MAX) this.#effects.push({ kind: 'gossip', changes: news })
      return
    }
    const run = this.#runOf(origin, epoch)
    if (run === undefined || answer.seq < run.seq) return
    this.counters.states++
    const names = new Set(run.dots.keys())
    for (const dot of run.dots.values()) this.#removeDot(dot)
    const byName = new Map<string, Dot>()
    let isTruncated = false
    for (const dot of answer.dots) {
      if (!isOfRun(dot) || dot.seq > answer.seq) continue
      if (this.#hasRoom(byName.size)) byName.set(dot.name, dot)
      else isTruncated = true
    }
    run.replace(answer.seq, [...byName.values()])
    run.isTruncated = isTruncated
    for (const dot of byName.values()) {
      names.add(dot.name)
      this.#addDot(dot)
      if (!this.#clock.isAhead(dot.bound.hlc)) this.#clock.observe(dot.bound.hlc)
    }
    for (const name of [...names].sort()) this.#reconsider(name)
    const next = run.waiting.get(run.seq + 1)
    if (next !== undefined) this.#merge(next, undefined, [])
  }

  // ---- who has the name

  #addDot(dot: Dot): void {
    getOrAdd(this.#dots, dot.name, () => []).push(dot)
    this.#dotCount++
    if (dot.origin === this.node) getOrAdd(this.#namesOf, dot.bound.pid, () => new Set<string>()).add(dot.name)
  }

  #removeDot(dot: Dot): void {
    const dots = this.#dots.get(dot.name)
    const at = dots?.indexOf(dot) ?? -1
    assert(dots !== undefined && at >= 0, 'what is removed was there')
    dots.splice(at, 1)
    this.#dotCount--
    if (dots.length === 0) this.#dots.delete(dot.name)
    if (dot.origin !== this.node) return
    const names = this.#namesOf.get(dot.bound.pid)
    names?.delete(dot.name)
    if (names?.size === 0) this.#namesOf.delete(dot.bound.pid)
  }

  #reconsiderAll(run: Origin): void {
    for (const name of [...run.dots.keys()].sort()) this.#reconsider(name)
  }

  /** Depends on nothing but the dots and who is live: that makes all nodes agree. */
  #reconsider(name: string): void {
    let best: Dot | undefined
    for (const dot of this.#dots.get(name) ?? []) {
      if (this.#isVisible(dot) && (best === undefined || compareDots(dot, best) > 0)) best = dot
    }
    const before = this.#winners.get(name)?.bound.pid
    if (best === undefined) this.#winners.delete(name)
    else this.#winners.set(name, best)
    if (best?.bound.pid !== before) this.#effects.push({ kind: 'resolved', name, pid: best?.bound.pid })
    const own = this.#own.dots.get(name)
    if (own === undefined || best === undefined || best === own || best.bound.pid === own.bound.pid) {
      this.#losing.delete(name)
    } else if (!this.#losing.has(name)) this.#losing.set(name, this.#env.nowMs())
  }

  #revoke(dot: Dot, winner: string): void {
    this.counters.revoked++
    this.#write(dot.name, undefined)
    this.#effects.push({ kind: 'revoked', name: dot.name, pid: dot.bound.pid, winner })
  }

  // ---- time

  #wake(): void {
    const nowMs = this.#env.nowMs()
    for (const name of [...this.#losing.keys()].sort()) {
      if (nowMs - (this.#losing.get(name) as number) < this.#settings.revokeAfterMs) continue
      const winner = this.#winners.get(name) as Dot
      this.#revoke(this.#own.dots.get(name) as Dot, winner.bound.pid)
    }
    this.#pullDue()
    if (nowMs >= this.#compareAtMs) this.#compareNext(nowMs)
    if (nowMs >= this.#sweepAtMs) this.#sweep(nowMs)
  }

  #compareNext(nowMs: number): void {
    this.#compareAtMs = nowMs + this.#settings.compareIntervalMs
    const others = [...this.#live.keys()].filter((node) => node !== this.node).sort()
    const node = others[this.#env.randomInt(Math.max(1, others.length))]
    if (node !== undefined) this.#effects.push({ kind: 'compare', node })
  }

  #sweep(nowMs: number): void {
    this.#sweepAtMs = nowMs + SWEEP_INTERVAL_MS
    for (const run of [...this.#origins.values()]) {
      if (this.#live.get(run.name) === run.epoch) continue
      if (nowMs - run.lastLiveMs >= this.#settings.keepDeadMs) this.#drop(run)
    }
    for (const [node, atMs] of this.#wholeAtMs) if (atMs <= nowMs) this.#wholeAtMs.delete(node)
    for (const [node, { epoch }] of this.#behind) if (this.#live.get(node) !== epoch) this.#behind.delete(node)
  }

  #taken(): EventualEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }
}
