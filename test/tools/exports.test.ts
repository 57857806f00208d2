// What a module exports is named somewhere else, and what the product holds is there for the product. Cycles of imports are refused by
// biome.json (guards.test.ts); there, imports of types do not count, since nothing is left of them when the program runs.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const FOLDERS = ['runtime', 'cluster', 'lua-stdlib', 'test', 'examples']
/** What programs that embed a node import. */
const FACE = 'runtime/index.ts'

// Biome has formatted the code, so that these forms are all there are.
const DECLARED = /^export (?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type) (\w+)/gm
const LISTED = /^export (?:type )?\{([^}]*)\}/gm
const IMPORTED = /^(?:import|export) (?:type )?(?:(\*) as (\w+)|\{([^}]*)\}) from '(\.[^']+)'/gm
const LOADED = /\b(?:import|importActual)(?:<[^>]*>)?\(\s*'(\.[^']+)'/g

const code = new Map(
  FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(?:ts|mjs)$/.test(name) && !name.endsWith('.d.ts') && !name.includes('node_modules'))
      .map((name) => join(folder, name)),
  ).map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]),
)

/** The names of a list in braces: as the other module knows them, and as this one does. */
function listed(text: string): { theirs: string; ours: string }[] {
  return text
    .split(',')
    .map((item) => item.trim().replace(/^type /, ''))
    .filter((item) => item !== '')
    .map((item) => item.split(' as '))
    .map(([theirs = '', ours = theirs]) => ({ theirs, ours }))
}

function exportsOf(text: string): Set<string> {
  const names = [...text.matchAll(DECLARED)].map(([, name = '']) => name)
  for (const [, list = ''] of text.matchAll(LISTED)) names.push(...listed(list).map(({ ours }) => ours))
  return new Set(names)
}

const wordsOf = (text: string): Set<string> => new Set(text.match(/[\w$]+/g))

/** What is built is named by its source. */
function target(file: string, specifier: string): string {
  return normalize(join(dirname(file), specifier))
    .replace(/^dist\/(.*)\.js$/, '$1.ts')
    .replace(/^\.\.\/dist\//, '')
}

/** Who names an export: `file name` to the files that do. */
function naming(): Map<string, string[]> {
  const found = new Map<string, string[]>()
  const add = (module: string, name: string, by: string): void => {
    const key = `${module} ${name}`
    found.set(key, [...(found.get(key) ?? []), by])
  }
  for (const [file, text] of code) {
    const whole = [...text.matchAll(LOADED)].map(([, specifier = '']) => target(file, specifier))
    for (const [, star, , list = '', specifier = ''] of text.matchAll(IMPORTED)) {
      const module = target(file, specifier)
      if (star !== undefined) whole.push(module)
      for (const { theirs } of listed(list)) add(module, theirs, file)
    }
    const words = wordsOf(text)
    for (const module of whole) {
      for (const name of exportsOf(code.get(module) ?? '')) if (words.has(name)) add(module, name, file)
    }
  }
  return found
}

const named = naming()
const isOfTests = (file: string): boolean => file.startsWith('test/') || file.startsWith('examples/')
const all = [...code].flatMap(([file, text]) => [...exportsOf(text)].map((name) => ({ file, text, name })))

test('no module exports what nobody else names: drop `export`, or the code', () => {
  const unused = all.filter(({ file, name }) => file !== FACE && !named.has(`${file} ${name}`))
  expect(unused.map(({ file, name }) => `${file} ${name}`)).toEqual([])
})

test('nothing in the product is for tests alone: it belongs to test/tools', () => {
  const isNeeded = ({ file, text, name }: { file: string; text: string; name: string }): boolean =>
    file === FACE ||
    isOfTests(file) ||
    (named.get(`${file} ${name}`) ?? []).some((by) => !isOfTests(by)) ||
    text.split(new RegExp(`(?<![\\w$])${name}(?![\\w$])`)).length > 2
  expect(all.filter((each) => !isNeeded(each)).map(({ file, name }) => `${file} ${name}`)).toEqual([])
})

test('the forms of imports and exports are understood', () => {
  expect(all.length).toBeGreaterThan(1000)
  expect([...exportsOf("export type { A, B as C } from './x.ts'\nexport async function f() {}\n")]).toEqual([
    'f',
    'A',
    'C',
  ])
  const unread = [...code].filter(([, text]) => /^export (?:\*|default|enum|declare|namespace)/m.test(text))
  expect(unread.map(([file]) => file)).toEqual([])
})
