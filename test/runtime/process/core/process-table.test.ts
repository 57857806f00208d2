// The processes of a host by their PIDs.

import { describe, expect, test } from 'vitest'
import { PidMaker } from '../../../../runtime/base/pid.ts'
import { ProcessTable, type Tabled } from '../../../../runtime/process/core/process-table.ts'

class Item implements Tabled<Item> {
  readonly pid: string
  nextInBucket: Item | undefined = undefined
  older: Item | undefined = undefined
  younger: Item | undefined = undefined
  constructor(pid: string) {
    this.pid = pid
  }
}

const pids = new PidMaker({ node: 'n', host: 'app:host', epoch: 5, slot: 1, generation: 2 })
const items = (count: number): Item[] => Array.from({ length: count }, () => new Item(pids.next()))

function filled(list: readonly Item[]): ProcessTable<Item> {
  const table = new ProcessTable<Item>()
  for (const item of list) table.add(item)
  return table
}

describe('the table', () => {
  test('finds what is in it, by the text of the PID, and nothing else', () => {
    const list = [...items(1000), new Item(pids.nextForFunction('app:f'))]
    const table = filled(list)
    expect(table.size).toBe(1001)
    for (const item of list) expect(table.get([...item.pid].join(''))).toBe(item)
    expect(table.has(pids.next())).toBe(false)
    for (const text of ['', '{', '{}', 'name', `${list[0]?.pid} `]) expect(table.has(text)).toBe(false)
  })

  test('lists in the order of arrival, whatever left in between', () => {
    const list = items(1000)
    const table = filled(list)
    const odd = list.filter((_, i) => i % 2 === 1)
    for (const item of list.filter((_, i) => i % 2 === 0)) expect(table.remove(item)).toBe(true)
    const late = new Item(pids.next())
    table.add(late)
    expect(table.list()).toEqual([...odd, late])
    expect(table.size).toBe(501)
  })

  test('takes out once, also the first, the last and the only one', () => {
    const [a, b, c] = items(3) as [Item, Item, Item]
    const table = filled([a, b, c])
    expect([table.remove(a), table.remove(a), table.remove(c), table.remove(b)]).toEqual([true, false, true, true])
    expect([table.list(), table.size, table.has(b.pid)]).toEqual([[], 0, false])
    table.add(b)
    expect(table.list()).toEqual([b])
  })

  test('what was removed leads to nobody', () => {
    const list = items(300)
    const table = filled(list)
    for (const item of list.slice(10, 290)) {
      table.remove(item)
      expect([item.nextInBucket, item.older, item.younger]).toEqual([undefined, undefined, undefined])
    }
    expect(table.list()).toHaveLength(20)
  })

  test('is the same as a Map while many come and go', () => {
    const table = new ProcessTable<Item>()
    const map = new Map<string, Item>()
    let seed = 7
    for (let i = 0; i < 6000; i++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      // It grows for a while, then it shrinks.
      const comes = seed % 10 < (i % 3000 < 1500 ? 7 : 3)
      if (comes) {
        const item = new Item(pids.next())
        table.add(item)
        map.set(item.pid, item)
      } else {
        let item: Item | undefined
        for (const each of map.values()) {
          item = each
          if ((seed >>> 8) % 8 === 0) break
          seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
        }
        if (item === undefined) continue
        expect(table.remove(item)).toBe(true)
        map.delete(item.pid)
      }
      if (i % 997 === 0) expect(table.list()).toEqual([...map.values()])
    }
    for (const [pid, item] of map) expect(table.get(pid)).toBe(item)
    table.clear()
    expect([table.size, table.list()]).toEqual([0, []])
  })
})
