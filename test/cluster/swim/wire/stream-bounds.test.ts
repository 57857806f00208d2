// What a stream may cost to read, beyond its bytes.

import { expect, test } from 'vitest'
import { LzwDecoder } from '../../../../cluster/swim/wire/lzw.ts'
import { readUserState } from '../../../../cluster/swim/wire/stream.ts'

test('a user state of millions of empty frames is read to a bound', () => {
  expect(readUserState(Buffer.alloc(5_000_000)).frames).toHaveLength(16_384)
})

test('codes that bring no bytes use up a slice, too', () => {
  // CLEAR, 256, in nine bits, least significant first, again and again.
  const clears = Buffer.alloc(9 * 1000)
  for (let i = 0; i < 8000; i++)
    clears[(i * 9 + 8) >> 3] = (clears[(i * 9 + 8) >> 3] as number) | (1 << ((i * 9 + 8) & 7))
  const decoder = new LzwDecoder(clears, 1024)
  expect(decoder.run(1000)).toBe(false)
  for (let slices = 0; slices < 7; slices++) expect(decoder.run(1000)).toBe(false)
  expect(() => decoder.run(1000)).toThrow('LZW data ends before its end mark')
})
