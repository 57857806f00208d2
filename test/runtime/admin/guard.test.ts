import { describe, expect, test } from 'vitest'
import { isLoopback, refusal } from '../../../runtime/admin/guard.ts'

describe('a web page cannot read a local node (operations.md §3)', () => {
  test.each([
    ['localhost:7960', '127.0.0.1'],
    ['127.0.0.1:7960', '127.0.0.1'],
    ['127.0.0.1', '127.0.0.1'],
    ['LOCALHOST', '127.0.0.1'],
    ['[::1]:7960', '::1'],
    ['node-1.internal:7960', 'node-1.internal'],
    ['10.0.0.7:7960', '0.0.0.0'],
    ['[fe80::1]:7960', '::'],
  ])('host %s is answered when listening on %s', (host, configured) => {
    expect(refusal({ host }, configured)).toBeUndefined()
  })

  test.each([
    ['evil.example:7960', '127.0.0.1'],
    ['127.0.0.1.evil.example', '127.0.0.1'],
    ['evil.example', '0.0.0.0'],
    ['10.0.0.7', '127.0.0.1'],
    ['localhost.', '127.0.0.1'],
    ['localhost:79:60', '127.0.0.1'],
    ['', '127.0.0.1'],
    [undefined, '127.0.0.1'],
  ])('host %s is refused when listening on %s: its name may have been rebound', (host, configured) => {
    expect(refusal(host === undefined ? {} : { host }, configured)).toBeDefined()
  })

  test('an Origin must be the node itself', () => {
    const host = 'localhost:7960'
    expect(refusal({ host, origin: 'http://localhost:7960' }, '127.0.0.1')).toBeUndefined()
    for (const origin of ['http://evil.example', 'http://localhost:8080', 'https://localhost:7960', 'null']) {
      expect(refusal({ host, origin }, '127.0.0.1')).toContain(origin)
    }
  })

  test('a request that a page of another site caused is refused, also without an Origin', () => {
    const host = 'localhost:7960'
    expect(refusal({ host, 'sec-fetch-site': 'cross-site' }, '127.0.0.1')).toBeDefined()
    expect(refusal({ host, 'sec-fetch-site': 'same-site' }, '127.0.0.1')).toBeDefined()
    expect(refusal({ host, 'sec-fetch-site': 'none' }, '127.0.0.1')).toBeUndefined()
  })
})

test('loopback is what only this machine reaches', () => {
  expect(['localhost', '127.0.0.1', '127.9.9.9', '::1'].every(isLoopback)).toBe(true)
  expect(['0.0.0.0', '::', '10.0.0.1', '127.evil.example'].some(isLoopback)).toBe(false)
})
