// Every app of this repository is one that `runtime check` has nothing to say against.

import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Cli } from '../tools/cli.ts'

const root = resolve(import.meta.dirname, '../..')
const apps = ['examples', 'test/conformance/lua/apps'].flatMap((dir) =>
  readdirSync(join(root, dir))
    .map((name) => join(dir, name, 'app.yaml'))
    .filter((path) => existsSync(join(root, path))),
)

describe('runtime check', () => {
  let cli: Cli
  beforeAll(() => {
    cli = new Cli()
  })
  afterAll(() => cli.close())

  test.each(apps)('%s', async (path) => {
    // Among the chunks of the others are some that are to fail.
    const load = path.startsWith('examples') ? ['--load'] : []
    const { code, stdout, stderr } = await cli.run(['check', join(root, path), '--json', ...load], {
      env: { CONFORMANCE_DIR: cli.dir },
    })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, problems: [] })
    expect(code).toBe(0)
  })
})

describe('runtime check --load', () => {
  let cli: Cli
  beforeEach(() => {
    cli = new Cli()
  })
  afterEach(() => cli.close())

  const check = (...flags: string[]) => cli.run(['check', 'app.yaml', ...flags])

  test('runs chunks, not methods, and starts nothing', async () => {
    cli.write({
      'app.yaml': `namespace: app
entries:
  - { name: h, kind: process.host, lifecycle: { auto_start: true } }
  - { name: a, kind: process.lua, source: file://a.lua, imports: { lib: lib } }
  - { name: f, kind: function.lua, method: run, source: "return { run = function() error('called') end }" }
  - { name: lib, kind: library.lua, source: "coroutine.spawn(function() error('ran') end) return { answer = 42 }" }
  - { name: s, kind: process.service, process: a, host: h, lifecycle: { auto_start: true } }
`,
      'a.lua':
        "local lib = require('lib')\nassert(lib.answer == 42)\nprint('seen')\nreturn { main = function() error('called') end }\n",
    })
    const { code, stdout, stderr } = await check('--load')
    expect(stderr).toBe('')
    expect(stdout).toContain('5 entries, no problems')
    expect(stdout).not.toContain('seen')
    expect(code).toBe(0)
    expect(existsSync(join(cli.dir, '.runtime'))).toBe(false)
  })

  test('tells every chunk that does not load, each where it fails', async () => {
    cli.write({
      'app.yaml': `namespace: app
entries:
  - { name: raises, kind: process.lua, source: file://raises.lua }
  - { name: helped, kind: process.lua, source: file://helped.lua, imports: { lib: lib } }
  - { name: lib, kind: library.lua, source: file://lib.lua }
  - { name: other, kind: function.lua, method: run, source: "return { main = function() end }" }
  - { name: waits, kind: process.lua, source: file://waits.lua }
  - { name: loops, kind: process.lua, source: "while true do end" }
  - { name: grows, kind: function.lua, method: main, source: file://grows.lua }
  - { name: fine, kind: process.lua, source: "return function() end" }
  - name: inline
    kind: process.lua
    source: |
      local t
      return t.x
`,
      'raises.lua': 'local function f()\n  error({ code = 1 })\nend\nf()\n',
      'helped.lua': "local lib = require('lib')\nreturn { main = lib.main }\n",
      'lib.lua': "\n\nerror('no such luck')\n",
      'waits.lua': 'local c = channel.new()\nc:receive()\nreturn function() end\n',
      'grows.lua': 'local t = {}\nfor i = 1, 1e9 do t[i] = { i } end\n',
    })
    expect((await check()).code).toBe(0)
    const { code, stderr } = await check('--load')
    expect(code).toBe(2)
    expect(stderr.trimEnd().split('\n')).toEqual([
      'app.yaml:6:1 loading: method "run" not found in module (entry app:other)',
      expect.stringMatching(/^app\.yaml:8:1 loading: the chunk of app:loops did not finish loading/),
      expect.stringMatching(/^app\.yaml:11:1 app:inline, line 2 of the chunk: loading: attempt to index a nil value/),
      expect.stringMatching(/^grows\.lua:2:1 loading: not enough memory/),
      'lib.lua:3:1 loading: no such luck',
      'raises.lua:2:1 loading: (error object is a table value)',
      expect.stringMatching(/^waits\.lua:2:1 loading: attempt to yield: 'channel:receive' may wait/),
      '7 problems; nothing was started',
    ])
    const json = JSON.parse((await check('--load', '--json')).stdout)
    expect(json).toMatchObject({ ok: false, problems: expect.any(Array), warnings: [] })
    expect(json.entries).toHaveLength(9)
    expect(json.problems).toContainEqual({
      file: join(cli.dir, 'lib.lua'),
      line: 3,
      column: 1,
      path: '',
      message: 'loading: no such luck',
    })
  })

  test('a chunk that fails for want of a running node is warned of', async () => {
    cli.write({
      'app.yaml': `namespace: app
entries:
  - { name: a, kind: process.lua, source: file://a.lua, modules: [env] }
`,
      'a.lua': "local home = env.get('HOME')\nassert(home, 'no home')\nreturn function() end\n",
    })
    const { code, stdout, stderr } = await check('--load')
    expect(stdout).toContain('1 entry, no problems')
    expect(stderr).toMatch(/^warning: a\.lua:2:1 loading: .*no home \(nothing is started here, so env\.get was refused/)
    expect(code).toBe(0)
  })
})
