// Values, byte strings, PIDs, durations: what goes in comes out.

import { describe, expect, test } from 'vitest'
import { fromUint8Array, toBytes, toText, toUint8Array } from '../../../runtime/base/bytes.ts'
import { formatDurationNs, parseDurationMs, parseDurationNs, parseSizeBytes } from '../../../runtime/base/duration.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { canonicalPid, epochOf, PidMaker, parsePid, slotOf } from '../../../runtime/base/pid.ts'
import { errorFrom, errorTo, fromPlain, roundedInteger, toPlain } from '../../../runtime/base/plain.ts'
import { ErrorValue, Float, floatValue, integerValue, TableValue } from '../../../runtime/base/value.ts'
import { fc } from '../../tools/property.ts'

describe('byte strings', () => {
  test('hold any text as UTF-8 and give it back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(toText(toBytes(text))).toBe(text)
      }),
    )
  })

  test('hold any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (data) => {
        const bytes = fromUint8Array(data)
        expect(bytes).toHaveLength(data.length)
        expect(toUint8Array(bytes)).toEqual(data)
      }),
    )
    const large = new Uint8Array(100_000).fill(200)
    expect(toUint8Array(fromUint8Array(large))).toEqual(large)
  })
})

describe('numbers', () => {
  test('a float with a whole value is told from an integer', () => {
    expect(floatValue(2.5)).toBe(2.5)
    expect(floatValue(3)).toEqual(new Float(3))
    expect(floatValue(-0)).toEqual(new Float(-0))
    expect(floatValue(2 ** 60)).toBe(2 ** 60)
  })

  test('an integer is a plain number where that is exact', () => {
    expect(integerValue(5n)).toBe(5)
    expect(integerValue(2n ** 53n)).toBe(2n ** 53n)
  })
})

describe('plain data', () => {
  test('survives the way in and out', () => {
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.double({ noNaN: true, noInteger: true }))
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie('tree'), { minLength: 1, maxLength: 4 }),
        fc.dictionary(fc.string({ minLength: 1 }), tie('tree'), { minKeys: 1, maxKeys: 4 }),
      ),
    }))
    fc.assert(
      fc.property(tree, (data) => {
        expect(toPlain(fromPlain(data))).toEqual(data)
      }),
    )
  })

  test('keys such as __proto__ stay data', () => {
    const data = JSON.parse('{"__proto__": {"polluted": true}}')
    const back = toPlain(fromPlain(data)) as object
    expect(Object.hasOwn(back, '__proto__')).toBe(true)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  test('what cannot travel is nil, what is cyclic is refused', () => {
    expect(fromPlain(() => 1)).toBeUndefined()
    expect(fromPlain([1, null, 3])).toEqual(new TableValue([1], [3], [3]))
    const cyclic: unknown[] = []
    cyclic.push(cyclic)
    expect(() => fromPlain(cyclic)).toThrow(MoonmeshError)
  })

  test('errors keep kind, message, retryable and details', () => {
    const error = new MoonmeshError('Conflict', 'bélegt', { retryable: true, details: { by: 'x' } })
    const value = errorFrom(error)
    expect(value).toBeInstanceOf(ErrorValue)
    expect(errorTo(value)).toMatchObject({ kind: 'Conflict', message: 'bélegt', retryable: true, details: { by: 'x' } })
    expect(errorFrom('text')).toMatchObject({ kind: 'Internal', message: 'text' })
  })
})

describe('PIDs (lua-core.md §6.1, cluster.md §0.1)', () => {
  test.each([
    ['{app:p|e.1}', { node: undefined, host: 'app:p', uniq: 'e.1' }],
    ['{n1@app:p|e.1}', { node: 'n1', host: 'app:p', uniq: 'e.1' }],
    ['{x|app:p|e.1}', { node: undefined, host: 'app:p', uniq: 'e.1' }],
    ['{x|n1@app:p|e.1}', { node: 'n1', host: 'app:p', uniq: 'e.1' }],
  ])('%s parses', (text, parts) => {
    expect(parsePid(text)).toMatchObject(parts)
    expect(canonicalPid(text)).toBe(text.replace('{x|', '{'))
  })

  test.each(['', 'app:p|e.1', '{app:p}', '{|e.1}', '{app:p|}', '{a', 'name', '{n@|x}'])('%s is none', (text) => {
    expect(parsePid(text)).toBeUndefined()
  })

  test('never repeat, over slots and generations, and tell epoch and slot', () => {
    const seen = new Set<string>()
    for (const slot of [0, 1, 1023]) {
      for (const generation of [0, 1, 2]) {
        const maker = new PidMaker({ host: 'a:h', epoch: 1_767_000_000_000, slot, generation })
        for (let i = 0; i < 200; i++) {
          const pid = maker.next()
          const { uniq } = parsePid(pid) as { uniq: string }
          expect([epochOf(uniq), slotOf(uniq)]).toEqual([1_767_000_000_000, slot])
          seen.add(pid)
        }
      }
    }
    expect(seen.size).toBe(3 * 3 * 200)
  })

  test('of a later generation lie beyond all of an earlier one', () => {
    const counter = (generation: number): number => {
      const pid = new PidMaker({ host: 'h:h', epoch: 1, slot: 5, generation }).next()
      const { uniq } = parsePid(pid) as { uniq: string }
      expect([epochOf(uniq), slotOf(uniq)]).toEqual([1, 5])
      return Number.parseInt(uniq.slice(uniq.indexOf('.') + 1, -2), 36)
    }
    expect(counter(1) - counter(0)).toBe(2 ** 32)
    expect(Number.isSafeInteger(counter(2 ** 21 - 1) + 2 ** 32 - 1)).toBe(true)
  })

  test('of another form tell no slot and no epoch', () => {
    for (const uniq of ['', 'x', '.1', 'e.', 'e.1']) expect(slotOf(uniq)).toBe(-1)
    expect(epochOf('x')).toBeNaN()
  })
})

describe('durations and sizes', () => {
  test.each([
    ['250ms', 250e6],
    ['1h30m', 5400e9],
    ['-1.5s', -1.5e9],
    ['0', 0],
    ['1us', 1e3],
    ['1µs', 1e3],
    ['.5s', 0.5e9],
  ])('%s is %d ns', (text, ns) => expect(parseDurationNs(text)).toBe(ns))

  test.each(['', '5', 's', '5 s', '1h30', '1x', '-', '1e3s', `${'9'.repeat(30)}h`])('%s is no duration', (text) => {
    expect(parseDurationNs(text)).toBeUndefined()
    expect(parseDurationMs(text)).toBeUndefined()
  })

  test('a formatted duration parses to itself', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (ns) => {
        expect(parseDurationNs(formatDurationNs(ns))).toBe(ns)
      }),
      { examples: [[0], [1], [1500], [90_000_000_000]] },
    )
    expect(formatDurationNs(5400e9)).toBe('1h30m0s')
  })

  test.each([
    ['64KiB', 65_536],
    ['1MiB', 1_048_576],
    ['1.5GB', 1.5e9],
    ['10B', 10],
  ])('%s is %d bytes', (text, bytes) => expect(parseSizeBytes(text)).toBe(bytes))

  test.each(['', '64', '64kb', '-1B', 'x'])('%s is no size', (text) => expect(parseSizeBytes(text)).toBeUndefined())
})

describe('errors as JSON', () => {
  test('within a result they keep kind and message, and what else they have', () => {
    const error = new ErrorValue('Conflict', 'taken', true, undefined)
    const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
    expect(json(toPlain(new TableValue([error])))).toEqual([{ kind: 'Conflict', message: 'taken', retryable: true }])
    expect(json(new MoonmeshError('NotFound', 'gone', { details: { id: 'a:b' } }))).toEqual({
      kind: 'NotFound',
      message: 'gone',
      details: { id: 'a:b' },
    })
  })
})

test.each([
  ['[1, 9007199254740993]', '9007199254740993'],
  ['{"a":-12345678901234567890}', '-12345678901234567890'],
  [`{"\\"9007199254740993\\\\": 9007199254740993}`, '9007199254740993'],
  ['9'.repeat(400), '9'.repeat(400)],
  [
    '[9007199254740992, 1000000000000000000000, 1e400, 12345678901234567.5, "9007199254740993 \\" 9007199254740993"]',
    undefined,
  ],
  [JSON.stringify([1e20 / 3, -(2 ** 62), Number.MAX_SAFE_INTEGER]), undefined],
])('%s holds an integer that reading would round: %s', (json, expected) => {
  expect(JSON.parse(json)).toBeDefined()
  expect(roundedInteger(json)).toBe(expected)
})
