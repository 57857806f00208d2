// The fabric of a simulated node: requests over a network that fails, delays and repeats, links and gossip that learn late of what
// happened, and a node that can stand still.

import type { Fabric, GossipTopic, Lane, LaneHandler, LiveEvent, LiveNode, Run } from '../../cluster/fabric.ts'
import type { RequestHandler } from '../../cluster/mesh/mesh.ts'
import type { Env } from '../../runtime/base/env.ts'
import type { MoonmeshError } from '../../runtime/base/errors.ts'
import type { Network } from './network.ts'
import type { ClockOptions, World } from './world.ts'

export interface FabricRequest {
  /** Empty: a notification. */
  readonly id: number
  readonly epoch: number
  readonly from: Run
  readonly method: string
  readonly body: Uint8Array
  readonly remainingMs: number
}

export type FabricReply =
  | { readonly ok: true; readonly body: Uint8Array }
  | {
      readonly ok: false
      readonly kind: string
      readonly message: string
      readonly details?: Record<string, unknown> | undefined
    }

interface SimFabricOptions {
  readonly name: string
  readonly epoch: number
  readonly clock: ClockOptions
  readonly Failure: typeof MoonmeshError
  /** Of requests that arrive once more, long after, though they were taken or lost. */
  readonly repeats: number
}

type AnyNetwork = Network<never, FabricRequest, FabricReply>

/** What the world tells a fabric of others. */
interface View {
  live: LiveNode[]
  linked: Run[]
}

/** Methods of what is no request. */
const LANE = '\0lane '
const GOSSIP = '\0gossip '
const NOTHING = new Uint8Array()

export class SimFabric {
  readonly name: string
  readonly epoch: number
  readonly env: Env
  readonly view: View = { live: [], linked: [] }
  readonly #world: World
  readonly #network: AnyNetwork
  readonly #options: SimFabricOptions
  readonly #rate: number
  readonly #methods = new Map<string, RequestHandler>()
  readonly #oneWays = new Map<string, (from: Run, body: Uint8Array) => void>()
  readonly #liveListeners = new Set<(event: LiveEvent) => void>()
  readonly #linkListeners = new Set<(event: { kind: 'up' | 'down'; node: Run }) => void>()
  readonly #lanes = new Map<Lane, LaneHandler>()
  readonly #gossip = new Map<GossipTopic, (payload: Uint8Array, from: string | undefined) => void>()
  /** By receiver and lane: what is on its way, one message after the other. */
  readonly #streams = new Map<string, { lane: Lane; to: Run; session: number; next: number; queue: Uint8Array[] }>()
  /** Sessions with others, counted. */
  #sessions = 0
  /** By sender, lane and session: the number of the last message that came. */
  readonly #came = new Map<string, number>()
  isRunning = true
  frozenUntilMs = 0
  #inbox: (() => void)[] = []
  onLog: (event: string) => void = () => {}
  /** How many messages came, by what they ask for. */
  readonly received = new Map<string, number>()

  constructor(world: World, network: AnyNetwork, options: SimFabricOptions) {
    this.name = options.name
    this.epoch = options.epoch
    this.env = world.env(options.clock)
    this.#rate = options.clock.rate ?? 1
    this.#world = world
    this.#network = network
    this.#options = options
    network.attach(this.name, {
      packet: () => {},
      request: (_from, request, reply) => this.later(() => this.#serve(request, reply)),
    })
  }

  get isFrozen(): boolean {
    return this.#world.nowMs < this.frozenUntilMs
  }

  stop(): void {
    this.isRunning = false
    this.#network.detach(this.name)
  }

  freeze(durationMs: number): void {
    if (this.isFrozen) return
    this.frozenUntilMs = this.#world.nowMs + durationMs
    this.#world.after(durationMs, () => {
      this.frozenUntilMs = 0
      const inbox = this.#inbox
      this.#inbox = []
      for (const act of inbox) this.later(act)
    })
  }

  /** Now, after the freeze, or never. */
  later(act: () => void): void {
    if (!this.isRunning) return
    if (this.isFrozen) this.#inbox.push(act)
    else act()
  }

  /** What gossip and the mesh know from now on. */
  look(view: View): void {
    const before = { ...this.view }
    Object.assign(this.view, view)
    if (isSame(before.linked, view.linked) && isSame(before.live, view.live)) return
    this.later(() => {
      for (const node of missing(before.linked, view.linked)) this.#link('down', node)
      for (const node of missing(view.linked, before.linked)) this.#link('up', node)
      for (const node of missing(before.live, view.live)) this.#live('left', node)
      for (const node of missing(view.live, before.live)) this.#live('joined', node)
    })
  }

  // What follows is of `Fabric`.

  after(delayMs: number, run: () => void): () => void {
    let isOver = false
    // A little late: what is early by a rounding error would be asked for again and again at the same moment.
    this.#world.after(delayMs / this.#rate + 0.001, () =>
      this.later(() => {
        if (!isOver) run()
      }),
    )
    return () => {
      isOver = true
    }
  }

  live(): readonly LiveNode[] {
    return this.view.live
  }

  linked(): readonly Run[] {
    return this.view.linked
  }

  isLinked({ name, epoch }: Run): boolean {
    return this.view.linked.some((each) => each.name === name && each.epoch === epoch)
  }

  onLive(listener: (event: LiveEvent) => void): () => void {
    return added(this.#liveListeners, listener)
  }

  onLink(listener: (event: { kind: 'up' | 'down'; node: Run }) => void): () => void {
    return added(this.#linkListeners, listener)
  }

  serve(method: string, handler: RequestHandler): () => void {
    this.#methods.set(method, handler)
    return () => {}
  }

  onNotify(method: string, handler: (from: Run, body: Uint8Array) => void): () => void {
    this.#oneWays.set(method, handler)
    return () => {}
  }

  request(to: Run, method: string, body: Uint8Array, options: { deadlineMs?: number } = {}): Promise<Uint8Array> {
    const { Failure, repeats } = this.#options
    const remainingMs = options.deadlineMs ?? 10_000
    return new Promise((resolve, reject) => {
      if (!this.view.linked.some(({ name }) => name === to.name)) {
        return reject(new Failure('NotFound', `no session with ${to.name}`))
      }
      const request = { id: 1, epoch: to.epoch, from: this, method, body: body.slice(), remainingMs }
      const again = this.#world.chance.chance(repeats) ? this.#world.chance.between(1, 8000) : undefined
      const done = (reply: FabricReply | undefined): void => {
        // The mesh brings a request once: what was refused does not come again later, to be taken then.
        if (again !== undefined && reply?.ok !== false) this.#world.after(again, () => this.#repeat(to.name, request))
        this.later(() => {
          if (reply === undefined) return reject(new Failure('Unavailable', `${to.name} is down or silent`))
          if (reply.ok) resolve(reply.body)
          else {
            const { kind, message, details } = reply
            reject(new Failure(kind, message, details === undefined ? {} : { details }))
          }
        })
      }
      this.#network.request(this.name, to.name, request, { timeoutMs: remainingMs / this.#rate, bytes: 1, done })
    })
  }

  #repeat(to: string, request: FabricRequest): void {
    const nobody = { timeoutMs: 1000, bytes: 1, done: () => {} }
    this.#network.request(this.name, to, { ...request, remainingMs: 3000 }, nobody)
  }

  notify(to: Run, method: string, body: Uint8Array): undefined {
    if (!this.view.linked.some(({ name }) => name === to.name)) return undefined
    const request = { id: 0, epoch: to.epoch, from: this, method, body: body.slice(), remainingMs: 0 }
    this.#network.request(this.name, to.name, request, { timeoutMs: 1000, bytes: 1, done: () => {} })
    return undefined
  }

  /** In order, each once, for as long as the session lasts. */
  send(to: Run, lane: Lane, bytes: Uint8Array): undefined {
    if (!this.isLinked(to)) return undefined
    const key = `${lane} ${to.name} ${to.epoch}`
    const stream = this.#streams.get(key) ?? { lane, to, session: ++this.#sessions, next: 1, queue: [] }
    this.#streams.set(key, stream)
    stream.queue.push(bytes.slice())
    if (stream.queue.length === 1) this.#pump(key)
    return undefined
  }

  #pump(key: string): void {
    const stream = this.#streams.get(key)
    const body = stream?.queue[0]
    if (stream === undefined || body === undefined || !this.isRunning) return
    const { lane, to, session, next } = stream
    const method = `${LANE}${lane} ${session} ${next}`
    const done = (reply: FabricReply | undefined): void => {
      if (this.#streams.get(key) !== stream || stream.next !== next) return
      if (reply !== undefined) {
        stream.queue.shift()
        stream.next++
      }
      this.#pump(key)
    }
    const request = { id: 1, epoch: to.epoch, from: this, method, body, remainingMs: 0 }
    this.#network.request(this.name, to.name, request, { timeoutMs: 500, bytes: 1, done })
  }

  #cameOn(method: string, from: Run, body: Uint8Array): void {
    const [lane, session, number] = method.slice(LANE.length).split(' ') as [Lane, string, string]
    const key = `${from.name} ${from.epoch} ${lane} ${session}`
    if (Number(number) !== (this.#came.get(key) ?? 0) + 1) return
    this.#came.set(key, Number(number))
    void this.#lanes.get(lane)?.({ name: from.name, epoch: from.epoch }, body)
  }

  onMessage(lane: Lane, handler: LaneHandler): () => void {
    this.#lanes.set(lane, handler)
    return () => {}
  }

  onRoom(): () => void {
    return () => {}
  }

  gossip(topic: GossipTopic, payload: Uint8Array): void {
    for (const { name, epoch } of this.view.live) {
      const request = { id: 0, epoch, from: this, method: `${GOSSIP}${topic}`, body: payload.slice(), remainingMs: 0 }
      this.#network.request(this.name, name, request, { timeoutMs: 1000, bytes: 1, done: () => {} })
    }
  }

  onGossip(topic: GossipTopic, handler: (payload: Uint8Array, from: string | undefined) => void): () => void {
    this.#gossip.set(topic, handler)
    return () => {}
  }

  onExchange(): () => void {
    return () => {}
  }

  log(_level: string, event: string): void {
    this.onLog(event)
  }

  get asFabric(): Fabric {
    return this as unknown as Fabric
  }

  #serve(
    { id, epoch, from, method, body, remainingMs }: FabricRequest,
    reply: (reply: FabricReply | undefined) => void,
  ): void {
    if (epoch !== 0 && epoch !== this.epoch) return
    const [what] = method.split(' ') as [string]
    this.received.set(what, (this.received.get(what) ?? 0) + 1)
    if (method.startsWith(GOSSIP))
      return this.#gossip.get(method.slice(GOSSIP.length) as GossipTopic)?.(body, undefined)
    if (method.startsWith(LANE)) {
      this.#cameOn(method, from, body)
      return reply({ ok: true, body: NOTHING })
    }
    if (id === 0) return this.#oneWays.get(method)?.({ name: from.name, epoch: from.epoch }, body)
    const handler = this.#methods.get(method)
    if (handler === undefined) return reply({ ok: false, kind: 'NotFound', message: `no method ${method}` })
    const context = {
      peer: from.name,
      epoch: from.epoch,
      deadlineMs: this.env.nowMs() + remainingMs,
      signal: new AbortController().signal,
    }
    void (async () => handler(body, context))().then(
      (answer) => this.later(() => reply({ ok: true, body: answer.slice() })),
      (error: MoonmeshError) => {
        if (error.name !== 'MoonmeshError') throw error
        const { kind, message, details } = error
        this.later(() => reply({ ok: false, kind, message, details }))
      },
    )
  }

  #link(kind: 'up' | 'down', node: Run): void {
    if (kind === 'down') {
      for (const [key, { to }] of this.#streams) if (to.name === node.name) this.#streams.delete(key)
    }
    for (const listener of this.#linkListeners) listener({ kind, node })
  }

  #live(kind: 'joined' | 'left', node: LiveNode): void {
    for (const listener of this.#liveListeners) listener({ kind, node })
  }
}

const isSame = (a: readonly Run[], b: readonly Run[]): boolean =>
  a.length === b.length && a.every(({ name, epoch }, i) => b[i]?.name === name && b[i]?.epoch === epoch)

/** Of `a`, in its order, what is not in `b`. */
function missing<T extends Run>(a: readonly T[], b: readonly Run[]): readonly T[] {
  const known = new Set(b.map(({ name, epoch }) => `${epoch} ${name}`))
  return a.filter(({ name, epoch }) => !known.has(`${epoch} ${name}`))
}

function added<T>(set: Set<T>, value: T): () => void {
  set.add(value)
  return () => set.delete(value)
}
