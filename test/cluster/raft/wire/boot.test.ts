import { describe, expect, it } from 'vitest'
import type { BootAnswer, BootRequest, Plan } from '../../../../cluster/raft/core/bootstrap.ts'
import { seenOf } from '../../../../cluster/raft/seen.ts'
import {
  decodeBootAnswer,
  decodeBootRequest,
  decodePlan,
  encodeBootAnswer,
  encodeBootRequest,
  encodePlan,
} from '../../../../cluster/raft/wire/boot.ts'
import { UnpackError } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const formation = '0123456789abcdef'.repeat(2)
const [a, b] = ['aa'.repeat(16), 'bb'.repeat(16)]
const plan: Plan = {
  formation,
  nonce: '0123456789abcdef',
  proposer: 'a',
  founders: [
    { name: 'a', epoch: 1, store: a },
    { name: 'b', epoch: 2 ** 40, store: b },
  ],
  configuration: { voters: [`a/${a}`], standbys: [`b/${b}`] },
  settings: Uint8Array.of(1, 2),
}
const requests: BootRequest[] = [
  { kind: 'hello' },
  { kind: 'propose', plan },
  ...(['commit', 'abort', 'status', 'release'] as const).map((kind) => ({ kind, formation })),
]
const answers: BootAnswer[] = [
  { kind: 'hello', store: a, epoch: 7 },
  { kind: 'hello', store: a, epoch: 7, formation },
  { kind: 'accepted' },
  { kind: 'refused', why: 'no' },
  { kind: 'fate', store: b, fate: 'released' },
]

describe('what servers say before they are a group', () => {
  it('is read as it was written', () => {
    for (const request of requests) expect(decodeBootRequest(request.kind, encodeBootRequest(request))).toEqual(request)
    for (const answer of answers) expect(decodeBootAnswer(encodeBootAnswer(answer))).toEqual(answer)
    expect(decodePlan(encodePlan(plan))).toEqual(plan)
  })

  it('is refused when it is anything else, whatever it is', () => {
    const good = [...requests.map(encodeBootRequest), ...answers.map(encodeBootAnswer)]
    fc.assert(
      fc.property(fc.constantFrom(...good), fc.nat(), fc.nat(255), fc.nat(), (bytes, at, value, cut) => {
        const bad = Uint8Array.from(bytes)
        if (bad.length > 0) bad[at % bad.length] = value
        const mutated = bad.subarray(0, cut % (bad.length + 1))
        for (const { kind } of requests) quietly(() => decodeBootRequest(kind, mutated))
        quietly(() => decodeBootAnswer(mutated))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('what gossip tells of a server', () => {
  const node = (tags: Record<string, string>) => ({ name: 'a', epoch: 1, tags: new Map(Object.entries(tags)) })

  it('is nothing for a node that says nothing of itself', () => {
    expect(seenOf(node({}), true)).toBeUndefined()
    expect(seenOf(node({ raft_status: 'king' }), true)).toBeUndefined()
  })

  it('is taken only in the form that it must have', () => {
    const odd = { raft_status: 'pre', store: '../x', formation: 'F', raft_priority: '-1', bootstrap_expect: '1e9' }
    expect(seenOf(node(odd), true)).toMatchObject({ store: '', formation: undefined, priority: 10_000, expect: 0 })
    const fine = {
      raft_status: 'pre',
      store: 'a'.repeat(16),
      raft_priority: '5',
      bootstrap_expect: '3',
      raft_eligible: 'true',
    }
    expect(seenOf(node(fine), false)).toMatchObject({ priority: 5, expect: 3, isEligible: true, isLinked: false })
  })
})

function quietly(act: () => unknown): void {
  try {
    act()
  } catch (error) {
    expect(error).toBeInstanceOf(UnpackError)
  }
}
