// Whatever stands in an app file, loading it ends, with an app or with problems that have a place.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { load } from './app-dir.ts'

const APP = `version: "1.0"
namespace: shop
node: { name: n1 }
include: ["*.yaml"]
entries:
  - name: h
    kind: process.host
    lifecycle: { auto_start: true, requires: [s] }
  - name: p
    kind: process.lua
    source: return function() end
    modules: [time]
    imports: { l: l }
  - &l { name: l, kind: library.lua, source: "return {}" }
  - name: s
    kind: process.service
    process: p
    host: h
    input: [1, *l]
`

const FRAGMENTS = [
  '\t',
  '&a ',
  '*a',
  '- ',
  ': ',
  '[',
  ']',
  '{',
  '}',
  '"',
  '|\n',
  '? ',
  '!!binary ',
  '\n\n',
  '${env:X}',
  '<<: *l',
]

test('mutated app files never throw', async () => {
  const mutation = fc.record({
    at: fc.nat(APP.length),
    cut: fc.nat(20),
    insert: fc.oneof(fc.constantFrom(...FRAGMENTS), fc.string()),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
      let text = APP
      for (const { at, cut, insert } of mutations) text = text.slice(0, at) + insert + text.slice(at + cut)
      const result = await load({ 'app.yaml': text })
      if (result.ok) return
      expect(result.problems.length).toBeGreaterThan(0)
      for (const problem of result.problems) {
        expect(problem.message).not.toBe('')
        expect(problem.file).not.toBe('')
      }
    }),
    { numRuns: 300 },
  )
})
