import { describe, expect, test } from 'vitest'
import { toBytes } from '../../../runtime/base/bytes.ts'
import { ErrorValue, Float, TableValue, type Value } from '../../../runtime/base/value.ts'
import { failureText, terminalEnd } from '../../../runtime/cli/exit.ts'

const end = (value: Value): number => terminalEnd({ ok: true, value }).exitCode

describe('a terminal program’s result (lua-core.md §20)', () => {
  test('a string is printed, byte for byte, with a newline', () => {
    const { exitCode, stdout } = terminalEnd({ ok: true, value: `${toBytes('hellö')}\u00ff` })
    expect(exitCode).toBe(0)
    expect([...(stdout ?? [])]).toEqual([104, 101, 108, 108, 0xc3, 0xb6, 0xff, 10])
  })

  test('a number is the exit code: its integer part', () => {
    expect([end(0), end(3), end(3.9), end(255), end(new Float(4))]).toEqual([0, 3, 3, 255, 4])
  })

  test('a number that no exit code can say does not become a success', () => {
    expect([end(256), end(-1), end(2n ** 60n), end(Number.NaN), end(Number.POSITIVE_INFINITY)]).toEqual([
      255, 255, 255, 255, 255,
    ])
  })

  test('true is 0, false is 1, nil and a table are 0', () => {
    expect([end(true), end(false), end(undefined), end(new TableValue())]).toEqual([0, 1, 0, 0])
  })

  test('a failure is 1, its message for standard error', () => {
    const error = new ErrorValue('Internal', toBytes('naïve'))
    expect(terminalEnd({ ok: false, error })).toEqual({ exitCode: 1, stderr: 'naïve' })
  })
})

test('the stack of a failure stands below its message, which is not repeated', () => {
  expect(failureText({ message: 'boom', stack: 'boom\n\ta:1: in f\n  a:2: in g\n' })).toBe(
    'boom\n    a:1: in f\n    a:2: in g',
  )
  expect(failureText({ message: toBytes('ü'), stack: '' })).toBe('ü')
})
