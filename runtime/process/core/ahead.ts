// What a host in a thread of its own may say to other nodes without waiting for the node's answer: for each of them an allowance in bytes,
// which the node gives back as long as the node's queue for it has room. With a full queue the allowance runs out, and whoever says more
// asks and hears why not. cluster.md §4.5, lua-core.md §6.

import { ErrorValue, TableValue, type Value } from '../../base/value.ts'

/** A longer message asks first: the node, and not the host, knows how long a message another node takes. */
export const AHEAD_MESSAGE_BYTES_MAX = 16 * 1024
const DEPTH_MAX = 64
const MESSAGE_BYTES = 128
const SCALAR_BYTES = 9

/** Bytes, roughly and rather too many, that a message takes; infinite when it has to ask. */
export function aheadBytesOf(topic: string, values: readonly Value[]): number {
  let bytes = MESSAGE_BYTES + topic.length
  for (const value of values) bytes = added(bytes, value, 0)
  return bytes > AHEAD_MESSAGE_BYTES_MAX ? Number.POSITIVE_INFINITY : bytes
}

function added(bytes: number, value: Value, depth: number): number {
  if (bytes > AHEAD_MESSAGE_BYTES_MAX || depth > DEPTH_MAX) return Number.POSITIVE_INFINITY
  if (typeof value === 'string') return bytes + SCALAR_BYTES + value.length
  if (value instanceof TableValue) {
    let sum = bytes + SCALAR_BYTES
    // A table that holds itself gets too long, or too deep.
    for (const list of [value.array, value.keys, value.values]) {
      for (const item of list) {
        sum = added(sum + SCALAR_BYTES, item, depth + 1)
        if (sum > AHEAD_MESSAGE_BYTES_MAX) return Number.POSITIVE_INFINITY
      }
    }
    return sum
  }
  return value instanceof ErrorValue ? Number.POSITIVE_INFINITY : bytes + SCALAR_BYTES
}

/** The host's half: what is left of each allowance. */
export class Allowances {
  readonly #nodes = new Map<string, { readonly epoch: number; readonly bytesMax: number; left: number }>()

  /** The node is reached, in this run of it. */
  up(node: string, epoch: number, bytesMax: number): void {
    this.#nodes.set(node, { epoch, bytesMax, left: bytesMax })
  }

  down(node: string, epoch: number): void {
    if (this.#nodes.get(node)?.epoch === epoch) this.#nodes.delete(node)
  }

  /** Whether a message of so many bytes may be said without asking; then it counts. */
  take(node: string, epoch: number, byteCount: number): boolean {
    const known = this.#nodes.get(node)
    if (known?.epoch !== epoch || known.left < byteCount) return false
    known.left -= byteCount
    return true
  }

  giveBack(node: string, epoch: number, byteCount: number): void {
    const known = this.#nodes.get(node)
    if (known?.epoch === epoch) known.left = Math.min(known.bytesMax, known.left + byteCount)
  }
}

/** Less than this share of the allowance is not worth a message back. */
const SHARE = 4

/** The node's half, for one host and one other node: what it took and has not given back. */
export class Taken {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  add(byteCount: number): void {
    this.#bytes += byteCount
  }

  /** @returns how much to give back now, when there is room; 0: nothing */
  release(hasRoom: boolean): number {
    if (!hasRoom || this.#bytes < this.#bytesMax / SHARE) return 0
    const bytes = this.#bytes
    this.#bytes = 0
    return bytes
  }
}
