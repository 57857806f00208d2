import { describe, expect, test } from 'vitest'
import { type Split, TOKEN_BYTES_MAX, Tokenizer, TokenTooLong } from '../../../lua-stdlib/stream/tokens.ts'
import { toBytes } from '../../../runtime/base/bytes.ts'
import { fc } from '../../tools/property.ts'

function tokens(split: Split, pieces: readonly string[]): string[] {
  const tokenizer = new Tokenizer(split)
  const found: string[] = []
  const drain = (): void => {
    for (let token = tokenizer.next(); token !== undefined; token = tokenizer.next()) found.push(token)
  }
  for (const piece of pieces) {
    tokenizer.feed(piece)
    drain()
  }
  tokenizer.end()
  drain()
  return found
}

describe('tokens (lua-libraries.md §18)', () => {
  test.each<[Split, string, string[]]>([
    ['lines', '', []],
    ['lines', '\n', ['']],
    ['lines', 'a\n\nb\r\nc', ['a', '', 'b', 'c']],
    ['lines', 'a\r\r\nb\r', ['a\r', 'b']],
    ['words', ' a\t b\r\n\vc ', ['a', 'b', 'c']],
    ['words', ' \n ', []],
    ['words', toBytes('eins\u00a0zwei\u2003drei\u3000\u0085vier'), ['eins', 'zwei', 'drei', 'vier']],
    ['words', toBytes('é\u200bx'), [toBytes('é\u200bx')]],
    ['bytes', 'a\0\xff', ['a', '\0', '\xff']],
    ['runes', toBytes('aé€😀'), ['a', toBytes('é'), toBytes('€'), toBytes('😀')]],
    ['runes', '\xffa\xe2\x82', [toBytes('\ufffd'), 'a', toBytes('\ufffd'), toBytes('\ufffd')]],
  ])('%s of %j', (split, text, wanted) => {
    expect(tokens(split, [text])).toEqual(wanted)
  })

  test('do not depend on how the bytes arrive', () => {
    const bytes = fc.array(
      fc.constantFrom(
        'a',
        'b',
        ' ',
        '\n',
        '\r\n',
        '\r',
        '\xe2\x80\x83',
        '\xe2\x80',
        '\xc2',
        '\x85',
        '\xf0\x9f\x98\x80',
      ),
    )
    const split = fc.constantFrom<Split>('lines', 'words', 'bytes', 'runes')
    fc.assert(
      fc.property(split, bytes, fc.array(fc.nat(20)), (how, parts, cuts) => {
        const text = parts.join('')
        const ends = [0, ...cuts.filter((cut) => cut <= text.length).sort((a, b) => a - b), text.length]
        const pieces = ends.slice(1).map((end, i) => text.slice(ends[i], end))
        expect(tokens(how, pieces)).toEqual(tokens(how, [text]))
      }),
    )
  })

  test.each<[Split, string, boolean]>([
    ['lines', 'x'.repeat(TOKEN_BYTES_MAX), true],
    ['lines', `${'x'.repeat(TOKEN_BYTES_MAX)}\r\n`, true],
    ['lines', `${'x'.repeat(TOKEN_BYTES_MAX + 1)}\n`, false],
    ['lines', 'x'.repeat(TOKEN_BYTES_MAX + 1), false],
    ['words', ` ${'x'.repeat(TOKEN_BYTES_MAX)} `, true],
    ['words', 'x'.repeat(TOKEN_BYTES_MAX + 1), false],
    ['words', ' '.repeat(3 * TOKEN_BYTES_MAX), true],
  ])('are at most 64 KiB long: %s %#', (split, text, isFine) => {
    const whole = (): string[] => tokens(split, [text])
    const piecewise = (): string[] => tokens(split, text.match(/.{1,1000}\s*/gs) ?? [])
    for (const run of [whole, piecewise]) {
      if (isFine) expect(run).not.toThrow()
      else expect(run).toThrow(TokenTooLong)
    }
  })

  test('a token without end is given up before it fills the memory', () => {
    const tokenizer = new Tokenizer('lines')
    const feed = (): void => {
      for (let i = 0; i < 100; i++) {
        tokenizer.feed('x'.repeat(1024))
        tokenizer.next()
      }
    }
    expect(feed).toThrow(TokenTooLong)
  })
})
