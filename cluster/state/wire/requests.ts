// What nodes ask of members and of the leader, one msgpack value each. cluster.md §5.10, §5.11.
//   raft.propose, session.renew   {h: hops so far, r: pass it on to the leader, b: a command · a session}
//   raft.leader                   nil → {l: name or nil, t: term}
//   state.read                    {n: name of the query, s: stale, a: its arguments}
//   state.event (one way)         an event of the state machine, or {kind: "answer"}

import { isPackedMap, type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { Fields } from '../core/fields.ts'
import type { Outcome, StateEvent } from '../core/outcomes.ts'

interface ForLeader {
  readonly hops: number
  /** Whoever is not the leader passes it on, once. */
  readonly relay: boolean
  readonly body: Packed
}

export function encodeForLeader({ hops, relay, body }: ForLeader): Uint8Array {
  return pack({ h: hops, r: relay, b: body })
}

/** @throws UnpackError */
export function decodeForLeader(bytes: Uint8Array): ForLeader {
  const value = unpack(bytes)
  const fields = new Fields(value)
  return { hops: fields.count('h'), relay: isPackedMap(value) && value['r'] === true, body: fields.value('b') }
}

export function encodeLeader(leader: string | undefined, term: number): Uint8Array {
  return pack({ l: leader ?? null, t: term })
}

/** @throws UnpackError */
export function decodeLeader(bytes: Uint8Array): { leader: string | undefined; term: number } {
  const fields = new Fields(unpack(bytes))
  return { leader: fields.textOr('l', undefined), term: fields.count('t') }
}

export function encodeOutcome(outcome: Outcome): Uint8Array {
  return pack(outcome as Packed)
}

/** @throws UnpackError */
export function decodeOutcome(bytes: Uint8Array): Outcome {
  return outcomeOf(unpack(bytes))
}

function outcomeOf(value: Packed): Outcome {
  if (!isPackedMap(value) || typeof value['status'] !== 'string') throw new UnpackError('no outcome')
  return { ...(value as object) } as Outcome
}

interface ReadRequest {
  readonly query: string
  readonly stale: boolean
  readonly args: Packed
}

export function encodeRead({ query, stale, args }: ReadRequest): Uint8Array {
  return pack({ n: query, s: stale, a: args })
}

/** @throws UnpackError */
export function decodeRead(bytes: Uint8Array): ReadRequest {
  const value = unpack(bytes)
  const fields = new Fields(value)
  return { query: fields.text('n'), stale: isPackedMap(value) && value['s'] === true, args: fields.value('a') }
}

/** What the leader tells a node of its own processes and requests. */
export type PushedEvent = Extract<StateEvent, { kind: 'answer' | 'lock-granted' | 'lock-released' | 'session-ended' }>

export function encodeEvent(event: PushedEvent): Uint8Array {
  return pack(event as unknown as Packed)
}

/** @throws UnpackError */
export function decodeEvent(bytes: Uint8Array): PushedEvent | undefined {
  const value = unpack(bytes)
  const f = new Fields(value)
  const kind = f.text('kind')
  switch (kind) {
    case 'answer': {
      const request = new Fields(f.value('request'))
      const outcome = outcomeOf(f.value('outcome'))
      return { kind, request: { session: request.count('session'), seq: request.count('seq') }, outcome }
    }
    case 'lock-granted':
      return { kind, name: f.text('name'), pid: f.text('pid'), token: f.count('token') }
    case 'lock-released': {
      const reason = f.text('reason') as Extract<StateEvent, { kind: 'lock-released' }>['reason']
      return { kind, name: f.text('name'), pid: f.text('pid'), token: f.count('token'), reason }
    }
    case 'session-ended':
      return { kind, node: f.text('node'), session: f.count('session'), reason: f.text('reason') }
    default:
      // Of a later version.
      return undefined
  }
}
