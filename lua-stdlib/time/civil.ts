// The civil calendar: proleptic Gregorian dates and days since 1970-01-01. Pure arithmetic on safe integers; the era arithmetic follows
// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (days_from_civil, civil_from_days).

export const SECONDS_PER_DAY = 86_400
/** Days of 400 Gregorian years. */
const DAYS_PER_ERA = 146_097
/** From 0000-03-01, where the eras start, to 1970-01-01. */
const EPOCH_SHIFT_DAYS = 719_468

export interface CivilDate {
  readonly year: number
  /** 1..12 */
  readonly month: number
  /** 1..31 */
  readonly day: number
}

export const MONTH_NAMES = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
] as const

export const WEEKDAY_NAMES = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const

/** The remainder that has the sign of the divisor. */
export function modulo(value: number, divisor: number): number {
  const rest = value % divisor
  // Adding zero turns -0 into 0.
  return (rest < 0 ? rest + divisor : rest) + 0
}

export function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
}

/** @param month 1..12 */
export function daysInMonth(year: number, month: number): number {
  if (month === 2) return isLeapYear(year) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** Days since 1970-01-01. Months and days out of range roll over: month 13 is January of the next year, day 0 the day before the first. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const rolledYear = year + Math.floor((month - 1) / 12)
  const rolledMonth = modulo(month - 1, 12) + 1
  // Years run from March here, so that the leap day is the last of its year.
  const marchYear = rolledMonth <= 2 ? rolledYear - 1 : rolledYear
  const era = Math.floor(marchYear / 400)
  const yearOfEra = marchYear - era * 400
  const dayOfYear = Math.floor((153 * modulo(rolledMonth - 3, 12) + 2) / 5)
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * DAYS_PER_ERA + dayOfEra - EPOCH_SHIFT_DAYS + (day - 1)
}

/** @param days whole days since 1970-01-01 */
export function civilFromDays(days: number): CivilDate {
  const shifted = days + EPOCH_SHIFT_DAYS
  const era = Math.floor(shifted / DAYS_PER_ERA)
  const dayOfEra = shifted - era * DAYS_PER_ERA
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day }
}

/** 0 is Sunday. */
export function weekdayOf(days: number): number {
  return modulo(days + 4, 7)
}

/** 1..366 */
export function yearDayOf(date: CivilDate): number {
  const leapDay = date.month > 2 && isLeapYear(date.year) ? 1 : 0
  return (DAYS_BEFORE_MONTH[date.month - 1] as number) + leapDay + date.day
}
