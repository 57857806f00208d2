import { expect, test } from 'vitest'
import { Interner } from '../../../runtime/base/interner.ts'
import { fc } from '../../tools/property.ts'

test('whatever the order, each string is the bytes it was read from', () => {
  const interner = new Interner()
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 120 })), (all) => {
      for (const bytes of [...all, ...all]) {
        const buffer = Buffer.concat([Buffer.of(1), bytes, Buffer.of(2)])
        expect(interner.read(buffer, 1, 1 + bytes.length)).toBe(Buffer.from(bytes).toString('latin1'))
      }
    }),
  )
})

test('strings that only differ where the hash does not look are told apart', () => {
  const interner = new Interner()
  const texts = ['a', 'b', 'a', 'b'].map((letter) => `${letter}${'-'.repeat(40)}`)
  expect(texts.map((text) => interner.read(Buffer.from(text), 0, text.length))).toEqual(texts)
})
