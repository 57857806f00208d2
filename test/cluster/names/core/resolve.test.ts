import { expect, test } from 'vitest'
import {
  type Holders,
  holderAgainst,
  holderAgainstStrong,
  resolveShared,
} from '../../../../cluster/names/core/resolve.ts'

const nobody: Holders = { global: undefined, reserved: undefined, eventual: undefined, local: undefined }

test('the order is consistent or strong, eventual (§6.1); a reservation resolves to nothing', () => {
  expect(resolveShared({ ...nobody, global: 'g', eventual: 'e', local: 'l' })).toBe('g')
  expect(resolveShared({ ...nobody, eventual: 'e', local: 'l' })).toBe('e')
  expect(resolveShared({ ...nobody, reserved: 'r' })).toBeUndefined()
  expect(resolveShared({ ...nobody, local: 'l' })).toBeUndefined()
})

test('a larger scope keeps others out of the smaller ones, not the same process', () => {
  const holders = { ...nobody, global: 'p' }
  for (const scope of ['local', 'eventual', 'consistent', 'strong'] as const) {
    expect(holderAgainst(scope, 'q', holders)).toBe('p')
    expect(holderAgainst(scope, 'p', holders)).toBeUndefined()
    expect(holderAgainst(scope, 'q', { ...nobody, reserved: 'p' })).toBe('p')
  }
})

test('a smaller scope gives way to consistent and strong; eventual does not go over local', () => {
  const holders = { ...nobody, eventual: 'e', local: 'l' }
  expect(holderAgainst('consistent', 'q', holders)).toBeUndefined()
  expect(holderAgainst('strong', 'q', holders)).toBeUndefined()
  expect(holderAgainst('local', 'q', { ...nobody, eventual: 'e' })).toBe('e')
  expect(holderAgainst('eventual', 'q', { ...nobody, local: 'l' })).toBe('l')
  expect(holderAgainstStrong('q', holders)).toBe('e')
  expect(holderAgainstStrong('l', { eventual: undefined, local: 'l' })).toBeUndefined()
})
