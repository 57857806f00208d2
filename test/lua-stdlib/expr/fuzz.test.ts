import { expect, test } from 'vitest'
import { ExprError, Program } from '../../../lua-stdlib/expr/program.ts'
import { toBytes } from '../../../runtime/base/bytes.ts'
import { record } from '../../../runtime/base/value.ts'
import { fc } from '../../tools/property.ts'

/** Whatever an expression is, it has a value or fails as an expression. */
function tame(source: string): void {
  try {
    new Program(toBytes(source)).run(record({ a: 1, b: 'text' }))
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(ExprError)
  }
}

test('any text is an expression or is told not to be one', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 60 }), tame), { numRuns: 2000 })
})

test('any sequence of its words, too', () => {
  const words = [
    'a',
    'b',
    '1',
    '2.5',
    "'x'",
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    '#',
    '.',
    '?.',
    ':',
    '?',
    '??',
    '|',
    '..',
    'not',
    'in',
  ]
  const more = [
    'and',
    'or',
    '+',
    '-',
    '*',
    '/',
    '%',
    '**',
    '==',
    '<',
    'let',
    '=',
    ';',
    ',',
    'map',
    'filter',
    'sum',
    'nil',
    'true',
  ]
  const word = fc.constantFrom(...words, ...more)
  fc.assert(
    fc.property(fc.array(word, { maxLength: 25 }), (list) => tame(list.join(' '))),
    { numRuns: 3000 },
  )
})
