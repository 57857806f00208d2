import { describe, expect, test } from 'vitest'
import { DictionaryError, inspectDictionary } from '../../../lua-stdlib/compress/dictionary.ts'
import { trainDictionary } from '../../../lua-stdlib/compress/training.ts'
import { loadZstd } from '../../../lua-stdlib/compress/zstd.ts'

const sample = (i: number): Buffer =>
  Buffer.from(JSON.stringify({ id: i, user: `name-${i * 7919}`, kind: 'order', state: 'accepted', lines: [i, i + 1] }))
const samples = Array.from({ length: 500 }, (_, i) => sample(i))

describe('a trained dictionary', () => {
  test('has the form of one, and is no larger than asked', () => {
    for (const size of [256, 1000, 112_640]) {
      const dictionary = trainDictionary(samples, { size, id: 77 })
      expect(dictionary.length).toBeLessThanOrEqual(size)
      const { id, contentSize } = inspectDictionary(dictionary)
      expect(id).toBe(77)
      expect(contentSize).toBeGreaterThan(8)
    }
  })

  test('gets an id outside the reserved ranges when none is given, the same for the same samples', () => {
    const [one, again] = [0, 0].map((id) => inspectDictionary(trainDictionary(samples, { size: 4096, id })).id)
    expect(one).toBe(again)
    expect(one).toBeGreaterThanOrEqual(32_768)
    expect(one).toBeLessThan(2 ** 31)
  })

  test('makes what resembles the samples much smaller, and comes back whole', async () => {
    const zstd = await loadZstd()
    const dict = trainDictionary(samples, { size: 4096, id: 0 })
    const unseen = sample(123_456)
    const packed = zstd.compress(unseen, 3, dict)
    expect(packed.length).toBeLessThan(zstd.compress(unseen, 3, undefined).length / 2)
    const options = { sizeHint: unseen.length, outputBytesMax: 1 << 20, dict }
    expect(Buffer.from(zstd.decompress(packed, options))).toEqual(unseen)
    const binary = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * i * 31) & 255))
    for (const level of [1, 9, 19]) {
      const whole = zstd.decompress(zstd.compress(binary, level, dict), { ...options, sizeHint: binary.length })
      expect(Buffer.from(whole)).toEqual(binary)
    }
  })

  test('of samples without anything in common holds samples', () => {
    const { contentSize } = inspectDictionary(trainDictionary([Buffer.from('abcdefgh')], { size: 256, id: 0 }))
    expect(contentSize).toBe(8)
  })
})

describe('inspecting', () => {
  test('refuses what is cut off before its content, and garbage', () => {
    const dictionary = trainDictionary(samples, { size: 1000, id: 5 })
    const tables = dictionary.length - inspectDictionary(dictionary).contentSize
    for (let length = 0; length <= tables; length++) {
      expect(() => inspectDictionary(dictionary.subarray(0, length))).toThrow(DictionaryError)
    }
    for (let i = 8; i < 80; i++) {
      const broken = Buffer.from(dictionary)
      broken[i] = (broken[i] as number) ^ 0xff
      try {
        inspectDictionary(broken)
      } catch (error) {
        expect(error).toBeInstanceOf(DictionaryError)
      }
    }
    expect(() => inspectDictionary(Buffer.from('no dictionary at all'))).toThrow('does not begin as one')
  })
})
