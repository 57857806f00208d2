import { expect, test } from 'vitest'
import { bytesOfScanned, scanText } from '../../../lua-stdlib/text/scan.ts'
import { fc } from '../../tools/property.ts'

test('any bytes become text and the same bytes again', () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((data) => String.fromCharCode(...data))
  fc.assert(fc.property(bytes, (given) => bytesOfScanned(scanText(given).text) === given))
})

test.each(['', 'plain', 'é世😀', '\ufeffx', '\0\x7f\x80', 'a\u{10ffff}'])(
  'a text becomes bytes and itself again: %j',
  (text) => {
    expect(scanText(bytesOfScanned(text)).text).toBe(text)
  },
)

test('bytes that are no UTF-8 are characters of their own', () => {
  expect(scanText('\xff\xfe').text).not.toBe(scanText('\xfe\xff').text)
  expect(bytesOfScanned('\ud83d')).toBe('\xef\xbf\xbd')
})
