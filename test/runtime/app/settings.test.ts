// operations.md §1: settings compose from the built-in defaults to --set; variables are replaced in strings.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: `${env:NAME}` is what is tested

import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { nodeNameOf } from '../../../runtime/base/node-name.ts'
import { appOf, type Options, problemsOf } from './app-folder.ts'

const settingsOf = async (files: Parameters<typeof appOf>[0], options: Options = {}) =>
  (await appOf(files, options)).settings

test('an app that says nothing has the defaults', async () => {
  const { settings, dir } = await appOf('')
  expect(settings).toEqual({
    node: { name: nodeNameOf(hostname()), dataDir: join(dir, '.runtime') },
    logger: { level: 'info', format: 'auto', recentLinesMax: 1000, isWritten: true, isStreamed: false },
    metrics: { recordsFunctions: false, prometheus: undefined },
    admin: { http: '127.0.0.1:7960', httpIsDefault: true, token: undefined },
    security: { strictMode: false },
    shutdown: { timeoutMs: 30_000 },
    cluster: { enabled: false },
    lua: { engine: 'moonmesh', jit: true },
    warnings: [],
  })
})

test('the level and the form of the log can be said in two ways; level and format win', async () => {
  const loggerOf = async (text: string) => (await settingsOf(text)).logger
  expect(await loggerOf('logmanager: { min_level: -1 }\nlogger: { encoding: console }')).toMatchObject({
    level: 'debug',
    format: 'pretty',
  })
  expect(await loggerOf('logmanager: { min_level: 2 }\nlogger: { level: warn, encoding: json }')).toMatchObject({
    level: 'warn',
    format: 'json',
  })
  expect(await problemsOf('logmanager: { min_level: 3 }')).toEqual([expect.stringContaining('logmanager.min_level')])
  expect(await problemsOf('prometheus: { enabled: true, address: nowhere }')).toEqual([
    expect.stringContaining('prometheus.address: expected "host:port"'),
  ])
})

test('app file < --config files from left to right < environment < --set', async () => {
  const files = {
    'app.yaml': 'node: { name: file }\nlogger: { level: warn, format: json }\nshutdown: { timeout: 1s }\n',
    'one.yaml': 'version: "1.0"\nnode: { name: one }\nlogger: { level: error }\nshutdown: { timeout: 2s }\n',
    'two.yaml': 'node: { name: two }\n',
  }
  const configFiles = ['one.yaml', 'two.yaml']
  const withConfig = await settingsOf(files, { configFiles })
  expect(withConfig.logger).toMatchObject({ level: 'error', format: 'json' })
  expect([withConfig.node.name, withConfig.shutdown.timeoutMs]).toEqual(['two', 2000])
  const env = { RUNTIME_NODE__NAME: 'env', RUNTIME_SHUTDOWN__TIMEOUT: '3s' }
  const withEnv = await settingsOf(files, { configFiles, env })
  expect([withEnv.node.name, withEnv.shutdown.timeoutMs]).toEqual(['env', 3000])
  const withSet = await settingsOf(files, { configFiles, env, set: ['node.name=a', 'node.name=set'] })
  expect([withSet.node.name, withSet.shutdown.timeoutMs]).toEqual(['set', 3000])
})

test('--set recognises truth, numbers and lists; everything else, and what is meant as text, is text', async () => {
  const set = [
    'cluster.a=true',
    'cluster.b=1.5',
    'cluster.c=[x, 2,false]',
    'cluster.d=[]',
    'cluster.e=a=b',
    'cluster.f=1s',
  ]
  const { cluster, node } = await settingsOf('', { set: [...set, 'node.name=17'] })
  expect(cluster).toEqual({ enabled: false, a: true, b: 1.5, c: ['x', 2, false], d: [], e: 'a=b', f: '1s' })
  expect(node.name).toBe('17')
})

test('environment variables recognise the same', async () => {
  const env = { RUNTIME_CLUSTER__MEMBERSHIP__BIND_PORT: '7946', RUNTIME_NODE__NAME: '17' }
  expect(await settingsOf('', { env })).toMatchObject({
    cluster: { membership: { bind_port: 7946 } },
    node: { name: '17' },
  })
})

test('variables that do not begin with a section, and those without "__", are left alone', async () => {
  const env = {
    RUNTIME_DIRECTORY: '/run',
    RUNTIME_OTHER__THING: '1',
    RUNTIME_NODE: 'x',
    runtime_node__name: 'y',
    RUNTIMENODE__NAME: 'z',
  }
  expect((await settingsOf('', { env })).node.name).toBe(nodeNameOf(hostname()))
})

test('the environment of the test itself has no say', async () => {
  process.env['RUNTIME_NODE__NAME'] = 'leaked'
  try {
    expect((await settingsOf('')).node.name).not.toBe('leaked')
  } finally {
    delete process.env['RUNTIME_NODE__NAME']
  }
})

describe('a problem names what brought the value:', () => {
  test('the flag', async () => {
    expect(await problemsOf('', { set: ['node.nmae=x'] })).toEqual([
      '--set node.nmae=… node.nmae: unknown key "nmae" (did you mean "name"?)',
    ])
    expect(await problemsOf('', { set: ['nod.name=x'] })).toEqual([
      '--set nod.name=… nod: unknown key "nod" (did you mean "node"?)',
    ])
    expect(await problemsOf('', { set: ['shutdown.timeout=5'] })).toEqual([
      '--set shutdown.timeout=… shutdown.timeout: a duration needs a unit: write "5s" or "5ms" instead of 5',
    ])
    expect(await problemsOf('', { set: ['node=x'] })).toEqual(['--set node=… node: expected a map, found "x"'])
  })

  test('a flag that is no assignment', async () => {
    expect(await problemsOf('', { set: ['nonsense', '=x', 'node..name=x'] })).toEqual([
      '--set =…: expected path=value, such as node.name=node-1',
      '--set node..name=…: expected path=value, such as node.name=node-1',
      '--set nonsense: expected path=value, such as node.name=node-1',
    ])
  })

  test('a secret is not shown with its flag', async () => {
    expect((await problemsOf('', { set: ['admin.tokn=s3cret'] })).join()).not.toContain('s3cret')
  })

  test('the variable', async () => {
    const env = { RUNTIME_LOGGER__LEVEL: 'infoo', RUNTIME_NODE__NAM: 'x' }
    expect(await problemsOf('', { env })).toEqual([
      'RUNTIME_LOGGER__LEVEL logger.level: "infoo" is none of "trace", "debug", "info", "warn", "error" (did you mean "info"?)',
      'RUNTIME_NODE__NAM node.nam: unknown key "nam" (did you mean "name"?)',
    ])
  })

  test('the --config file, with line and column', async () => {
    const files = { 'app.yaml': '', 'c.yaml': 'logger:\n  level: loud\n' }
    expect(await problemsOf(files, { configFiles: ['c.yaml'] })).toEqual([
      'c.yaml:2:10 logger.level: expected one of "trace", "debug", "info", "warn", "error", found "loud"',
    ])
  })

  test('a --config file that is missing', async () => {
    expect(await problemsOf('', { configFiles: ['nope.yaml'] })).toEqual(['--config nope.yaml: no such file nope.yaml'])
  })

  test('a --config file that holds entries', async () => {
    const files = { 'app.yaml': '', 'c.yaml': 'namespace: s\nentries: []\ninclude: []\nnodes: {}\n' }
    expect(await problemsOf(files, { configFiles: ['c.yaml'] })).toEqual([
      'c.yaml:1:1 namespace: a --config file holds settings; entries belong in the app',
      'c.yaml:2:1 entries: a --config file holds settings; entries belong in the app',
      'c.yaml:3:1 include: a --config file holds settings; entries belong in the app',
      'c.yaml:4:1 nodes: unknown key "nodes" (did you mean "node"?)',
    ])
  })

  test('the source whose value counts, not one below it', async () => {
    expect(await problemsOf('logger: { level: loud }', { set: ['logger.level=warn'] })).toEqual([])
    expect(await problemsOf('logger: { level: warn }', { set: ['logger.level=loud'] })).toEqual([
      expect.stringMatching(/^--set logger\.level=… logger\.level: /),
    ])
  })
})

describe('node', () => {
  test.each(['a', 'A-1.b', 'x'.repeat(128), '1'])('%s is a name', async (name) => {
    expect((await settingsOf(`node: { name: "${name}" }`)).node.name).toBe(name)
  })

  test.each(['', '-a', 'a-', '.a', 'a_b', 'a b', 'x'.repeat(129), 'ä', '../x', 'a/b'])(
    '%j is no name',
    async (name) => {
      expect(await problemsOf(`node: { name: ${JSON.stringify(name)} }`)).toEqual([
        expect.stringMatching(/^app\.yaml:1:15 node\.name: expected 1 to 128 letters, digits, "\." or "-"/),
      ])
    },
  )

  test.each([
    ['my_host', 'my-host'],
    ['.host-', 'host'],
    ['ä', 'node'],
    ['x'.repeat(200), 'x'.repeat(128)],
    [`${'x'.repeat(127)}.y`, 'x'.repeat(127)],
    ['', 'node'],
  ])('the machine name %j becomes %j', (host, name) => {
    expect(nodeNameOf(host)).toBe(name)
  })

  test('the name in the cluster stands in for the name of the node', async () => {
    expect((await settingsOf('cluster: { name: c1 }')).node.name).toBe('c1')
    expect((await settingsOf('cluster: { name: c1 }\nnode: { name: n1 }')).node.name).toBe('n1')
  })

  test('data_dir is relative to the file that says so, and to the working directory when a flag does', async () => {
    const files = { 'app.yaml': 'node: { data_dir: here }', 'conf/c.yaml': 'node: { data_dir: there }' }
    const app = await appOf(files)
    expect(app.settings.node.dataDir).toBe(join(app.dir, 'here'))
    const configured = await appOf(files, { configFiles: ['conf/c.yaml'] })
    expect(configured.settings.node.dataDir).toBe(join(configured.dir, 'conf/there'))
    expect((await settingsOf(files, { set: ['node.data_dir=x'] })).node.dataDir).toBe(join(process.cwd(), 'x'))
    expect((await settingsOf('node: { data_dir: /var/lib/x }')).node.dataDir).toBe('/var/lib/x')
    expect(dirname(app.file)).toBe(app.dir)
  })
})

describe('admin', () => {
  test('an address that was asked for is not the default, even if it is the same', async () => {
    const { admin } = await settingsOf('admin: { http: "127.0.0.1:7960", token: t }')
    expect(admin).toEqual({ http: '127.0.0.1:7960', httpIsDefault: false, token: 't' })
  })

  test.each(['off', 'localhost:0', '[::1]:65535', '0.0.0.0:80'])('%s is an address', async (http) => {
    expect((await settingsOf(`admin: { http: "${http}" }`)).admin.http).toBe(http)
  })

  test.each(['on', 'localhost', 'localhost:65536', ':80', 'http://x:80', '::1:80', 'a b:80'])(
    '%s is none',
    async (http) => {
      expect(await problemsOf(`admin: { http: "${http}" }`)).toEqual([
        `app.yaml:1:16 admin.http: expected "host:port" or "off", found "${http}"`,
      ])
    },
  )
})

test('scripts run on one of two engines', async () => {
  expect((await settingsOf('lua: { engine: fengari, jit: false }')).lua).toEqual({ engine: 'fengari', jit: false })
  expect(await problemsOf('lua: { engine: luajit }')).toEqual([
    'app.yaml:1:16 lua.engine: expected one of "moonmesh", "fengari", found "luajit"',
  ])
  expect(await problemsOf('lua: { engine: fengary }')).toEqual([
    'app.yaml:1:16 lua.engine: "fengary" is none of "moonmesh", "fengari" (did you mean "fengari"?)',
  ])
})

describe('${env:NAME}', () => {
  const named = (text: string): string => `node: { name: "${text}" }`

  test('is replaced in settings, with its default when it is not set or empty', async () => {
    const env = { A: 'x', EMPTY: '' }
    expect((await settingsOf(named('a-${env:A}-${env:A}${env:NO:-y}${env:EMPTY:-z}'), { env })).node.name).toBe(
      'a-x-xyz',
    )
    expect((await settingsOf(named('a${env:EMPTY}${env:NO:-}'), { env })).node.name).toBe('a')
  })

  test('is replaced in every string of an entry, also within other text and in the path of a source', async () => {
    const files = {
      'app.yaml':
        'namespace: ${env:NS}\nentries:\n  - { name: p, kind: process.lua, source: "file://${env:DIR}/p.lua", meta: { a: ["<${env:NS}>"] } }\n',
      'lua/p.lua': 'x = "${env:NS}"',
    }
    const { entries } = await appOf(files, { env: { NS: 'shop', DIR: 'lua' } })
    expect(entries[0]).toMatchObject({ id: 'shop:p', meta: { a: ['<shop>'] }, source: 'x = "${env:NS}"' })
  })

  test('is not replaced in Lua text, but in a field of that name elsewhere', async () => {
    const text =
      'namespace: s\nentries:\n  - { name: p, kind: process.lua, source: "return [[${env:X}]]" }\n  - { name: d, kind: registry.entry, source: "${env:X}" }\n'
    const { entries } = await appOf(text, { env: { X: '1' } })
    expect(entries.map(({ data }) => data['source'])).toEqual(['1', 'return [[${env:X}]]'])
  })

  test('is a problem with its place when it is not set and has no default', async () => {
    expect(await problemsOf('node:\n  name: a-${env:NOPE}\n')).toContain(
      'app.yaml:2:9 node.name: the environment variable NOPE is not set; set it, or give a default: ${env:NOPE:-value}',
    )
  })

  test('is no problem in a value that another source replaces', async () => {
    expect((await settingsOf(named('${env:NOPE}'), { set: ['node.name=a'] })).node.name).toBe('a')
  })

  test('a default may stand behind a bar, and then "env:" may be missing; "$${" is a literal "${"', async () => {
    const env = { A: '1', LOW: '' }
    const text = named('${env:A|x}-${env:NO|y}-${NO_SUCH|z}-${A|x}-${env:LOW|w}')
    expect((await settingsOf(text, { env })).node.name).toBe('1-y-z-1-w')
    const entry = 'namespace: s\nentries:\n  - { name: d, kind: registry.entry, text: "$${env:A} ${lower|x} ${NO}" }\n'
    const { entries } = await appOf(entry, { env })
    expect(entries[0]?.data['text']).toBe('${env:A} ${lower|x} ${NO}')
  })

  test.each(['${env:}', '${env:1A}', '${env:A B}', '${env:A', '${env:A-b}', '${env:A:-${env:B}}'])(
    '%s is malformed',
    async (text) => {
      const problems = await problemsOf(`namespace: s\nentries: [{ name: d, kind: registry.entry, x: '${text}' }]`, {
        env: { A: '1' },
      })
      expect(problems).toEqual([expect.stringContaining('write a variable as ${env:NAME} or ${env:NAME:-default}')])
    },
  )

  test('is replaced once: what a variable holds is not looked into', async () => {
    const text = 'namespace: s\nentries: [{ name: d, kind: registry.entry, x: "${env:A}" }]'
    expect((await appOf(text, { env: { A: '${env:B}' } })).entries[0]?.data).toEqual({ x: '${env:B}' })
  })

  test('other uses of "$" are left alone', async () => {
    const text = 'namespace: s\nentries: [{ name: d, kind: registry.entry, x: "$1 ${A} $& $$" }]'
    expect((await appOf(text)).entries[0]?.data).toEqual({ x: '$1 ${A} $& $$' })
  })

  test('does not reach what every object inherits', async () => {
    expect(await problemsOf(named('${env:constructor}'))).toContainEqual(
      expect.stringContaining('constructor is not set'),
    )
  })

  test('cannot make a text of unbounded length', async () => {
    const text = `namespace: s\nentries: [{ name: d, kind: registry.entry, x: "${'${env:A}'.repeat(500)}" }]`
    expect(await problemsOf(text, { env: { A: 'x'.repeat(100_000) } })).toEqual([
      expect.stringContaining('with its variables replaced this text has more than 16777216 characters'),
    ])
  })
})
