import { expect, test } from 'vitest'
import { eventMatcher } from '../../../../runtime/registry/core/event-pattern.ts'

test.each([
  ['*', 'anything.at.all', true],
  ['**', '', true],
  ['orders', 'orders', true],
  ['orders', 'orders.eu', false],
  ['orders.*', 'orders.eu.north', true],
  ['orders.*', 'orders', false],
  ['ord*', 'orders', true],
  ['orders.**', 'orders.eu', true],
  ['a.*.c', 'a.b.c', true],
  ['a.*.c', 'a.b.b.c', false],
  ['a.**.c', 'a.c', true],
  ['a.**.c', 'a.b.b.c', true],
  ['a.**.c', 'a.b.d', false],
  ['*.c', 'a.c', true],
  ['**.c', 'a.b.c', true],
  ['a.*', 'b.x', false],
])('%s and %s: %s (lua-core.md §18)', (pattern, text, matches) => expect(eventMatcher(pattern)(text)).toBe(matches))
