import { join } from 'node:path'
import { expect, test } from 'vitest'
import { didYouMean, formatProblem, ProblemList, pathText, show, wholeOf } from '../../../runtime/app/problems.ts'

const at = (file: string, line: number, column: number) => ({ file, line, column })

test('a problem is one line with file, line, column, path and message (operations.md §1)', () => {
  const problem = { ...at('/apps/shop/app.yaml', 12, 7), path: 'entries[3].kind', message: 'unknown kind "proces.lua"' }
  expect(formatProblem(problem, '/apps/shop')).toBe('app.yaml:12:7 entries[3].kind: unknown kind "proces.lua"')
})

test('a file outside the base folder is shown in full, without one the working directory is the base', () => {
  const problem = { ...at('/other/app.yaml', 1, 2), path: '', message: 'm' }
  expect(formatProblem(problem, '/apps/shop')).toBe('/other/app.yaml:1:2 m')
  expect(formatProblem({ ...problem, file: join(process.cwd(), 'a.yaml') })).toBe('a.yaml:1:2 m')
})

test('a place without lines is shown without numbers', () => {
  const place = wholeOf('--set node.name=…')
  expect(formatProblem({ ...place, path: 'node.name', message: 'm' })).toBe('--set node.name=… node.name: m')
  expect(formatProblem({ ...place, path: '', message: 'm' })).toBe('--set node.name=…: m')
  expect(formatProblem({ ...wholeOf(''), path: 'entries[3].kind', message: 'm' })).toBe('entries[3].kind: m')
})

test('a key in a path that is no word stands in quotes', () => {
  expect(pathText(['entries', 3, 'meta', 'a b', 'c_d'])).toBe('entries[3].meta["a b"].c_d')
})

test('problems come by file, line and column, each once', () => {
  const problems = new ProblemList()
  const places = [at('b', 1, 1), at('a', 2, 1), at('a', 1, 9), at('a', 1, 2), at('a', 1, 2)]
  for (const place of places) problems.add(place, [], 'm')
  expect(problems.sorted().map(({ file, line, column }) => `${file}${line}${column}`)).toEqual([
    'a12',
    'a19',
    'a21',
    'b11',
  ])
})

test('beyond a thousand problems only their number is told', () => {
  const problems = new ProblemList()
  for (let i = 0; i < 1500; i++) problems.add(at('a', i + 1, 1), [], 'm')
  const list = problems.sorted()
  expect(list).toHaveLength(1001)
  expect(list.at(-1)?.message).toBe('500 further problems are not listed; mend these first')
})

test('what was meant is the nearest candidate, and nothing when none is near', () => {
  const keys = ['name', 'data_dir', 'kind']
  expect(didYouMean('nmae', keys)).toBe(' (did you mean "name"?)')
  expect(didYouMean('data_dri', keys)).toBe(' (did you mean "data_dir"?)')
  expect(didYouMean('NAME', keys)).toBe(' (did you mean "name"?)')
  expect(didYouMean('colour', keys)).toBe('')
  expect(didYouMean('x'.repeat(100_000), ['x'.repeat(100_000)])).toBe('')
})

test('a value in a message is short', () => {
  expect([show([1]), show({}), show(null), show(5), show(true)]).toEqual(['a list', 'a map', 'nothing', '5', 'true'])
  expect(show('a"b')).toBe('"a\\"b"')
  expect(show('x'.repeat(1000)).length).toBeLessThan(100)
})
