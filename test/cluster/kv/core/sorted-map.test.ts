import { describe, expect, test } from 'vitest'
import { SortedMap, type SortedView } from '../../../../cluster/kv/core/sorted-map.ts'
import { fc } from '../../../tools/property.ts'

const keyOf = (n: number): string => n.toString(36).padStart(3, '0')
const plainRange = (plain: Map<string, number>, after: string | undefined, prefix: string): [string, number][] =>
  [...plain]
    .filter(([key]) => key.startsWith(prefix) && (after === undefined || key > after))
    .sort(([a], [b]) => (a < b ? -1 : 1))

describe('a sorted map', () => {
  test('is a map whose keys are in order, and a view of it stays what it was', () => {
    const change = fc.record({ key: fc.nat(2000), isDelete: fc.boolean(), takesView: fc.nat(40).map((n) => n === 0) })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 1500, size: 'max' }), fc.nat(2000), (changes, at) => {
        const map = new SortedMap<number>()
        const plain = new Map<string, number>()
        const views: [SortedView<number>, [string, number][]][] = []
        for (const [i, { key, isDelete, takesView }] of changes.entries()) {
          const text = keyOf(key)
          if (isDelete) expect(map.delete(text)).toBe(plain.get(text))
          else expect(map.set(text, i)).toBe(plain.get(text))
          if (isDelete) plain.delete(text)
          else plain.set(text, i)
          if (takesView) views.push([map.view(), plainRange(plain, undefined, '')])
        }
        expect(map.size).toBe(plain.size)
        for (const key of plain.keys()) expect(map.get(key)).toBe(plain.get(key))
        const after = keyOf(at)
        for (const [bound, prefix] of [
          [undefined, ''],
          [after, ''],
          [after, after.slice(0, 2)],
          [undefined, '01'],
        ] as const) {
          const range = { prefix, ...(bound === undefined ? {} : { after: bound }) }
          expect([...map.range(range)]).toEqual(plainRange(plain, bound, prefix))
        }
        for (const [view, was] of views) expect([...view.range()]).toEqual(was)
      }),
      { numRuns: 60 },
    )
  })

  test('keys that come in order fill its chunks; many keys cost little', () => {
    const map = new SortedMap<number>()
    for (let i = 0; i < 100_000; i++) map.set(i.toString().padStart(6, '0'), i)
    for (let i = 0; i < 100_000; i += 2) map.delete(i.toString().padStart(6, '0'))
    expect(map.size).toBe(50_000)
    expect([...map.range({ after: '000100' })][0]).toEqual(['000101', 101])
  })

  test('a bound before the prefix begins at the prefix, one behind it finds nothing', () => {
    const map = new SortedMap<number>()
    for (const key of ['a', 'b1', 'b2', 'c']) map.set(key, 1)
    const keys = (range: object): string[] => [...map.range(range)].map(([key]) => key)
    expect(keys({ prefix: 'b', after: 'a' })).toEqual(['b1', 'b2'])
    expect(keys({ prefix: 'b', after: 'b1' })).toEqual(['b2'])
    expect(keys({ prefix: 'b', after: 'bz' })).toEqual([])
    expect(keys({ prefix: 'b', after: 'c' })).toEqual([])
  })
})
