// docs/reference/cluster-settings.md has a row for every key, with its type, default and bounds, and for nothing else.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { settingsIn } from '../../../cluster/config/forms.ts'
import { KEYS } from '../../../cluster/config/keys.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/reference/cluster-settings.md'), 'utf8')

/** Cells of every row whose first one is a key; those of the page's other tables are none. */
const rows = page.split('\n').flatMap((line) => {
  const cells = line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())
  const [, path] = /^`([a-z_.]+)`$/.exec(cells[0] ?? '') ?? []
  return path === undefined ? [] : [{ path, cells: cells.slice(1) }]
})

test('the page and the table of keys agree, in the same order', () => {
  const told = rows.map(({ path, cells: [type, defaultText, bounds] }) => ({ path, type, defaultText, bounds }))
  const known = settingsIn(KEYS).map(({ path, setting: { type, defaultText, bounds } }) => ({
    path,
    type,
    defaultText,
    bounds,
  }))
  expect(told).toEqual(known)
})

test('every key has a meaning', () => {
  for (const { path, cells } of rows) expect(cells[3], path).toMatch(/\w/)
})
