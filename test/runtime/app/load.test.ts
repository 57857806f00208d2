// operations.md §1, lua-core.md §4: what an app may say, and what is told when it says something else.

import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadApp, loadEntries } from '../../../runtime/app/load.ts'
import { compileProblem } from '../../../runtime/lua/check.ts'
import { app, appDir, problems } from './app-dir.ts'

const HEAD = 'version: "1.0"\nnamespace: shop\n'
const withEntries = (entries: string): string => `${HEAD}entries:\n${entries}`
const PROCESS = '  - name: p\n    kind: process.lua\n    source: return function() end\n'
const HOST = '  - name: h\n    kind: process.host\n'

describe('a right app', () => {
  test('has its entries sorted by id, references complete and defaults filled in', async () => {
    const { entries, settings, root } = await app({
      'app.yaml': withEntries(
        `${PROCESS}${HOST}  - name: a.service\n    kind: process.service\n    process: p\n    host: shop:h\n    input: [1, { deep: true }]\n    lifecycle: { auto_start: true, requires: [h], depends_on: [h] }\n`,
      ),
    })
    expect(entries.map((entry) => entry.id)).toEqual(['shop:a.service', 'shop:h', 'shop:p'])
    const [service, host, process] = entries
    expect(service).toMatchObject({
      process: 'shop:p',
      host: 'shop:h',
      input: [1, { deep: true }],
      lifecycle: { autoStart: true, startTimeoutMs: 10_000, requires: ['shop:h'], restart: { maxDelayMs: 90_000 } },
    })
    expect(host).toMatchObject({ host: { workers: 1, maxProcesses: 1_000_000, mailboxLimit: 1_000_000 } })
    expect(process).toMatchObject({ method: 'main', modules: [], imports: {}, sourceFile: undefined })
    expect(settings).toMatchObject({
      node: { dataDir: join(root, '.runtime') },
      logger: { level: 'info', format: 'auto' },
      admin: { http: '127.0.0.1:7960', httpIsDefault: true },
      shutdown: { timeoutMs: 30_000 },
    })
  })

  test('keeps an entry’s own fields as data, the source as text', async () => {
    const { entries } = await app({
      'app.yaml': withEntries(
        '  - name: p\n    kind: process.lua\n    source: file://lua/p.lua\n    meta: { type: x }\n    modules: [time]\n  - name: d\n    kind: registry.entry\n    anything: [1]\n',
      ),
      'lua/p.lua': 'return function() end\n',
    })
    expect(entries[0]).toMatchObject({ data: { anything: [1] }, meta: {} })
    expect(entries[1]).toMatchObject({
      data: { source: 'return function() end\n', modules: ['time'] },
      meta: { type: 'x' },
    })
    expect(entries[1]?.data).not.toHaveProperty('kind')
  })

  test('a folder is every _index.yaml below it, and app.yaml for settings', async () => {
    const { entries, settings } = await app(
      {
        'app.yaml': 'node: { name: n1 }\n',
        'a/_index.yaml': `namespace: a\nentries:\n${PROCESS}`,
        'a/b/_index.yaml': `namespace: a.b\nname: single\nkind: process.host\n`,
        'node_modules/x/_index.yaml': 'not: [read',
        '.hidden/_index.yaml': 'not: [read',
        'a/other.yaml': 'not: [read',
      },
      { at: '.' },
    )
    expect(entries.map((entry) => entry.id)).toEqual(['a.b:single', 'a:p'])
    expect(settings.node.name).toBe('n1')
  })

  test('includes follow globs relative to the file, each file once, cycles and link loops included', async () => {
    const dir = appDir({
      'app.yaml': `${HEAD}include: ["src/**/_index.yaml", "src/x/_index.yaml", "src/?/none*.yaml"]\n`,
      'src/_index.yaml': `namespace: s\ninclude: ["../app.yaml", "x/_index.yaml"]\nentries:\n${HOST}`,
      'src/x/_index.yaml': `namespace: s.x\nentries:\n${HOST}`,
    })
    symlinkSync(dir, join(dir, 'src/loop'))
    const result = await loadApp({ path: join(dir, 'app.yaml'), moduleNames: new Set(), compile: () => undefined })
    expect(result.ok && result.app.entries.map((entry) => entry.id)).toEqual(['s.x:h', 's:h'])
  })
})

describe('problems', () => {
  test.each([
    ['YAML syntax', 'a: [1\n', [/^app\.yaml:\d+:\d+ YAML syntax: /]],
    ['tabs', `${HEAD}entries:\n\t- name: x\n`, [/^app\.yaml:4:1 YAML syntax: .*indent with spaces/]],
    ['a key twice', 'namespace: a\nnamespace: b\n', [/^app\.yaml:2:1 YAML syntax: the same key stands twice/]],
    ['an empty file', '', [/expected a map with namespace and entries, got an empty file/]],
    ['a list', '- a\n', [/expected a map with namespace and entries, got a list/]],
    [
      'an unknown top-level key',
      `${HEAD}shutdwon: {}\n`,
      [/^app\.yaml:3:1 shutdwon: unknown key "shutdwon" \(did you mean "shutdown"\?\)$/],
    ],
    [
      'an unknown setting',
      `${HEAD}node: { nmae: a }\n`,
      [/^app\.yaml:3:9 node\.nmae: unknown key "nmae" \(did you mean "name"\?\)$/],
    ],
    ['a wrong version', 'version: 1.0\n', [/^app\.yaml:1:10 version: expected "1\.0" \(in quotes\), got 1$/]],
    ['no namespace', `entries:\n${HOST}`, [/namespace: required/]],
    ['a bad node name', `${HEAD}node: { name: "-a" }\n`, [/^app\.yaml:3:15 node\.name: expected 1 to 128 of/]],
    [
      'a level that is none',
      `${HEAD}logger: { level: inof }\n`,
      [/logger\.level: expected one of .*, got "inof" \(did you mean "info"\?\)$/],
    ],
    [
      'a duration without unit',
      `${HEAD}shutdown: { timeout: 30 }\n`,
      [/shutdown\.timeout: expected a duration; did you mean "30s" or "30ms"\?/],
    ],
    [
      'clustering',
      `${HEAD}cluster: { enabled: true }\n`,
      [/^app\.yaml:3:21 cluster\.enabled: clustering is not available in this version/],
    ],
    [
      'an unknown kind',
      withEntries('  - name: x\n    kind: proces.lua\n'),
      [/^app\.yaml:5:11 entries\[0\]\.kind: unknown kind "proces\.lua" \(did you mean "process\.lua"\?\)$/],
    ],
    [
      'an unsupported kind',
      withEntries('  - name: x\n    kind: workflow.lua\n'),
      [/unknown kind "workflow\.lua" \(not supported\)/],
    ],
    [
      'precompiled Lua',
      withEntries('  - name: x\n    kind: process.lua.bc\n'),
      [/unknown kind "process\.lua\.bc" \(not supported\)/],
    ],
    ['no kind', withEntries('  - name: x\n'), [/^app\.yaml:4:5 entries\[0\]\.kind: required \(a string\)$/]],
    ['no name', withEntries('  - kind: process.host\n'), [/entries\[0\]\.name: required \(a string\)/]],
    [
      'a bad name',
      withEntries('  - name: "a:b"\n    kind: process.host\n'),
      [/entries\[0\]\.name: expected a name without spaces/],
    ],
    [
      'an entry that is no map',
      withEntries('  - hello\n'),
      [/entries\[0\]: expected a map with name and kind, got "hello"/],
    ],
    [
      'an unknown field',
      withEntries(`${HOST}    lifecycel: {}\n`),
      [/^app\.yaml:6:5 entries\[0\]\.lifecycel: unknown key "lifecycel" \(did you mean "lifecycle"\?\)$/],
    ],
    [
      'an unknown lifecycle key',
      withEntries(`${HOST}    lifecycle: { autostart: true }\n`),
      [/^app\.yaml:6:18 entries\[0\]\.lifecycle\.autostart: unknown key "autostart" \(did you mean "auto_start"\?\)$/],
    ],
    [
      'an unknown restart key',
      withEntries(`${HOST}    lifecycle: { restart: { max_attempt: 3 } }\n`),
      [/restart\.max_attempt: unknown key .*"max_attempts"/],
    ],
    [
      'a wrong type',
      withEntries(`${HOST}    lifecycle: { auto_start: "yes" }\n`),
      [/^app\.yaml:6:30 entries\[0\]\.lifecycle\.auto_start: expected true or false, got "yes"$/],
    ],
    [
      'a negative pool',
      withEntries(
        '  - name: f\n    kind: function.lua\n    method: m\n    source: return {}\n    pool: { size: -1 }\n',
      ),
      [/pool\.size: must be at least 0, got -1/],
    ],
    [
      'an unknown pool type',
      withEntries(
        '  - name: f\n    kind: function.lua\n    method: m\n    source: return {}\n    pool: { type: eager }\n',
      ),
      [/pool\.type: expected one of .*, got "eager"/],
    ],
    [
      'a function without method',
      withEntries('  - name: f\n    kind: function.lua\n    source: return {}\n'),
      [/entries\[0\]\.method: required \(a string\)/],
    ],
    [
      'a missing source file',
      withEntries('  - name: p\n    kind: process.lua\n    source: file://nope.lua\n'),
      [/^app\.yaml:6:13 entries\[0\]\.source: no such file nope\.lua; create it or correct the path/],
    ],
    [
      'a source that is a folder',
      withEntries('  - name: p\n    kind: process.lua\n    source: file://.\n'),
      [/is a directory, not a Lua file/],
    ],
    [
      'Lua syntax in the file',
      withEntries(
        '  - name: p\n    kind: process.lua\n    source: |\n      return function()\n        x = = 1\n      end\n',
      ),
      [/entries\[0\]\.source: Lua syntax: unexpected symbol near '=' \(line 2 of the source\)/],
    ],
    [
      'an unknown module',
      withEntries(`${PROCESS}    modules: [time, tmie]\n`),
      [/^app\.yaml:7:21 entries\[0\]\.modules\[1\]: unknown module "tmie" \(did you mean "time"\?\)$/],
    ],
    [
      'an entry id twice',
      withEntries(HOST + HOST),
      [/^app\.yaml:6:11 entries\[1\]\.name: duplicate entry id "shop:h" \(first at app\.yaml:4\)$/],
    ],
    [
      'a service without process',
      withEntries(`${HOST}  - name: s\n    kind: process.service\n    process: pp\n    host: h\n`),
      [/^app\.yaml:8:14 entries\[1\]\.process: no entry "shop:pp"$/],
    ],
    [
      'a near miss',
      withEntries(`${PROCESS}${HOST}  - name: s\n    kind: process.service\n    process: shop:q\n    host: h\n`),
      [/no entry "shop:q" \(did you mean "shop:p"\?\)/],
    ],
    [
      'a reference to the wrong kind',
      withEntries(`${PROCESS}${HOST}  - name: s\n    kind: process.service\n    process: h\n    host: p\n`),
      [
        /process: "shop:h" is a process\.host; expected process\.lua/,
        /host: "shop:p" is a process\.lua; expected process\.host or terminal\.host/,
      ],
    ],
    [
      'a missing import',
      withEntries(`${PROCESS}    imports: { u: util }\n`),
      [/^app\.yaml:7:19 entries\[0\]\.imports\.u: no entry "shop:util"$/],
    ],
    [
      'an import cycle',
      withEntries(
        '  - name: a\n    kind: library.lua\n    source: return {}\n    imports: { b: b }\n  - name: b\n    kind: library.lua\n    source: return {}\n    imports: { a: a }\n',
      ),
      [/imports: import cycle: shop:a -> shop:b -> shop:a/],
    ],
    [
      'a dependency cycle',
      withEntries(
        `${PROCESS}${HOST}    lifecycle: { requires: [s] }\n  - name: s\n    kind: process.service\n    process: p\n    host: h\n`,
      ),
      [/services depend on each other in a cycle: shop:h -> shop:s -> shop:h/],
    ],
    [
      'a missing requirement',
      withEntries(`${HOST}    lifecycle: { requires: [nothing] }\n`),
      [/^app\.yaml:6:29 entries\[0\]\.lifecycle\.requires\[0\]: no entry "shop:nothing"$/],
    ],
    [
      'an include that is not there',
      `${HEAD}include: [nope.yaml]\n`,
      [/^app\.yaml:3:11 include\[0\]: no such file nope\.yaml/],
    ],
  ] satisfies [string, string, RegExp[]][])('%s', async (_what, yaml, expected) => {
    const found = await problems(yaml)
    expect(found).toHaveLength(expected.length)
    for (const [i, pattern] of expected.entries()) expect(found[i]).toMatch(pattern)
  })

  test('all of them are reported in one go, in order of place', async () => {
    const found = await problems(
      withEntries('  - name: x\n    kind: nope\n  - name: y\n    kind: process.lua\n    modules: [zzz]\n'),
    )
    expect(found.map((line) => line.split(' ')[0])).toEqual(['app.yaml:5:11', 'app.yaml:6:5'])
  })

  test('an entry that is wrong by itself does not make others wrong', async () => {
    const yaml = withEntries(
      `  - name: p\n    kind: process.lua\n${HOST}  - name: s\n    kind: process.service\n    process: p\n    host: h\n`,
    )
    expect(await problems(yaml)).toEqual(['app.yaml:4:5 entries[0].source: required (a string)'])
  })

  test('Lua syntax errors in files have the Lua file’s own place', async () => {
    const yaml = withEntries('  - name: p\n    kind: process.lua\n    source: file://p.lua\n')
    expect(await problems({ 'app.yaml': yaml, 'p.lua': 'local a = 1\nlocal b = = 2\n' })).toEqual([
      "p.lua:2:1 Lua syntax: unexpected symbol near '='",
    ])
  })

  test('a source that is not UTF-8 is refused', async () => {
    const yaml = withEntries('  - name: p\n    kind: process.lua\n    source: file://p.lua\n')
    expect((await problems({ 'app.yaml': yaml, 'p.lua': new Uint8Array([0xff, 0xfe]) }))[0]).toContain(
      'is not UTF-8 text',
    )
  })

  test('settings belong in the app file', async () => {
    const found = await problems({
      'app.yaml': `${HEAD}include: [b.yaml]\n`,
      'b.yaml': 'namespace: b\nnode: { name: x }\n',
    })
    expect(found).toEqual(['b.yaml:2:1 node: settings such as "node" belong in the app file, not in an included one'])
  })

  test('a missing app file and an empty folder name the way out', async () => {
    expect((await problems({}, { at: 'nope.yaml' }))[0]).toMatch(
      /no such file; check the path, or create an app with `runtime init/,
    )
    expect((await problems({}, { at: '.' }))[0]).toMatch(/no app\.yaml and no _index\.yaml below it; create an app/)
  })

  test('aliases cannot blow up', async () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    for (let i = 1; i < 10; i++) lines.push(`a${i}: &a${i} [${`*a${i - 1}, `.repeat(9)}*a${i - 1}]`)
    expect((await problems(lines.join('\n')))[0]).toContain('YAML aliases')
  })
})

describe('entries of an embedding program', () => {
  const rules = { moduleNames: new Set(['time']), compile: compileProblem() }

  test('follow the same rules', async () => {
    const result = await loadEntries([{ id: 'a:h', kind: 'process.host', host: { workers: 0 } }], rules)
    expect(result.ok && result.app.entries[0]).toMatchObject({ id: 'a:h', host: { workers: 0 } })
  })

  test('their problems name the place in the list', async () => {
    const result = await loadEntries(
      [
        { id: 'a:h', kind: 'process.hst' },
        { id: 'nocolon', kind: 'x' },
      ],
      rules,
    )
    expect(!result.ok && result.problems.map(({ path }) => path)).toEqual(['entries[0].kind', 'entries[1].id'])
  })
})
