import { expect, test } from 'vitest'
import { toBytes, toText } from '../../../runtime/base/bytes.ts'

test.each(['', 'ascii', 'é世😀', '\ufeffx', 'x\ufeff', '\0'])('text becomes bytes and text again: %j', (text) => {
  expect(toText(toBytes(text))).toBe(text)
})

test('what is no UTF-8 becomes U+FFFD', () => {
  expect(toText('a\xff\xc3')).toBe('a\ufffd\ufffd')
  expect(toText('\xed\xa0\x80')).toBe('\ufffd\ufffd\ufffd')
})
