// How many connections a listener holds. Beyond that the one goes that has asked nothing for the longest time: a thousand idle ones keep
// nobody out. Some places are kept for those who ask how the node is: whatever else is sent or read slowly, they are answered.

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests that one connection may have sent before the first of them is answered. Who sends more is hung up on. */
const REQUESTS_MAX = 16

/** Who sends a request in drips: how long its head may take, and all of it. A body of 16 MiB has its time even on a slow line. */
export const REQUEST_TIMES = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 10_000,
  connectionsCheckingInterval: 2_000,
}

interface Bounds {
  /** Connections at once. */
  readonly countMax: number
  /** Of them, with requests under way that are no questions after the node's health. Below `countMax`. */
  readonly workingMax: number
}

/**
 * What becomes of a request: it is `taken`; it is `refused`, since too many are under way, and is to be told so; or its connection was `closed`.
 */
export type Verdict = 'taken' | 'refused' | 'closed'

interface Work {
  readonly responses: Set<ServerResponse>
  /** All of them ask after the node's health: they are answered at once, and what takes longer is only kept from being read. */
  isProbe: boolean
}

export class Connections {
  readonly #bounds: Bounds
  /** In the order in which they last had a request, or began. Invariant: those with requests are in `#busy` as well. */
  readonly #sockets = new Set<Socket>()
  /** In the order in which they became busy. */
  readonly #busy = new Map<Socket, Work>()
  /** Those of `#busy` that are no probes. */
  #workingCount = 0

  constructor(bounds: Bounds) {
    this.#bounds = bounds
  }

  /** A new one. */
  add(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      const responses = this.#busy.get(socket)?.responses ?? []
      this.#free(socket)
      // node:http tells it the one whose turn it was, not those behind it: a stream among them would count as open for ever.
      setImmediate(() => {
        for (const response of responses) if (!response.closed) response.emit('close')
      })
    })
    if (this.#sockets.size <= this.#bounds.countMax) return
    const other = this.#leastMissed(socket)
    this.#sockets.delete(other)
    other.destroy()
  }

  /** An idle one, or else one whose probe takes the longest; others are fewer than there are places. */
  #leastMissed(newcomer: Socket): Socket {
    for (const socket of this.#sockets) if (socket !== newcomer && !this.#busy.has(socket)) return socket
    for (const [socket, { isProbe }] of this.#busy) if (isProbe) return socket
    return newcomer
  }

  /** A request has come over it. */
  began(socket: Socket, response: ServerResponse, isProbe: boolean): Verdict {
    if (socket.destroyed) return 'closed'
    const work = this.#busy.get(socket) ?? { responses: new Set(), isProbe: true }
    if (work.responses.size >= REQUESTS_MAX) {
      socket.destroy()
      return 'closed'
    }
    if (!isProbe && work.isProbe) {
      if (this.#workingCount >= this.#bounds.workingMax) return 'refused'
      work.isProbe = false
      this.#workingCount++
    }
    work.responses.add(response)
    this.#busy.set(socket, work)
    response.once('close', () => {
      if (!work.responses.delete(response) || work.responses.size > 0 || this.#busy.get(socket) !== work) return
      this.#free(socket)
      if (this.#sockets.delete(socket)) this.#sockets.add(socket)
    })
    return 'taken'
  }

  /** It serves something else than requests from now on, and is not closed for others. Their number is bounded where they are served. */
  upgraded(socket: Socket): void {
    this.#free(socket)
    this.#busy.set(socket, { responses: new Set(), isProbe: false })
    this.#workingCount++
  }

  #free(socket: Socket): void {
    if (this.#busy.get(socket)?.isProbe === false) this.#workingCount--
    this.#busy.delete(socket)
  }
}
