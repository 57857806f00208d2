// Whatever stands in the files, loading ends, with an app or with problems that have a place.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: `${env:NAME}` is what is tested

import { expect, test } from 'vitest'
import { loadEntries } from '../../../runtime/app/load.ts'
import { plainOf } from '../../../runtime/app/located.ts'
import { ProblemList } from '../../../runtime/app/problems.ts'
import { parseYaml } from '../../../runtime/app/yaml.ts'
import { fc } from '../../tools/property.ts'
import { loadFiles, rules } from './app-folder.ts'

const APP = `version: "1.0"
namespace: shop
node: { name: n1, data_dir: x }
logger: { level: info }
shutdown: { timeout: 30s }
include: ["*.yaml", "x/**/_index.yaml"]
entries:
  - name: h
    kind: process.host
    host: { workers: 2, memory_limit: 64MiB }
    lifecycle: { auto_start: true, requires: [d], restart: { jitter: 0.5 } }
  - name: p
    kind: process.lua
    source: |
      return { main = function() end }
    modules: [time]
    imports: { l: l }
  - &l { name: l, kind: library.lua, source: "return {}" }
  - { name: f, kind: function.lua, source: file://f.lua, method: m, pool: { size: 2 } }
  - name: s
    kind: process.service
    process: p
    host: h
    input: [1, *l, "\${env:X:-y}"]
  - { name: d, kind: registry.entry, any: { a: [1, 2.5, ~, true] } }
`

const PIECES = [
  '\t',
  '&a ',
  '*a',
  '*l',
  '- ',
  ': ',
  '[',
  ']',
  '{',
  '}',
  '"',
  "'",
  '|\n',
  '>',
  '? ',
  '!!binary ',
  '!x ',
  '\n\n',
  '\n---\n',
  '#',
  '%',
  '@',
]
const WORDS = [
  '${env:X}',
  '${env:',
  '<<: *l',
  '__proto__: 1',
  'kind',
  'entries:\n',
  'null',
  '1e999',
  '-5',
  'file://',
  '../..',
  '\0',
  '\u2028',
  '👻',
]

const mutation = fc.record({
  at: fc.nat(APP.length),
  cut: fc.nat(30),
  insert: fc.oneof(fc.constantFrom(...PIECES, ...WORDS), fc.string({ maxLength: 20 })),
})

test('mutated app files give an app or problems with places, never an exception', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 5 }), async (mutations) => {
      let text = APP
      for (const { at, cut, insert } of mutations) text = text.slice(0, at) + insert + text.slice(at + cut)
      const result = await loadFiles({ 'app.yaml': text, 'f.lua': 'return 1' })
      if (result.ok) return
      const lines = text.split(/\r\n|\n|\r/).length
      expect(result.problems.length).toBeGreaterThan(0)
      for (const { file, line, column, message } of result.problems) {
        expect(message).not.toBe('')
        expect(file).not.toBe('')
        if (file.endsWith('app.yaml')) expect(line).toBeLessThanOrEqual(lines + 1)
        expect(column).toBeGreaterThanOrEqual(line === 0 ? 0 : 1)
      }
    }),
    { numRuns: 300 },
  )
}, 30_000)

test('any JSON reads back as itself (but for nulls, and for integers that numbers cannot hold)', () => {
  const json = fc.jsonValue({ maxDepth: 5 }).filter((value) => !/null|\d{16}/.test(JSON.stringify(value)))
  fc.assert(
    fc.property(json, (value) => {
      const problems = new ProblemList()
      const located = parseYaml(`v: ${JSON.stringify(value)}`, '/a.yaml', problems)
      expect(problems.sorted()).toEqual([])
      const read = located === undefined ? undefined : (plainOf(located) as { v: unknown }).v
      expect(JSON.stringify(read)).toBe(JSON.stringify(value))
    }),
    { numRuns: 300 },
  )
})

test('any object of a program gives an app or problems, never an exception', async () => {
  const kinds = ['process.lua', 'function.lua', 'process.host', 'process.service', 'terminal.host', 'registry.entry']
  const keys = ['lifecycle', 'host', 'process', 'source', 'modules', 'imports', 'input', 'meta', 'pool', 'method', 'x']
  const definition = fc
    .tuple(
      fc.constantFrom(...kinds),
      fc.dictionary(fc.constantFrom(...keys), fc.anything({ withBigInt: true, withDate: true, withMap: true })),
    )
    .map(([kind, fields]) => ({ id: 's:x', kind, ...fields }))
  await fc.assert(
    fc.asyncProperty(definition, async (each) => {
      const result = await loadEntries([each], rules)
      if (!result.ok) expect(result.problems.length).toBeGreaterThan(0)
    }),
    { numRuns: 500 },
  )
}, 30_000)
