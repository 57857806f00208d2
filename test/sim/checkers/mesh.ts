// What must hold of the mesh after every step: M1 (order, no duplicates, no gaps where resumed), M2 (one node-down for each node-up)
// and M3 (bounded queues). cluster.md §13.

import { APP, CHANNEL_CLASSES, isResumed, PG, SYSTEM } from '../../../cluster/mesh/core/classes.ts'
import type { MeshEffect, ReceivedMessage } from '../../../cluster/mesh/core/mesh.ts'
import { defaultMeshSettings } from '../../../cluster/mesh/core/settings.ts'
import type { MeshNode } from '../mesh-node.ts'
import { InvariantError } from './invariant-error.ts'

interface Stream {
  /** Numbers sent, in order, since the sender's session began. */
  readonly sent: number[]
  /** How many of them the receiver has seen or passed over. */
  at: number
  /** Numbers whose session ended before they arrived. */
  readonly lost: Set<number>
}

const MIB = 1024 * 1024
const LIMITS: Readonly<Record<number, number>> = { 1: MIB, [SYSTEM]: 40 * MIB, [PG]: 16 * MIB, 5: 4 * MIB, 6: 16 * MIB }

/** Messages that carry their number, so that the receiver's side can be held against the sender's. */
export class MeshChecker {
  readonly #streams = new Map<string, Stream>()
  readonly #up = new Set<string>()
  #nextNumber = 1
  #steps = 0
  delivered = 0
  downs = 0

  /** Sends a message of about `bytes`; remembers it when it was taken. */
  send(
    from: MeshNode,
    to: MeshNode,
    classId: number,
    bytes: number,
    options?: { isSignal?: boolean },
  ): string | undefined {
    const number = this.#nextNumber++
    const message = Buffer.alloc(Math.max(6, bytes), number & 255)
    message.writeUIntBE(number, 0, 6)
    const refusal = from.send(to.name, classId, message, options, to.epoch)
    if (refusal === undefined) this.#stream(from, to, classId).sent.push(number)
    return refusal
  }

  /** Lets the node's deliveries be looked at. */
  watch(node: MeshNode, nodeOf: (peer: string, epoch: number) => MeshNode): void {
    node.onDeliver = (peer, epoch, message, consumed) => {
      this.#delivered(nodeOf(peer, epoch), node, message)
      consumed()
    }
  }

  stepped(node: MeshNode, effects: readonly MeshEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'node-up') {
        const key = `${node.name}/${node.epoch}>${effect.peer}/${effect.epoch}`
        if (this.#up.has(key)) throw new InvariantError(`M2: ${key} is up twice`)
        this.#up.add(key)
      } else if (effect.kind === 'node-down') {
        const key = `${node.name}/${node.epoch}>${effect.peer}/${effect.epoch}`
        if (!this.#up.delete(key)) throw new InvariantError(`M2: ${key} is down without having been up`)
        this.downs++
      } else if (effect.kind === 'session-over') this.#sessionOver(node, effect.peer, effect.epoch)
    }
    if (this.#steps++ % 8 === 0) this.#bounds(node)
  }

  /** What was sent in sessions that did not end and never arrived; call when all is quiet. */
  missing(from: MeshNode, to: MeshNode, classId: number): number[] {
    const stream = this.#stream(from, to, classId)
    return stream.sent.slice(stream.at).filter((number) => !stream.lost.has(number))
  }

  #delivered(from: MeshNode, to: MeshNode, { classId, bytes }: ReceivedMessage): void {
    const number = Buffer.from(bytes.buffer, bytes.byteOffset, 6).readUIntBE(0, 6)
    if (bytes.some((byte, i) => i >= 6 && byte !== (number & 255))) throw new InvariantError('M1: a message is damaged')
    const stream = this.#stream(from, to, classId)
    const at = stream.sent.indexOf(number, stream.at)
    const what = `${CHANNEL_CLASSES[classId]} ${from.name} > ${to.name}, message ${number}`
    if (at < 0) throw new InvariantError(`M1: ${what} comes twice, out of order or from nowhere`)
    if (isResumed(classId) && at > stream.at) {
      // A gap is allowed where a session ended on the sender's side and another began.
      const early = stream.sent.slice(stream.at, at).find((each) => !stream.lost.has(each))
      if (early !== undefined) throw new InvariantError(`M1: ${what} comes before ${early}`)
    }
    stream.at = at + 1
    this.delivered++
  }

  /** What was under way in a session that ended may be lost; what comes after it is sent in another. */
  #sessionOver(from: MeshNode, peer: string, epoch: number): void {
    const prefix = `${from.name}/${from.epoch}>${peer}/${epoch}#`
    for (const [key, stream] of this.#streams) {
      if (!key.startsWith(prefix)) continue
      for (const number of stream.sent.slice(stream.at)) stream.lost.add(number)
    }
  }

  #bounds(node: MeshNode): void {
    const largest = defaultMeshSettings.messageBytesMax
    let links = 0
    for (const link of node.core.links()) {
      links++
      for (const [classId, bytes] of link.queueBytes.entries()) {
        const limit = classId === APP ? 2 * node.queueBytesMax : (LIMITS[classId] ?? 0)
        if (bytes > Math.max(limit, largest + 64)) {
          throw new InvariantError(
            `M3: ${CHANNEL_CLASSES[classId]} of ${node.name} > ${link.peer} holds ${bytes} bytes`,
          )
        }
      }
    }
    const total = node.core.totalQueueBytes
    if (total > node.totalQueueBytesMax + links * largest) {
      throw new InvariantError(`M3: queues of ${node.name} hold ${total} bytes`)
    }
  }

  #stream(from: MeshNode, to: MeshNode, classId: number): Stream {
    const key = keyOf(from, to, classId)
    let stream = this.#streams.get(key)
    if (stream === undefined) {
      stream = { sent: [], at: 0, lost: new Set() }
      this.#streams.set(key, stream)
    }
    return stream
  }
}

function keyOf(from: MeshNode, to: MeshNode, classId: number): string {
  return `${from.name}/${from.epoch}>${to.name}/${to.epoch}#${classId}`
}
