// How many connections a listener holds. Beyond that the one goes that has asked nothing for the longest time: a thousand idle ones keep
// nobody out.

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests that one connection may have sent before the first of them is answered. Who sends more is hung up on. */
const REQUESTS_MAX = 16

export class Connections {
  readonly #countMax: number
  /** In the order in which they last had a request, or began. Invariant: those with requests are in `#busy` as well. */
  readonly #sockets = new Set<Socket>()
  readonly #busy = new Map<Socket, Set<ServerResponse>>()

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /** A new one. When all others are busy it is the one that goes. */
  add(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      const responses = this.#busy.get(socket) ?? []
      this.#busy.delete(socket)
      // node:http tells it the one whose turn it was, not those behind it: a stream among them would count as open for ever.
      setImmediate(() => {
        for (const response of responses) if (!response.closed) response.emit('close')
      })
    })
    if (this.#sockets.size <= this.#countMax) return
    for (const other of this.#sockets) {
      if (this.#busy.has(other)) continue
      this.#sockets.delete(other)
      other.destroy()
      return
    }
  }

  /** A request has come over it. @returns false: it is not to be answered, and the connection is closed */
  began(socket: Socket, response: ServerResponse): boolean {
    if (socket.destroyed) return false
    const responses = this.#busy.get(socket) ?? new Set()
    if (responses.size >= REQUESTS_MAX) {
      socket.destroy()
      return false
    }
    this.#busy.set(socket, responses.add(response))
    response.once('close', () => {
      if (!responses.delete(response) || responses.size > 0) return
      this.#busy.delete(socket)
      if (this.#sockets.delete(socket)) this.#sockets.add(socket)
    })
    return true
  }

  /** It serves something else than requests from now on, and is not closed for others. */
  upgraded(socket: Socket): void {
    this.#busy.set(socket, new Set())
  }
}
