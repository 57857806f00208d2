// Nodes in one program, joined by a fabric that delivers when told: what services of the cluster stand on, without sockets.

import type { Fabric, Lane, LaneHandler, Run } from '../../cluster/fabric.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { FakeEnv } from './fake-env.ts'

type Refusal = ReturnType<Fabric['send']>

interface Sent {
  readonly from: string
  readonly to: string
  /** A method, or a lane. */
  readonly what: string
  readonly bytes: Uint8Array
}

export class FakeNet {
  readonly env: FakeEnv
  readonly nodes = new Map<string, FakeFabric>()
  readonly #waiting: (() => void)[] = []
  readonly #timers: { dueMs: number; run: () => void }[] = []
  /** Everything that was accepted, in order. */
  readonly sent: Sent[] = []
  /** Says why something is not taken. */
  refuse: (message: Omit<Sent, 'bytes'>) => Refusal = () => undefined

  constructor(env: FakeEnv) {
    this.env = env
  }

  add(name: string): FakeFabric {
    const node = new FakeFabric(this, name)
    this.nodes.set(name, node)
    return node
  }

  /** A session between two nodes begins. */
  link(a: string, b: string): void {
    this.nodes.get(a)?.up(b)
    this.nodes.get(b)?.up(a)
  }

  cut(a: string, b: string): void {
    this.nodes.get(a)?.down(b)
    this.nodes.get(b)?.down(a)
  }

  later(run: () => void): void {
    this.#waiting.push(run)
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { dueMs: this.env.nowMs() + delayMs, run }
    this.#timers.push(timer)
    return () => {
      const at = this.#timers.indexOf(timer)
      if (at >= 0) this.#timers.splice(at, 1)
    }
  }

  /** Until nothing is on its way; time stands still. */
  async settle(): Promise<void> {
    for (;;) {
      for (let run = this.#waiting.shift(); run !== undefined; run = this.#waiting.shift()) run()
      for (let i = 0; i < 5; i++) await Promise.resolve()
      if (this.#waiting.length === 0) return
    }
  }

  /** Lets time pass, with whatever becomes due. */
  async pass(ms: number): Promise<void> {
    const endMs = this.env.nowMs() + ms
    for (;;) {
      await this.settle()
      const next = this.#timers.toSorted((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined || next.dueMs > endMs) break
      this.env.advance(Math.max(0, next.dueMs - this.env.nowMs()))
      this.#timers.splice(this.#timers.indexOf(next), 1)
      next.run()
    }
    this.env.advance(endMs - this.env.nowMs())
    await this.settle()
  }
}

export class FakeFabric implements Fabric {
  readonly name: string
  readonly epoch = 1
  readonly #net: FakeNet
  readonly #links = new Map<string, Run>()
  readonly #listeners = new Set<(event: { kind: 'up' | 'down'; node: Run }) => void>()
  readonly #notified = new Map<string, (from: Run, body: Uint8Array) => void>()
  readonly #served = new Map<string, Parameters<Fabric['serve']>[1]>()
  readonly #lanes = new Map<Lane, LaneHandler>()
  readonly logged: string[] = []

  constructor(net: FakeNet, name: string) {
    this.#net = net
    this.name = name
  }

  get env(): FakeEnv {
    return this.#net.env
  }

  after = (delayMs: number, run: () => void): (() => void) => this.#net.after(delayMs, run)
  live = (): [] => []
  onLive = () => () => {}
  linked = (): readonly Run[] => [...this.#links.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  isLinked = ({ name }: Run): boolean => this.#links.has(name)
  onLink: Fabric['onLink'] = (listener) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  up(name: string): void {
    const node = { name, epoch: 1 }
    this.#links.set(name, node)
    for (const listener of this.#listeners) listener({ kind: 'up', node })
  }

  down(name: string): void {
    const node = this.#links.get(name)
    this.#links.delete(name)
    if (node !== undefined) for (const listener of this.#listeners) listener({ kind: 'down', node })
  }

  request: Fabric['request'] = async ({ name }, method, body) => {
    const refusal = this.#net.refuse({ from: this.name, to: name, what: method })
    if (refusal !== undefined) throw new MoonmeshError('Unavailable', refusal, { retryable: true })
    const handler = this.#net.nodes.get(name)?.handler(method)
    this.#net.sent.push({ from: this.name, to: name, what: method, bytes: body })
    if (handler === undefined) throw new MoonmeshError('NotFound', `no method ${method}`)
    const context = { peer: this.name, epoch: 1, deadlineMs: Number.POSITIVE_INFINITY, signal: NEVER }
    return handler(body, context)
  }

  handler(method: string): Parameters<Fabric['serve']>[1] | undefined {
    return this.#served.get(method)
  }

  serve: Fabric['serve'] = (method, handler) => {
    this.#served.set(method, handler)
    return () => this.#served.delete(method)
  }

  notify: Fabric['notify'] = ({ name }, method, body) =>
    this.#deliver(name, method, body, (to, from) => to.#notified.get(method)?.(from, body))

  onNotify: Fabric['onNotify'] = (method, handler) => {
    this.#notified.set(method, handler)
    return () => this.#notified.delete(method)
  }

  send: Fabric['send'] = ({ name }, lane, bytes) =>
    this.#deliver(name, lane, bytes, (to, from) => void to.#lanes.get(lane)?.(from, bytes))

  onMessage: Fabric['onMessage'] = (lane, handler) => {
    this.#lanes.set(lane, handler)
    return () => this.#lanes.delete(lane)
  }

  #deliver(name: string, what: string, bytes: Uint8Array, hand: (to: FakeFabric, from: Run) => void): Refusal {
    if (!this.#links.has(name)) return 'unreachable'
    const refusal = this.#net.refuse({ from: this.name, to: name, what })
    if (refusal !== undefined) return refusal
    this.#net.sent.push({ from: this.name, to: name, what, bytes })
    this.#net.later(() => {
      const to = this.#net.nodes.get(name)
      const from = to?.linked().find((node) => node.name === this.name)
      if (to !== undefined && from !== undefined) hand(to, from)
    })
    return undefined
  }

  onRoom = () => () => {}
  gossip = (): void => {}
  onGossip = () => () => {}
  onExchange = () => () => {}
  setTag = (): void => {}
  log: Fabric['log'] = (level, event) => void this.logged.push(`${level} ${event}`)
}

const NEVER = new AbortController().signal
