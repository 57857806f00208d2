// A few nodes in one program, for the services that stand on the fabric: messages arrive in later turns of a clock that the test moves.

import type { Fabric, GossipTopic, Lane, LaneHandler, LiveEvent, LiveNode, Run } from '../../cluster/fabric.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { FakeEnv } from './fake-env.ts'

type LinkEvent = { readonly kind: 'up' | 'down'; readonly node: Run }
type Serve = Parameters<Fabric['serve']>[1]

interface Due {
  readonly atMs: number
  readonly order: number
  run: (() => void) | undefined
}

export class FabricNet {
  readonly env = new FakeEnv()
  readonly nodes = new Map<string, FakeFabric>()
  /** Pairs of nodes that do not reach each other, `a b`. */
  readonly cuts = new Set<string>()
  /** Gossip is told or lost. */
  losesGossip = false
  #due: Due[] = []
  #order = 0

  join(name: string, epoch = 1): FakeFabric {
    const node = new FakeFabric(this, name, epoch)
    this.nodes.set(name, node)
    for (const other of this.nodes.values()) {
      if (other === node) continue
      other.saw('joined', node)
      node.saw('joined', other)
    }
    return node
  }

  /** The others are told that it is gone, and nothing reaches it any more. */
  crash(name: string): void {
    const gone = this.nodes.get(name) as FakeFabric
    this.nodes.delete(name)
    for (const other of this.nodes.values()) other.saw('left', gone)
  }

  /** What was on its way is lost, and both sides hear that the session is over. */
  cut(a: string, b: string): void {
    this.cuts.add(`${a} ${b}`)
    this.#link('down', a, b)
  }

  heal(a: string, b: string): void {
    this.cuts.delete(`${a} ${b}`)
    this.#link('up', a, b)
  }

  #link(kind: 'up' | 'down', a: string, b: string): void {
    const [one, other] = [this.nodes.get(a), this.nodes.get(b)]
    if (one === undefined || other === undefined) return
    one.sessionWith(kind, other)
    other.sessionWith(kind, one)
  }

  reach(from: string, to: string): FakeFabric | undefined {
    // As with the mesh, nobody is a peer of its own.
    if (!this.nodes.has(from) || from === to) return undefined
    return this.cuts.has(`${from} ${to}`) || this.cuts.has(`${to} ${from}`) ? undefined : this.nodes.get(to)
  }

  after(delayMs: number, run: () => void): () => void {
    const due: Due = { atMs: this.env.nowMs() + delayMs, order: this.#order++, run }
    this.#due.push(due)
    return () => {
      due.run = undefined
    }
  }

  /** Moves the clock; promises settle between its steps. */
  async advance(ms: number): Promise<void> {
    const endMs = this.env.nowMs() + ms
    for (;;) {
      for (let i = 0; i < 20; i++) await Promise.resolve()
      this.#due.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      const [next] = this.#due
      if (next === undefined || next.atMs > endMs) break
      this.#due.shift()
      this.env.advance(Math.max(0, next.atMs - this.env.nowMs()))
      next.run?.()
    }
    this.env.advance(endMs - this.env.nowMs())
  }
}

export class FakeFabric implements Fabric {
  readonly name: string
  readonly epoch: number
  readonly logs: string[] = []
  readonly tags = new Map<string, string>()
  formation: string | undefined
  readonly #net: FabricNet
  readonly #live = new Map<string, LiveNode>()
  readonly #liveListeners = new Set<(event: LiveEvent) => void>()
  readonly #linkListeners = new Set<(event: LinkEvent) => void>()
  readonly #served = new Map<string, Serve>()
  readonly #notified = new Map<string, (from: Run, body: Uint8Array) => void>()
  readonly #lanes = new Map<Lane, LaneHandler>()
  readonly #gossip = new Map<GossipTopic, (payload: Uint8Array, from: string | undefined) => void>()
  readonly #exchanges = new Map<GossipTopic, () => readonly Uint8Array[]>()

  constructor(net: FabricNet, name: string, epoch: number) {
    this.#net = net
    this.name = name
    this.epoch = epoch
  }

  get env(): FakeEnv {
    return this.#net.env
  }

  after(delayMs: number, run: () => void): () => void {
    return this.#net.after(delayMs, run)
  }

  live(): readonly LiveNode[] {
    return [...this.#live.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  onLive(listener: (event: LiveEvent) => void): () => void {
    return added(this.#liveListeners, listener)
  }

  linked(): readonly Run[] {
    return this.live().filter(({ name }) => this.#net.reach(this.name, name) !== undefined)
  }

  isLinked({ name, epoch }: Run): boolean {
    return this.linked().some((node) => node.name === name && node.epoch === epoch)
  }

  onLink(listener: (event: LinkEvent) => void): () => void {
    return added(this.#linkListeners, listener)
  }

  async request(
    to: Run,
    method: string,
    body: Uint8Array,
    { deadlineMs = 10_000, signal = new AbortController().signal }: Parameters<Fabric['request']>[3] = {},
  ): Promise<Uint8Array> {
    const peer = this.#net.reach(this.name, to.name)
    if (peer === undefined || (to.epoch !== 0 && to.epoch !== peer.epoch)) {
      throw new MoonmeshError('Unavailable', `node down: ${to.name}`, { retryable: true })
    }
    await new Promise<void>((done) => this.after(1, done))
    const handler = peer.#served.get(method)
    if (handler === undefined) throw new MoonmeshError('NotFound', `no method ${method}`)
    const context = { peer: this.name, epoch: this.epoch, deadlineMs: this.env.nowMs() + deadlineMs, signal }
    let answer: Uint8Array
    try {
      answer = await handler(body, context)
    } catch (error) {
      throw travelled(method, error)
    }
    await new Promise<void>((done) => this.after(1, done))
    if (this.#net.reach(this.name, to.name) !== peer) throw new MoonmeshError('Unavailable', `node down: ${to.name}`)
    return answer
  }

  serve(method: string, handler: Serve): () => void {
    return placed(this.#served, method, handler)
  }

  notify(to: Run, method: string, body: Uint8Array): undefined {
    this.after(1, () => {
      const peer = this.#net.reach(this.name, to.name)
      if (peer !== undefined) peer.#notified.get(method)?.({ name: this.name, epoch: this.epoch }, body)
    })
  }

  onNotify(method: string, handler: (from: Run, body: Uint8Array) => void): () => void {
    return placed(this.#notified, method, handler)
  }

  send(to: Run, lane: Lane, bytes: Uint8Array): undefined {
    this.after(1, () => {
      const peer = this.#net.reach(this.name, to.name)
      if (peer !== undefined) void peer.#lanes.get(lane)?.({ name: this.name, epoch: this.epoch }, bytes)
    })
  }

  onMessage(lane: Lane, handler: LaneHandler): () => void {
    return placed(this.#lanes, lane, handler)
  }

  onRoom(): () => void {
    return () => {}
  }

  gossip(topic: GossipTopic, payload: Uint8Array): void {
    if (this.#net.losesGossip) return
    for (const name of this.#net.nodes.keys()) {
      if (name === this.name) continue
      this.after(1, () => this.#net.reach(this.name, name)?.hear(topic, payload))
    }
  }

  onGossip(topic: GossipTopic, handler: (payload: Uint8Array, from: string | undefined) => void): () => void {
    return placed(this.#gossip, topic, handler)
  }

  onExchange(topic: GossipTopic, make: () => readonly Uint8Array[]): () => void {
    return placed(this.#exchanges, topic, make)
  }

  /** An exchange of full states with another node. */
  exchange(topic: GossipTopic, other: FakeFabric): void {
    const [mine, theirs] = [this, other].map((node) => node.#exchanges.get(topic)?.() ?? [])
    for (const frame of mine ?? []) other.#gossip.get(topic)?.(frame, this.name)
    for (const frame of theirs ?? []) this.#gossip.get(topic)?.(frame, other.name)
  }

  setTag(key: string, value: string | undefined): void {
    if (value === undefined) this.tags.delete(key)
    else this.tags.set(key, value)
  }

  readonly log: Fabric['log'] = (_level, event, fields) => {
    this.logs.push([event, ...Object.values(fields)].join(' '))
  }

  /** What gossip says of another node. */
  saw(kind: 'joined' | 'left', { name, epoch, tags }: FakeFabric, reason?: LiveEvent['reason']): void {
    const node = { name, epoch, tags }
    if (kind === 'joined') this.#live.set(name, node)
    else this.#live.delete(name)
    for (const listener of this.#liveListeners) listener(reason === undefined ? { kind, node } : { kind, node, reason })
    for (const listener of this.#linkListeners) listener({ kind: kind === 'joined' ? 'up' : 'down', node })
  }

  /** The mesh has a session with this node, or has it no more. */
  sessionWith(kind: 'up' | 'down', { name, epoch }: FakeFabric): void {
    for (const listener of this.#linkListeners) listener({ kind, node: { name, epoch } })
  }

  /** A frame of gossip as it comes off the wire. */
  hear(topic: GossipTopic, payload: Uint8Array): void {
    this.#gossip.get(topic)?.(payload, undefined)
  }
}

function added<T>(set: Set<T>, value: T): () => void {
  set.add(value)
  return () => set.delete(value)
}

function placed<K, V>(map: Map<K, V>, key: K, value: V): () => void {
  map.set(key, value)
  return () => {
    if (map.get(key) === value) map.delete(key)
  }
}

/** A handler's failure as the mesh brings it: of anything but a MoonmeshError nothing is said, and whether to try again is not. */
function travelled(method: string, error: unknown): MoonmeshError {
  if (!(error instanceof MoonmeshError)) return new MoonmeshError('Internal', `${method} failed`)
  const { kind, message, details } = error
  return new MoonmeshError(kind, message, {
    ...(kind === 'Unavailable' || kind === 'Timeout' ? { retryable: true } : {}),
    ...(details === undefined ? {} : { details }),
  })
}
