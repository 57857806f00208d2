// The simulated network: datagrams that are lost, doubled, delayed and overtaken, and requests over streams that fail or
// take long. Cuts are one-way and between hosts; a partition is cuts in both directions.

import type { Chance, World } from './world.ts'

export interface NetworkFaults {
  /** Share of datagrams that get lost. */
  loss: number
  /** Share of datagrams that arrive twice. */
  duplication: number
  /** Share of datagrams that are held back long enough for later ones to pass. */
  reordering: number
  /** Share of stream requests that fail. */
  streamFailures: number
  delayMinMs: number
  delayMaxMs: number
  /** What each host can send, 0: any amount. What waits longer than QUEUE_MS is lost. */
  bytesPerSecond: number
}

export const quietNetwork: NetworkFaults = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  streamFailures: 0,
  delayMinMs: 0.2,
  delayMaxMs: 2,
  bytesPerSecond: 0,
}

/** Milliseconds of traffic that a host's queue holds. */
const QUEUE_MS = 200

/** Who listens at an address. */
interface Endpoint<Packet, Request, Reply> {
  packet(from: string, packet: Packet): void
  /** Calls `reply` at most once; undefined closes the stream without an answer. */
  request(from: string, request: Request, reply: (reply: Reply | undefined) => void): void
}

interface Traffic {
  packets: number
  bytes: number
  streams: number
  streamBytes: number
}

export class Network<Packet, Request, Reply> {
  readonly #world: World
  readonly #chance: Chance
  readonly #endpoints = new Map<string, Endpoint<Packet, Request, Reply>>()
  /** `from>to` of addresses whose traffic does not pass. */
  readonly #cuts = new Set<string>()
  /** `from>to` of addresses whose streams a firewall refuses. */
  readonly #rejections = new Set<string>()
  /** When the link of a host is free again. */
  readonly #busyUntilMs = new Map<string, number>()
  /** When the last packet of a channel arrives. */
  readonly #arrivals = new Map<string, number>()
  readonly traffic = new Map<string, Traffic>()
  faults: NetworkFaults

  constructor(world: World, faults: NetworkFaults = quietNetwork) {
    this.#world = world
    this.#chance = world.chance.fork()
    this.faults = { ...faults }
  }

  attach(address: string, endpoint: Endpoint<Packet, Request, Reply>): void {
    this.#endpoints.set(address, endpoint)
  }

  detach(address: string): void {
    this.#endpoints.delete(address)
  }

  /** Stops traffic in one direction. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  /** Stops all traffic between the groups. */
  partition(...groups: readonly (readonly string[])[]): void {
    for (const [i, group] of groups.entries()) {
      for (const other of groups.slice(i + 1)) {
        for (const a of group) {
          for (const b of other) {
            this.cut(a, b)
            this.cut(b, a)
          }
        }
      }
    }
  }

  /** A firewall refuses the streams that one opens to the other, as if nobody listened there. Datagrams pass. */
  reject(from: string, to: string): void {
    this.#rejections.add(`${from}>${to}`)
  }

  /** Removes every cut and every firewall. */
  heal(): void {
    this.#cuts.clear()
    this.#rejections.clear()
  }

  get isWhole(): boolean {
    return this.#cuts.size === 0 && this.#rejections.size === 0
  }

  rejects(from: string, to: string): boolean {
    return this.#rejections.has(`${from}>${to}`)
  }

  /** How a connection is answered; `silence`: not at all. */
  answerAt(from: string, to: string): 'open' | 'refused' | 'silence' {
    if (this.rejects(from, to)) return 'refused'
    if (!this.passes(from, to) || !this.passes(to, from)) return 'silence'
    return this.#endpoints.has(to) ? 'open' : 'refused'
  }

  passes(from: string, to: string): boolean {
    return !this.#cuts.has(`${from}>${to}`)
  }

  /**
   * @param bytes what it counts as in the traffic of the sender
   * @param channel packets of one channel arrive in the order in which they were sent, but for those that faults hold back
   */
  send(from: string, to: string, packet: Packet, bytes: number, channel?: string): void {
    const traffic = this.#trafficOf(from)
    traffic.packets++
    traffic.bytes += bytes
    const { loss, duplication, reordering, delayMaxMs } = this.faults
    const queuedMs = this.#queue(from, bytes)
    if (queuedMs > QUEUE_MS) return
    const copies = this.#chance.chance(duplication) ? 2 : 1
    for (let i = 0; i < copies; i++) {
      if (this.#chance.chance(loss)) continue
      const held = this.#chance.chance(reordering) ? this.#chance.between(0, delayMaxMs * 10) : 0
      this.#world.after(this.#arrivalMs(queuedMs, channel && `${from}>${to} ${channel}`) + held, () => {
        if (this.passes(from, to)) this.#endpoints.get(to)?.packet(from, packet)
      })
    }
  }

  /** One request over a stream of its own; `done` gets the answer, or undefined after a failure or the timeout. */
  request(
    from: string,
    to: string,
    request: Request,
    options: { timeoutMs: number; bytes: number; done: (reply: Reply | undefined) => void },
  ): void {
    const traffic = this.#trafficOf(from)
    traffic.streams++
    traffic.streamBytes += options.bytes
    let isOver = false
    const finish = (reply: Reply | undefined): void => {
      if (isOver) return
      isOver = true
      options.done(reply)
    }
    this.#world.after(options.timeoutMs, () => finish(undefined))
    // Opening takes a round trip; a stream that meets a cut hangs until its timeout, one without a listener is refused.
    const fails = this.#chance.chance(this.faults.streamFailures)
    const queuedMs = this.#queue(from, options.bytes)
    this.#world.after(queuedMs + this.#delayMs() + this.#delayMs() + this.#delayMs(), () => {
      if (this.rejects(from, to)) return finish(undefined)
      if (fails || !this.passes(from, to) || !this.passes(to, from)) return
      const endpoint = this.#endpoints.get(to)
      if (endpoint === undefined) return finish(undefined)
      endpoint.request(from, request, (reply) => {
        this.#world.after(this.#delayMs(), () => {
          if (this.passes(to, from)) finish(reply)
        })
      })
    })
  }

  /** How long some bytes wait for the link of their sender. */
  #queue(from: string, bytes: number): number {
    const { bytesPerSecond } = this.faults
    if (bytesPerSecond === 0) return 0
    const nowMs = this.#world.nowMs
    const freeAtMs = Math.max(nowMs, this.#busyUntilMs.get(from) ?? 0) + (bytes * 1000) / bytesPerSecond
    // What is thrown away does not use the link.
    if (freeAtMs - nowMs <= QUEUE_MS) this.#busyUntilMs.set(from, freeAtMs)
    return freeAtMs - nowMs
  }

  /** How long until a packet that leaves after `queuedMs` arrives. */
  #arrivalMs(queuedMs: number, channel: string | undefined): number {
    const delayMs = queuedMs + this.#delayMs()
    if (channel === undefined) return delayMs
    const nowMs = this.#world.nowMs
    const atMs = Math.max(nowMs + delayMs, this.#arrivals.get(channel) ?? 0)
    this.#arrivals.set(channel, atMs)
    return atMs - nowMs
  }

  #delayMs(): number {
    return this.#chance.between(this.faults.delayMinMs, this.faults.delayMaxMs)
  }

  #trafficOf(from: string): Traffic {
    let traffic = this.traffic.get(from)
    if (traffic === undefined) {
      traffic = { packets: 0, bytes: 0, streams: 0, streamBytes: 0 }
      this.traffic.set(from, traffic)
    }
    return traffic
  }
}
