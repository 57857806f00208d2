import { describe, expect, test } from 'vitest'
import { Float } from '../../../../runtime/base/value.ts'
import { Table } from '../../../../runtime/lua/vm/table.ts'
import type { Val } from '../../../../runtime/lua/vm/value.ts'
import { fc } from '../../../tools/property.ts'

/** All pairs, by `next` alone. */
function pairs(table: Table): [Val, Val][] {
  const all: [Val, Val][] = []
  let key: Val
  for (;;) {
    const position = table.nextPosition(table.position(key))
    if (position === 0) return all
    key = table.keyAt(position)
    all.push([key, table.valueAt(position)])
  }
}

describe('a table', () => {
  const keys = fc.oneof(
    fc.integer({ min: -2, max: 40 }),
    fc.integer({ min: 1, max: 20 }),
    fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    fc.constantFrom(0.5, true, 2 ** 60),
  )
  const steps = fc.array(fc.tuple(keys, fc.option(fc.integer(), { nil: undefined }), fc.boolean()), { maxLength: 200 })

  test('holds what a map would hold, finds all of it in a traversal, and knows a border (§3.4.7)', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const table = new Table()
        const naive = new Map<Val, Val>()
        for (const [key, value, isField] of list) {
          if (typeof key === 'string') table.setStr(key, value, isField)
          else table.set(key, value)
          if (value === undefined) naive.delete(key)
          else naive.set(key, value)
        }
        for (const [key] of list) expect(table.get(key)).toBe(naive.get(key))
        const found = pairs(table)
        expect(found.length).toBe(naive.size)
        for (const [key, value] of found) expect(naive.get(typeof key === 'bigint' ? Number(key) : key)).toBe(value)
        const border = table.length()
        expect(border === 0 || naive.has(border)).toBe(true)
        expect(naive.has(border + 1)).toBe(false)
      }),
    )
  })

  test.each([
    ['from 2 on', Array.from({ length: 999 }, (_, i) => i + 2)],
    ['from its end', Array.from({ length: 1000 }, (_, i) => 1000 - i)],
    [
      'odd keys first',
      [...Array.from({ length: 500 }, (_, i) => 2 * i + 1), ...Array.from({ length: 500 }, (_, i) => 2 * i + 2)],
    ],
  ])('a list that is filled %s is a list', (_name, order) => {
    const table = new Table()
    table.setStr('name', 'x', true)
    table.set(0, 'zero')
    for (const key of order) table.set(key, key)
    expect(table.arr.length).toBe(1001)
    expect(table.length()).toBe(1000)
    expect(table.hash?.live).toBe(1)
    const found = pairs(table)
    expect(found.slice(0, order.length)).toEqual([...order].sort((a, b) => a - b).map((key) => [key, key]))
    expect(found.slice(order.length)).toEqual([
      ['name', 'x'],
      [0, 'zero'],
    ])
  })

  test('few keys far from each other are no list', () => {
    const table = new Table()
    for (let i = 1; i <= 2000; i++) table.set(i * 3, i)
    expect(table.arr.length).toBe(1)
    for (let i = 1; i <= 2000; i++) table.set(2 ** 40 + i, i)
    expect(table.arr.length).toBe(1)
    expect(pairs(table).length).toBe(4000)
  })

  test('takes a float with a whole value for the integer', () => {
    const table = new Table()
    table.set(new Float(1), 'a')
    table.set(2 ** 53, 'b')
    expect([table.get(1), table.get(2n ** 53n), table.get(new Float(-0))]).toEqual(['a', 'b', undefined])
  })

  test('may be emptied while it is traversed', () => {
    const table = new Table()
    for (let i = 1; i <= 10; i++) table.set(i, i)
    for (const name of ['x', 'y']) table.setStr(name, 1, true)
    table.set(0.5, 1)
    let key: Val
    let count = 0
    for (;;) {
      const position = table.nextPosition(table.position(key))
      if (position === 0) break
      key = table.keyAt(position)
      table.set(key, undefined)
      count++
    }
    expect(count).toBe(13)
    expect(pairs(table)).toEqual([])
  })

  test('filled from the end is a list all the same', () => {
    const table = new Table()
    for (let i = 5; i >= 1; i--) table.set(i, i)
    expect(table.length()).toBe(5)
    expect(table.arr.length).toBe(6)
  })

  test('used as a queue does not grow', () => {
    const table = new Table()
    for (let i = 1; i <= 100_000; i++) {
      table.set(i, i)
      if (i > 10) table.set(i - 10, undefined)
    }
    expect(table.size()).toBeLessThan(20_000)
  })

  test('refuses unknown keys in a traversal', () => expect(new Table().position('x')).toBe(-1))

  test('whose list has moved to the hash gets no key twice', () => {
    const table = new Table()
    for (let i = 1; i < 128; i++) table.setNum(i, i)
    for (let i = 2; i < 121; i++) table.setNum(i, undefined)
    table.setNum(128, 128)
    table.setNum(1, 100)
    expect(pairs(table).slice(0, 2)).toEqual([
      [1, 100],
      [121, 121],
    ])
    expect(pairs(table)).toHaveLength(9)
  })
})
