import { Writable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { formatAge, Output, plural, printable } from '../../../runtime/cli/output.ts'

class Sheet extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += String(chunk)
    done()
  }
}

function sheets(options: { json?: boolean; color?: boolean } = {}): { output: Output; stdout: Sheet; stderr: Sheet } {
  const stdout = new Sheet()
  const stderr = new Sheet()
  const output = new Output({ json: options.json ?? false, color: options.color ?? false, stdout, stderr })
  return { output, stdout, stderr }
}

describe('tables', () => {
  interface Row {
    name: string
    count: number
  }
  const columns = [
    { title: 'NAME', text: (row: Row) => row.name },
    { title: 'COUNT', text: (row: Row) => String(row.count), align: 'right' as const },
    { title: 'NOTE', text: () => '' },
  ]

  test('columns are as wide as their widest cell; numbers stand right; no blanks at the end', () => {
    const { output, stdout } = sheets()
    output.table(
      [
        { name: 'a', count: 1 },
        { name: 'long name', count: 1_000_000 },
      ],
      columns,
    )
    expect(stdout.text).toBe(
      [
        'NAME         COUNT  NOTE',
        'a                1', //
        'long name  1000000',
        '',
      ].join('\n'),
    )
  })

  test('without rows there are the titles', () => {
    const { output, stdout } = sheets()
    output.table([], columns)
    expect(stdout.text).toBe('NAME  COUNT  NOTE\n')
  })

  test('a cell stays on its line and steers no terminal', () => {
    const { output, stdout } = sheets()
    output.table([{ name: 'a\nb\u001b[2Jc', count: 1 }], columns)
    expect(stdout.text.split('\n')[1]).toMatch(/^ab\[2Jc /)
    expect(printable('x\r\u009by')).toBe('xy')
  })
})

test('results go to standard output, errors to standard error', () => {
  const { output, stdout, stderr } = sheets({ json: true })
  output.json({ a: 1 })
  output.jsonLine({ b: 2 })
  output.error('no')
  expect(stdout.text).toBe('{\n  "a": 1\n}\n{"b":2}\n')
  expect(stderr.text).toBe('no\n')
})

test('colours only when they were asked for', () => {
  expect(sheets().output.red('x')).toBe('x')
  expect(sheets({ color: true }).output.red('x')).toBe('\u001b[31mx\u001b[39m')
})

test('ages have two units at most', () => {
  const of = (seconds: number): string => formatAge(seconds * 1000)
  expect([
    of(0),
    of(1.29),
    of(9.99),
    of(10),
    of(59.9),
    of(60),
    of(3599),
    of(3600),
    of(86_399),
    of(86_400),
    of(950_400),
  ]).toEqual(['0.0s', '1.2s', '9.9s', '10s', '59s', '1m0s', '59m59s', '1h0m', '23h59m', '1d0h', '11d0h'])
})

test('counts have their noun', () => {
  expect([plural(0, 'test'), plural(1, 'test'), plural(2, 'test')]).toEqual(['0 tests', '1 test', '2 tests'])
})
