// What programs do with the replicated state, on one node: processes that take locks and believe that they hold them, own names, write and
// read keys, and die. The beliefs are what K1 is about.

import type { KvCommand } from '../../cluster/kv/core/commands.ts'
import type { Names } from '../../cluster/names/names.ts'
import type { Command } from '../../cluster/state/core/commands.ts'
import type { Outcome } from '../../cluster/state/core/outcomes.ts'
import type { ClusterState } from '../../cluster/state/state.ts'
import { pack, unpack } from '../../runtime/base/msgpack.ts'
import type { KvAction, KvAnswer, KvOperation } from './checkers/kv.ts'
import type { SimFabric } from './sim-fabric.ts'
import type { Chance, World } from './world.ts'

export const LOCKS = ['l1', 'l2', 'l3']
export const NAMES = ['n1', 'n2', 'n3']
const NAMESPACE = 's'
/** Keys of a quarter of a minute: histories that are not too long to be explained. */
const KEY_SPAN_MS = 15_000

export interface ActorWorld {
  readonly world: World
  readonly operations: Set<KvOperation>
  readonly counts: Record<string, number>
  nextValue(): string
  /** Something went wrong where nobody waits for it. */
  broke(error: unknown): void
  /** Whether new work is begun. */
  readonly isBusy: boolean
}

interface Holding {
  readonly name: string
  readonly token: number
  /** By this node's clock. */
  readonly untilMs: number
}

export class Actor {
  readonly #owner: ActorWorld
  readonly #fabric: SimFabric
  readonly #state: ClusterState
  readonly #names: Names
  /** Names of the node alone. */
  readonly #locals: Map<string, string>
  readonly #chance: Chance
  readonly #node: string
  #n: number
  pid = ''
  readonly #held = new Map<string, Holding>()
  /** Declared lost: to be given back when the session is trusted again. */
  #lost: Holding[] = []
  readonly #versions = new Map<string, number>()
  completed = 0

  constructor(
    owner: ActorWorld,
    fabric: SimFabric,
    { state, names, locals }: { state: ClusterState; names: Names; locals: Map<string, string> },
    n: number,
  ) {
    this.#owner = owner
    this.#names = names
    this.#locals = locals
    this.#fabric = fabric
    this.#state = state
    this.#chance = owner.world.chance.fork()
    this.#node = fabric.name
    this.#n = n
    this.#rename()
    state.onSession((event) => {
      if (event.kind === 'suspended') {
        this.#lost.push(...this.#held.values())
        this.#held.clear()
      } else if (event.kind === 'ended') {
        this.#held.clear()
        this.#lost = []
      } else if (event.kind === 'resumed') {
        for (const { name, token } of this.#lost.splice(0)) void this.#release(name, token)
      }
    })
    state.onEvents((event) => {
      if (event.kind === 'lock-released' && this.#held.get(event.name)?.token === event.token) {
        this.#held.delete(event.name)
      }
    })
    this.#pause()
  }

  /** Locks that the process believes to hold at this moment. */
  holds(name: string): boolean {
    const holding = this.#held.get(name)
    return holding !== undefined && this.#state.isTrusted && this.#fabric.env.nowMs() < holding.untilMs
  }

  /** Dies, and another one takes its place. */
  die(): void {
    const { pid } = this
    this.#held.clear()
    this.#lost = []
    void this.#submit({ kind: 'proc-down', pids: [pid] }, Number.POSITIVE_INFINITY)
    for (const [name, owner] of this.#locals) if (owner === pid) this.#locals.delete(name)
    this.#names.exited(pid)
    this.#n += 100
    this.#rename()
  }

  #rename(): void {
    this.pid = `{${this.#node}@h|${this.#fabric.epoch.toString(36)}.${this.#n}}`
  }

  #pause(): void {
    this.#fabric.after(this.#chance.between(5, 600), () => {
      void this.#act().then(
        () => this.#pause(),
        (error: unknown) => this.#owner.broke(error),
      )
    })
  }

  async #act(): Promise<void> {
    if (!this.#owner.isBusy) return
    const dice = this.#chance.fraction()
    if (dice < 0.3) await this.#lock()
    else if (dice < 0.45) await this.#name()
    else if (dice < 0.47) this.die()
    else await this.#key()
    this.completed++
  }

  async #submit(command: Command, deadlineMs: number, signal?: AbortSignal): Promise<Outcome | 'unknown' | undefined> {
    try {
      const outcome = await this.#state.submit(command, { deadlineMs, ...(signal === undefined ? {} : { signal }) })
      this.#count(`${command.kind} ${outcome.status}`)
      return outcome
    } catch (error) {
      const { kind, details } = error as { kind?: string; details?: { ambiguous?: boolean } }
      if (kind === undefined) throw error
      this.#count(`${command.kind} ${kind}`)
      return details?.ambiguous === true ? 'unknown' : undefined
    }
  }

  #count(what: string): void {
    this.#owner.counts[what] = (this.#owner.counts[what] ?? 0) + 1
  }

  async #lock(): Promise<void> {
    const name = this.#chance.pick(LOCKS)
    if (this.#held.has(name)) return
    const waitMs = this.#chance.pick([0, 2000, 8000])
    const ttlMs = this.#chance.pick([0, 0, 3000])
    const { env } = this.#fabric
    const askedMs = env.nowMs()
    const { pid } = this
    const acquire = { kind: 'lock-acquire', name, pid, waitMs, ttlMs } as const
    const outcome = await this.#submit(acquire, waitMs + 5000)
    if (outcome === undefined || outcome === 'unknown' || outcome.status !== 'granted' || pid !== this.pid) return
    // The lease began after it was asked for, and may have been waited for.
    const untilMs = ttlMs === 0 ? Number.POSITIVE_INFINITY : askedMs + 0.9 * ttlMs
    this.#held.set(name, { name, token: outcome.token, untilMs })
    if (this.#chance.chance(0.6)) await this.#write(`fenced.${name}`, { lock: name, token: outcome.token })
    // Now and then for longer than a session lives without its node.
    await this.#sleep(this.#chance.chance(0.15) ? this.#chance.between(10_000, 40_000) : this.#chance.between(0, 3000))
    // Late writes with the token of before, as of a process that stood still.
    if (this.#chance.chance(0.3)) {
      const { token } = outcome
      this.#fabric.after(this.#chance.between(0, 5000), () => void this.#write(`fenced.${name}`, { lock: name, token }))
    }
    if (this.pid !== pid) return
    this.#held.delete(name)
    await this.#release(name, outcome.token)
  }

  async #release(name: string, token: number): Promise<void> {
    await this.#submit({ kind: 'lock-release', name, pid: this.pid, token }, Number.POSITIVE_INFINITY)
  }

  async #name(): Promise<void> {
    const name = this.#chance.pick(NAMES)
    const { pid } = this
    const scope = this.#chance.pick(['consistent', 'strong'] as const)
    const { signal } = new AbortController()
    const dice = this.#chance.fraction()
    if (dice < 0.25) return this.#local(name, pid)
    const unregister = (): Promise<boolean> =>
      this.#tried(`unregister ${scope}`, this.#names.unregister({ name, scope, caller: pid, signal }))
    if (dice > 0.9) return void (await unregister())
    const register = this.#names.register({ name, pid, scope, caller: pid, signal })
    if (!(await this.#tried(`register ${scope}`, register)) || this.#chance.chance(0.1)) return
    await this.#sleep(this.#chance.between(0, 1500))
    if (this.pid === pid) await unregister()
  }

  /** As the node does it: what is known of larger scopes keeps others out. */
  #local(name: string, pid: string): void {
    const holder = this.#locals.get(name)
    if (holder !== undefined) {
      if (holder === pid) this.#locals.delete(name)
      return
    }
    const shared = this.#names.holder(name)
    if (!this.#names.isReady(name) || (shared !== undefined && shared !== pid)) return
    this.#locals.set(name, pid)
  }

  async #tried(what: string, work: Promise<unknown>): Promise<boolean> {
    try {
      await work
      this.#count(what)
      return true
    } catch (error) {
      const { kind } = error as { kind?: string }
      if (kind === undefined) throw error
      this.#count(`${what} ${kind}`)
      return false
    }
  }

  async #key(): Promise<void> {
    const span = Math.floor(this.#owner.world.nowMs / KEY_SPAN_MS)
    const key = `k${this.#chance.int(3)}.${span}`
    const invokedAtMs = this.#owner.world.nowMs
    const known = this.#versions.get(key)
    const dice = this.#chance.fraction()
    const ifVersion = this.#chance.chance(0.4) ? (known ?? 0) : undefined
    const condition = ifVersion === undefined ? {} : { ifVersion }
    const action: KvAction =
      dice < 0.45
        ? { kind: 'get' }
        : dice < 0.85
          ? { kind: 'put', value: this.#owner.nextValue(), ...condition }
          : { kind: 'delete', ...(ifVersion === 0 ? {} : condition) }
    const { operations } = this.#owner
    // Until there is an answer; it stays when the node crashes meanwhile.
    const unknown: KvOperation = {
      client: this.pid,
      key,
      action,
      answer: { kind: 'unknown' },
      invokedAtMs,
      answeredAtMs: Number.POSITIVE_INFINITY,
    }
    operations.add(unknown)
    const answer = action.kind === 'get' ? await this.#get(key) : await this.#change(key, action)
    if (answer?.kind === 'unknown') return
    operations.delete(unknown)
    if (answer === undefined) return
    if ('version' in answer && answer.version !== undefined) this.#versions.set(key, answer.version)
    operations.add({ ...unknown, answer, answeredAtMs: this.#owner.world.nowMs })
  }

  async #get(key: string): Promise<KvAnswer | undefined> {
    try {
      const bytes = await this.#state.read('get', key, { deadlineMs: 5000 })
      const [value, version] = unpack(bytes) as [string | null, number]
      this.#count('get')
      return value === null ? { kind: 'absent' } : { kind: 'found', value, version }
    } catch (error) {
      if ((error as { kind?: string }).kind === undefined) throw error
      this.#count('get failed')
      return undefined
    }
  }

  async #change(key: string, action: Exclude<KvAction, { kind: 'get' }>): Promise<KvAnswer | undefined> {
    const { ifVersion } = action
    const command: KvCommand =
      action.kind === 'delete'
        ? { kind: 'delete', namespace: NAMESPACE, key, ifVersion, fence: undefined }
        : {
            kind: 'put',
            namespace: NAMESPACE,
            put: { key, value: new TextEncoder().encode(action.value), ttlMs: 0, keepsExpiry: false },
            condition: ifVersion === undefined ? 'none' : ifVersion === 0 ? 'absent' : { version: ifVersion },
            fence: undefined,
          }
    const outcome = await this.#submit({ kind: 'kv', command }, 5000)
    if (outcome === 'unknown') return { kind: 'unknown' }
    if (outcome === undefined || outcome.status !== 'kv') return undefined
    const { result } = outcome
    if (!result.ok) return { kind: 'refused', ...(result.version === undefined ? {} : { version: result.version }) }
    return result.version === undefined ? { kind: 'absent' } : { kind: 'written', version: result.version }
  }

  async #write(key: string, fence: { lock: string; token: number }): Promise<void> {
    const value = new TextEncoder().encode(this.#owner.nextValue())
    const put = { key, value, ttlMs: 0, keepsExpiry: false }
    await this.#submit(
      { kind: 'kv', command: { kind: 'put', namespace: NAMESPACE, put, condition: 'none', fence } },
      3000,
    )
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#fabric.after(ms, resolve)
    })
  }
}

/** What actors ask of the store. */
export function addQueries(state: ClusterState): void {
  state.addQuery('get', ({ store }, key) => {
    const entry = store.get(NAMESPACE, key as string)
    return pack(entry === undefined ? [null, 0] : [new TextDecoder().decode(entry.value), entry.version])
  })
}
