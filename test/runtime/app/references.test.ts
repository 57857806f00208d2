// operations.md §1, lua-core.md §4.1, §5.2, §22.3: entries refer to entries that are there and fit, and never in a circle.

import { expect, test } from 'vitest'
import { dependenciesOf } from '../../../runtime/app/load.ts'
import { appOf, entryOf, marked, problemsOf } from './app-folder.ts'

const HEAD = 'namespace: shop\nentries:\n'
const BASE = `${HEAD}  - { name: p, kind: process.lua, source: x }\n  - { name: h, kind: process.host }\n`
const library = (name: string, imports: string): string =>
  `  - { name: ${name}, kind: library.lua, source: x, imports: {${imports}} }\n`
const host = (name: string, requires: string): string =>
  `  - { name: ${name}, kind: process.host, lifecycle: { requires: [${requires}] } }\n`

test.each([
  ['process', 'process: »qq, host: h', 'process: no entry "shop:qq"'],
  ['host', 'process: p, host: »"shop:g"', 'host: no entry "shop:g" (did you mean "shop:h"?)'],
  ['requires', 'process: p, host: h, lifecycle: {requires: [h, »xyz]}', 'lifecycle.requires[1]: no entry "shop:xyz"'],
  ['depends_on', 'process: p, host: h, lifecycle: {depends_on: [»"a:b"]}', 'lifecycle.depends_on[0]: no entry "a:b"'],
])('a reference to a missing entry is a problem at the reference: %s', async (_field, fields, expected) => {
  const { text, at } = marked(`${BASE}  - { name: svc, kind: process.service, ${fields} }\n`)
  expect(await problemsOf(text)).toEqual([`app.yaml:${at} entries[2].${expected}`])
})

test('an import of a missing entry is a problem at the import', async () => {
  const { text, at } = marked(BASE + library('util', '') + library('x', 'u: »utl'))
  expect(await problemsOf(text)).toEqual([
    `app.yaml:${at} entries[3].imports.u: no entry "shop:utl" (did you mean "shop:util"?)`,
  ])
})

test.each([
  ['process: h, host: h', '"shop:h" is a process.host; process needs a process.lua'],
  ['process: p, host: p', '"shop:p" is a process.lua; host needs a process.host or a terminal.host'],
])('a reference to an entry of another kind is a problem: %s', async (fields, expected) => {
  const problems = await problemsOf(`${BASE}  - { name: svc, kind: process.service, ${fields} }\n`)
  expect(problems).toEqual([expect.stringContaining(expected)])
})

test('an import may be any Lua entry and nothing else', async () => {
  const functions = '  - { name: f, kind: function.lua, source: x, method: m }\n'
  await appOf(BASE + functions + library('l', '') + library('x', 'a: l, b: p, c: f'))
  expect(await problemsOf(BASE + library('x', 'a: h'))).toEqual([
    expect.stringContaining('"shop:h" is a process.host; imports needs a process.lua, a function.lua or a library.lua'),
  ])
})

test('a service may require anything that is there', async () => {
  await appOf(`${BASE}  - { name: d, kind: registry.entry }\n${host('x', 'd, p, h')}`)
})

test.each([':p', 'shop:'])('a reference that is no id is a problem: %s', async (id) => {
  expect(await problemsOf(BASE + host('x', `"${id}"`))).toEqual([expect.stringContaining(`"${id}" is no entry id`)])
})

test('a duplicate id is a problem at the second name and tells the place of the first', async () => {
  const files = { 'app.yaml': `include: [sub/x.yaml]\n${BASE}`, 'sub/x.yaml': BASE.replace('name: p', 'name: x') }
  expect(await problemsOf(files)).toEqual([
    'sub/x.yaml:4:13 entries[1].name: duplicate entry id "shop:h"; first declared at app.yaml:5:5',
  ])
})

test('a reference to an entry with a problem of its own is no second problem', async () => {
  const wrong = '  - { name: q, kind: proces.lua, source: x }\n'
  const service = '  - { name: s, kind: process.service, process: q, host: h }\n'
  expect(await problemsOf(BASE + wrong + service)).toEqual([expect.stringContaining('unknown kind "proces.lua"')])
})

test('a reference into a namespace of a file that could not be read is no second problem', async () => {
  const service = '  - { name: s, kind: process.service, process: "other:q", host: h }\n'
  const files = { 'app.yaml': `include: [x.yaml]\n${BASE}${service}`, 'x.yaml': 'namespace: other\nentries: [' }
  expect(await problemsOf(files)).toEqual([expect.stringMatching(/^x\.yaml:2:/)])
  expect(await problemsOf({ ...files, 'x.yaml': 'namespace: other\n' })).toEqual([
    expect.stringContaining('no entry "other:q"'),
  ])
})

test('a reference to an entry of a file without namespace is no second problem', async () => {
  const files = {
    'app.yaml': `include: [x.yaml]\n${BASE}${host('y', 'lost')}`,
    'x.yaml': 'entries: [{ name: lost, kind: registry.entry }]\n',
  }
  expect(await problemsOf(files)).toEqual([expect.stringMatching(/^x\.yaml:1:1 namespace: required field is missing/)])
})

test('an import cycle is a problem at the import that closes it (§5.2)', async () => {
  const libraries = library('a', 'x: b') + library('b', 'x: c') + library('c', 'x: »a') + library('d', 'x: a')
  const { text, at } = marked(HEAD + libraries)
  expect(await problemsOf(text)).toEqual([
    `app.yaml:${at} entries[2].imports.x: import cycle: shop:a -> shop:b -> shop:c -> shop:a`,
  ])
  expect(await problemsOf(HEAD + library('a', 'x: a'))).toEqual([
    expect.stringContaining('import cycle: shop:a -> shop:a'),
  ])
})

test('a dependency cycle between services is a problem at the reference that closes it (§22.3)', async () => {
  const service = '  - { name: s, kind: process.service, process: p, host: g }\n'
  const { text, at } = marked(BASE + service + host('g', '»s'))
  expect(await problemsOf(text)).toEqual([
    `app.yaml:${at} entries[3].lifecycle.requires[0]: dependency cycle between services: shop:s -> shop:g -> shop:s`,
  ])
  expect(await problemsOf(HEAD + host('a', 'a'))).toEqual([
    expect.stringContaining('cycle between services: shop:a -> shop:a'),
  ])
})

test('two cycles are two problems, a diamond is none', async () => {
  const two = host('a', 'b') + host('b', 'a') + host('c', 'd') + host('d', 'c')
  expect(await problemsOf(HEAD + two)).toHaveLength(2)
  await appOf(HEAD + host('a', 'b, c') + host('b', 'd') + host('c', 'd') + host('d', ''))
})

test('a chain of very many entries neither overflows nor takes long, and its cycle is shown in short', async () => {
  const count = 20_000
  const chain = Array.from({ length: count }, (_, i) => host(`n${i}`, `n${(i + 1) % count}`)).join('')
  const [problem] = await problemsOf(HEAD + chain)
  expect(problem).toContain('shop:n0 -> shop:n1 ->')
  expect(problem).toContain('(19989 more) -> shop:n0')
}, 20_000)

test('what an entry depends on is what its own fields name and what it requires, each once (§22.3)', async () => {
  const service =
    '  - { name: s, kind: process.service, process: p, host: h, lifecycle: { requires: [h], depends_on: [p] } }\n'
  expect(dependenciesOf(await entryOf(BASE + service, 'process.service'))).toEqual(['shop:h', 'shop:p'])
  expect(dependenciesOf(await entryOf(BASE, 'process.lua'))).toEqual([])
})
