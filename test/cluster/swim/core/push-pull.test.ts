import { describe, expect, test } from 'vitest'
import type { NodeState, Versions } from '../../../../cluster/swim/core/messages.ts'
import { claimOf, pushPullIntervalMs, versionProblem } from '../../../../cluster/swim/core/push-pull.ts'
import { at, stateOf } from './rig.ts'

test.each([
  [1, 1],
  [32, 1],
  [33, 2],
  [64, 2],
  [65, 3],
  [128, 3],
  [129, 4],
  [1000, 6],
])('%i nodes exchange states every %i intervals (§3.7)', (nodes, times) => {
  expect(pushPullIntervalMs(5000, nodes)).toBe(5000 * times)
})

describe('what a listed state claims (§3.6)', () => {
  const listed = (state: NodeState['state']): NodeState => stateOf('b', state, { inc: 7, epoch: 2 })

  test('alive: as told', () => {
    const { address, meta, versions } = listed('alive')
    expect(claimOf(listed('alive'), 'me')).toEqual({
      kind: 'alive',
      node: 'b',
      incarnation: 7,
      address,
      meta,
      versions,
    })
  })

  test('left: that it left', () => {
    expect(claimOf(listed('left'), 'me')).toEqual({ kind: 'dead', node: 'b', incarnation: 7, from: 'b' })
  })

  test.each(['dead', 'suspect'] as const)('%s: only a suspicion, and our own', (state) => {
    expect(claimOf(listed(state), 'me')).toEqual({ kind: 'suspect', node: 'b', incarnation: 7, from: 'me' })
  })

  test('a state without meta or versions', () => {
    expect(claimOf({ name: 'b', address: at(2), incarnation: 1, state: 'alive' }, 'me')).toEqual({
      kind: 'alive',
      node: 'b',
      incarnation: 1,
      address: at(2),
      meta: '',
    })
  })
})

describe('the version vector (§3.9)', () => {
  const speaking = (name: string, versions: Versions | undefined, state: NodeState['state'] = 'alive'): NodeState => ({
    name,
    address: at(2),
    incarnation: 1,
    state,
    ...(versions === undefined ? {} : { versions }),
  })
  const check = (...nodes: NodeState[]): string | undefined => versionProblem(nodes, [])

  test('nodes that understand each other', () => {
    expect(check(speaking('a', [1, 5, 2, 2, 5, 4]), speaking('b', [1, 5, 5, 2, 5, 3]))).toBeUndefined()
    expect(check()).toBeUndefined()
  })

  test('serf and bare memberlist nodes do not mix', () => {
    const problem = check(speaking('a', [1, 5, 2, 2, 5, 4]), speaking('b', [1, 5, 2, 0, 0, 0]))
    expect(problem).toBe('node a speaks delegate version 4, others understand 2 to 0')
  })

  test('a protocol that somebody alive does not understand', () => {
    const problem = check(speaking('a', [1, 3, 3, 2, 5, 4]), speaking('b', [1, 5, 5, 2, 5, 4]))
    expect(problem).toBe('node b speaks protocol version 5, others understand 1 to 3')
  })

  test('the range comes from the living, and everybody has to be inside', () => {
    expect(check(speaking('a', [1, 5, 2, 2, 5, 4]), speaking('b', [1, 2, 2, 2, 5, 4], 'dead'))).toBeUndefined()
    expect(check(speaking('a', [1, 5, 2, 2, 5, 4]), speaking('b', [1, 9, 9, 2, 5, 4], 'left'))).toMatch('node b')
  })

  test('a vector that is too short is outside of every range', () => {
    expect(check(speaking('a', [1, 5, 2, 2, 5, 4]), speaking('b', undefined, 'dead'))).toMatch('node b speaks protocol')
  })
})
