// How many connections a listener holds. Beyond that the one goes that has asked nothing for the longest time: a thousand idle ones keep
// nobody out.

import type { Socket } from 'node:net'

export class Connections {
  readonly #countMax: number
  /** In the order in which they last had a request, or began. Invariant: those with requests are in `#busy` as well. */
  readonly #sockets = new Set<Socket>()
  readonly #busy = new Map<Socket, number>()

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /** A new one. When all others are busy it is the one that goes. */
  add(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#busy.delete(socket)
    })
    if (this.#sockets.size <= this.#countMax) return
    for (const other of this.#sockets) {
      if (this.#busy.has(other)) continue
      this.#sockets.delete(other)
      other.destroy()
      return
    }
  }

  /** A request has come over it. @returns to be called when it is answered */
  began(socket: Socket): () => void {
    this.#busy.set(socket, (this.#busy.get(socket) ?? 0) + 1)
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const count = (this.#busy.get(socket) ?? 0) - 1
      if (count > 0) return void this.#busy.set(socket, count)
      this.#busy.delete(socket)
      if (this.#sockets.delete(socket)) this.#sockets.add(socket)
    }
  }
}
