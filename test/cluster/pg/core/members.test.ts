import { describe, expect, test } from 'vitest'
import { Members } from '../../../../cluster/pg/core/members.ts'
import { fc } from '../../../tools/property.ts'

type Slot = { group: string; node: string; pid: string }

/** The same in the plainest form: a list of slots in the order of joins. */
class PlainMembers {
  slots: Slot[] = []

  add(slot: Slot, count: number): void {
    for (let i = 0; i < count; i++) this.slots.push(slot)
  }

  remove({ group, pid }: Slot, count: number): number {
    let removed = 0
    for (let i = this.slots.length - 1; i >= 0 && removed < count; i--) {
      if (this.slots[i]?.group !== group || this.slots[i]?.pid !== pid) continue
      this.slots.splice(i, 1)
      removed++
    }
    return removed
  }

  members(group: string, node?: string): string[] {
    return this.slots.filter((s) => s.group === group && (node === undefined || s.node === node)).map(({ pid }) => pid)
  }
}

describe('members of a scope', () => {
  test('are what a plain list of slots says, after any joins and leaves', () => {
    const change = fc.record({
      isJoin: fc.boolean(),
      group: fc.constantFrom('a', 'b', 'c'),
      node: fc.constantFrom('n1', 'n2'),
      process: fc.constantFrom('x', 'y', 'z'),
      count: fc.integer({ min: 1, max: 3 }),
    })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60, size: 'max' }), (changes) => {
        const members = new Members()
        const plain = new PlainMembers()
        for (const { isJoin, group, node, process, count } of changes) {
          const pid = `${process}@${node}`
          if (isJoin) {
            members.add(group, node, pid, count)
            plain.add({ group, node, pid }, count)
          } else expect(members.remove(group, node, pid, count)).toBe(plain.remove({ group, node, pid }, count))
          expect(members.slotCount).toBe(plain.slots.length)
          expect(members.groups()).toEqual([...new Set(plain.slots.map((s) => s.group))].sort())
          for (const each of ['a', 'b', 'c']) {
            expect(members.members(each)).toEqual(plain.members(each))
            for (const n of ['n1', 'n2']) expect(members.membersOf(each, n)).toEqual(plain.members(each, n))
            expect(members.nodesOf(each)).toEqual(
              [...new Set(plain.slots.filter((s) => s.group === each).map((s) => s.node))].sort(),
            )
          }
          for (const n of ['n1', 'n2']) {
            expect(members.slotsOfNode(n)).toBe(plain.slots.filter((s) => s.node === n).length)
            expect(members.groupsOfNode(n)).toEqual(
              [...new Set(plain.slots.filter((s) => s.node === n).map((s) => s.group))].sort(),
            )
          }
        }
      }),
    )
  })

  test('a list that was handed out stays as it was', () => {
    const members = new Members()
    members.add('g', 'n', 'p', 2)
    const before = members.members('g')
    members.remove('g', 'n', 'p', 2)
    members.add('g', 'n', 'q', 1)
    expect(before).toEqual(['p', 'p'])
    expect(members.members('g')).toEqual(['q'])
  })
})
