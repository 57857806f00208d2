// What arrived from one peer: numbers of messages over a whole link session, and what one connection owes in acknowledgements and
// grants. cluster.md §4.5, §4.6.

import { APP, BULK, CLASS_COUNT, CREDIT_BYTES, CREDITED, isResumed, RLOG, SYSTEM } from './classes.ts'
import type { Control } from './control.ts'
import type { Received } from './handshake.ts'

/** Of a link session. */
export class Inbox {
  readonly #lastSeqs: number[] = new Array(CLASS_COUNT).fill(0)

  get received(): Received {
    return { system: this.#lastSeqs[SYSTEM] as number, app: this.#lastSeqs[APP] as number }
  }

  /** What to do with a message: what was received before is dropped; a gap is a peer that breaks the protocol. */
  take(classId: number, seq: number): 'deliver' | 'duplicate' | 'gap' {
    if (!isResumed(classId)) return 'deliver'
    const last = this.#lastSeqs[classId] as number
    if (seq <= last) return 'duplicate'
    if (seq !== last + 1) return 'gap'
    this.#lastSeqs[classId] = seq
    return 'deliver'
  }
}

const ACK_MESSAGES = 64
const ACK_BYTES = 128 * 1024
const ACK_DELAY_MS = 50

/** Of a connection. */
export class Receipts {
  /** Bytes of frames that share the window. */
  #bytes = 0
  #ackedBytes = 0
  #messages = 0
  /** When the oldest thing that is not acknowledged arrived. */
  #sinceMs: number | undefined
  /** Bytes of whole messages of credited classes: consumed, and handed over but not consumed yet. */
  readonly #consumed: number[] = new Array(CLASS_COUNT).fill(0)
  readonly #unconsumed: number[] = new Array(CLASS_COUNT).fill(0)
  /** Handed over on earlier connections and not consumed yet. */
  readonly #carried: number[]
  readonly #assembling: number[] = new Array(CLASS_COUNT).fill(0)
  readonly #granted: number[] = new Array(CLASS_COUNT).fill(0)

  /** @param before of the connection before, whose messages may still wait to be consumed */
  constructor(before?: Receipts) {
    this.#carried = new Array(CLASS_COUNT).fill(0).map((_, id) => before?.waitingBytes(id) ?? 0)
  }

  /** Bytes handed over and not consumed, of whichever connection. */
  waitingBytes(classId: number): number {
    return (this.#unconsumed[classId] as number) + (this.#carried[classId] as number)
  }

  frames(bytes: number, nowMs: number): void {
    if (bytes === 0) return
    this.#bytes += bytes
    this.#sinceMs ??= nowMs
  }

  message(classId: number, nowMs: number): void {
    if (!isResumed(classId)) return
    this.#messages++
    this.#sinceMs ??= nowMs
  }

  /** When the acknowledgement has to go out; undefined when none is owed. */
  ackDueMs(nowMs: number): number | undefined {
    if (this.#sinceMs === undefined) return undefined
    if (this.#messages >= ACK_MESSAGES || this.#bytes - this.#ackedBytes >= ACK_BYTES) return nowMs
    return this.#sinceMs + ACK_DELAY_MS
  }

  takeAck(received: Received): Control {
    this.#ackedBytes = this.#bytes
    this.#messages = 0
    this.#sinceMs = undefined
    return { kind: 'ack', received, bytes: this.#bytes }
  }

  assembling(classId: number, bytes: number): void {
    this.#assembling[classId] = bytes
  }

  handedOver(classId: number, bytes: number): void {
    this.#unconsumed[classId] = (this.#unconsumed[classId] as number) + bytes
  }

  /** @param isCarried whether the message came on an earlier connection */
  consumed(classId: number, bytes: number, isCarried: boolean): void {
    if (isCarried) {
      this.#carried[classId] = Math.max(0, (this.#carried[classId] as number) - bytes)
      return
    }
    this.#unconsumed[classId] = (this.#unconsumed[classId] as number) - bytes
    this.#consumed[classId] = (this.#consumed[classId] as number) + bytes
  }

  /** Whether there is something to grant that is worth a message. */
  get owesCredit(): boolean {
    return CREDITED.some((classId) => {
      const gain = this.#total(classId) - (this.#granted[classId] as number)
      return gain > 0 && (gain >= (CREDIT_BYTES[classId] as number) / 4 || this.#granted[classId] === 0)
    })
  }

  /** What to grant, when it is worth a message. */
  takeCredit(): Control | undefined {
    if (!this.owesCredit) return undefined
    for (const classId of CREDITED) {
      this.#granted[classId] = Math.max(this.#granted[classId] as number, this.#total(classId))
    }
    return { kind: 'credit', bulk: this.#granted[BULK] as number, rlog: this.#granted[RLOG] as number }
  }

  #total(classId: number): number {
    // A message larger than what is granted ahead gets through because its own chunks count, once nothing else is waiting.
    const inProgress = this.waitingBytes(classId) === 0 ? (this.#assembling[classId] as number) : 0
    const ahead = (CREDIT_BYTES[classId] as number) - (this.#carried[classId] as number)
    return (this.#consumed[classId] as number) + inProgress + ahead
  }
}
