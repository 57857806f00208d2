// What a host may say ahead of acceptance: cluster.md §4.5.

import { describe, expect, test } from 'vitest'
import { ErrorValue, TableValue, type Value } from '../../../../runtime/base/value.ts'
import { AHEAD_MESSAGE_BYTES_MAX, Allowances, aheadBytesOf, Taken } from '../../../../runtime/process/core/ahead.ts'
import { fc } from '../../../tools/property.ts'

describe('the size of a message', () => {
  test('grows with what is in it', () => {
    const small = aheadBytesOf('t', [1, 'x', true, undefined])
    expect(aheadBytesOf('t', [1, 'x'.repeat(100), true, undefined])).toBe(small + 99)
    expect(aheadBytesOf('t', [1, 'x', true, new TableValue([1, 2])])).toBeGreaterThan(small)
  })

  test.each<[string, Value]>([
    ['long', 'x'.repeat(AHEAD_MESSAGE_BYTES_MAX)],
    ['of many values', new TableValue(new Array(AHEAD_MESSAGE_BYTES_MAX).fill(1))],
    ['deep', Array.from({ length: 100 }).reduce<TableValue>((inner) => new TableValue([inner]), new TableValue())],
    ['an error', new ErrorValue('Internal', 'x')],
  ])('what is %s has to ask', (_, value) => {
    expect(aheadBytesOf('t', [value])).toBe(Number.POSITIVE_INFINITY)
  })

  test('a table that holds itself has to ask', () => {
    const table = new TableValue()
    table.array.push(table, table)
    expect(aheadBytesOf('t', [table])).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('an allowance', () => {
  test('belongs to one run of a node', () => {
    const all = new Allowances()
    expect(all.take('n', 1, 10)).toBe(false)
    all.up('n', 1, 100)
    expect(all.take('n', 2, 10)).toBe(false)
    expect(all.take('n', 1, 100)).toBe(true)
    expect(all.take('n', 1, 1)).toBe(false)
    all.down('n', 2)
    all.giveBack('n', 2, 100)
    expect(all.take('n', 1, 1)).toBe(false)
    all.giveBack('n', 1, 40)
    expect(all.take('n', 1, 40)).toBe(true)
    all.down('n', 1)
    all.giveBack('n', 1, 100)
    expect(all.take('n', 1, 1)).toBe(false)
  })

  test('is never exceeded by what was not given back, and never runs dry while there is room', () => {
    const bytesMax = 1000
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 300 }), fc.boolean())), (steps) => {
        const host = new Allowances()
        const node = new Taken(bytesMax)
        host.up('n', 1, bytesMax)
        let beyond = 0
        for (const [byteCount, hasRoom] of steps) {
          if (host.take('n', 1, byteCount)) {
            node.add(byteCount)
            beyond += byteCount
          }
          if (hasRoom) beyond = 0
          expect(beyond).toBeLessThanOrEqual(bytesMax)
          const back = node.release(hasRoom)
          if (back > 0) host.giveBack('n', 1, back)
          if (hasRoom) expect(host.take('n', 1, bytesMax / 2)).toBe(true)
          if (hasRoom) host.giveBack('n', 1, bytesMax / 2)
        }
      }),
    )
  })
})
