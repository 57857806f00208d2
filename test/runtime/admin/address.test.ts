import { expect, test } from 'vitest'
import { formatAddress, parseAddress } from '../../../runtime/admin/address.ts'

test('addresses are written host:port; without a host only this machine is served', () => {
  expect(parseAddress('127.0.0.1:7960')).toEqual({ host: '127.0.0.1', port: 7960 })
  expect(parseAddress('[::1]:0')).toEqual({ host: '::1', port: 0 })
  expect(parseAddress('localhost:1')).toEqual({ host: 'localhost', port: 1 })
  expect(parseAddress(':7960')).toEqual({ host: '127.0.0.1', port: 7960 })
  for (const text of ['', '7960', 'a:b', 'host:70000', '::1:80', 'a b:1']) {
    expect(() => parseAddress(text)).toThrow('is not an address')
  }
})

test('IPv6 hosts stand in brackets', () => {
  expect(formatAddress({ host: '::1', port: 80 })).toBe('[::1]:80')
  expect(formatAddress({ host: 'localhost', port: 80 })).toBe('localhost:80')
})
