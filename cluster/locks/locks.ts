// Locks of the cluster, as the processes of one node use them: requests to the replicated state, what is held here, and word to a holder that
// has lost one. cluster.md §7; fencing tokens as in Kleppmann, "How to do distributed locking" (2016).

import type { Env } from '../../runtime/base/env.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { Histogram } from '../../runtime/base/histogram.ts'
import { type Packed, pack, unpack } from '../../runtime/base/msgpack.ts'
import type { Fabric } from '../fabric.ts'
import { isName } from '../state/core/commands.ts'
import { Fields } from '../state/core/fields.ts'
import type { Machine } from '../state/core/machine.ts'
import type { Outcome } from '../state/core/outcomes.ts'
import type { Possessions } from '../state/possessions.ts'
import type { ClusterState } from '../state/state.ts'
import { Waker } from '../state/waker.ts'
import { type Grant, type HeldEffect, HeldLocks, type LossReason } from './core/held.ts'

interface LocksOptions {
  readonly fabric: Pick<Fabric, 'env' | 'after' | 'log'>
  readonly state: Pick<
    ClusterState,
    'submit' | 'read' | 'addQuery' | 'onSession' | 'onEvents' | 'isTrusted' | 'replica'
  >
  readonly possessions: Pick<Possessions, 'asks' | 'exited'>
  /** Tells a process of this node that it does not hold the lock any more. */
  readonly lost: (pid: string, name: string, reason: LossReason) => void
}

interface AcquireRequest {
  readonly name: string
  /** Of this node. */
  readonly pid: string
  /** Milliseconds; 0: answers at once. */
  readonly waitMs: number
  /** Milliseconds from the grant; 0: until it is released. */
  readonly ttlMs: number
  /** The process has ended, or does not wait any more. */
  readonly signal?: AbortSignal
}

type Acquired =
  /** `token` rises with every grant of any lock: whoever guards something refuses lower ones than it has seen. */
  | { readonly kind: 'granted'; readonly token: number }
  /** By a process, this one perhaps. `sinceMs`: Unix milliseconds by the clock of this node; undefined when the leader does not say. */
  | {
      readonly kind: 'held'
      readonly holder: string
      readonly token: number
      readonly sinceMs: number | undefined
    }
  /** The wait was over first. */
  | { readonly kind: 'timeout' }

export interface LockInfo {
  readonly name: string
  readonly holder: string
  readonly token: number
  /** How long it is held, in milliseconds of the log's clock. */
  readonly heldMs: number
  /** When that began: Unix milliseconds by the clock of this node. */
  readonly sinceMs: number
  readonly waiters: number
  /** What is left of its time, in milliseconds of the log's clock; 0: it has no end. */
  readonly leftMs: number
}

interface LockStatistics {
  /** By processes of this node. */
  readonly held: number
  /** In the replica of this node; undefined without one. */
  readonly cluster: { readonly held: number; readonly waiters: number } | undefined
  readonly lost: Readonly<Record<LossReason, number>>
  readonly waits: Histogram
}

/** An answer of the log is awaited for so long, beside the wait for the lock. */
const DEADLINE_MS = 10_000
const RELEASE_AGAIN_MS = 1000
const WAIT_MS_MAX = 24 * 3_600_000
const TTL_MS_MAX = 365 * 24 * 3_600_000
const TTL_MS_MIN = 100
/** In one answer. */
const LISTED_MAX = 1000

const QUERY_ONE = 'lock'
const QUERY_ALL = 'locks'

export class Locks {
  readonly #env: Env
  readonly #options: LocksOptions
  readonly #held: HeldLocks
  readonly #waker: Waker
  readonly #closers: (() => void)[] = []
  readonly #lost: Record<LossReason, number> = { lost: 0, expired: 0 }
  readonly #waits = new Histogram()
  /** Tokens of grants that nobody here has heard of yet. */
  readonly #untold = new Set<number>()
  #isClosed = false

  constructor(options: LocksOptions) {
    const { fabric, state } = options
    this.#env = fabric.env
    this.#options = options
    this.#held = new HeldLocks(fabric.env)
    this.#waker = new Waker(
      () => fabric.env.nowMs(),
      (delayMs, run) => fabric.after(delayMs, run),
      () => this.#perform(this.#held.tick()),
    )
    state.addQuery(QUERY_ONE, (machine, args) => {
      const info = typeof args === 'string' ? infoOf(machine, args) : undefined
      return pack(info === undefined ? null : packInfo(info))
    })
    state.addQuery(QUERY_ALL, (machine, args) => pack(listed(machine, args)))
    this.#closers.push(
      state.onSession(({ kind }) => {
        if (kind === 'suspended') this.#perform(this.#held.suspended())
        else if (kind === 'ended' || kind === 'fenced') this.#perform(this.#held.ended())
      }),
      state.onEvents((event) => {
        if (event.kind !== 'lock-released' || event.reason === 'released') return
        this.#perform(this.#held.over(event.name, event.token, event.reason === 'expired' ? 'expired' : 'lost'))
      }),
    )
  }

  /**
   * Takes a lock for a process of this node, or waits for it in the order in which the log met those who wait. Not reentrant.
   * @throws MoonmeshError `Invalid`, `LimitExceeded`, `Canceled`, `Unavailable` (nobody leads; whatever comes of it is undone)
   */
  async acquire(request: AcquireRequest): Promise<Acquired> {
    const { name, pid, waitMs, ttlMs, signal } = request
    assertName(name)
    assertTime('wait', waitMs, 0, WAIT_MS_MAX)
    if (ttlMs !== 0) assertTime('ttl', ttlMs, TTL_MS_MIN, TTL_MS_MAX)
    const { state, possessions } = this.#options
    const asking = possessions.asks(pid)
    const sentMs = this.#env.nowMs()
    let hasEnded = false
    // The time of a grant that was waited for begins anew: when in the wait it was given nobody here knows.
    const beginsAnew = waitMs > 0 && ttlMs > 0
    const settled = (outcome: Outcome): void => {
      if (outcome.status !== 'granted' || beginsAnew) return
      this.#untold.add(outcome.token)
      this.#held.granted({ name, pid, token: outcome.token, ttlMs, sentMs })
    }
    const outcome = await state
      .submit(
        { kind: 'lock-acquire', name, pid, waitMs, ttlMs },
        { deadlineMs: waitMs + DEADLINE_MS, settled, ...(signal === undefined ? {} : { signal }) },
      )
      .finally(() => {
        hasEnded = asking.hasEnded
        asking.answered()
      })
    this.#waits.observe((this.#env.nowMs() - sentMs) / 1000)
    if (outcome.status === 'granted') this.#untold.delete(outcome.token)
    // The log is told of its end, and nobody here holds anything for it.
    if (hasEnded) throw new MoonmeshError('Canceled', `lock ${name}: the process has ended`)
    switch (outcome.status) {
      case 'granted': {
        const grant = { name, pid, token: outcome.token, ttlMs, sentMs }
        return beginsAnew ? this.#begun(grant, signal) : this.#given(grant)
      }
      case 'held': {
        const { pid: holder, token, heldMs } = outcome
        return { kind: 'held', holder, token, sinceMs: heldMs === undefined ? undefined : this.#beganMs(heldMs) }
      }
      case 'timeout':
        return { kind: 'timeout' }
      default:
        throw failed('lock', name, outcome)
    }
  }

  #given({ name, pid, token }: Grant): Acquired {
    this.#waker.set(this.#held.wakeAtMs)
    // Its session ended, or was suspended, before anybody here heard of the grant.
    if (this.#held.grantOf(name, pid)?.token !== token) throw failed('lock', name, { status: 'aborted' })
    return { kind: 'granted', token }
  }

  async #begun(grant: Grant, signal: AbortSignal | undefined): Promise<Acquired> {
    const { name, pid, token, ttlMs } = grant
    const sentMs = this.#env.nowMs()
    const settled = (outcome: Outcome): void => {
      if (outcome.status !== 'ok' || !outcome.changed || !this.#options.state.isTrusted) return
      this.#untold.add(token)
      this.#held.granted({ ...grant, sentMs })
    }
    try {
      const command = { kind: 'lock-renew', name, pid, token, ttlMs } as const
      const options = { settled, ...(signal === undefined ? {} : { signal }) }
      const outcome = await this.#options.state.submit(command, options)
      if (outcome.status !== 'ok') throw failed('lock', name, outcome)
      // Its time was over, or its session, before it could begin.
      if (!outcome.changed) return { kind: 'timeout' }
      return this.#given(grant)
    } catch (error) {
      // Who asked is told that it has nothing.
      this.#held.released(name, token)
      this.#giveBack(grant)
      throw error
    } finally {
      this.#untold.delete(token)
    }
  }

  /**
   * Gives a lock back.
   * @returns false: the process did not hold it
   * @throws MoonmeshError `Invalid`, `LimitExceeded`, `Unavailable` (nobody leads; it is tried on until the session of this node ends)
   */
  async release(name: string, pid: string): Promise<boolean> {
    assertName(name)
    const token = this.#held.grantOf(name, pid)?.token
    if (token !== undefined) this.#held.released(name, token)
    this.#waker.set(this.#held.wakeAtMs)
    const released = this.#options.state.submit(
      { kind: 'lock-release', name, pid, ...(token === undefined ? {} : { token }) },
      { deadlineMs: Number.POSITIVE_INFINITY },
    )
    const outcome = await this.#answered(released, `release of the lock ${name}`)
    if (outcome.status === 'ok') return outcome.changed
    throw failed('lock', name, outcome)
  }

  /** The answer, if it comes by the deadline; the request goes on. */
  #answered(answer: Promise<Outcome>, what: string): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const cancel = this.#options.fabric.after(DEADLINE_MS, () => {
        const text = `${what}: no answer of a leader within ${DEADLINE_MS} ms; it is tried on`
        reject(new MoonmeshError('Unavailable', text, { retryable: true, details: { ambiguous: true } }))
      })
      answer.then(resolve, reject).finally(cancel)
    })
  }

  /** Begins the time of a lock anew. @returns false: the process does not hold it @throws as `acquire` */
  async renew(name: string, pid: string): Promise<boolean> {
    assertName(name)
    const grant = this.#held.grantOf(name, pid)
    return grant !== undefined && (await this.#renew(grant))
  }

  async #renew({ name, pid, token, ttlMs }: Grant): Promise<boolean> {
    const sentMs = this.#env.nowMs()
    const command = { kind: 'lock-renew', name, pid, token, ttlMs } as const
    const outcome = await this.#options.state.submit(command)
    if (outcome.status !== 'ok') throw failed('lock', name, outcome)
    if (outcome.changed) this.#held.renewed(name, token, ttlMs, sentMs)
    else this.#perform(this.#held.over(name, token, 'expired'))
    this.#waker.set(this.#held.wakeAtMs)
    // It may have been declared lost while the answer was on its way.
    return outcome.changed && this.#held.grantOf(name, pid)?.token === token
  }

  /** Whether the process holds it for certain, at this very moment. */
  isHeld(name: string, pid: string): boolean {
    return this.#options.state.isTrusted && this.#held.tokenOf(name, pid) !== undefined
  }

  /** Linearizable. @returns undefined: it is free @throws MoonmeshError `Invalid`, `Unavailable` */
  async info(name: string): Promise<LockInfo | undefined> {
    assertName(name)
    const answer = unpack(await this.#options.state.read(QUERY_ONE, name))
    return answer === null ? undefined : this.#read(answer)
  }

  /**
   * Locks that are held and begin with the prefix, by name, at most a thousand behind `after`. As this node or some member knows them.
   * @throws MoonmeshError `Unavailable`
   */
  async list({ prefix = '', after = '' }: { prefix?: string; after?: string } = {}): Promise<LockInfo[]> {
    const answer = unpack(await this.#options.state.read(QUERY_ALL, [prefix, after], { stale: true }))
    return Array.isArray(answer) ? answer.map((packed) => this.#read(packed)) : []
  }

  #read(packed: Packed): LockInfo {
    const fields = new Fields(packed)
    const heldMs = fields.count('held')
    return {
      name: fields.text('name'),
      holder: fields.text('holder'),
      token: fields.count('token'),
      heldMs,
      sinceMs: this.#beganMs(heldMs),
      waiters: fields.count('waiters'),
      leftMs: fields.count('left'),
    }
  }

  /** The log's clock tells how much time passed, and no time of day. */
  #beganMs(heldMs: number): number {
    return Math.round(this.#env.wallMs() - heldMs)
  }

  /** A process of this node has ended. */
  exited(pid: string): void {
    this.#held.exited(pid)
    this.#options.possessions.exited(pid)
  }

  statistics(): LockStatistics {
    const locks = this.#options.state.replica?.locks
    return {
      held: this.#held.count,
      cluster: locks === undefined ? undefined : { held: locks.count, waiters: locks.waiterCount },
      lost: this.#lost,
      waits: this.#waits,
    }
  }

  close(): void {
    this.#isClosed = true
    for (const close of this.#closers.splice(0)) close()
    this.#waker.close()
  }

  #perform(effects: readonly HeldEffect[]): void {
    for (const effect of effects) {
      const { name, pid } = effect
      if (effect.kind === 'lost') {
        // Who waits for it is told that it has nothing.
        if (this.#untold.has(effect.token)) continue
        this.#lost[effect.reason]++
        this.#options.fabric.log('warn', 'lock_lost', { lock: name, pid, reason: effect.reason })
        this.#options.lost(pid, name, effect.reason)
        continue
      }
      this.#giveBack(effect)
    }
    this.#waker.set(this.#held.wakeAtMs)
  }

  /** Nobody waits for the answer. */
  #giveBack({ name, pid, token }: Pick<Grant, 'name' | 'pid' | 'token'>): void {
    if (this.#isClosed) return
    const command = { kind: 'lock-release', name, pid, token } as const
    this.#options.state.submit(command, { deadlineMs: Number.POSITIVE_INFINITY }).catch((error: unknown) => {
      // Too much is under way. Any other failure means that the session is over, which released it.
      if (!(error instanceof MoonmeshError) || error.kind !== 'LimitExceeded') return
      this.#options.fabric.after(RELEASE_AGAIN_MS, () => this.#giveBack({ name, pid, token }))
    })
  }
}

function infoOf(machine: Machine, name: string): Omit<LockInfo, 'sinceMs'> | undefined {
  const lock = machine.locks.holder(name)
  if (lock === undefined) return undefined
  const { pid: holder, token, sinceMs, expiryMs, queue } = lock
  const { clockMs } = machine
  return {
    name,
    holder,
    token,
    heldMs: Math.max(0, clockMs - sinceMs),
    waiters: queue.size,
    leftMs: expiryMs === 0 ? 0 : Math.max(1, expiryMs - clockMs),
  }
}

function listed(machine: Machine, args: Packed): Packed[] {
  const [prefix, after] = Array.isArray(args) ? args : []
  if (typeof prefix !== 'string' || typeof after !== 'string') return []
  const names = machine.locks.names().filter((name) => name > after && name.startsWith(prefix))
  return names.slice(0, LISTED_MAX).flatMap((name) => {
    const info = infoOf(machine, name)
    return info === undefined ? [] : [packInfo(info)]
  })
}

const packInfo = ({ name, holder, token, heldMs, waiters, leftMs }: Omit<LockInfo, 'sinceMs'>): Packed => ({
  name,
  holder,
  token,
  held: heldMs,
  waiters,
  left: leftMs,
})

function assertName(name: string): void {
  if (isName(name)) return
  const text = 'a lock name is 1 to 255 bytes of UTF-8 without control characters, and does not begin with { or @'
  throw new MoonmeshError('Invalid', text, { retryable: false })
}

function assertTime(what: string, ms: number, minMs: number, maxMs: number): void {
  if (ms >= minMs && ms <= maxMs) return
  throw new MoonmeshError('Invalid', `${what} must be between ${minMs} ms and ${maxMs / 3_600_000} h`, {
    retryable: false,
  })
}

function failed(what: string, name: string, outcome: Outcome): MoonmeshError {
  switch (outcome.status) {
    case 'overloaded':
      return new MoonmeshError('LimitExceeded', `${what} ${name}: too many ${outcome.what}`, { retryable: true })
    case 'stale-epoch':
    case 'session-expired':
    case 'stale-request':
    case 'aborted':
      return new MoonmeshError('Unavailable', `${what} ${name}: the session of this node ended meanwhile`, {
        retryable: true,
      })
    default:
      return new MoonmeshError('Internal', `${what} ${name}: unexpected outcome ${outcome.status}`)
  }
}
