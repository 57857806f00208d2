import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { numberText } from '../../../runtime/base/number-text.ts'
import { runLua } from '../../tools/lua.ts'

test('string.format writes what C writes', () => {
  // Format, argument and result, with tabs between, as lua5.3 of Debian wrote them.
  const text = readFileSync(join(import.meta.dirname, 'testdata/printf.txt'), 'utf8')
  const rows = text
    .trimEnd()
    .split('\n')
    .map((row) => row.split('\t'))
  const written = runLua(
    `local out = {}
    for i, row in ipairs((...)) do
      local value = row[2]
      if value:sub(1, 1) == "'" then value = value:sub(2)
      elseif value == "inf" then value = 1/0
      elseif value == "-inf" then value = -1/0
      elseif value == "-0" then value = -0.0
      else value = tonumber(value) end
      out[i] = string.format(row[1], value)
    end
    return out`,
    { args: [rows] },
  ) as string[]
  expect(written.length).toBe(rows.length)
  expect(written.map((result, i) => `${rows[i]?.[0]} of ${rows[i]?.[1]} is ${result}`)).toEqual(
    rows.map(([format, value, result]) => `${format} of ${value} is ${result}`),
  )
})

test('tostring shows whole numbers whole, as far as they are exact, and 14 digits of others', () => {
  expect([10, -3, 1e15, 2 ** 53, -(2 ** 40)].map(numberText)).toEqual([
    '10',
    '-3',
    '1000000000000000',
    '9007199254740992',
    '-1099511627776',
  ])
  expect([0.1, 1 / 3, 0.1 + 0.2, 1e-5, 2 ** 63, 1e100, -1.5].map(numberText)).toEqual([
    '0.1',
    '0.33333333333333',
    '0.3',
    '1e-05',
    '9.2233720368548e+18',
    '1e+100',
    '-1.5',
  ])
  expect([1 / 0, -1 / 0, Number.NaN].map(numberText)).toEqual(['inf', '-inf', 'nan'])
})
