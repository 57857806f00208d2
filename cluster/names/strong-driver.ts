// The leader's part in strong names: asks every node that has to agree, again and again until the reservation is over, and brings their
// answers into the log. cluster.md §6.4. A new leader begins anew with all that is reserved.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import { pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import type { Fabric } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import type { Command } from '../state/core/commands.ts'
import { Fields } from '../state/core/fields.ts'
import { encodeEnvelope } from '../state/wire/commands.ts'

export const CHECK = 'strong.check'
const AGAIN_MS = 500
/** Answers that come together are one command. */
const BATCH_MS = 5
const REQUEST_MS = 2000
/** Questions that are out at one time. */
const ASKING_MAX = 1024

export class StrongDriver {
  readonly #fabric: Fabric
  readonly #consensus: Consensus
  readonly #own: (body: Uint8Array) => Uint8Array
  /** By name and session, when it was asked last. */
  readonly #asked = new Map<string, number>()
  readonly #acks = new Map<string, { revision: number; sessions: Set<number> }>()
  #asking = 0
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
    if (this.#isClosed || this.#cancelTick !== undefined) return
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
    this.#cancelTick = undefined
    const { names } = this.#consensus.machine
    const reserved = this.#leads ? names.reservations() : []
    if (reserved.length === 0) {
      this.#asked.clear()
      return
    }
    const nowMs = this.#fabric.env.nowMs()
    const current = new Set<string>()
    for (const name of reserved) {
      const reservation = names.reservation(name)
      if (reservation === undefined) continue
      for (const session of [...reservation.required].sort((a, b) => a - b)) {
        if (reservation.acked.has(session)) continue
        const key = `${session} ${reservation.revision}`
        current.add(key)
        if (nowMs - (this.#asked.get(key) ?? Number.NEGATIVE_INFINITY) < AGAIN_MS || this.#asking >= ASKING_MAX)
          continue
        this.#asked.set(key, nowMs)
        void this.#check({ name, pid: reservation.pid, revision: reservation.revision }, session)
      }
    }
    for (const key of this.#asked.keys()) if (!current.has(key)) this.#asked.delete(key)
    this.#cancelTick = this.#fabric.after(AGAIN_MS / 5, () => this.#round())
  }

  async #check(check: { name: string; pid: string; revision: number }, session: number): Promise<void> {
    const node = this.#consensus.machine.sessions.get(session)
    if (node === undefined) return
    const { name, revision } = check
    this.#asking++
    try {
      const to = { name: node.node, epoch: node.epoch }
      const body = pack({ ...check, rev: revision })
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
    }
  }

  #acked(name: string, revision: number, session: number): void {
    const known = this.#acks.get(name)
    if (known?.revision === revision) known.sessions.add(session)
    else this.#acks.set(name, { revision, sessions: new Set([session]) })
    this.#cancelFlush ??= this.#fabric.after(BATCH_MS, () => this.#flush())
  }

  #flush(): void {
    this.#cancelFlush = undefined
    const acks = [...this.#acks]
    this.#acks.clear()
    for (const [name, { revision, sessions }] of acks) {
      this.#propose({ kind: 'strong-ack', name, revision, sessions: [...sessions].sort((a, b) => a - b) })
    }
  }

  /** What does not get into the log is asked for again. */
  #propose(command: Command): void {
    if (this.#isClosed || !this.#leads) return
    this.#consensus.propose(encodeEnvelope({ session: 0, seq: 0, floor: 0, command })).catch(() => {})
  }
}
