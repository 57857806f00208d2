import { describe, expect, test } from 'vitest'
import {
  type Cidr,
  formatAddress,
  hostFromBytes,
  hostToBytes,
  isHostAllowed,
  parseCidr,
  parseHost,
} from '../../../../cluster/swim/core/address.ts'

describe('hosts have one spelling', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['FD00:0:0:1::0A', 'fd00:0:0:1::a'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:0a00:0001', '10.0.0.1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ])('%s is %s', (text, canonical) => {
    expect(parseHost(text)).toBe(canonical)
    expect(hostFromBytes(hostToBytes(canonical))).toBe(canonical)
  })

  test.each(['', 'localhost', '1.2.3', '1.2.3.256', '1:2:3', ':::', '1::2::3', '12345::', '1:2:3:4:5:6:7:8:9'])(
    '%j is none',
    (text) => expect(parseHost(text)).toBeUndefined(),
  )

  test('IPv6 is bracketed with its port', () => {
    expect(formatAddress({ host: '::1', port: 1 })).toBe('[::1]:1')
    expect(formatAddress({ host: '10.0.0.1', port: 1 })).toBe('10.0.0.1:1')
  })
})

test('ranges allow what lies in one of them', () => {
  const ranges = ['10.0.0.0/8', '192.168.1.128/25', 'fd00::/8'].map((text) => parseCidr(text) as Cidr)
  for (const host of ['10.255.1.1', '192.168.1.200', 'fdff::1']) expect(isHostAllowed(host, ranges), host).toBe(true)
  for (const host of ['11.0.0.1', '192.168.1.1', 'fe00::1']) expect(isHostAllowed(host, ranges), host).toBe(false)
  expect(isHostAllowed('1.2.3.4', [])).toBe(true)
  for (const text of ['10.0.0.0', '10.0.0.0/33', 'x/8', '::/129']) expect(parseCidr(text), text).toBeUndefined()
})
