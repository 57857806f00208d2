// Shapes of tables whose keys nobody could foresee (docs/internals/lua-engine.md, "Values").

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { TableValue } from '../../../../runtime/base/value.ts'
import { known, Table } from '../../../../runtime/lua/vm/table.ts'
import { newEngine } from './support.ts'

const TABLES = 1_000_000
/** What a heap may differ by after a collection, and all that shapes may take. */
const NOISE_BYTES = 32 * 1024 * 1024

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heapBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}

const filled = (...keys: string[]): Table => {
  const table = new Table()
  for (const key of keys) table.setData(key, 1)
  return table
}

describe('shapes', () => {
  test('are learned from data when its keys come again', () => {
    const key = (name: string): string => `learned ${name}`
    const kinds = Array.from({ length: 4 }, () => filled(key('a'), key('b')).shape)
    expect(kinds.map(({ isDictionary }) => isDictionary)).toEqual([true, true, false, false])
    expect(kinds[3]).toBe(kinds[2])
  })

  test('are not made for a map by ids, which is a dictionary from its first key on', () => {
    const { shapes } = known
    for (let i = 0; i < 10_000; i++) expect(filled(`id ${i}`, `other ${i}`).shape.isDictionary).toBe(true)
    expect(known.shapes).toBe(shapes)
  })

  test('are learned beside keys that never come again', () => {
    let last: Table | undefined
    for (let i = 0; i < 100; i++) {
      filled(`random ${i}`)
      last = filled('beside a', 'beside b')
    }
    expect(last?.shape.isDictionary).toBe(false)
    expect(last?.getStr('beside b')).toBe(1)
  })

  test('that are too many are forgotten, and tables keep theirs', () => {
    const kept = new Table()
    kept.setStr('kept', 1, true)
    const { shape } = kept
    for (let i = 0; i < 30_000; i++) {
      const table = new Table()
      table.setStr(`of ${i % 300}`, 1, true)
      table.setStr(`many ${i}`, 1, true)
    }
    expect(known.shapes).toBeLessThanOrEqual(20_000)
    expect([kept.shape, kept.getStr('kept')]).toEqual([shape, 1])
    kept.setStr('more', 2, true)
    expect([kept.getStr('kept'), kept.getStr('more'), kept.shape.isDictionary]).toEqual([1, 2, false])
    // What comes later has shapes again.
    const [a, b] = [new Table(), new Table()]
    for (const table of [a, b]) table.setStr('later', 1, true)
    expect([a.shape.isDictionary, a.shape === b.shape]).toEqual([false, true])
  })

  test('of many fields count as many', () => {
    for (let kind = 0; kind < 200; kind++) {
      const table = new Table()
      for (let i = 0; i < 100; i++) table.setStr(`field ${kind} ${i}`, 1, true)
      expect(known.fields).toBeLessThanOrEqual(400_000)
    }
  })

  test.each([
    [
      'set by modules',
      () => {
        const engine = newEngine('loop')
        return (i: number) => engine.set(engine.newTable(), `key ${i}`, i)
      },
    ],
    [
      'of messages',
      () => {
        const engine = newEngine('loop')
        return (i: number) => engine.copyIn(new TableValue([], ['type', `key ${i}`], ['event', i]))
      },
    ],
    [
      'named in sources',
      () => (i: number) => {
        const table = new Table()
        table.setStr(`type ${i % 100}`, 1, true)
        table.setStr(`key ${i}`, 1, true)
      },
    ],
  ])('a million tables with random keys %s keep the heap flat', { timeout: 120_000 }, (_how, prepare) => {
    const make = prepare()
    for (let i = 0; i < TABLES / 10; i++) make(i)
    const before = heapBytes()
    for (let i = TABLES / 10; i < TABLES; i++) make(i)
    expect(heapBytes() - before).toBeLessThan(NOISE_BYTES)
    expect(known.shapes).toBeLessThanOrEqual(20_000)
  })
})
