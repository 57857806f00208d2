// Nodes that hear of each other at once or not at all, for services that stand on a fabric. What is sent lies in a queue until `settle`.

import type { Fabric, Lane, LiveEvent, LiveNode, Run } from '../../../cluster/fabric.ts'
import type { RequestHandler } from '../../../cluster/mesh/mesh.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { FakeEnv } from '../../tools/fake-env.ts'

interface Timer {
  readonly atMs: number
  readonly run: () => void
}

export class FakeNetwork {
  readonly env = new FakeEnv()
  readonly nodes = new Map<string, FakeFabric>()
  /** What the others see of a node. */
  readonly tags = new Map<string, ReadonlyMap<string, string>>()
  /** Nothing of gossip arrives. */
  losesGossip = false
  readonly #links = new Set<string>()
  #queue: (() => void)[] = []
  readonly #timers = new Set<Timer>()

  add(name: string): FakeFabric {
    const fabric = new FakeFabric(this, name)
    this.nodes.set(name, fabric)
    return fabric
  }

  link(a: string, b: string): void {
    this.#links.add(`${a} ${b}`).add(`${b} ${a}`)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const node = { name: to, epoch: 1, tags: this.tags.get(to) ?? new Map<string, string>() }
      this.nodes.get(from)?.liveChanged({ kind: 'joined', node })
      this.nodes.get(from)?.linkChanged({ kind: 'up', node })
    }
  }

  cut(a: string, b: string): void {
    this.#links.delete(`${a} ${b}`)
    this.#links.delete(`${b} ${a}`)
    this.nodes.get(a)?.linkChanged({ kind: 'down', node: { name: b, epoch: 1 } })
    this.nodes.get(b)?.linkChanged({ kind: 'down', node: { name: a, epoch: 1 } })
  }

  isLinked(a: string, b: string): boolean {
    return this.#links.has(`${a} ${b}`)
  }

  post(run: () => void): void {
    this.#queue.push(run)
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.env.now + delayMs, run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  get timerCount(): number {
    return this.#timers.size
  }

  /** Everything that is under way arrives. Promises of the disk get their turns. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 20; quiet++) {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        quiet = 0
        next()
      }
      await new Promise((done) => setImmediate(done))
    }
  }

  /** Time passes, one due timer after the other. */
  async pass(ms: number): Promise<void> {
    const endMs = this.env.now + ms
    for (;;) {
      const [due] = [...this.#timers].sort((a, b) => a.atMs - b.atMs)
      if (due === undefined || due.atMs > endMs) break
      this.#timers.delete(due)
      this.env.advance(Math.max(0, due.atMs - this.env.now))
      due.run()
      await this.settle()
    }
    this.env.advance(endMs - this.env.now)
  }
}

export class FakeFabric implements Fabric {
  readonly name: string
  readonly epoch = 1
  readonly env: FakeEnv
  readonly methods = new Map<string, RequestHandler>()
  /** Answers of `send` instead of taking it, by lane. */
  readonly refusing = new Map<Lane, 'queue_full' | 'not_connected'>()
  readonly told: { event: string; fields: Record<string, string | number> }[] = []
  readonly #network: FakeNetwork
  readonly #live = new Map<string, LiveNode>()
  readonly #linked = new Map<string, Run>()
  readonly #liveListeners = new Set<(event: LiveEvent) => void>()
  readonly #linkListeners = new Set<(event: { kind: 'up' | 'down'; node: Run }) => void>()
  readonly #roomListeners = new Set<(to: string, lane: Lane) => void>()
  readonly #lanes = new Map<Lane, (from: Run, bytes: Uint8Array) => unknown>()
  #heard: ((payload: Uint8Array, from: string | undefined) => void) | undefined
  #exchange: (() => readonly Uint8Array[]) | undefined

  constructor(network: FakeNetwork, name: string) {
    this.#network = network
    this.env = network.env
    this.name = name
  }

  after = (delayMs: number, run: () => void): (() => void) => this.#network.after(delayMs, run)
  live = (): LiveNode[] => [...this.#live.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  linked = (): Run[] => [...this.#linked.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  isLinked = ({ name }: Run): boolean => this.#linked.has(name)
  onLive = (listener: (event: LiveEvent) => void) => added(this.#liveListeners, listener)
  onLink = (listener: (event: { kind: 'up' | 'down'; node: Run }) => void) => added(this.#linkListeners, listener)
  onRoom = (listener: (to: string, lane: Lane) => void) => added(this.#roomListeners, listener)
  notify = (): never => unused()
  onNotify = (): never => unused()
  setTag = (): never => unused()

  send(to: Run, lane: Lane, bytes: Uint8Array): 'queue_full' | 'not_connected' | undefined {
    const refusal = this.refusing.get(lane) ?? (this.#linked.has(to.name) ? undefined : 'not_connected')
    if (refusal !== undefined) return refusal
    this.#network.post(() => {
      if (!this.#network.isLinked(this.name, to.name)) return
      this.#network.nodes.get(to.name)?.received({ name: this.name, epoch: 1 }, lane, bytes)
    })
    return undefined
  }

  request(to: Run, method: string, body: Uint8Array, { signal }: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const handler = this.#network.nodes.get(to.name)?.methods.get(method)
    if (!this.#linked.has(to.name)) return Promise.reject(new MoonmeshError('Unavailable', `${to.name} is not linked`))
    if (handler === undefined) return Promise.reject(new MoonmeshError('NotFound', `no method ${method}`))
    return new Promise((resolve, reject) => {
      const ending = new AbortController()
      const down = this.onLink(({ kind, node }) => {
        if (kind !== 'down' || node.name !== to.name) return
        ending.abort()
        reject(new MoonmeshError('Unavailable', `${to.name} is down`, { retryable: true }))
      })
      signal?.addEventListener('abort', () => {
        ending.abort()
        reject(new MoonmeshError('Canceled', 'cancelled'))
      })
      const context = { peer: this.name, epoch: 1, deadlineMs: Number.POSITIVE_INFINITY, signal: ending.signal }
      this.#network.post(() => {
        Promise.resolve()
          .then(() => handler(body, context))
          .then((answer) => this.#network.post(() => resolve(answer)), reject)
          .finally(down)
      })
    })
  }

  serve(method: string, handler: RequestHandler): () => void {
    this.methods.set(method, handler)
    return () => this.methods.delete(method)
  }

  onMessage(lane: Lane, handler: (from: Run, bytes: Uint8Array) => unknown): () => void {
    this.#lanes.set(lane, handler)
    return () => this.#lanes.delete(lane)
  }

  gossip(_topic: string, payload: Uint8Array): void {
    if (this.#network.losesGossip) return
    for (const { name } of this.linked()) {
      this.#network.post(() => {
        if (this.#network.isLinked(this.name, name)) this.#network.nodes.get(name)?.heard(payload, undefined)
      })
    }
  }

  onGossip(_topic: string, handler: (payload: Uint8Array, from: string | undefined) => void): () => void {
    this.#heard = handler
    return () => {
      this.#heard = undefined
    }
  }

  onExchange(_topic: string, make: () => readonly Uint8Array[]): () => void {
    this.#exchange = make
    return () => {
      this.#exchange = undefined
    }
  }

  readonly converged = (): void => {}

  log = (_level: string, event: string, fields: Record<string, string | number>): void => {
    this.told.push({ event, fields })
  }

  // ---- for tests

  received(from: Run, lane: Lane, bytes: Uint8Array): void {
    this.#lanes.get(lane)?.(from, bytes)
  }

  heard(payload: Uint8Array, from: string | undefined): void {
    this.#heard?.(payload, from)
  }

  /** What this node would tell in an exchange of full states. */
  exchangeFrames(): readonly Uint8Array[] {
    return this.#exchange?.() ?? []
  }

  room(to: string, lane: Lane): void {
    for (const listener of this.#roomListeners) listener(to, lane)
  }

  liveChanged(event: LiveEvent): void {
    if (event.kind === 'left') this.#live.delete(event.node.name)
    else this.#live.set(event.node.name, event.node)
    for (const listener of this.#liveListeners) listener(event)
  }

  linkChanged({ kind, node: { name, epoch } }: { kind: 'up' | 'down'; node: Run }): void {
    if (kind === 'up') this.#linked.set(name, { name, epoch })
    else if (!this.#linked.delete(name)) return
    for (const listener of this.#linkListeners) listener({ kind, node: { name, epoch } })
  }
}

function added<T>(set: Set<T>, value: T): () => void {
  set.add(value)
  return () => set.delete(value)
}

function unused(): never {
  throw new Error('the service under test does not use this')
}
