// What is sent to a client as it happens. Who reads too slowly misses some of it, and is told how much: the node keeps no more than a bound.

import type { ServerResponse } from 'node:http'

interface OutflowOptions {
  readonly contentType: string
  /** Pieces that may wait. */
  readonly waitingMax: number
  /** Says that so many were left out. */
  missed(count: number): string
}

/** Streams at once, of all kinds and clients; each holds a connection. */
export const STREAMS_MAX = 64
/** Piece by piece a socket takes more than it should: beyond this many bytes the pieces wait here, where they are counted. */
const WAITING_MAX = 1000

export class Outflow {
  readonly #response: ServerResponse
  readonly #options: OutflowOptions
  #waiting: string[] = []
  #missed = 0
  #isFull = false
  #isClosed = false

  constructor(response: ServerResponse, options: Omit<OutflowOptions, 'waitingMax'> & { waitingMax?: number }) {
    this.#response = response
    this.#options = { waitingMax: WAITING_MAX, ...options }
    response.on('close', () => {
      this.#isClosed = true
      this.#waiting = []
    })
    response.on('drain', () => {
      this.#isFull = false
      this.#flush()
    })
    response.on('error', () => {})
    response.writeHead(200, {
      'content-type': options.contentType,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    response.flushHeaders()
  }

  push(piece: string): void {
    if (this.#isClosed) return
    if (this.#missed > 0 || this.#waiting.length >= this.#options.waitingMax) {
      this.#missed++
      return
    }
    this.#waiting.push(piece)
    this.#flush()
  }

  #flush(): void {
    while (!this.#isFull && !this.#isClosed) {
      const piece = this.#waiting.shift()
      if (piece === undefined) break
      this.#isFull = !this.#response.write(piece)
    }
    if (this.#missed === 0 || this.#waiting.length > 0 || this.#isFull || this.#isClosed) return
    const text = this.#options.missed(this.#missed)
    this.#missed = 0
    this.#isFull = !this.#response.write(text)
  }
}
