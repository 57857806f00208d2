// lua-core.md §4, operations.md §1: what an entry may say, and what is told when it says something else.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: `${env:NAME}` is what is tested

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { appOf, entryOf, ids, problemsOf } from './app-folder.ts'

const HEAD = 'namespace: shop\nentries:\n'
const CODE = '  - { name: p, kind: process.lua, source: "return 1" }\n'
const HOST = '  - { name: h, kind: process.host }\n'

/** The entries of a right app and one more, whose first line is line 5. */
const beside = (entry: string): string => `${HEAD}${CODE}${HOST}${entry}`

describe('a right entry', () => {
  test('has id, namespace, name, meta, and its own fields as data, the source as text (lua-core.md §19.1)', async () => {
    const app = await appOf({
      'app.yaml': `${HEAD}  - name: p\n    kind: process.lua\n    meta: { a: { b: 1 } }\n    source: file://lua/p.lua\n    modules: [time]\n    imports: { l: l }\n  - { name: l, kind: library.lua, source: "return {}" }\n`,
      'lua/p.lua': 'return 2\n',
    })
    expect(app.entries[1]).toEqual({
      id: 'shop:p',
      namespace: 'shop',
      name: 'p',
      kind: 'process.lua',
      meta: { a: { b: 1 } },
      data: { source: 'return 2\n', modules: ['time'], imports: { l: 'shop:l' } },
      file: join(app.dir, 'app.yaml'),
      line: 3,
      source: 'return 2\n',
      sourceFile: join(app.dir, 'lua/p.lua'),
      method: 'main',
      modules: ['time'],
      imports: { l: 'shop:l' },
    })
  })

  test('a library may name a method, which it has no use for (§4.2)', async () => {
    const library = await entryOf(
      beside('  - { name: l, kind: library.lua, source: "return {}", method: main }\n'),
      'library.lua',
    )
    expect(library.data).toEqual({ source: 'return {}', method: 'main' })
  })

  test('entries are sorted by id', async () => {
    const names = ['b', 'a.b', 'a', 'B', 'a-b']
    const app = await appOf(HEAD + names.map((name) => `  - { name: ${name}, kind: registry.entry }\n`).join(''))
    expect(ids(app)).toEqual(['shop:B', 'shop:a', 'shop:a-b', 'shop:a.b', 'shop:b'])
  })

  test('a bare reference means the namespace of its file, a full one is left as it is (§4.1)', async () => {
    const text = beside(
      '  - { name: s, kind: process.service, process: p, host: "shop:h", lifecycle: { requires: [h], depends_on: [h, p] } }\n',
    )
    const service = await entryOf(text, 'process.service')
    expect(service).toMatchObject({ process: 'shop:p', host: 'shop:h', lifecycle: { requires: ['shop:h', 'shop:p'] } })
    expect(service.data).toMatchObject({ process: 'shop:p', lifecycle: { requires: ['shop:h'] } })
  })

  test('a process host has its defaults (§4.3)', async () => {
    expect((await entryOf(HEAD + HOST, 'process.host')).host).toEqual({
      workers: 1,
      maxProcesses: 1_000_000,
      queueSize: 1024,
      localQueueSize: 256,
      mailboxLimit: 1_000_000,
      memoryLimitBytes: undefined,
    })
  })

  test('a process host has the limits that it asks for, sizes in bytes', async () => {
    const host =
      '  - { name: h, kind: process.host, host: { workers: 0, max_processes: 5, queue_size: 6, local_queue_size: 7, mailbox_limit: 8, memory_limit: 64MiB } }\n'
    expect((await entryOf(HEAD + host, 'process.host')).host).toEqual({
      workers: 0,
      maxProcesses: 5,
      queueSize: 6,
      localQueueSize: 7,
      mailboxLimit: 8,
      memoryLimitBytes: 64 * 1024 * 1024,
    })
  })

  test('a lifecycle has its defaults (§4.3)', async () => {
    expect((await entryOf(HEAD + HOST, 'process.host')).lifecycle).toEqual({
      autoStart: false,
      startTimeoutMs: 10_000,
      stopTimeoutMs: 10_000,
      stableThresholdMs: 5000,
      requires: [],
      startup: 'required',
      security: undefined,
      restart: { initialDelayMs: 1000, maxDelayMs: 90_000, backoffFactor: 2, jitter: 0.1, maxAttempts: 0 },
    })
  })

  test('a lifecycle has what it asks for, durations in milliseconds', async () => {
    const text = `${HEAD}  - name: h
    kind: process.host
    lifecycle:
      auto_start: true
      start_timeout: 1m30s
      stop_timeout: 250ms
      stable_threshold: 1.5s
      startup: optional
      security: { actor: { id: boss, meta: { role: a } }, groups: [g], policies: ["shop:p"] }
      restart: { initial_delay: 2s, max_delay: 1h, backoff_factor: 1.5, jitter: 0, max_attempts: 3 }
`
    expect((await entryOf(text, 'process.host')).lifecycle).toEqual({
      autoStart: true,
      startTimeoutMs: 90_000,
      stopTimeoutMs: 250,
      stableThresholdMs: 1500,
      requires: [],
      startup: 'optional',
      security: { actor: { id: 'boss', meta: { role: 'a' } }, groups: ['g'], policies: ['shop:p'] },
      restart: { initialDelayMs: 2000, maxDelayMs: 3_600_000, backoffFactor: 1.5, jitter: 0, maxAttempts: 3 },
    })
  })

  test.each([
    ['', { type: 'lazy', workers: 8, buffer: 512, maxSize: 16, warmStart: false }],
    ['workers: 2', { type: 'static', workers: 2, buffer: 128 }],
    ['size: 3', { type: 'static', workers: 3, buffer: 192 }],
    ['workers: 2, size: 3, buffer: 1', { type: 'static', workers: 2, buffer: 1 }],
    ['type: adaptive, max_size: 4, warm_start: true', { type: 'adaptive', maxSize: 4, warmStart: true }],
    ['type: inline, workers: 2', { type: 'inline' }],
  ])('the pool of a function: {%s} (§4.2)', async (pool, expected) => {
    const text = `${HEAD}  - { name: f, kind: function.lua, source: x, method: m, pool: {${pool}} }\n`
    expect((await entryOf(text, 'function.lua')).pool).toMatchObject(expected)
  })

  test('a terminal host may hide the log lines', async () => {
    expect(await entryOf(`${HEAD}  - { name: t, kind: terminal.host }\n`, 'terminal.host')).toMatchObject({
      hidesLogs: false,
    })
    const hiding = `${HEAD}  - { name: t, kind: terminal.host, hide_logs: true }\n`
    expect(await entryOf(hiding, 'terminal.host')).toMatchObject({ hidesLogs: true })
  })

  test('the input of a service is a list of any values', async () => {
    const text = beside(
      '  - { name: s, kind: process.service, process: p, host: h, input: ["5s", { retries: 2 }, null] }\n',
    )
    expect((await entryOf(text, 'process.service')).input).toEqual(['5s', { retries: 2 }, null])
  })

  test('a registry entry holds any fields (§4.3)', async () => {
    const text = `${HEAD}  - { name: d, kind: registry.entry, lifecycle: soon, source: 5, anything: [1, { deep: true }] }\n`
    expect((await entryOf(text, 'registry.entry')).data).toEqual({
      lifecycle: 'soon',
      source: 5,
      anything: [1, { deep: true }],
    })
  })

  test('an empty field counts as not given', async () => {
    await appOf(`${HEAD}  - name: h\n    kind: process.host\n    lifecycle:\n      requires:\n    host:\n`)
  })

  test('text will do for numbers and truth, as ${env:NAME} leaves it behind', async () => {
    const text = `${HEAD}  - { name: h, kind: process.host, host: { workers: "\${env:W}" }, lifecycle: { auto_start: "\${env:A}" } }\n`
    const app = await appOf(text, { env: { W: '4', A: 'true' } })
    expect(app.entries[0]).toMatchObject({ host: { workers: 4 }, lifecycle: { autoStart: true } })
  })
})

describe('a wrong field is a problem at its place:', () => {
  const cases: [string, string, string][] = [
    [
      'an unknown key',
      '  - name: x\n    kind: process.host\n    lifecycel: {}\n',
      'app.yaml:7:5 entries[2].lifecycel: unknown key "lifecycel" (did you mean "lifecycle"?)',
    ],
    [
      'an unknown lifecycle key',
      '  - name: x\n    kind: process.host\n    lifecycle: { auto_strt: true }\n',
      'app.yaml:7:18 entries[2].lifecycle.auto_strt: unknown key "auto_strt" (did you mean "auto_start"?)',
    ],
    [
      'an unknown restart key',
      '  - name: x\n    kind: process.host\n    lifecycle:\n      restart:\n        max_atempts: 1\n',
      'app.yaml:9:9 entries[2].lifecycle.restart.max_atempts: unknown key "max_atempts" (did you mean "max_attempts"?)',
    ],
    [
      'a misspelt name',
      '  - nmae: x\n    kind: process.host\n',
      'app.yaml:5:5 entries[2].name: required field is missing (a name within the namespace)',
    ],
    [
      'a pool for a process',
      '  - { name: x, kind: process.lua, source: y, pool: {} }\n',
      'app.yaml:5:46 entries[2].pool: unknown key "pool"; known here: meta, source, modules, imports, method, memory_limit, name, kind',
    ],
    [
      'a missing source',
      '  - name: x\n    kind: process.lua\n',
      'app.yaml:5:5 entries[2].source: required field is missing (Lua text, or file://PATH)',
    ],
    [
      'a missing method',
      '  - { name: x, kind: function.lua, source: y }\n',
      'app.yaml:5:5 entries[2].method: required field is missing (text)',
    ],
    [
      'a misspelt key of what the runtime reads of the meta',
      '  - { name: x, kind: process.lua, source: y, meta: { options: { retry: { max_atempts: 2 } } } }\n',
      'app.yaml:5:74 entries[2].meta.options.retry.max_atempts: unknown key "max_atempts" (did you mean "max_attempts"?)',
    ],
    [
      'an unknown key of what the runtime reads of the meta',
      '  - { name: x, kind: process.lua, source: y, meta: { any: 1, options: { any: 1, retry: { times: 2 } } } }\n',
      'app.yaml:5:90 entries[2].meta.options.retry.times: unknown key "times"; known here: max_attempts, initial_delay, max_delay, backoff_factor, jitter, skip_kinds, retry_kinds',
    ],
    [
      'a missing kind',
      '  - name: x\n',
      'app.yaml:5:5 entries[2].kind: required field is missing (a kind such as "process.lua")',
    ],
    [
      'a missing host',
      '  - { name: x, kind: process.service, process: p }\n',
      'app.yaml:5:5 entries[2].host: required field is missing (text)',
    ],
    [
      'text for a number',
      '  - { name: x, kind: process.host, host: { workers: many } }\n',
      'app.yaml:5:53 entries[2].host.workers: expected a whole number from 0 to 1024, found "many"',
    ],
    [
      'a fraction for a whole number',
      '  - { name: x, kind: process.host, host: { max_processes: 1.5 } }\n',
      'app.yaml:5:59 entries[2].host.max_processes: expected a whole number of at least 1, found 1.5',
    ],
    [
      'a mailbox without room',
      '  - { name: x, kind: process.host, host: { mailbox_limit: 0 } }\n',
      'app.yaml:5:59 entries[2].host.mailbox_limit: expected a whole number of at least 1, found 0',
    ],
    [
      'a negative pool',
      '  - { name: x, kind: function.lua, source: y, method: m, pool: { size: -1 } }\n',
      'app.yaml:5:72 entries[2].pool.size: expected a whole number from 0 to 1000000, found -1',
    ],
    [
      'an unknown pool type',
      '  - { name: x, kind: function.lua, source: y, method: m, pool: { type: statc } }\n',
      'app.yaml:5:72 entries[2].pool.type: "statc" is none of "inline", "lazy", "static", "adaptive" (did you mean "static"?)',
    ],
    [
      'text for truth',
      '  - { name: x, kind: terminal.host, hide_logs: yes }\n',
      'app.yaml:5:48 entries[2].hide_logs: expected true or false, found "yes"',
    ],
    [
      'a list for a map',
      '  - { name: x, kind: process.host, lifecycle: [1] }\n',
      'app.yaml:5:47 entries[2].lifecycle: expected a map, found a list',
    ],
    [
      'text for a list',
      '  - { name: x, kind: process.lua, source: y, modules: time }\n',
      'app.yaml:5:55 entries[2].modules: expected a list, found "time"',
    ],
    [
      'text for a map',
      '  - { name: x, kind: registry.entry, meta: y }\n',
      'app.yaml:5:44 entries[2].meta: expected a map, found "y"',
    ],
    [
      'input that is no list',
      '  - { name: x, kind: process.service, process: p, host: h, input: 5 }\n',
      'app.yaml:5:67 entries[2].input: expected a list, found 5',
    ],
    [
      'a number for a duration',
      '  - { name: x, kind: process.host, lifecycle: { stop_timeout: 5 } }\n',
      'app.yaml:5:63 entries[2].lifecycle.stop_timeout: a duration needs a unit: write "5s" or "5ms" instead of 5',
    ],
    [
      'nonsense for a duration',
      '  - { name: x, kind: process.host, lifecycle: { stop_timeout: soon } }\n',
      'app.yaml:5:63 entries[2].lifecycle.stop_timeout: expected a duration such as "250ms", "5s" or "1h30m", found "soon"',
    ],
    [
      'a negative duration',
      '  - { name: x, kind: process.host, lifecycle: { stop_timeout: -5s } }\n',
      'app.yaml:5:63 entries[2].lifecycle.stop_timeout: a duration cannot be negative, found "-5s"',
    ],
    [
      'a duration beyond all timers',
      '  - { name: x, kind: process.host, lifecycle: { stop_timeout: 9999h } }\n',
      'app.yaml:5:63 entries[2].lifecycle.stop_timeout: a duration has at most 24 days (576h), found "9999h"',
    ],
    [
      'a number for a size',
      '  - { name: x, kind: process.host, host: { memory_limit: 5 } }\n',
      'app.yaml:5:58 entries[2].host.memory_limit: a size needs a unit: write "5MiB" or "5B" instead of 5',
    ],
    [
      'a process too small to live',
      '  - { name: x, kind: process.lua, source: y, memory_limit: 1KiB }\n',
      'app.yaml:5:60 entries[2].memory_limit: expected at least 1MiB, found "1KiB"',
    ],
    [
      'a worker too small to live',
      '  - { name: x, kind: process.host, host: { memory_limit: 1KiB } }\n',
      'app.yaml:5:58 entries[2].host.memory_limit: expected at least 16MiB, found "1KiB"',
    ],
    [
      'jitter beyond 1',
      '  - { name: x, kind: process.host, lifecycle: { restart: { jitter: 2 } } }\n',
      'app.yaml:5:68 entries[2].lifecycle.restart.jitter: expected a number from 0 to 1, found 2',
    ],
    [
      'an entry that is no map',
      '  - just text\n',
      'app.yaml:5:5 entries[2]: expected an entry (a map with name and kind), found "just text"',
    ],
    [
      'an id with a blank',
      '  - { name: a b, kind: registry.entry }\n',
      'app.yaml:5:13 entries[2].name: "a b" holds " ", which an id cannot; use letters, digits, ".", "_", "-"',
    ],
    [
      'a name with the namespace',
      '  - { name: "shop:x", kind: registry.entry }\n',
      'app.yaml:5:13 entries[2].name: "shop:x" holds a colon; namespace and name are given apart from each other',
    ],
    [
      'an empty name',
      '  - { name: "", kind: registry.entry }\n',
      'app.yaml:5:13 entries[2].name: expected text, found ""',
    ],
    [
      'a number as a name',
      '  - { name: 5, kind: registry.entry }\n',
      'app.yaml:5:13 entries[2].name: expected a name within the namespace, found 5',
    ],
    [
      'a misspelt kind',
      '  - name: x\n    kind: proces.lua\n',
      'app.yaml:6:11 entries[2].kind: unknown kind "proces.lua" (did you mean "process.lua"?)',
    ],
    [
      'a workflow',
      '  - { name: x, kind: workflow.lua }\n',
      'app.yaml:5:22 entries[2].kind: unknown kind "workflow.lua": it is not supported; there are process.lua, function.lua and library.lua',
    ],
    [
      'a module',
      '  - { name: x, kind: module.lua }\n',
      'app.yaml:5:22 entries[2].kind: unknown kind "module.lua": it is not supported; there are process.lua, function.lua and library.lua',
    ],
    [
      'precompiled code',
      '  - { name: x, kind: process.lua.bc }\n',
      'app.yaml:5:22 entries[2].kind: unknown kind "process.lua.bc": precompiled code is not supported; give the Lua source as "process.lua"',
    ],
    [
      'an unknown module',
      '  - { name: x, kind: process.lua, source: y, modules: [time, jsn] }\n',
      'app.yaml:5:62 entries[2].modules[1]: unknown module "jsn" (did you mean "json"?)',
    ],
    [
      'a module like no other',
      '  - { name: x, kind: process.lua, source: y, modules: [http] }\n',
      'app.yaml:5:56 entries[2].modules[0]: unknown module "http"; there are json, process, time',
    ],
  ]
  test.each(cases)('%s', async (_what, entry, expected) => {
    expect(await problemsOf(beside(entry))).toContain(expected)
  })

  test('none of the cases above draws a second problem after it', async () => {
    for (const [what, entry] of cases) {
      // A misspelt name is both a name that is missing and a key that nobody knows.
      expect([what, (await problemsOf(beside(entry))).length]).toEqual([what, what === 'a misspelt name' ? 2 : 1])
    }
  })
})

describe('a source', () => {
  const process = (source: string): string => `${HEAD}  - name: p\n    kind: process.lua\n    source: ${source}\n`
  const lua = (text: string | Uint8Array): Record<string, string | Uint8Array> => ({
    'app.yaml': process('file://p.lua'),
    'p.lua': text,
  })

  test('that is missing is a problem at `source`, with what to do', async () => {
    expect(await problemsOf({ 'app.yaml': process('file://greter.lua'), 'greeter.lua': '' })).toEqual([
      expect.stringMatching(
        /^app\.yaml:5:13 entries\[0\]\.source: no such file greter\.lua \(did you mean "greeter\.lua"\?\); create it or correct the path, which is relative to /,
      ),
    ])
  })

  test('that is a folder, not UTF-8, or too large is a problem', async () => {
    expect(await problemsOf({ 'app.yaml': process('file://lua'), 'lua/x.lua': '' })).toEqual([
      expect.stringContaining('entries[0].source: lua is a folder, not a file'),
    ])
    expect(await problemsOf(lua(new Uint8Array([0xff, 0xfe])))).toEqual([
      expect.stringContaining('p.lua is not UTF-8 text'),
    ])
    expect(await problemsOf(lua(' '.repeat(1024 * 1024 + 1)))).toEqual([
      expect.stringContaining('p.lua has 1048577 bytes; at most 1048576 are read'),
    ])
    await appOf(lua(' '.repeat(1024 * 1024)))
  })

  test('with a syntax error in a file is a problem of that file at its line', async () => {
    expect(await problemsOf(lua('local x\n\nwrong\n'))).toEqual([
      "p.lua:3:1 Lua syntax: unexpected symbol near 'wrong'",
    ])
  })

  test('with a syntax error in a block is a problem at the line of the block', async () => {
    expect(await problemsOf(process('|\n      local x\n\n      wrong\n'))).toEqual([
      "app.yaml:8:1 entries[0].source: Lua syntax: unexpected symbol near 'wrong'",
    ])
  })

  test('with a syntax error in other YAML text is a problem at that text', async () => {
    expect(await problemsOf(process('wrong'))).toEqual([
      "app.yaml:5:13 entries[0].source: Lua syntax: unexpected symbol near 'wrong'",
    ])
    expect(await problemsOf(process('"a\\nwrong"'))).toEqual([
      "app.yaml:5:13 entries[0].source: line 2 of the chunk: Lua syntax: unexpected symbol near 'wrong'",
    ])
  })

  test('that looks like a file name without file:// gets a hint', async () => {
    expect((await problemsOf(process('wrong.lua')))[0]).toContain('to name a file, write file://wrong.lua')
  })

  test('is one problem for each file, however many entries share it', async () => {
    const two = `${process('file://p.lua')}  - { name: q, kind: library.lua, source: file://p.lua }\n`
    expect(await problemsOf({ 'app.yaml': two, 'p.lua': 'wrong' })).toHaveLength(1)
  })

  test('on which the compiler fails is a problem, not an exception', async () => {
    const compile = (): never => {
      throw new RangeError('stack')
    }
    expect(await problemsOf(process('x'), { compile })).toEqual([
      'app.yaml:5:13 entries[0].source: the compiler cannot take this chunk: stack',
    ])
  })

  test('is compiled under the id of its entry, and is relative to the file that declares it', async () => {
    const seen: string[] = []
    const compile = (chunkName: string, source: string): undefined => void seen.push(`${chunkName} ${source}`)
    const files = {
      'app.yaml': 'include: [sub/_index.yaml]',
      'sub/_index.yaml': process('file://../p.lua'),
      'p.lua': 'x',
    }
    await appOf(files, { compile })
    expect(seen).toEqual(['shop:p x'])
  })

  test('keeps the other problems of its entry', async () => {
    const text = `${HEAD}  - { name: p, kind: process.lua, source: wrong, modules: [x], metod: y }\n`
    expect(await problemsOf(text)).toHaveLength(3)
  })
})
