// The leader's part in strong names: asks every node that has to agree, again and again until the reservation is over, and brings their
// answers into the log. cluster.md §6.4. A new leader begins anew with all that is reserved.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import { pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import type { Fabric } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import type { Command } from '../state/core/commands.ts'
import { Fields } from '../state/core/fields.ts'
import { encodeEnvelope } from '../state/wire/commands.ts'
import type { Reservation } from './core/bindings.ts'

export const CHECK = 'strong.check'
const AGAIN_MS = 500
/** How often is looked whom to ask again. */
const ROUND_MS = 100
/** Answers that come together are one command, unless nobody else is missing. */
const BATCH_MS = 5
const REQUEST_MS = 2000
/** Questions that are out at one time. */
const ASKING_MAX = 1024

/** What one reservation was asked for, as far as this leader did. */
interface Asked {
  readonly revision: number
  /** By session, when it was asked last. */
  readonly atMs: Map<number, number>
  /** Agreed, and not in the log yet. */
  readonly acks: Set<number>
  /** Nobody has to be asked before this, unless somebody joins. */
  nextAtMs: number
}

export class StrongDriver {
  readonly #fabric: Fabric
  readonly #consensus: Consensus
  readonly #own: (body: Uint8Array) => Uint8Array
  readonly #asked = new Map<string, Asked>()
  #asking = 0
  /** There was no room to ask everybody. */
  #isShort = false
  #cancelTick: (() => void) | undefined
  #cancelFlush: (() => void) | undefined
  #isClosed = false

  /** @param own answers for this node, which the mesh does not reach */
  constructor(fabric: Fabric, consensus: Consensus, own: (body: Uint8Array) => Uint8Array) {
    this.#fabric = fabric
    this.#consensus = consensus
    this.#own = own
  }

  /** Something may be reserved, or this server may lead now. */
  look(): void {
    if (!this.#isClosed && this.#cancelTick === undefined) this.#round()
  }

  /** This name is reserved now. */
  opened(name: string): void {
    if (this.#isClosed || !this.#leads) return
    this.#askAll(name, this.#fabric.env.nowMs())
    this.#cancelTick ??= this.#fabric.after(ROUND_MS, () => this.#round())
  }

  /** A node has joined, and has to agree to whatever is reserved. */
  joined(): void {
    if (this.#isClosed || this.#cancelTick === undefined) return
    for (const asked of this.#asked.values()) asked.nextAtMs = 0
    this.#round()
  }

  close(): void {
    this.#isClosed = true
    this.#cancelTick?.()
    this.#cancelFlush?.()
  }

  get #leads(): boolean {
    const { raftRole, isReady } = this.#consensus.status()
    return raftRole === 'leader' && isReady
  }

  #round(): void {
    this.#cancelTick?.()
    this.#cancelTick = undefined
    this.#isShort = false
    const { names } = this.#consensus.machine
    const reserved = this.#leads ? names.reservations() : []
    if (reserved.length < this.#asked.size) {
      const current = new Set(reserved)
      for (const name of this.#asked.keys()) if (!current.has(name)) this.#asked.delete(name)
    }
    if (reserved.length === 0) return
    const nowMs = this.#fabric.env.nowMs()
    for (const name of reserved) this.#askAll(name, nowMs)
    this.#cancelTick = this.#fabric.after(ROUND_MS, () => this.#round())
  }

  /** Those who have to agree and did not yet, unless they were asked just now. */
  #askAll(name: string, nowMs: number): void {
    const reservation = this.#consensus.machine.names.reservation(name)
    if (reservation === undefined) return
    const asked = this.#askedOf(name, reservation.revision)
    if (nowMs < asked.nextAtMs) return
    asked.nextAtMs = nowMs + AGAIN_MS
    for (const session of [...reservation.required].sort((a, b) => a - b)) {
      if (reservation.acked.has(session)) continue
      const atMs = asked.atMs.get(session) ?? Number.NEGATIVE_INFINITY
      if (nowMs - atMs < AGAIN_MS) {
        asked.nextAtMs = Math.min(asked.nextAtMs, atMs + AGAIN_MS)
        continue
      }
      if (this.#asking >= ASKING_MAX) {
        this.#isShort = true
        asked.nextAtMs = nowMs
        return
      }
      asked.atMs.set(session, nowMs)
      void this.#check({ name, pid: reservation.pid, revision: reservation.revision }, session)
    }
  }

  #askedOf(name: string, revision: number): Asked {
    const known = this.#asked.get(name)
    if (known?.revision === revision) return known
    const asked = { revision, atMs: new Map<number, number>(), acks: new Set<number>(), nextAtMs: 0 }
    this.#asked.set(name, asked)
    return asked
  }

  async #check(check: { name: string; pid: string; revision: number }, session: number): Promise<void> {
    const node = this.#consensus.machine.sessions.get(session)
    if (node === undefined) return
    const { name, pid, revision } = check
    this.#asking++
    try {
      const to = { name: node.node, epoch: node.epoch }
      const body = pack({ name, pid, rev: revision })
      const isOwn = to.name === this.#fabric.name && to.epoch === this.#fabric.epoch
      const options = { deadlineMs: REQUEST_MS }
      const bytes = isOwn ? this.#own(body) : await this.#fabric.request(to, CHECK, body, options)
      const answer = new Fields(unpack(bytes))
      const kind = answer.text('kind')
      if (kind === 'ack') this.#acked(name, revision, session)
      else if (kind === 'reject') {
        this.#propose({ kind: 'strong-reject', name, revision, session, holder: answer.text('holder') })
      }
    } catch (error) {
      // Not reached, or an answer that says nothing: it is asked again.
      if (!(error instanceof MoonmeshError || error instanceof UnpackError)) throw error
    } finally {
      this.#asking--
      if (this.#isShort && !this.#isClosed) {
        this.#isShort = false
        this.#round()
      }
    }
  }

  #acked(name: string, revision: number, session: number): void {
    const asked = this.#asked.get(name)
    const reservation = this.#consensus.machine.names.reservation(name)
    // It is over, or another one.
    if (asked?.revision !== revision || reservation?.revision !== revision) return
    asked.acks.add(session)
    // Whoever registers waits for the last answer alone.
    if (isAgreed(reservation, asked.acks)) this.#bring(name, asked)
    else this.#cancelFlush ??= this.#fabric.after(BATCH_MS, () => this.#flush())
  }

  #flush(): void {
    this.#cancelFlush = undefined
    for (const [name, asked] of this.#asked) if (asked.acks.size > 0) this.#bring(name, asked)
  }

  #bring(name: string, { revision, acks }: Asked): void {
    const sessions = [...acks].sort((a, b) => a - b)
    acks.clear()
    this.#propose({ kind: 'strong-ack', name, revision, sessions })
  }

  /** What does not get into the log is asked for again. */
  #propose(command: Command): void {
    if (this.#isClosed || !this.#leads) return
    this.#consensus.propose(encodeEnvelope({ session: 0, seq: 0, floor: 0, command })).catch(() => {})
  }
}

/** Whether these answers are the last that were missing. */
function isAgreed({ required, acked }: Reservation, acks: ReadonlySet<number>): boolean {
  let missing = required.size - acked.size
  for (const session of acks) if (required.has(session) && !acked.has(session)) missing--
  return missing <= 0
}
