// operations.md §1, lua-core.md §4.1: which files make an app.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: `${env:NAME}` is what is tested

import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { matches } from '../../../runtime/app/glob.ts'
import { loadApp } from '../../../runtime/app/load.ts'
import { appFolder, appOf, ids, problemsOf, rules, shown } from './app-folder.ts'

const data = (namespace: string, name = 'd'): string =>
  `namespace: ${namespace}\nentries:\n  - { name: ${name}, kind: registry.entry }\n`
const including = (...patterns: string[]): string => `include: ${JSON.stringify(patterns)}\n`

test('an included file brings its own namespace, and may include further files relative to itself', async () => {
  const files = {
    'app.yaml': including('a/one.yaml') + data('app'),
    'a/one.yaml': including('b/two.yaml') + data('one'),
    'a/b/two.yaml': data('two'),
  }
  expect(ids(await appOf(files))).toEqual(['app:d', 'one:d', 'two:d'])
})

test('"*" and "?" stay within one name, "**" crosses folders', async () => {
  const files = {
    'src/x.yaml': data('x'),
    'src/y1.yaml': data('y1'),
    'src/a/x.yaml': data('ax'),
    'src/a/b/x.yaml': data('abx'),
  }
  const found = async (pattern: string): Promise<string[]> =>
    ids(await appOf({ ...files, 'app.yaml': including(pattern) }))
  expect(await found('src/*.yaml')).toEqual(['x:d', 'y1:d'])
  expect(await found('./src/y?.yaml')).toEqual(['y1:d'])
  expect(await found('src/*/x.yaml')).toEqual(['ax:d'])
  expect(await found('src/**/x.yaml')).toEqual(['abx:d', 'ax:d', 'x:d'])
  expect(await found('**/b/**')).toEqual(['abx:d'])
  expect(await found('src/**/**/b/*')).toEqual(['abx:d'])
  expect(await found('src/a/../*1.yaml')).toEqual(['y1:d'])
})

test('wildcards pass over node_modules, .runtime and whatever begins with a dot; a name in full does not', async () => {
  const hidden = {
    'node_modules/p/x.yaml': data('modules'),
    '.runtime/x.yaml': data('runtime'),
    '.git/x.yaml': data('git'),
    'a/.x.yaml': data('dotted'),
  }
  expect(ids(await appOf({ ...hidden, 'app.yaml': including('**/*.yaml') }))).toEqual([])
  expect(ids(await appOf({ ...hidden, 'app.yaml': including('.git/x.yaml', 'a/.*.yaml') }))).toEqual([
    'dotted:d',
    'git:d',
  ])
})

test('a file included twice, or by a circle of includes, is loaded once', async () => {
  const files = {
    'app.yaml': including('a.yaml', './a.yaml', '*.yaml') + data('app'),
    'a.yaml': including('app.yaml', 'a.yaml') + data('a'),
  }
  expect(ids(await appOf(files))).toEqual(['a:d', 'app:d'])
})

test('links that lead in a circle end, and two ways to one file are one file', async () => {
  const dir = appFolder({ 'app.yaml': including('**/*.yaml'), 'a/x.yaml': data('x') })
  symlinkSync(dir, join(dir, 'a/up'))
  symlinkSync(join(dir, 'a'), join(dir, 'b'))
  symlinkSync(join(dir, 'a/x.yaml'), join(dir, 'link.yaml'))
  symlinkSync(join(dir, 'nowhere'), join(dir, 'broken.yaml'))
  const result = await loadApp({ ...rules, path: join(dir, 'app.yaml') })
  expect(result.ok && ids(result.app)).toEqual(['x:d'])
})

test('a path without wildcard that names no file is a problem, a pattern without match is none', async () => {
  expect(await problemsOf(including('srv/x.yaml', 'none/*.yaml', '**/none.yaml'))).toEqual([
    'app.yaml:1:11 include[0]: no such file srv/x.yaml',
  ])
})

test('an included folder is a problem that tells how to include what is in it', async () => {
  const [problem] = await problemsOf({ 'app.yaml': including('src'), 'src/x.yaml': '' })
  expect(problem).toContain('app.yaml:1:11 include[0]: src is a folder; ')
  expect(problem).toContain('src/**/_index.yaml')
})

test('include is a list of texts', async () => {
  expect(await problemsOf('include: x.yaml')).toEqual(['app.yaml:1:10 include: expected a list, found "x.yaml"'])
  expect(await problemsOf('include: [5]')).toEqual(['app.yaml:1:11 include[0]: expected text, found 5'])
})

test('variables are replaced in include, too', async () => {
  const files = { 'app.yaml': including('${env:PART}.yaml'), 'x.yaml': data('x') }
  expect(ids(await appOf(files, { env: { PART: 'x' } }))).toEqual(['x:d'])
})

test('a folder is every _index.yaml below it, and app.yaml with its settings and entries when there is one', async () => {
  const files = {
    '_index.yaml': data('top'),
    'a/_index.yaml': data('a'),
    'a/b/_index.yaml': data('ab'),
    'a/other.yaml': data('other'),
    'node_modules/p/_index.yaml': 'not: [read',
    '.runtime/_index.yaml': 'not: [read',
  }
  const bare = await appOf(files, {}, '.')
  expect(ids(bare)).toEqual(['a:d', 'ab:d', 'top:d'])
  expect(bare.file).toBe(bare.dir)
  const app = await appOf({ ...files, 'app.yaml': `node: { name: n1 }\n${data('app')}` }, {}, '.')
  expect(ids(app)).toEqual(['a:d', 'ab:d', 'app:d', 'top:d'])
  expect(app.settings.node.name).toBe('n1')
  expect(app.file).toBe(join(app.dir, 'app.yaml'))
})

test('a file may hold one entry beside its namespace (lua-core.md §4.1)', async () => {
  const files = {
    'app.yaml': including('one.yaml', 'two.yaml'),
    'one.yaml': 'version: "1.0"\nnamespace: s\nname: d\nkind: registry.entry\nmeta: { a: 1 }\nx: 5\n',
    'two.yaml': 'namespace: s\nname: h\nkind: process.host\nlifecycel: {}\n',
  }
  expect(await problemsOf(files)).toEqual([
    'two.yaml:4:1 lifecycel: unknown key "lifecycel" (did you mean "lifecycle"?)',
  ])
  const app = await appOf({ ...files, 'two.yaml': 'namespace: s\nname: h\nkind: process.host\n' })
  expect(app.entries[0]).toMatchObject({ id: 's:d', meta: { a: 1 }, data: { x: 5 } })
})

test.each([
  ['an unknown key', 'entires: []\n', 'app.yaml:1:1 entires: unknown key "entires" (did you mean "entries"?)'],
  ['another version', 'version: "2.0"\n', 'app.yaml:1:10 version: expected "1.0", found "2.0"'],
  [
    'no namespace',
    'entries: [{ name: d, kind: registry.entry }]\n',
    'app.yaml:1:1 namespace: required field is missing; every entry of the file becomes namespace:name',
  ],
  ['a namespace that is no text', 'namespace: 5\n', 'app.yaml:1:12 namespace: expected text, found 5'],
  [
    'a namespace with a colon',
    'namespace: "a:b"\n',
    'app.yaml:1:12 namespace: "a:b" holds a colon; namespace and name are given apart from each other',
  ],
  [
    'a namespace with a bar',
    'namespace: a|b\n',
    'app.yaml:1:12 namespace: "a|b" holds "|", which an id cannot; use letters, digits, ".", "_", "-"',
  ],
  [
    'entries that are no list',
    'namespace: s\nentries: { a: 1 }\n',
    'app.yaml:2:10 entries: expected a list of entries ("- name: …"), found a map',
  ],
  ['a list at the top', '- a\n', 'app.yaml:1:1 expected a map ("key: value") at the top of the file, found a list'],
  ['text at the top', 'hello\n', 'app.yaml:1:1 expected a map ("key: value") at the top of the file, found "hello"'],
])('a file with %s is a problem', async (_what, text, expected) => {
  expect(await problemsOf(text)).toEqual([expected])
})

test('an unquoted version 1.0 is the version 1.0', async () => {
  await appOf('version: 1.0\n')
})

test('settings in an included file are a problem', async () => {
  expect(await problemsOf({ 'app.yaml': including('x.yaml'), 'x.yaml': 'node: { name: x }\n' })).toEqual([
    'x.yaml:1:1 node: settings belong in the app file, not in a file that it includes',
  ])
})

test('a path that leads nowhere is a problem that tells how to begin', async () => {
  expect(await problemsOf({}, {}, 'app.yaml')).toEqual([
    'app.yaml: no such file or folder; check the path, or create an app with `runtime init`',
  ])
  const [empty] = await problemsOf({ 'x/y.txt': '' }, {}, 'x')
  expect(empty).toContain('no app.yaml and no _index.yaml in this folder or below it; check the path, or create an app')
})

test('a file that is too large, not UTF-8 or a pipe is a problem', async () => {
  const dir = appFolder({
    'big.yaml': `a: "${'x'.repeat(16 * 1024 * 1024)}"`,
    'bytes.yaml': new Uint8Array([0x61, 0xff]),
  })
  execFileSync('mkfifo', [join(dir, 'pipe.yaml')])
  const load = async (name: string): Promise<string[]> => shown(await loadApp({ ...rules, path: join(dir, name) }), dir)
  expect(await load('big.yaml')).toEqual(['big.yaml: big.yaml has 16777221 bytes; at most 16777216 are read'])
  expect(await load('bytes.yaml')).toEqual(['bytes.yaml: bytes.yaml is not UTF-8 text'])
  expect(await load('pipe.yaml')).toEqual(['pipe.yaml: pipe.yaml is no regular file'])
})

test('an app has at most 10,000 files', async () => {
  const files: Record<string, string> = { 'app.yaml': including('src/*.yaml') }
  for (let i = 0; i < 10_001; i++) files[`src/${i}.yaml`] = ''
  const problems = await problemsOf(files)
  expect(problems).toEqual(['app.yaml:1:11 include[0]: an app has at most 10000 files'])
}, 30_000)

test('a pattern of many stars takes no exponential time', () => {
  const startMs = performance.now()
  expect(matches('a'.repeat(255), '*a'.repeat(60).concat('b'))).toBe(false)
  expect(performance.now() - startMs).toBeLessThan(100)
})

test.each([
  ['abc', 'a*c', true],
  ['abc', '*', true],
  ['abc', 'a?c', true],
  ['abc', 'a?', false],
  ['', '*', true],
  ['a.b', 'a+b', false],
  ['a*', 'a*', true],
  ['axxb', 'a*x*b', true],
])('%s against %s: %s', (name, pattern, expected) => {
  expect(matches(name, pattern)).toBe(expected)
})

test('folders of which many patterns lead to each are looked into once for each part', async () => {
  const dir = appFolder({ 'app.yaml': including(Array(12).fill('**').join('/')) })
  let deep = dir
  for (let i = 0; i < 12; i++) {
    deep = join(deep, 'd')
    mkdirSync(deep)
  }
  const startMs = performance.now()
  await loadApp({ ...rules, path: join(dir, 'app.yaml') })
  expect(performance.now() - startMs).toBeLessThan(5000)
})
