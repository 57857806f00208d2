import { beforeEach, expect, test } from 'vitest'
import { EXCLUSIONS_MAX, Exclusions, NEWS_MS } from '../../../../cluster/names/core/exclusions.ts'

const free = { eventual: undefined, local: undefined, activeRevision: 0 }
const check = (revision: number, pid = 'p', name = 'x') => ({ name, pid, revision })
let exclusions: Exclusions

beforeEach(() => {
  exclusions = new Exclusions()
})

test('a free name is agreed to, and nobody else may have it from then on', () => {
  expect(exclusions.check(check(5), free, 0)).toEqual({ kind: 'ack' })
  expect(exclusions.reservedFor('x')).toBe('p')
  expect(exclusions.check(check(5), { ...free, local: 'q' }, 1)).toEqual({ kind: 'ack' })
})

test('a name that another process has here is refused, with its holder', () => {
  expect(exclusions.check(check(5), { ...free, eventual: 'q' }, 0)).toEqual({ kind: 'reject', holder: 'q' })
  expect(exclusions.check(check(5), { ...free, local: 'q' }, 0)).toEqual({ kind: 'reject', holder: 'q' })
  expect(exclusions.check(check(5), { ...free, local: 'p' }, 0)).toEqual({ kind: 'ack' })
})

test('late questions are passed over: of an earlier reservation, or of one whose end is known', () => {
  exclusions.check(check(5), free, 0)
  expect(exclusions.check(check(4, 'q'), free, 0)).toEqual({ kind: 'stale' })
  exclusions.activated('x', 6)
  expect(exclusions.check(check(5), { ...free, activeRevision: 6 }, 0)).toEqual({ kind: 'stale' })
  expect(exclusions.reservedFor('x')).toBeUndefined()
})

test('a later reservation takes the place of an earlier one', () => {
  exclusions.check(check(5), free, 0)
  expect(exclusions.check(check(7, 'q'), free, 0)).toEqual({ kind: 'ack' })
  expect(exclusions.released('x', 5)).toBe(false)
  expect(exclusions.reservedFor('x')).toBe('q')
})

test('ends when the strong name is active, at a later revision, or released at its own', () => {
  exclusions.check(check(5), free, 0)
  expect(exclusions.activated('x', 4)).toBe(false)
  expect(exclusions.activated('x', 7)).toBe(true)
  exclusions.check(check(9), free, 0)
  expect(exclusions.released('x', 9)).toBe(true)
  expect(exclusions.count).toBe(0)
})

test('without news for five seconds its node asks; an unknown reservation is let go', () => {
  exclusions.check(check(5), free, 0)
  expect(exclusions.due(NEWS_MS - 1)).toEqual([])
  expect(exclusions.nextDueMs).toBe(NEWS_MS)
  const [due] = exclusions.due(NEWS_MS)
  expect(due).toMatchObject(check(5))
  expect(exclusions.due(NEWS_MS)).toEqual([])
  expect(exclusions.told(check(5), 'pending', NEWS_MS + 1)).toBe(false)
  expect(exclusions.due(2 * NEWS_MS)).toEqual([])
  expect(exclusions.told(check(4), 'unknown', 2 * NEWS_MS)).toBe(false)
  expect(exclusions.told(check(5), 'unknown', 2 * NEWS_MS)).toBe(true)
  expect(exclusions.reservedFor('x')).toBeUndefined()
})

test('who joins takes over what is reserved', () => {
  exclusions.install(check(5), 0)
  exclusions.install(check(4, 'q'), 0)
  expect(exclusions.reservedFor('x')).toBe('p')
  expect(exclusions.clear()).toEqual(['x'])
})

test('are bounded', () => {
  for (let i = 0; i < EXCLUSIONS_MAX; i++) exclusions.check(check(i + 1, 'p', `n${i}`), free, 0)
  expect(exclusions.check(check(9, 'p', 'more'), free, 0)).toEqual({ kind: 'full' })
})
