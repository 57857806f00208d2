import { expect, test } from 'vitest'
import { isStorable, linesOf, withVariable } from '../../../../runtime/env/core/env-file.ts'

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

test('a value that would be read as another cannot be written', () => {
  for (const value of ['x\nB=evil', 'x\r', 'a#b', ' a', 'a\t']) expect(isStorable(value)).toBe(false)
  for (const value of ['', 'a b', "'q'", 'a=b', '\xff', '\xc3\xa0']) {
    expect(isStorable(value)).toBe(true)
    expect(linesOf(withVariable('', 'A', value))).toEqual(new Map([['A', value]]))
  }
})

test('bytes that are no ASCII stay, also at the ends and in other lines', () => {
  expect(withVariable('# caf\xe9\nA=1\xa0 # \x85\n', 'B', '\xc3\xa0')).toBe('# caf\xe9\nA=1\xa0 # \x85\nB=\xc3\xa0\n')
  expect(linesOf('A= \xa0x\x85 ').get('A')).toBe('\xa0x\x85')
})
