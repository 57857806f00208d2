import { expect, test } from 'vitest'
import { Pattern, TooSlow } from '../../../lua-stdlib/text/pattern.ts'
import { scanText } from '../../../lua-stdlib/text/scan.ts'
import { fromUint8Array, toBytes } from '../../../runtime/base/bytes.ts'
import { fc } from '../../tools/property.ts'

test('every offset of a text is a place in its bytes, in order, from the first to the last', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (data) => {
      const bytes = fromUint8Array(data)
      const { text, byteOf } = scanText(bytes)
      expect(byteOf(0)).toBe(0)
      expect(byteOf(text.length)).toBe(bytes.length)
      for (let i = 0; i < text.length; i++) expect(byteOf(i)).toBeLessThanOrEqual(byteOf(i + 1))
    }),
  )
})

test('matches and what lies between them make the whole text again', () => {
  const subject = fc.string({ unit: fc.constantFrom('a', 'b', ',', 'ä', '€', '😀') })
  fc.assert(
    fc.property(subject, fc.constantFrom('a+', 'a*', '[äb]', ',|€', '.', 'x*'), (text, source) => {
      const bytes = toBytes(text)
      const pattern = new Pattern(toBytes(source))
      expect(pattern.replaceAll(bytes, '${0}')).toBe(bytes)
      let end = 0
      for (const match of pattern.all(bytes)) {
        const whole = match[0] as { start: number; end: number }
        expect(whole.start).toBeGreaterThanOrEqual(end)
        end = whole.end
      }
    }),
  )
})

test('positions of characters that take two units', () => {
  expect(new Pattern('b').first(toBytes('😀b'))?.[0]).toEqual({ start: 4, end: 5 })
})

test('a search for all matches ends when it is late', () => {
  const pattern = new Pattern('x.*y|x')
  let asked = 0
  const isLate = (): boolean => ++asked > 3
  expect(() => pattern.all('x'.repeat(100), Number.POSITIVE_INFINITY, isLate)).toThrow(TooSlow)
  asked = 0
  expect(() => pattern.replaceAll('x'.repeat(100), '', isLate)).toThrow(TooSlow)
  asked = 0
  expect(() => pattern.split('x'.repeat(100), -1, isLate)).toThrow(TooSlow)
  asked = 0
  expect(pattern.all('xxx', 3, isLate)).toHaveLength(3)
})

test('what is cut in so many pieces is searched no further', () => {
  let asked = 0
  const count = (): boolean => ++asked < 0
  expect(new Pattern(',').split('a,b,c,d,e,f', 2, count)).toEqual(['a', 'b,c,d,e,f'])
  expect(asked).toBe(2)
})
