// Finding the leader. cluster.md §5.11, §12 (44).

import { expect, test } from 'vitest'
import { type LeaderEffect, LeaderFinder } from '../../../../cluster/state/core/leader.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'

const asksOf = (effects: readonly LeaderEffect[]) => effects.filter((effect) => effect.kind === 'ask')

function rigOf(members: readonly string[], linked = members) {
  const env = new FakeEnv()
  const finder = new LeaderFinder('me', env)
  finder.step({ kind: 'topology', members, linked: new Set(linked) })
  return { env, finder }
}

test('three members are asked at a time, not always the same', () => {
  const { env, finder } = rigOf(['a', 'b', 'c', 'd', 'e'])
  const asked = new Set<string>()
  let asks = asksOf(finder.step({ kind: 'wanted' }))
  for (let i = 0; i < 10; i++) {
    expect(asks).toHaveLength(3)
    expect(new Set(asks.map(({ to }) => to)).size).toBe(3)
    for (const { ask, to } of asks) {
      asked.add(to)
      expect(finder.step({ kind: 'told', ask, leader: undefined, term: 0 })).toEqual([])
    }
    env.advance(finder.wakeAtMs - env.now)
    asks = asksOf(finder.step({ kind: 'tick' }))
  }
  expect([...asked].sort()).toEqual(['a', 'b', 'c', 'd', 'e'])
})

test('members that are silent are given up after a second', () => {
  const { env, finder } = rigOf(['a'])
  finder.step({ kind: 'wanted' })
  env.advance(1000)
  expect(finder.wakeAtMs).toBeLessThanOrEqual(env.now)
  finder.step({ kind: 'tick' })
  env.advance(1000)
  expect(asksOf(finder.step({ kind: 'tick' }))).toHaveLength(1)
})

test('a leader without a link is reached through a member, once', () => {
  const { finder } = rigOf(['a', 'b'])
  const [ask] = asksOf(finder.step({ kind: 'wanted' }))
  expect(finder.step({ kind: 'told', ask: ask?.ask ?? 0, leader: 'far', term: 3 })).toEqual([{ kind: 'known' }])
  expect(finder.route()).toMatchObject({ leader: 'far', relay: true })
  expect(finder.step({ kind: 'topology', members: ['a'], linked: new Set(['a', 'far']) })).toEqual([])
  expect(finder.route()).toEqual({ to: 'far', leader: 'far', relay: false })
})

test('hints are followed, but two nodes that point at each other are left for others', () => {
  const { finder } = rigOf(['a', 'b', 'c'])
  finder.step({ kind: 'wanted' })
  finder.step({ kind: 'own', leader: 'a', term: 2 })
  let [at, other] = ['a', 'b']
  let followed = 0
  while (finder.leader === at && followed < 100) {
    finder.step({ kind: 'refuted', name: at, hint: other })
    ;[at, other] = [other, at]
    followed++
  }
  expect(followed).toBeLessThan(10)
})

test('news of an old term do not replace what is known, and old refutations do not count', () => {
  const { finder } = rigOf(['a', 'b', 'c'])
  const [one, two] = asksOf(finder.step({ kind: 'wanted' }))
  finder.step({ kind: 'told', ask: one?.ask ?? 0, leader: 'b', term: 5 })
  finder.step({ kind: 'told', ask: two?.ask ?? 0, leader: 'a', term: 4 })
  expect(finder.leader).toBe('b')
  finder.step({ kind: 'own', leader: 'c', term: 4 })
  expect(finder.leader).toBe('b')
  finder.step({ kind: 'refuted', name: 'a', hint: 'c' })
  expect(finder.leader).toBe('b')
})
