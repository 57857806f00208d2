import { expect, test } from 'vitest'
import { toNumber } from '../../lua-stdlib/support/args.ts'
import { Float } from '../../runtime/base/value.ts'

test.each([
  ['10', 10],
  [' \t\n\v\f\r-0x1F ', -31],
  ['+1.', 1],
  ['.5e1', 5],
  ['1.5E-1', 0.15],
  [7n, 7],
  [new Float(2), 2],
])('%s stands for a number (lua-core.md §1)', (value, expected) => {
  expect(toNumber(value)).toBe(expected)
})

test.each(['', ' ', '.', '1e', '0x', '1 2', '1_0', 'inf', 'nan', '\xa05', '5\xa0', '\u00855', true, undefined])(
  '%j does not',
  (value) => {
    expect(toNumber(value)).toBe(undefined)
  },
)

test('a text that is long, and no number in the end, is told so at once', () => {
  for (const text of ['1'.repeat(1_000_000), `1.${'1'.repeat(1_000_000)}`, ' '.repeat(1_000_000)]) {
    expect(toNumber(`${text}x`)).toBe(undefined)
  }
})
