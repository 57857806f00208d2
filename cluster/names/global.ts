// Consistent and strong names on one node: registered through the log, looked up in a cache that follows it, given up when their process
// ends. cluster.md §6.2–6.4, §6.6. Names and PIDs are byte strings here and text in the log.

import { toBytes, toText } from '../../runtime/base/bytes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { Histogram } from '../../runtime/base/histogram.ts'
import { getOrAdd } from '../../runtime/base/maps.ts'
import { type Packed, pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import type { Fabric } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import { Fields } from '../state/core/fields.ts'
import { IndexBy } from '../state/core/index-by.ts'
import type { Machine } from '../state/core/machine.ts'
import type { GlobalScope, Outcome, StateEvent } from '../state/core/outcomes.ts'
import type { SessionEvent } from '../state/core/session.ts'
import type { Asking, Possessions } from '../state/possessions.ts'
import type { ClusterState } from '../state/state.ts'
import { BindingCache, type BindingChange, type CachedBinding } from './core/cache.ts'
import { type Check, Exclusions, type ReservationState } from './core/exclusions.ts'
import { allBindings, asOf, changeOf, FeedClient, FeedServer } from './feed.ts'
import { CHECK, StrongDriver } from './strong-driver.ts'

/** What the node knows of smaller scopes. */
interface SmallerScopes {
  /** Of this node's view, or its own binding though another beats it. */
  eventualHolder(name: string, pid: string): string | undefined
  localHolder(name: string): string | undefined
  /** Names of which something else is known now. */
  changed(names: readonly string[]): void
  /** A process of this node lost its name in the log. */
  lost(name: string, pid: string): void
  /** Another process has the name as a strong one: whoever has it here gives it up. */
  giveWay(name: string, pid: string): void
}

export interface GlobalNamesOptions {
  readonly fabric: Fabric
  readonly state: ClusterState
  /** Undefined: this node is a client for good. */
  readonly consensus: Consensus | undefined
  readonly possessions: Pick<Possessions, 'asks' | 'exited' | 'endedCount' | 'isEnded' | 'tellNow'>
  readonly strongDeadlineMs: number
  readonly scopes: SmallerScopes
}

interface GlobalLookup {
  readonly pid: string
  readonly scope: GlobalScope
}

interface Barrier {
  readonly session: number
  readonly waiters: Set<() => void>
}

const LOOKUP = 'names.lookup'
const RESERVATION = 'names.reservation'
const STRONG = 'names.strong'
const PAGE = 512
/** Registrations of a name that a process of this node has just left. */
const LEFT_TRIES = 3
/** Beyond its time, for the log to say so. */
const STRONG_GRACE_MS = 5000
const BARRIER_MS = 5000
const BARRIER_AGAIN_MS = 200
const EXCLUSION_TICK_MS = 1000
const STRONG_SECONDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30]

export class GlobalNames {
  readonly #fabric: Fabric
  readonly #state: ClusterState
  readonly #consensus: Consensus | undefined
  readonly #scopes: SmallerScopes
  readonly #strongDeadlineMs: number
  readonly #cache = new BindingCache()
  readonly #exclusions = new Exclusions()
  readonly #feed: FeedClient
  readonly #server: FeedServer | undefined
  readonly #driver: StrongDriver | undefined
  readonly #possessions: GlobalNamesOptions['possessions']
  /** Names that processes of this node have, as the log answered. */
  readonly #owned = new Map<string, string>()
  readonly #ownedBy = new IndexBy<string>()
  /** Waits for the strong names of this session; undefined: known, or not needed. */
  #barrier: Barrier | undefined
  /** The session in which all strong names that were there before it are known. */
  #knowsAllIn = 0
  /** Sessions that have ended. */
  #losses = 0
  readonly #undo: (() => void)[] = []
  #cancelTick: () => void
  #isClosed = false
  readonly counters = { misses: 0, lost: 0, rejected: 0 }
  /** How long strong registrations took, by the word of the log. */
  readonly strongSeconds = new Map<string, Histogram>()

  constructor({ fabric, state, consensus, possessions, strongDeadlineMs, scopes }: GlobalNamesOptions) {
    this.#fabric = fabric
    this.#consensus = consensus
    this.#possessions = possessions
    this.#state = state
    this.#scopes = scopes
    this.#strongDeadlineMs = strongDeadlineMs
    state.addQuery(LOOKUP, lookupQuery)
    state.addQuery(RESERVATION, reservationQuery)
    state.addQuery(STRONG, strongQuery)
    this.#feed = new FeedClient(fabric, {
      formation: () => this.#changed([...this.#exclusions.clear(), ...this.#cache.clear()]),
      changes: (changes) => this.#apply(changes),
      snapshot: (bindings, reached) => this.#changed(this.#loaded(bindings, reached)),
      heard: (reached) => this.#cache.heard(reached, fabric.env.nowMs()),
    })
    this.#undo.push(
      fabric.serve(CHECK, (body) => this.#check(body)),
      state.onSession((event) => this.#sessionChanged(event)),
    )
    if (consensus !== undefined) {
      this.#server = new FeedServer(fabric, consensus)
      this.#driver = new StrongDriver(fabric, consensus, (body) => this.#check(body))
      this.#undo.push(
        consensus.onApplied((_index, events) => this.#applied(consensus, events)),
        consensus.onRestored(() => {
          this.#server?.restored()
          this.#reload(consensus)
        }),
        consensus.onStatus(() => this.#statusChanged(consensus)),
      )
      this.#statusChanged(consensus)
    } else this.#feed.want(true)
    const { state: known, session } = state.session()
    if (known === 'open') this.#sessionChanged({ kind: 'opened', session })
    this.#cancelTick = fabric.after(EXCLUSION_TICK_MS, () => this.#tick())
  }

  /** What the replica knows already: its snapshot was restored before anybody listened. Once, when `scopes` may be called. */
  begin(): void {
    if (this.#consensus !== undefined && this.#consensus.machine.index > 0) this.#reload(this.#consensus)
  }

  // ---- registering

  /**
   * @param pid of a process of this node, which is there
   * @throws MoonmeshError `AlreadyExists`, `Unavailable`, `Timeout`, `LimitExceeded`, `Canceled`
   */
  async register(name: string, pid: string, scope: GlobalScope, signal: AbortSignal): Promise<void> {
    const asking = this.#possessions.asks(toText(pid))
    try {
      await this.#register(name, pid, scope, { signal, asking })
    } finally {
      asking.answered()
    }
  }

  async #register(
    name: string,
    pid: string,
    scope: GlobalScope,
    { signal, asking }: { signal: AbortSignal; asking: Asking },
  ): Promise<void> {
    const [textName, textPid] = [toText(name), toText(pid)]
    const startedMs = this.#fabric.env.nowMs()
    let losses = 0
    // The session may end before the promise is heard of: then it is lost like everything else of the session.
    const settled = ({ status }: Outcome): void => {
      losses = this.#losses
      if (status === 'ok' && !asking.hasEnded) this.#own(name, pid)
    }
    const command =
      scope === 'consistent'
        ? ({ kind: 'register', name: textName, pid: textPid } as const)
        : ({ kind: 'strong-open', name: textName, pid: textPid, ttlMs: this.#strongDeadlineMs } as const)
    const times = scope === 'consistent' ? {} : { deadlineMs: this.#strongDeadlineMs + STRONG_GRACE_MS }
    let outcome = await this.#state.submit(command, { ...times, signal, settled })
    // Its owner was a process of this node that has ended, and the log did not know yet.
    for (let i = 0; i < LEFT_TRIES && outcome.status === 'conflict' && this.#possessions.isEnded(outcome.pid); i++) {
      this.#possessions.tellNow()
      outcome = await this.#state.submit(command, { ...times, signal, settled })
    }
    if (scope === 'strong') this.#took(outcome.status, this.#fabric.env.nowMs() - startedMs)
    if (outcome.status !== 'ok') throw failureOf(name, outcome)
    if (losses !== this.#losses) throw failureOf(name, { status: 'session-expired' })
    // Who registered sees it at once, wherever the log reaches this node later.
    if (outcome.revision !== undefined && outcome.changed) {
      this.#apply([{ name, pid, scope, revision: outcome.revision }])
    } else await this.#refresh(name, signal)
  }

  /** @returns false: this process has no such name in this scope */
  async unregister(name: string, pid: string, scope: GlobalScope, signal: AbortSignal): Promise<boolean> {
    const command = { kind: 'unregister', name: toText(name), pid: toText(pid), scope } as const
    const outcome = await this.#state.submit(command, { signal })
    if (outcome.status !== 'ok') throw failureOf(name, outcome)
    if (outcome.changed && this.#owned.get(name) === pid) this.#disown(name)
    if (outcome.revision !== undefined) this.#apply([{ name, pid: undefined, scope, revision: outcome.revision }])
    return outcome.changed
  }

  /** A process of this node ended. */
  exited(pid: string): void {
    this.#possessions.exited(toText(pid))
    const names = this.#ownedBy.of(pid)
    for (const name of names) this.#disown(name)
    this.#changed(names)
  }

  #own(name: string, pid: string): void {
    this.#disown(name)
    this.#owned.set(name, pid)
    this.#ownedBy.add(pid, name)
  }

  #disown(name: string): void {
    const pid = this.#owned.get(name)
    if (pid === undefined) return
    this.#owned.delete(name)
    this.#ownedBy.delete(pid, name)
  }

  #isEnded(pid: string): boolean {
    return this.#possessions.endedCount > 0 && this.#possessions.isEnded(toText(pid))
  }

  // ---- looking up

  /** What is known here. A process of this node that ended has no name any more, whatever the log says yet. */
  lookup(name: string): GlobalLookup | undefined {
    const known = this.#cache.lookup(name)
    return known === undefined || !this.#counts(known) ? undefined : known
  }

  /**
   * Who agreed to a strong name resolves it to nobody else, though what it knows of the log may have been behind at that time and tells of
   * holders in between only now.
   */
  #counts({ name, pid }: CachedBinding): boolean {
    const reserved = this.#exclusions.reservedFor(name)
    return (reserved === undefined || reserved === pid) && !this.#isEnded(pid)
  }

  /** Who has the name as a strong one in the log, there or not. */
  strongOwner(name: string): string | undefined {
    const known = this.#cache.lookup(name)
    return known?.scope === 'strong' ? known.pid : undefined
  }

  /** Who is about to have the name as a strong one. */
  reservedFor(name: string): string | undefined {
    return this.#exclusions.reservedFor(name)
  }

  bindings(prefix: string): CachedBinding[] {
    return this.#cache.bindings(prefix).filter((binding) => this.#counts(binding))
  }

  /** Asks the log. @throws MoonmeshError `Unavailable` */
  async lookupInLog(name: string, deadlineMs?: number): Promise<GlobalLookup | undefined> {
    const answer = await this.#ask(LOOKUP, toText(name), deadlineMs)
    if (!answer.has('pid')) {
      // What was known here of it was behind.
      if (answer.has('as_of') && this.#cache.forget(name, answer.count('as_of'))) this.#changed([name])
      this.#cache.missed(name, this.#fabric.env.nowMs())
      return undefined
    }
    const scope = answer.text('scope') === 'strong' ? 'strong' : 'consistent'
    const found = { name, pid: toBytes(answer.text('pid')), scope, revision: answer.count('rev') } as const
    this.#apply([found])
    return this.#isEnded(found.pid) ? undefined : found
  }

  /** Whether the log may know more of a name that is not known here. */
  mayKnowMore(name: string): boolean {
    if (this.#exclusions.reservedFor(name) !== undefined || this.#barrier !== undefined) return true
    if (this.#state.replica !== undefined) return false
    const nowMs = this.#fabric.env.nowMs()
    return this.#cache.isStale(nowMs) && !this.#cache.isMissed(name, nowMs)
  }

  /** A process that a name stood for was not there: what is known of it counts no more. */
  async mistrust(name: string): Promise<GlobalLookup | undefined> {
    this.counters.misses++
    return this.lookupInLog(name)
  }

  async #refresh(name: string, signal: AbortSignal): Promise<void> {
    if (this.#cache.lookup(name) === undefined && !signal.aborted) await this.lookupInLog(name)
  }

  async #ask(query: string, args: Packed, deadlineMs?: number): Promise<Fields> {
    const bytes = await this.#state.read(query, args, deadlineMs === undefined ? {} : { deadlineMs })
    try {
      return new Fields(unpack(bytes))
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      throw new MoonmeshError('Internal', `${query}: an answer that cannot be read`, { retryable: true })
    }
  }

  // ---- what happens in the log

  #applied(consensus: Consensus, events: readonly StateEvent[]): void {
    const changes: BindingChange[] = []
    const released: string[] = []
    for (const event of events) {
      if (event.kind === 'binding') changes.push(changeOf(event))
      else if (event.kind === 'strong-opened') this.#driver?.opened(event.name)
      else if (event.kind === 'session-opened') this.#driver?.joined()
      else if (event.kind === 'strong-ended' && !event.active) {
        const name = toBytes(event.name)
        if (this.#exclusions.released(name, event.revision)) released.push(name)
      }
    }
    this.#apply(changes)
    if (released.length > 0) this.#changed(released)
    this.#cache.heard(asOf(consensus), this.#fabric.env.nowMs())
    this.#server?.applied(changes)
  }

  #apply(changes: readonly BindingChange[]): void {
    const changed: string[] = []
    for (const change of changes) {
      const before = this.#cache.lookup(change.name)?.pid
      if (!this.#cache.apply(change)) continue
      const { name, pid, revision } = change
      const isOver = pid !== undefined && this.#exclusions.outlived(name, pid, revision)
      const wasReserved = (isActive(change) && this.#exclusions.activated(name, revision)) || isOver
      if (before !== change.pid || wasReserved) changed.push(change.name)
    }
    this.#changed(changed)
  }

  #loaded(bindings: readonly CachedBinding[], reached: { index: number; revision: number }): string[] {
    const changed = this.#cache.load(bindings, reached, this.#fabric.env.nowMs())
    const ended = bindings.filter(
      (binding) => isActive(binding) && this.#exclusions.activated(binding.name, binding.revision),
    )
    return [...changed, ...ended.map(({ name }) => name)]
  }

  #reload(consensus: Consensus): void {
    this.#changed(this.#loaded(allBindings(consensus), asOf(consensus)))
  }

  #statusChanged(consensus: Consensus): void {
    const { formation, role } = consensus.status()
    if (formation !== undefined && role !== 'none') this.#feed.knowFormation(formation)
    this.#feed.want(role === 'none')
    this.#driver?.look()
  }

  #changed(names: readonly string[]): void {
    if (names.length > 0 && !this.#isClosed) this.#scopes.changed(names)
  }

  // ---- strong names: what this node agrees to

  #check(body: Uint8Array): Uint8Array {
    let check: Check
    try {
      const fields = new Fields(unpack(body))
      const [name, pid] = [toBytes(fields.text('name')), toBytes(fields.text('pid'))]
      check = { name, pid, revision: fields.count('rev') }
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      throw new MoonmeshError('Invalid', 'a strong.check that cannot be read', { retryable: false })
    }
    const { name, pid, revision } = check
    const binding = this.#cache.lookup(name)
    const known = {
      eventual: this.#scopes.eventualHolder(name, pid),
      local: this.#scopes.localHolder(name),
      activeRevision: binding?.scope === 'strong' ? binding.revision : 0,
    }
    const answer = this.#exclusions.check(check, known, this.#fabric.env.nowMs())
    if (answer.kind === 'ack') {
      // What the process has already stays true if the reservation comes to nothing, and nobody would tell of it again.
      if (binding?.pid !== pid) this.#cache.forget(name, revision)
      this.#changed([name])
    }
    if (answer.kind !== 'reject') return pack({ kind: answer.kind })
    this.counters.rejected++
    return pack({ kind: 'reject', holder: toText(answer.holder) })
  }

  #tick(): void {
    this.#cancelTick = this.#fabric.after(EXCLUSION_TICK_MS, () => this.#tick())
    for (const check of this.#exclusions.due(this.#fabric.env.nowMs())) void this.#askAbout(check)
  }

  async #askAbout(check: Check): Promise<void> {
    try {
      const args = [toText(check.name), check.revision]
      const answer = await this.#ask(RESERVATION, args)
      const state = answer.text('state') as ReservationState
      if (state === 'active') {
        await this.lookupInLog(check.name)
      }
      if (this.#exclusions.told(check, state, this.#fabric.env.nowMs())) this.#changed([check.name])
    } catch (error) {
      // It is asked again.
      if (!(error instanceof MoonmeshError || error instanceof UnpackError)) throw error
    }
  }

  // ---- strong names: who joins

  /** Resolves when names may be registered in smaller scopes. @throws MoonmeshError `Unavailable` after five seconds */
  async ready(name: string): Promise<void> {
    const barrier = this.#barrier
    if (barrier === undefined || name.startsWith('_sys.')) return
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        cancel()
        resolve()
      }
      const cancel = this.#fabric.after(BARRIER_MS, () => {
        barrier.waiters.delete(done)
        reject(new MoonmeshError('Unavailable', 'name service not ready', { retryable: true }))
      })
      barrier.waiters.add(done)
    })
  }

  get isReady(): boolean {
    return this.#barrier === undefined
  }

  #sessionChanged(event: SessionEvent): void {
    // Who was cut off before it knew them does not know them yet when the same session is resumed.
    if (event.kind === 'opened' || (event.kind === 'resumed' && event.session !== this.#knowsAllIn)) {
      const { waiters } = this.#barrier ?? { waiters: new Set<() => void>() }
      this.#barrier = { session: event.session, waiters }
      void this.#passBarrier(this.#barrier)
    } else if (event.kind === 'ended' || event.kind === 'fenced') {
      this.#endBarrier()
      this.#loseAll()
    } else if (event.kind === 'suspended') this.#endBarrier()
  }

  #endBarrier(): void {
    const waiters = this.#barrier?.waiters ?? []
    this.#barrier = undefined
    for (const done of [...waiters]) done()
  }

  async #passBarrier(barrier: Barrier): Promise<void> {
    while (!this.#isClosed && this.#barrier === barrier) {
      try {
        await this.#loadStrong()
        this.#knowsAllIn = barrier.session
        if (this.#barrier === barrier) this.#endBarrier()
        return
      } catch (error) {
        if (!(error instanceof MoonmeshError || error instanceof UnpackError)) throw error
        await new Promise<void>((done) => this.#fabric.after(BARRIER_AGAIN_MS, done))
      }
    }
  }

  /** All strong names, reserved ones too; whoever has one of them here in a smaller scope gives it up. */
  async #loadStrong(): Promise<void> {
    for (let after: string | null = ''; after !== null; ) {
      const page: Fields = await this.#ask(STRONG, after)
      for (const item of page.list('items')) {
        const fields = new Fields(item)
        const name = toBytes(fields.text('name'))
        const pid = toBytes(fields.text('pid'))
        const revision = fields.count('rev')
        if (fields.text('state') === 'active') this.#apply([{ name, pid, scope: 'strong', revision }])
        else {
          this.#exclusions.install({ name, pid, revision }, this.#fabric.env.nowMs())
          this.#changed([name])
        }
        this.#scopes.giveWay(name, pid)
      }
      after = page.has('next') ? page.text('next') : null
    }
  }

  /** The session is over: the log has released everything. */
  #loseAll(): void {
    this.#losses++
    const owned = [...this.#owned].sort(([a], [b]) => (a < b ? -1 : 1))
    for (const [name, pid] of owned) {
      this.#disown(name)
      this.counters.lost++
      this.#fabric.log('warn', 'name_revoked', { name: toText(name), pid: toText(pid) })
      this.#scopes.lost(name, pid)
    }
  }

  // ---- figures

  /** Since this node heard of the log last; 0 with a replica, Infinity: never. */
  get ageMs(): number {
    return this.#state.replica !== undefined ? 0 : this.#cache.ageMs(this.#fabric.env.nowMs())
  }

  figures(): { consistent: number; strong: number; pending: number; cacheAgeMs: number; misses: number; lost: number } {
    return {
      consistent: this.#cache.countOf('consistent'),
      strong: this.#cache.countOf('strong'),
      pending: this.#exclusions.count,
      cacheAgeMs: this.ageMs,
      misses: this.counters.misses,
      lost: this.counters.lost,
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelTick()
    this.#endBarrier()
    this.#feed.close()
    this.#server?.close()
    this.#driver?.close()
    for (const undo of this.#undo.splice(0)) undo()
  }

  #took(result: string, ms: number): void {
    getOrAdd(this.strongSeconds, result, () => new Histogram(STRONG_SECONDS)).observe(ms / 1000)
  }
}

// ---- what members answer, the same on all nodes

/** Args: the name. */
function lookupQuery({ names, appliedRevision }: Machine, args: Packed): Uint8Array {
  const binding = typeof args === 'string' ? names.lookup(args) : undefined
  return binding === undefined
    ? pack({ as_of: appliedRevision })
    : pack({ pid: binding.pid, scope: binding.scope, rev: binding.revision })
}

/** Args: name and revision of a reservation. */
function reservationQuery({ names }: Machine, args: Packed): Uint8Array {
  const [name, revision] = Array.isArray(args) ? (args as readonly Packed[]) : []
  if (typeof name !== 'string' || typeof revision !== 'number') return pack({ state: 'unknown' })
  if (names.reservation(name)?.revision === revision) return pack({ state: 'pending' })
  const binding = names.lookup(name)
  return pack({ state: binding?.scope === 'strong' && binding.revision > revision ? 'active' : 'unknown' })
}

/** Args: the name after which the page begins. */
function strongQuery({ names }: Machine, args: Packed): Uint8Array {
  const after = typeof args === 'string' ? args : ''
  const found = names.strongNames(after, PAGE + 1)
  const page = found.slice(0, PAGE)
  const items = page.map((name) => {
    const reservation = names.reservation(name)
    const binding = names.lookup(name)
    return reservation === undefined
      ? { name, pid: binding?.pid ?? '', rev: binding?.revision ?? 0, state: 'active' }
      : { name, pid: reservation.pid, rev: reservation.revision, state: 'pending' }
  })
  return pack({ items, ...(found.length > PAGE ? { next: page.at(-1) as string } : {}) })
}

const isActive = ({ scope, pid }: BindingChange): boolean => scope === 'strong' && pid !== undefined

function failureOf(name: string, outcome: Outcome): MoonmeshError {
  const details = { name: toText(name) }
  switch (outcome.status) {
    case 'conflict': {
      const reserved = outcome.reserved ? { reserved: true } : {}
      return new MoonmeshError('AlreadyExists', 'name already registered', {
        retryable: false,
        details: { ...details, existing_pid: outcome.pid, ...reserved },
      })
    }
    case 'rejected':
      return new MoonmeshError('AlreadyExists', `name already registered on node ${outcome.by}`, {
        retryable: false,
        details: { ...details, existing_pid: outcome.holder, rejected_by: outcome.by },
      })
    case 'timeout': {
      const missing = outcome.missing ?? []
      return new MoonmeshError('Timeout', `no answer in time of: ${missing.join(', ')}`, {
        retryable: true,
        details: { ...details, missing_nodes: missing },
      })
    }
    case 'stale-epoch':
      return new MoonmeshError('Unavailable', 'the node of the process has no session', { retryable: true, details })
    case 'overloaded':
      return new MoonmeshError('LimitExceeded', `too many ${outcome.what}`, { retryable: true, details })
    case 'aborted':
      return new MoonmeshError('Unavailable', 'the registration was given up', { retryable: true, details })
    default:
      return new MoonmeshError('Unavailable', `the log answered ${outcome.status}`, {
        retryable: true,
        details: { ...details, ambiguous: true },
      })
  }
}
