import { expect, test } from 'vitest'
import { splitMarkdown, splitText, TooManyCharacters } from '../../../lua-stdlib/text/split.ts'
import { fc } from '../../tools/property.ts'

const SEPARATORS = ['\n\n', '\n', ' ', '']
const options = (chunkSize: number, chunkOverlap: number) => ({
  chunkSize,
  chunkOverlap,
  separators: SEPARATORS,
  keepsSeparator: false,
})

test('no chunk is larger than asked, and no word is lost', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'ä', '😀'), minLength: 1, maxLength: 12 })
  const text = fc
    .array(word, { maxLength: 40 })
    .chain((words) =>
      fc
        .array(fc.constantFrom(' ', '\n', '\n\n'), { minLength: words.length, maxLength: words.length })
        .map((gaps) => words.map((each, i) => each + (gaps[i] as string)).join('')),
    )
  fc.assert(
    fc.property(text, fc.integer({ min: 12, max: 40 }), fc.integer({ min: 0, max: 11 }), (given, size, overlap) => {
      const chunks = splitText(given, options(size, overlap))
      for (const chunk of chunks) expect([...chunk].length).toBeLessThanOrEqual(size)
      const joined = ` ${chunks.join(' ').replace(/\s+/g, ' ')} `
      for (const each of given.split(/\s+/)) if (each !== '') expect(joined).toContain(` ${each} `)
    }),
  )
})

test('a word without any place to cut is cut by its length', () => {
  expect(splitText('abcdefgh', options(3, 1))).toEqual(['abc', 'cde', 'efg', 'gh'])
})

test('a text may have very many chunks', () => {
  const count = 300_000
  expect(splitText('a'.repeat(count), options(1, 0))).toHaveLength(count)
  expect(splitText('a '.repeat(count), options(1, 0))).toHaveLength(count)
  expect(splitText('a'.repeat(count), { ...options(1, 0), separators: ['x'] })).toHaveLength(count)
})

test('headings stay with what stands below them', () => {
  const rules = { ...options(80, 0), codeBlocks: true, headingHierarchy: true }
  const text = '# A\none\n## B\n```\n# no heading\n```\n# C\n'
  expect(splitMarkdown(text, rules)).toEqual(['# A\none', '# A\n## B\n```\n# no heading\n```', '# C'])
})

test('chunks that overlap nearly wholly are refused before there are too many', () => {
  expect(() => splitText('ab '.repeat(50), options(30, 29), 1000)).toThrow(TooManyCharacters)
  expect(() => splitText('a'.repeat(150), options(30, 29), 1000)).toThrow(TooManyCharacters)
  expect(splitText('a'.repeat(900), options(30, 0), 1000)).toHaveLength(30)
})

test('blocks of code end at the next line that is a fence alone', () => {
  const rules = { ...options(60, 0), codeBlocks: true, headingHierarchy: false }
  const text = 'one\n```lua\nlocal a\n\n```\ntwo\n```\nb\n```  \n```open\nthree'
  expect(splitMarkdown(text, rules)).toEqual(['one', '```lua\nlocal a\n\n```', 'two', '```\nb\n```', '```open\nthree'])
})

test('fences that nothing closes take no longer than other lines', () => {
  const rules = { ...options(100, 0), codeBlocks: true, headingHierarchy: false }
  expect(splitMarkdown('```x\n'.repeat(150_000), rules).length).toBeGreaterThan(1000)
})
