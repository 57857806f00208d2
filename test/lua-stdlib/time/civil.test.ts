import { expect, test } from 'vitest'
import {
  civilFromDays,
  daysFromCivil,
  daysInMonth,
  isLeapYear,
  weekdayOf,
  yearDayOf,
} from '../../../lua-stdlib/time/civil.ts'
import { fc } from '../../tools/property.ts'

const DAY_MS = 86_400_000
/** All days that a JavaScript Date reaches. */
const days = fc.integer({ min: -100_000_000, max: 100_000_000 })

test('a day has the date that Date.UTC gives it, and back', () => {
  fc.assert(
    fc.property(days, (day) => {
      const date = new Date(day * DAY_MS)
      const civil = civilFromDays(day)
      expect(civil).toEqual({ year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate() })
      expect(daysFromCivil(civil.year, civil.month, civil.day)).toBe(day)
      expect(weekdayOf(day)).toBe(date.getUTCDay())
    }),
    { numRuns: 2000 },
  )
})

test('months and days out of range roll over as in Date.UTC', () => {
  const near = fc.integer({ min: -1000, max: 1000 })
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 5000 }), near, near, (year, month, day) => {
      expect(daysFromCivil(year, month, day)).toBe(Date.UTC(year, month - 1, day) / DAY_MS)
    }),
  )
})

test('the day of the year counts from the first of January', () => {
  fc.assert(
    fc.property(days, (day) => {
      const civil = civilFromDays(day)
      expect(yearDayOf(civil)).toBe(day - daysFromCivil(civil.year, 1, 1) + 1)
    }),
  )
})

test('February has 29 days every fourth year, but not in centuries that 400 does not divide', () => {
  expect([2023, 2024, 1900, 2000, 0, -4].map((year) => daysInMonth(year, 2))).toEqual([28, 29, 28, 29, 29, 29])
  expect(isLeapYear(2100)).toBe(false)
  expect([1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map((month) => daysInMonth(2023, month))).toEqual([
    31, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
  ])
})
