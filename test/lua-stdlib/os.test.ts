import { describe, expect, test } from 'vitest'
import { runLua } from '../tools/lua.ts'

describe('os (lua-libraries.md §14)', () => {
  test('has exactly time, date, clock, difftime and platform', () => {
    const source = 'local t = {} for k in pairs(os) do t[#t + 1] = k end table.sort(t) return t'
    expect(runLua(source)).toEqual(['clock', 'date', 'difftime', 'platform', 'time'])
  })

  test('date formats with the given specifiers; unknown ones are copied', () => {
    const at = Date.UTC(2024, 5, 15, 14, 30, 45) / 1000
    expect(runLua('return os.date("!%c", ...)', { args: [at] })).toBe('Sat Jun 15 14:30:45 2024')
    expect(runLua('return os.date("!%x %X %I%p %j %y %z %% %Q", ...)', { args: [at] })).toBe(
      '06/15/24 14:30:45 02PM 167 24 +0000 % %Q',
    )
  })

  test('weeks are ISO weeks', () => {
    const week = (year: number, month: number, day: number): unknown =>
      runLua('return os.date("!%U", ...)', { args: [Date.UTC(year, month - 1, day) / 1000] })
    expect(week(2021, 1, 3)).toBe('53')
    expect(week(2021, 1, 4)).toBe('01')
    expect(week(2018, 12, 31)).toBe('01')
    expect(week(2020, 12, 31)).toBe('53')
  })

  test('*t gives the fields of the date', () => {
    const at = Date.UTC(2024, 1, 29, 1, 2, 3) / 1000
    expect(runLua('return os.date("!*t", ...)', { args: [at] })).toEqual({
      year: 2024,
      month: 2,
      day: 29,
      hour: 1,
      min: 2,
      sec: 3,
      wday: 5,
      yday: 60,
      isdst: false,
    })
  })

  test('time defaults to today at midnight and normalises', () => {
    expect(runLua('local t = os.time{} local d = os.date("*t", t) return d.hour + d.min + d.sec')).toBe(0)
    expect(runLua('return os.time{year=2024,month=13,day=1} == os.time{year=2025,month=1,day=1}')).toBe(true)
    expect(runLua('return (select(2, pcall(os.time, "x")))')).toMatch(/table expected, got string/)
  })

  test('time is whole seconds, clock and difftime are numbers', () => {
    expect(runLua('return math.type(os.time()), os.difftime(5, 3), os.clock() >= 0')).toBe('integer')
    expect(runLua('return os.difftime(5, 3)')).toBe(2)
    expect(runLua('return type(os.platform)')).toBe('string')
  })
})
