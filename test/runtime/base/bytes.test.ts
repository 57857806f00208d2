import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { partOf, toBytes, toText } from '../../../runtime/base/bytes.ts'

test.each(['', 'ascii', 'é世😀', '\ufeffx', 'x\ufeff', '\0'])('text becomes bytes and text again: %j', (text) => {
  expect(toText(toBytes(text))).toBe(text)
})

test('what is no UTF-8 becomes U+FFFD', () => {
  expect(toText('a\xff\xc3')).toBe('a\ufffd\ufffd')
  expect(toText('\xed\xa0\x80')).toBe('\ufffd\ufffd\ufffd')
})

test('a part is what slice gives', () => {
  const texts = [
    '',
    'short',
    'x'.repeat(20_000),
    Array.from({ length: 40_000 }, (_, i) => String.fromCharCode(i % 256)).join(''),
  ]
  for (const text of texts) {
    for (const [from, to] of [
      [0, 5],
      [1, 14],
      [3, 5000],
      [100, 9000],
      [0, text.length],
      [7, text.length - 3],
      [5, 5],
      [9, 2],
    ] as const) {
      expect(partOf(text, from, to)).toBe(text.slice(from, to))
    }
  }
})

test('small parts of long texts do not keep them', () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const heapBytes = (): number => {
    gc()
    return process.memoryUsage().heapUsed
  }
  const before = heapBytes()
  const parts = Array.from({ length: 100 }, (_, i) => partOf(`${i}`.padStart(500_000, 'x').toUpperCase(), 10, 40))
  expect(heapBytes() - before).toBeLessThan(10_000_000)
  expect(new Set(parts).size).toBe(1)
})
