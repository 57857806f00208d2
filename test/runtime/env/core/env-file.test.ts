import { expect, test } from 'vitest'
import { linesOf, withVariable } from '../../../../runtime/env/core/env-file.ts'

const FILE = '# settings\nHOST = example.org   # where\n\nPORT=80\nEMPTY=\nnot a line\n'

test('names, values, comments (lua-libraries.md §12)', () => {
  expect([...linesOf(FILE)]).toEqual([
    ['HOST', 'example.org'],
    ['PORT', '80'],
    ['EMPTY', ''],
  ])
})

test('a change touches its own line and keeps the comment', () => {
  expect(withVariable(FILE, 'HOST', 'new')).toBe('# settings\nHOST=new   # where\n\nPORT=80\nEMPTY=\nnot a line\n')
})

test('a new variable becomes a line at the end', () => {
  expect(withVariable('A=1', 'B', '2')).toBe('A=1\nB=2\n')
  expect(withVariable('', 'B', '2')).toBe('B=2\n')
})

test('a value cannot make lines of its own', () => {
  expect(linesOf(withVariable('', 'A', 'x\nB=evil'))).toEqual(new Map([['A', 'x B=evil']]))
})
