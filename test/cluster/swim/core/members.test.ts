import { describe, expect, test } from 'vitest'
import { Departed, isLive, type Member, Members } from '../../../../cluster/swim/core/members.ts'
import { Chance } from '../../../sim/world.ts'
import { at } from './rig.ts'

const member = (name: string, state: Member['state'] = 'alive', incarnation = 1): Member => ({
  name,
  address: at(1),
  meta: '',
  tags: new Map(),
  epoch: 1,
  incarnation,
  state,
  changedAtMs: 0,
  versions: [1, 5, 2, 2, 5, 4],
})
const tableOf = (count: number, seed = 1): Members => {
  const chance = new Chance(seed)
  const env = { nowMs: () => 0, wallMs: () => 0, randomInt: (bound: number) => chance.int(bound) }
  const members = new Members({ countMax: 100 }, env)
  for (let i = 0; i < count; i++) members.set(member(`n${i}`))
  return members
}
const nobody = (): boolean => false

describe('the round of probes (SWIM 4.3)', () => {
  test('every node has its turn once a round', () => {
    const members = tableOf(10)
    const round = (): string[] =>
      Array.from({ length: 10 }, () => members.nextToProbe(isLive, nobody).target?.name ?? '').sort()
    expect(new Set(round()).size).toBe(10)
    expect(new Set(round()).size).toBe(10)
  })

  test('a newcomer enters at a random place', () => {
    const turns = new Set<number>()
    for (let seed = 1; seed <= 40; seed++) {
      const members = tableOf(10, seed)
      members.set(member('new'))
      let turn = 0
      while (members.nextToProbe(isLive, nobody).target?.name !== 'new') turn++
      turns.add(turn)
    }
    expect(turns.size).toBeGreaterThan(5)
  })

  test('skips who is not to be probed, and finds nobody when there is nobody', () => {
    const members = tableOf(3)
    members.set(member('n1', 'dead'))
    members.set(member('n2', 'left'))
    for (let i = 0; i < 4; i++) expect(members.nextToProbe(isLive, nobody).target?.name).toBe('n0')
    members.set(member('n0', 'dead'))
    expect(members.nextToProbe(isLive, nobody)).toEqual({ target: undefined, reaped: [] })
  })

  test('the dead leave the table at the end of a round', () => {
    const members = tableOf(4)
    members.set(member('n3', 'dead'))
    const gone: string[] = []
    for (let i = 0; i < 6; i++) {
      const { reaped } = members.nextToProbe(isLive, (each) => each.state === 'dead')
      gone.push(...reaped.map((each) => each.name))
    }
    expect(gone).toEqual(['n3'])
    expect(members.get('n3')).toBeUndefined()
    expect(members.count).toBe(3)
  })
})

describe('choosing at random', () => {
  test.each([3, 5, 8, 9, 50])('%i nodes: different ones that fit', (count) => {
    const members = tableOf(count)
    for (let i = 0; i < 50; i++) {
      const chosen = members.choose(3, (each) => each.name !== 'n0').map((each) => each.name)
      expect(chosen).not.toContain('n0')
      expect(new Set(chosen).size).toBe(chosen.length)
      expect(chosen.length).toBe(Math.min(3, count - 1))
    }
  })

  test('reaches everybody in time', () => {
    const members = tableOf(30)
    const seen = new Set<string>()
    for (let i = 0; i < 300; i++) for (const each of members.choose(3, () => true)) seen.add(each.name)
    expect(seen.size).toBe(30)
  })
})

test('members come in the order of their names, whatever the order of their arrival', () => {
  const members = tableOf(12)
  const names = members.sorted().map((each) => each.name)
  expect(names).toEqual([...names].sort())
  members.set(member('a'))
  expect(members.sorted()[0]?.name).toBe('a')
})

describe('the memory of those that are gone (§3.8)', () => {
  test('forgets after a time, and the oldest when it is full', () => {
    const departed = new Departed({ countMax: 2, keepMs: 1000 })
    departed.add(member('a', 'dead'), 0)
    departed.add(member('b', 'dead'), 500)
    departed.add(member('c', 'dead'), 600)
    expect(departed.get('a')).toBeUndefined()
    departed.expire(1499)
    expect(departed.dead().map((each) => each.name)).toEqual(['b', 'c'])
    departed.expire(1500)
    expect(departed.dead().map((each) => each.name)).toEqual(['c'])
  })

  test('only those that died are looked for', () => {
    const departed = new Departed({ countMax: 9, keepMs: 1000 })
    departed.add(member('left', 'left'), 0)
    expect(departed.deadAt(at(1))).toBeUndefined()
    expect(departed.dead()).toEqual([])
    departed.add(member('dead', 'dead'), 0)
    expect(departed.deadAt(at(1))?.name).toBe('dead')
    expect(departed.get('left')?.name).toBe('left')
    departed.forget('dead')
    expect(departed.dead()).toEqual([])
  })
})
