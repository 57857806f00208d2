import { expect, test } from 'vitest'
import { crc32c } from '../../../cluster/storage/crc32c.ts'
import { fc } from '../../tools/property.ts'

const repeated = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)

test('CRC-32C of the vectors of RFC 3720, B.4', () => {
  expect(crc32c(repeated(0))).toBe(0x8a9136aa)
  expect(crc32c(repeated(0xff))).toBe(0x62a8ab43)
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, at) => at))).toBe(0x46dd794e)
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, at) => 31 - at))).toBe(0x113fdb5c)
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  expect(crc32c(new Uint8Array())).toBe(0)
})

test('a checksum can be made in parts', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(crc32c(bytes))
    }),
  )
})
