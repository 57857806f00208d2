// What waits to be sent to one peer, in which order it goes and what happens when there is too much of it: strict classes first, the
// others by deficit round robin within a window and within what the receiver granted. Messages of the resumed classes stay until the
// peer acknowledged them, across connections. cluster.md §4.5, §4.6.

import { assert } from '../../../runtime/base/assert.ts'
import {
  APP,
  BULK,
  CHUNK_BYTES,
  CLASS_COUNT,
  isCredited,
  isResumed,
  PG,
  QUANTUM_BYTES,
  RAFT,
  RLOG,
  SHARED,
  SYSTEM,
} from './classes.ts'
import { COMPRESSED, FIRST, type Frame, frameBytes, LAST } from './frames.ts'
import type { Received } from './handshake.ts'
import { Window } from './window.ts'

const KIB = 1024
const MIB = 1024 * KIB
const RAFT_COUNT_MAX = 4096
const REPLY_EXTRA_BYTES = 8 * MIB
/** What a waiting message costs besides its bytes, so that many empty ones are bounded too. */
const MESSAGE_COST_BYTES = 64

/** Bytes that all peers' queues hold together. */
export class QueueBudget {
  usedBytes = 0
  readonly bytesMax: number

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }
}

export interface OfferOptions {
  /** Class app: exit, link, monitor, cancel, terminate; has room for as much again when the queue is full. */
  readonly isSignal?: boolean
  /** Class system: an answer to a request that was taken. */
  readonly isReply?: boolean
  /** Class raft: takes the place of what waits under the same key. */
  readonly replaces?: string
  readonly isCompressed?: boolean
}

/** `overflow`: even signals have no room; the link session has to end. */
export type OfferRefusal = 'queue_full' | 'too_large' | 'overflow'

interface OutMessage {
  readonly bytes: Uint8Array
  readonly isCompressed: boolean
  readonly key: string | undefined
  /** Given when the first chunk goes out. */
  seq: number
  /** Replaced by a newer one before it was sent. */
  isVoid: boolean
}

interface ClassQueue {
  items: (OutMessage | undefined)[]
  /** First item that is still here; items before `next` were sent and wait for their acknowledgement. */
  head: number
  next: number
  /** Of all items, costs included. */
  bytes: number
  voids: number
  lastSeq: number
  lastAcked: number
  /** Bytes of the item at `next` that were sent; -1: none. */
  sentOfNext: number
}

interface OutboxLimits {
  /** Of class app; the others are fixed. */
  readonly appQueueBytesMax: number
  readonly messageBytesMax: number
}

/** What a connection allows at the moment. */
interface Flow {
  readonly window: Window
  readonly grantedBytes: number[]
  readonly spentBytes: number[]
  readonly deficits: number[]
  /** Index in SHARED of the class whose turn it is, and whether its quantum of this turn was given. */
  turn: number
  hasQuantum: boolean
}

export class Outbox {
  readonly #budget: QueueBudget
  readonly #limits: number[] = new Array(CLASS_COUNT).fill(0)
  #messageBytesMax: number
  readonly #queues: ClassQueue[] = []
  /** Classes whose producer was refused and waits to hear of room. */
  readonly #awaited = new Set<number>()
  #flow: Flow | undefined

  constructor(limits: OutboxLimits, budget: QueueBudget) {
    this.#budget = budget
    this.#messageBytesMax = limits.messageBytesMax
    this.#limits[RAFT] = MIB
    this.#limits[SYSTEM] = 32 * MIB
    this.#limits[APP] = limits.appQueueBytesMax
    this.#limits[PG] = 16 * MIB
    this.#limits[BULK] = 4 * MIB
    this.#limits[RLOG] = 16 * MIB
    for (let id = 0; id < CLASS_COUNT; id++) this.#queues.push(emptyQueue())
  }

  get window(): Window | undefined {
    return this.#flow?.window
  }

  queueBytes(classId: number): number {
    return this.#queue(classId).bytes
  }

  limitBytes(classId: number): number {
    return this.#limits[classId] as number
  }

  /** Whether nothing waits, be it for the socket or for an acknowledgement. */
  get isEmpty(): boolean {
    return this.#queues.every((queue) => queue.bytes === 0)
  }

  /** Takes a message whose bytes nobody changes any more. */
  offer(classId: number, bytes: Uint8Array, options: OfferOptions = {}): OfferRefusal | undefined {
    const queue = this.#queue(classId)
    const { replaces } = options
    if (replaces !== undefined && bytes.length <= this.#messageBytesMax) this.#void(queue, replaces)
    const cost = bytes.length + MESSAGE_COST_BYTES
    const refusal = this.refusal(classId, bytes.length, options)
    if (refusal === 'too_large') return refusal
    if (refusal !== undefined) {
      if (isCredited(classId)) this.#awaited.add(classId)
      return refusal
    }
    queue.bytes += cost
    this.#budget.usedBytes += cost
    queue.items.push({ bytes, isCompressed: options.isCompressed === true, key: replaces, seq: 0, isVoid: false })
    return undefined
  }

  /**
   * A connection begins; what the peer received counts as acknowledged, the rest will be sent again.
   * @returns messages dropped because the peer takes no such large ones, by class; undefined when the peer claims what was never sent
   */
  attach(nowMs: number, received: Received, peerMessageBytesMax: number): number[] | undefined {
    if (!this.acknowledge(received)) return undefined
    for (const queue of this.#queues) {
      queue.next = queue.head
      queue.sentOfNext = -1
    }
    this.#flow = {
      window: new Window(nowMs),
      grantedBytes: new Array(CLASS_COUNT).fill(0),
      spentBytes: new Array(CLASS_COUNT).fill(0),
      deficits: new Array(CLASS_COUNT).fill(0),
      turn: 0,
      hasQuantum: false,
    }
    const dropped = new Array(CLASS_COUNT).fill(0)
    if (peerMessageBytesMax >= this.#messageBytesMax) return dropped
    this.#messageBytesMax = peerMessageBytesMax
    for (const [classId, queue] of this.#queues.entries()) {
      for (const item of queue.items) {
        // What has a number was within the limit of this same run of the peer before.
        if (item === undefined || item.isVoid || item.seq !== 0 || item.bytes.length <= peerMessageBytesMax) continue
        this.#release(queue, item)
        item.isVoid = true
        queue.voids++
        dropped[classId]++
      }
    }
    return dropped
  }

  /**
   * The connection is gone. Consensus sends anew what still matters, and half a message of a class without numbers is lost.
   * @returns messages dropped, by class
   */
  detach(): number[] {
    const dropped: number[] = new Array(CLASS_COUNT).fill(0)
    if (this.#flow === undefined) return dropped
    this.#flow = undefined
    for (const [classId, queue] of this.#queues.entries()) {
      if (isResumed(classId)) {
        queue.next = queue.head
      } else if (classId === RAFT || classId === RLOG) {
        dropped[classId] = this.#clear(queue)
      } else if (queue.sentOfNext >= 0) {
        this.#drop(queue)
        dropped[classId] = 1
      }
      queue.sentOfNext = -1
    }
    return dropped
  }

  /** Ends everything. @returns messages dropped, by class */
  discard(): number[] {
    this.#flow = undefined
    this.#awaited.clear()
    return this.#queues.map((queue) => this.#clear(queue))
  }

  /** @returns false when the peer acknowledges what was never sent */
  acknowledge({ system, app }: Received): boolean {
    return this.#acknowledge(SYSTEM, system) && this.#acknowledge(APP, app)
  }

  /** Totals that the receiver granted on this connection. */
  grant(classId: number, totalBytes: number): void {
    const flow = this.#flow
    if (flow === undefined) return
    flow.grantedBytes[classId] = Math.max(flow.grantedBytes[classId] as number, totalBytes)
  }

  /** Classes whose producers were refused and may try again; each is told once. */
  takeRoom(): number[] {
    if (this.#awaited.size === 0) return []
    const out: number[] = []
    for (const classId of [...this.#awaited].sort()) {
      if (this.queueBytes(classId) > this.limitBytes(classId) / 2 || this.#isBudgetSpent(0)) continue
      this.#awaited.delete(classId)
      out.push(classId)
    }
    return out
  }

  /** Whether there is anything that could be sent at once. */
  get isSendable(): boolean {
    if (this.#flow === undefined) return false
    return this.#peek(RAFT) !== undefined || SHARED.some(({ classId }) => this.#isReady(classId))
  }

  /** What to send next, of about `bytesMax` bytes. */
  pull(bytesMax: number): Frame[] {
    const out: Frame[] = []
    const flow = this.#flow
    if (flow === undefined) return out
    let room = bytesMax
    while (room > 0 && this.#peek(RAFT) !== undefined) room -= this.#emit(RAFT, out)
    // A turn of the round without anything to send ends it.
    for (let idle = 0; room > 0 && idle < SHARED.length; ) {
      if (!flow.window.isOpen) break
      const { classId, weight } = SHARED[flow.turn] as (typeof SHARED)[number]
      if (!this.#isReady(classId)) {
        flow.deficits[classId] = Math.min(0, flow.deficits[classId] as number)
        this.#nextTurn(flow)
        idle++
        continue
      }
      idle = 0
      if (!flow.hasQuantum) {
        flow.deficits[classId] = (flow.deficits[classId] as number) + weight * QUANTUM_BYTES
        flow.hasQuantum = true
      }
      const sent = this.#emit(classId, out)
      room -= sent
      flow.window.sent(sent)
      flow.deficits[classId] = (flow.deficits[classId] as number) - sent
      if ((flow.deficits[classId] as number) <= 0) this.#nextTurn(flow)
    }
    return out
  }

  #nextTurn(flow: Flow): void {
    flow.turn = (flow.turn + 1) % SHARED.length
    flow.hasQuantum = false
  }

  /** Whether the class has a chunk that the receiver granted. */
  #isReady(classId: number): boolean {
    const item = this.#peek(classId)
    if (item === undefined) return false
    if (!isCredited(classId)) return true
    const flow = this.#flow as Flow
    const sent = Math.max(0, this.#queue(classId).sentOfNext)
    const chunk = Math.min(CHUNK_BYTES, item.bytes.length - sent)
    return (flow.spentBytes[classId] as number) + chunk <= (flow.grantedBytes[classId] as number)
  }

  /** The item to send from, past those that were replaced. */
  #peek(classId: number): OutMessage | undefined {
    const queue = this.#queue(classId)
    for (;;) {
      const item = queue.items[queue.next]
      if (item?.isVoid !== true) return item
      queue.voids--
      queue.items.splice(queue.next, 1)
    }
  }

  /** Emits one chunk of the class. @returns its bytes on the wire */
  #emit(classId: number, out: Frame[]): number {
    const queue = this.#queue(classId)
    const item = queue.items[queue.next] as OutMessage
    const isFirst = queue.sentOfNext < 0
    const from = isFirst ? 0 : queue.sentOfNext
    const to = Math.min(item.bytes.length, from + CHUNK_BYTES)
    const isLast = to === item.bytes.length
    const isNumbered = isResumed(classId)
    if (isFirst && isNumbered && item.seq === 0) item.seq = ++queue.lastSeq
    const frame: Frame = {
      classId,
      flags: (isFirst ? FIRST : 0) | (isLast ? LAST : 0) | (item.isCompressed ? COMPRESSED : 0),
      seq: isFirst ? item.seq : 0,
      messageBytes: item.bytes.length,
      payload: isFirst && isLast ? item.bytes : item.bytes.subarray(from, to),
    }
    out.push(frame)
    if (isCredited(classId)) {
      const flow = this.#flow as Flow
      flow.spentBytes[classId] = (flow.spentBytes[classId] as number) + frame.payload.length
    }
    if (!isLast) queue.sentOfNext = to
    else if (isNumbered) {
      queue.next++
      queue.sentOfNext = -1
    } else {
      this.#drop(queue)
      queue.sentOfNext = -1
    }
    return frameBytes(frame)
  }

  /** Why a message of so many bytes would not be taken now. */
  refusal(classId: number, byteCount: number, options: OfferOptions = {}): OfferRefusal | undefined {
    if (byteCount > this.#messageBytesMax) return 'too_large'
    const queue = this.#queue(classId)
    const cost = byteCount + MESSAGE_COST_BYTES
    // One message always fits an empty queue, however small the queue was configured.
    if (queue.bytes === 0 && !(classId !== RAFT && this.#isBudgetSpent(0))) return undefined
    const limit = this.limitBytes(classId)
    const bytes = queue.bytes + cost
    if (classId === APP && options.isSignal === true) return bytes > 2 * limit ? 'overflow' : undefined
    if (classId === RAFT) {
      const count = queue.items.length - queue.head - queue.voids
      return bytes > limit || count >= RAFT_COUNT_MAX ? 'queue_full' : undefined
    }
    if (classId === SYSTEM && options.isReply === true)
      return bytes > limit + REPLY_EXTRA_BYTES ? 'queue_full' : undefined
    return bytes > limit || this.#isBudgetSpent(cost) ? 'queue_full' : undefined
  }

  #isBudgetSpent(cost: number): boolean {
    return this.#budget.usedBytes + cost > this.#budget.bytesMax
  }

  /** Only what was not begun can be replaced. */
  #void(queue: ClassQueue, key: string): void {
    const from = queue.next + (queue.sentOfNext >= 0 ? 1 : 0)
    for (let i = queue.items.length - 1; i >= from; i--) {
      const item = queue.items[i] as OutMessage
      if (item.key !== key || item.isVoid) continue
      this.#release(queue, item)
      item.isVoid = true
      queue.voids++
      break
    }
    if (queue.voids > 16 && queue.voids * 2 > queue.items.length - queue.head) {
      const begun = queue.items.slice(queue.head, from)
      queue.next -= queue.head
      queue.head = 0
      queue.items = [...begun, ...queue.items.slice(from).filter((item) => item?.isVoid === false)]
      queue.voids = 0
    }
  }

  #acknowledge(classId: number, seq: number): boolean {
    const queue = this.#queue(classId)
    if (seq > queue.lastSeq) return false
    while (queue.head < queue.items.length) {
      const item = queue.items[queue.head] as OutMessage
      if (item.seq === 0 || item.seq > seq) break
      // Sent in part on this connection, whole on the one before: the peer has it; the rest of it still goes out.
      if (queue.head === queue.next && queue.sentOfNext >= 0) break
      this.#release(queue, item)
      queue.items[queue.head++] = undefined
    }
    if (queue.next < queue.head) queue.next = queue.head
    queue.lastAcked = Math.max(queue.lastAcked, seq)
    this.#shrink(queue)
    return true
  }

  #release(queue: ClassQueue, item: OutMessage): void {
    const cost = item.bytes.length + MESSAGE_COST_BYTES
    queue.bytes -= cost
    this.#budget.usedBytes -= cost
    assert(queue.bytes >= 0 && this.#budget.usedBytes >= 0, 'queues hold no less than nothing')
  }

  /** Removes the first item of a class without numbers. */
  #drop(queue: ClassQueue): void {
    this.#release(queue, queue.items[queue.head] as OutMessage)
    queue.items[queue.head++] = undefined
    queue.next = queue.head
    this.#shrink(queue)
  }

  #shrink(queue: ClassQueue): void {
    if (queue.head === queue.items.length) queue.items.length = 0
    else if (queue.head >= 1024 && queue.head * 2 >= queue.items.length) queue.items = queue.items.slice(queue.head)
    else return
    queue.next -= queue.head
    queue.head = 0
  }

  #clear(queue: ClassQueue): number {
    let count = 0
    for (const item of queue.items) {
      if (item === undefined || item.isVoid) continue
      this.#release(queue, item)
      count++
    }
    Object.assign(queue, emptyQueue(), { lastSeq: queue.lastSeq, lastAcked: queue.lastAcked })
    return count
  }

  #queue(classId: number): ClassQueue {
    return this.#queues[classId] as ClassQueue
  }
}

function emptyQueue(): ClassQueue {
  return { items: [], head: 0, next: 0, bytes: 0, voids: 0, lastSeq: 0, lastAcked: 0, sentOfNext: -1 }
}
