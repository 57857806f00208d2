// operations.md §1: everything that is wrong comes out in one go; entries of a program follow the rules of files.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { moduleNames } from '../../../lua-stdlib/names.ts'
import { type LoadEntriesOptions, loadApp, loadEntries } from '../../../runtime/app/load.ts'
import { compileProblem } from '../../../runtime/lua/check.ts'
import { appFolder, ids, loadFiles, problemsOf, rules, shown } from './app-folder.ts'

test('every problem is reported in one go, by file, line and column', async () => {
  const files = {
    'app.yaml': `namespace: shop
node: { name: a_b }
inclde: []
include: [nope.yaml, broken.yaml]
entries:
  - { name: p, kind: process.lua, source: file://p.lua, modules: [tme] }
  - { name: p, kind: process.hst }
  - { name: s, kind: process.service, process: q, host: p, lifecycle: { stop_timeout: 5 } }
  - { name: d, kind: registry.entry, x: "\${env:NOPE}" }
`,
    'broken.yaml': 'a: [\n',
    'p.lua': 'wrong',
  }
  const places = (await problemsOf(files, { set: ['logger.level=x'] })).map(
    (problem) => /^(?:--set )?\S+ ?\S*/.exec(problem)?.[0],
  )
  expect(places).toEqual([
    '--set logger.level=… logger.level:',
    'app.yaml:2:15 node.name:',
    'app.yaml:3:1 inclde:',
    'app.yaml:4:11 include[0]:',
    'app.yaml:6:67 entries[0].modules[0]:',
    'app.yaml:7:13 entries[1].name:',
    'app.yaml:7:22 entries[1].kind:',
    'app.yaml:8:48 entries[2].process:',
    'app.yaml:8:57 entries[2].host:',
    'app.yaml:8:87 entries[2].lifecycle.stop_timeout:',
    'app.yaml:9:41 entries[3].x:',
    'broken.yaml:2:1 YAML',
    'p.lua:1:1 Lua',
  ])
})

test('a failed load tells the entries whose id and kind are known, sorted', async () => {
  const text = 'namespace: s\nentries: [{ name: b, kind: process.lua }, { name: a, kind: registry.entry }, { name: c }]'
  const result = await loadFiles({ 'app.yaml': text })
  expect(result.ok).toBe(false)
  expect(!result.ok && result.entries).toEqual([
    { id: 's:a', kind: 'registry.entry' },
    { id: 's:b', kind: 'process.lua' },
  ])
})

test('a problem has the absolute path of its file, as `check --json` shows it', async () => {
  const result = await loadFiles({ 'app.yaml': 'x: 1' })
  expect(!result.ok && result.problems).toEqual([
    {
      file: join(result.dir, 'app.yaml'),
      line: 1,
      column: 1,
      path: 'x',
      message: expect.stringContaining('unknown key "x"'),
    },
  ])
})

test('the app of the specification loads with the real modules and the real compiler', async () => {
  const dir = appFolder({
    'app.yaml': `version: "1.0"
namespace: shop                 # every entry below is shop:<name>
node:
  name: node-1
  data_dir: .runtime
logger:   { level: info, format: auto }
admin:    { http: "127.0.0.1:7960" }
shutdown: { timeout: 30s }
cluster:  { enabled: false }
include:
  - "src/**/_index.yaml"
entries:
  - name: processes
    kind: process.host
    lifecycle: { auto_start: true }
  - name: greeter
    kind: process.lua
    source: file://greeter.lua
    method: main
    modules: [time, json]
  - name: greeter.service
    kind: process.service
    process: shop:greeter
    host: shop:processes
    lifecycle: { auto_start: true }
`,
    'greeter.lua': 'local time = require("time")\nreturn { main = function() return 1 end }\n',
    'src/a/_index.yaml': 'namespace: a\nentries: []\n',
  })
  const result = await loadApp({ path: join(dir, 'app.yaml'), moduleNames, compile: compileProblem() })
  expect(shown(result, dir)).toEqual([])
  expect(result.ok && ids(result.app)).toEqual(['shop:greeter', 'shop:greeter.service', 'shop:processes'])
})

test('the real compiler tells the line of a syntax error', async () => {
  const files = {
    'app.yaml': 'namespace: s\nentries: [{ name: p, kind: process.lua, source: file://p.lua }]',
    'p.lua': 'local x = 1\nlocal = 2\n',
  }
  expect(await problemsOf(files, { compile: compileProblem() })).toEqual([
    "p.lua:2:1 Lua syntax: <name> expected near '='",
  ])
})

test('an app has at most 100,000 entries', async () => {
  const item = '*d,'
  const files: Record<string, string> = { 'app.yaml': 'include: [a.yaml, b.yaml]\n' }
  for (const name of ['a', 'b']) {
    files[`${name}.yaml`] =
      `namespace: ${name}\nentries: [&d { name: d, kind: registry.entry }, ${item.repeat(60_000)}]`
  }
  const problems = await problemsOf(files)
  expect(problems).toContainEqual(expect.stringContaining('an app has at most 100000 entries'))
  expect(problems.at(-1)).toMatch(/\d+ further problems are not listed; mend these first$/)
}, 30_000)

describe('entries of a program', () => {
  const load = async (definitions: readonly Record<string, unknown>[], options: Partial<LoadEntriesOptions> = {}) => {
    const result = await loadEntries(definitions, { ...rules, ...options })
    return { result, problems: shown(result, process.cwd()) }
  }
  const PROCESS = { id: 's:p', kind: 'process.lua', source: 'x' }
  const HOST = { namespace: 's', name: 'h', kind: 'process.host' }

  test('follow the same rules, with an id, or with namespace and name', async () => {
    const service = {
      id: 's:svc',
      kind: 'process.service',
      process: 'p',
      host: 's:h',
      input: [1],
      lifecycle: { stop_timeout: '1s' },
    }
    const { result } = await load([PROCESS, HOST, service], { set: ['node.name=n1'] })
    if (!result.ok) throw new Error('problems')
    expect(ids(result.app)).toEqual(['s:h', 's:p', 's:svc'])
    expect(result.app.settings.node.name).toBe('n1')
    expect(result.app.entries[1]).toMatchObject({ data: { source: 'x' }, file: '', line: 0, method: 'main' })
    expect(result.app.entries[2]).toMatchObject({ process: 's:p', lifecycle: { stopTimeoutMs: 1000 } })
  })

  test('have problems without a file, at entries[N]', async () => {
    const wrong = [
      { id: 's:a', kind: 'proces.lua' },
      { id: 's:b', kind: 'process.lua', source: 'a\nwrong', modules: ['tme'] },
      { id: 's:c', kind: 'process.service', process: 's:p', host: 's:q', lifecycel: {} },
    ]
    expect((await load([...wrong, PROCESS])).problems).toEqual([
      'entries[0].kind: unknown kind "proces.lua" (did you mean "process.lua"?)',
      'entries[1].modules[0]: unknown module "tme" (did you mean "time"?)',
      "entries[1].source: line 2 of the chunk: Lua syntax: unexpected symbol near 'wrong'",
      'entries[2].host: no entry "s:q"',
      'entries[2].lifecycel: unknown key "lifecycel" (did you mean "lifecycle"?)',
    ])
  })

  test.each([
    [{}, 'entries[0].id: required field is missing; give id: "namespace:name"'],
    [{ id: 5 }, 'entries[0].id: expected "namespace:name", found 5'],
    [{ id: 'p' }, 'entries[0].id: expected "namespace:name", found "p"'],
    [{ id: ':p' }, 'entries[0].id: expected "namespace:name", found ":p"'],
    [{ id: 's:' }, 'entries[0].id: expected "namespace:name", found "s:"'],
    [{ id: 's:p', name: 'p' }, 'entries[0].id: give id, or namespace and name, but not both'],
    [{ namespace: 's' }, 'entries[0].name: required field is missing (a name within the namespace)'],
    [
      { namespace: 's:', name: 'p' },
      'entries[0].namespace: "s:" holds a colon; namespace and name are given apart from each other',
    ],
  ])('need an id: %j', async (idFields, expected) => {
    expect((await load([{ ...idFields, kind: 'registry.entry' }])).problems).toEqual([expected])
  })

  test('may refer to entries that are there already, and must not have their ids', async () => {
    const { result } = await load([PROCESS, HOST])
    const beside = result.ok ? result.app.entries : []
    const service = { id: 't:svc', kind: 'process.service', process: 's:p', host: 's:h' }
    const added = await load([service], { beside })
    expect(added.result.ok && ids(added.result.app)).toEqual(['t:svc'])
    expect((await load([PROCESS, { ...service, host: 's:p' }], { beside })).problems).toEqual([
      'entries[0].name: duplicate entry id "s:p"; the app has it already',
      'entries[1].host: "s:p" is a process.lua; host needs a process.host or a terminal.host',
    ])
  })

  test('tell of a duplicate which entry was first', async () => {
    expect((await load([PROCESS, HOST, PROCESS])).problems).toEqual([
      'entries[2].name: duplicate entry id "s:p"; first declared as entries[0]',
    ])
  })

  test('that are no data, refer to themselves or are nested too deeply are problems', async () => {
    const circle: Record<string, unknown> = { id: 's:c', kind: 'registry.entry' }
    circle['self'] = circle
    const wrong = [null, 5, 'x', [], circle] as unknown as Record<string, unknown>[]
    expect((await load(wrong)).problems).toEqual([
      'entries[0]: expected an entry (a map with name and kind), found nothing',
      'entries[1]: expected an entry (a map with name and kind), found 5',
      'entries[2]: expected an entry (a map with name and kind), found "x"',
      'entries[3]: expected an entry (a map with name and kind), found a list',
      'entries[4]: refers to itself, is nested deeper than 100 levels, or holds a million values',
    ])
    expect((await load([{ id: 's:f', kind: 'process.host', lifecycle: () => 1 }])).problems).toEqual([
      'entries[0].lifecycle: expected a map, found a function',
    ])
  })

  test('with parts that are shared a million times over are refused in time', async () => {
    let shared: unknown = 'x'
    for (let i = 0; i < 60; i++) shared = [shared, shared]
    const startMs = performance.now()
    expect((await load([{ id: 's:x', kind: 'registry.entry', shared }])).problems).toHaveLength(1)
    expect(performance.now() - startMs).toBeLessThan(2000)
  })
})
