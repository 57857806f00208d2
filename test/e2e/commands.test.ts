// The commands around `run`: init, check, test, ps, version, help.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cli } from '../tools/cli.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

describe('init', () => {
  test('a file where the folder should be is told as such', async () => {
    cli.write({ file: '' })
    for (const dir of ['file', 'file/below']) {
      const { code, stderr } = await cli.run(['init', dir])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: `error: cannot write the app: ${dir} is, or lies below, a file and not a folder; name another\n`,
      })
    }
  })

  test('writes an app that passes check and its own test, and runs', async () => {
    const made = await cli.run(['init', 'my-app'])
    expect(made).toMatchObject({ code: 0, stderr: '' })
    expect(made.stdout).toContain('cd my-app && runtime run app.yaml')
    const cwd = join(cli.dir, 'my-app')
    expect(readdirSync(cwd).sort()).toEqual([
      '.luarc.json',
      'app.yaml',
      'counter.lua',
      'counter_test.lua',
      'visitor.lua',
    ])
    const settings = JSON.parse(readFileSync(join(cwd, '.luarc.json'), 'utf8'))
    const [library] = settings['workspace.library']
    expect(existsSync(library.replace('node_modules/moonmesh', join(import.meta.dirname, '../..')))).toBe(true)

    const checked = await cli.run(['check', 'app.yaml'], { cwd })
    expect(checked).toMatchObject({ code: 0, stderr: '' })
    expect(checked.stdout).toContain('app.yaml: 6 entries, no problems')

    const tested = await cli.run(['test', 'app.yaml'], { cwd })
    expect(tested).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^ok +app:counter\.test \d+ ms\n1 passed, 0 failed\n$/),
    })

    const program = cli.start(['run', 'app.yaml'], { cwd })
    await program.until('visit number 2')
    program.signal('SIGINT')
    expect((await program.exit()).code).toBe(130)
  })

  test('overwrites nothing', async () => {
    writeFileSync(join(cli.dir, 'visitor.lua'), 'mine')
    const { code, stdout, stderr } = await cli.run(['init'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toBe('error: nothing was written: visitor.lua exists already\n')
    expect(readdirSync(cli.dir)).toEqual(['visitor.lua'])
    expect(readFileSync(join(cli.dir, 'visitor.lua'), 'utf8')).toBe('mine')
  })

  test('says the next command by the words it was called with', async () => {
    const { stdout } = await cli.run(['init', '--json'], { env: { npm_command: 'exec' } })
    expect(JSON.parse(stdout)).toMatchObject({
      dir: '.',
      next: ['npx moonmesh run app.yaml', 'npx moonmesh test app.yaml'],
    })
  })
})

describe('check', () => {
  const APP = `namespace: app
entries:
  - { name: h, kind: process.host, lifecycle: { auto_start: true } }
  - { name: a, kind: process.lua, source: "return function() end" }
`

  test('lists the entries by kind and starts nothing', async () => {
    cli.write({ 'app.yaml': APP })
    const { code, stdout } = await cli.run(['check', 'app.yaml'])
    expect(code).toBe(0)
    expect(stdout).toBe('process.host (1)\n  app:h\nprocess.lua (1)\n  app:a\napp.yaml: 2 entries, no problems\n')
    expect(readdirSync(cli.dir)).toEqual(['app.yaml'])
  })

  test('--json: entries and problems; exit code 2 when there are any', async () => {
    cli.write({ 'app.yaml': APP, 'wrong.yaml': `${APP}  - { name: b, kind: process.hots }\n` })
    const right = await cli.run(['check', 'app.yaml', '--json'])
    expect(right.code).toBe(0)
    expect(JSON.parse(right.stdout)).toEqual({
      ok: true,
      entries: [
        { id: 'app:a', kind: 'process.lua' },
        { id: 'app:h', kind: 'process.host' },
      ],
      problems: [],
      warnings: [],
    })
    const wrong = await cli.run(['check', 'wrong.yaml', '--json'])
    expect({ code: wrong.code, stderr: wrong.stderr }).toEqual({ code: 2, stderr: '' })
    expect(JSON.parse(wrong.stdout)).toMatchObject({
      ok: false,
      problems: [
        {
          file: join(cli.dir, 'wrong.yaml'),
          line: 5,
          column: 22,
          path: 'entries[2].kind',
          message: expect.any(String),
        },
      ],
    })
  })

  test('a directory is loaded by its _index.yaml files', async () => {
    cli.write({ 'src/one/_index.yaml': APP })
    expect((await cli.run(['check', '.'])).stdout).toContain('2 entries, no problems')
  })
})

describe('test', () => {
  const test_ = (name: string, source: string, meta = ''): string =>
    `  - { name: ${name}, kind: function.lua, method: main, source: ${JSON.stringify(source)}, meta: { type: test${meta} } }\n`
  const APP = [
    'namespace: app\nentries:\n',
    test_('passes', 'return function() end', ', suite: one'),
    test_('value', 'return function() return 1 end', ', suite: two'),
    test_('raises', 'return function()\n  error("boom")\nend', ', suite: one'),
    test_('refuses', 'return function() return nil, "not today" end', ', suite: two'),
    test_('falsy', 'return function() return false end'),
    test_('last', 'return function() return true end', ', order: 9'),
    test_('first', 'return function() return true end', ', order: -1'),
    '  - { name: helper, kind: function.lua, method: main, source: "return function() error(1) end" }\n',
  ].join('')

  interface Report {
    passed: number
    failed: number
    skipped: number
    tests: { id: string; suite: string | null; ok: boolean; error: string | null; ms: number }[]
  }

  async function report(...args: string[]): Promise<{ code: number | null } & Report> {
    const { code, stdout } = await cli.run(['test', 'app.yaml', '--json', ...args])
    return { code, ...(JSON.parse(stdout) as Report) }
  }

  test('a test that asks for the end of the program fails; those behind it run all the same', async () => {
    const source = 'local system = require("system") return function() system.exit(3) end'
    const exits = test_('exits', source, ', order: -5').replace('method: main', 'method: main, modules: [system]')
    cli.write({ 'app.yaml': APP + exits })
    const { tests } = await report()
    expect(tests[0]).toMatchObject({ id: 'app:exits', error: 'asked for the end of the program: system.exit(3)' })
    expect(tests.filter(({ ok }) => ok)).toHaveLength(4)
  })

  test('passes unless it raises, returns false, or nil and an error; runs by order, then id', async () => {
    cli.write({ 'app.yaml': APP })
    const { code, passed, failed, skipped, tests } = await report()
    expect({ code, passed, failed, skipped }).toEqual({ code: 1, passed: 4, failed: 3, skipped: 0 })
    expect(tests.map(({ id, ok }) => `${id} ${ok}`)).toEqual([
      'app:first true',
      'app:falsy false',
      'app:passes true',
      'app:raises false',
      'app:refuses false',
      'app:value true',
      'app:last true',
    ])
    const error = (id: string): string | null | undefined => tests.find((result) => result.id === id)?.error
    expect(error('app:falsy')).toBe('returned false')
    expect(error('app:refuses')).toBe('not today')
    expect(error('app:raises')).toMatch(/^app:raises:2: boom/)
    expect(tests.find(({ id }) => id === 'app:passes')).toMatchObject({
      suite: 'one',
      error: null,
      ms: expect.any(Number),
    })
  })

  test('prints a line a test, why one failed below it, and a summary', async () => {
    cli.write({ 'app.yaml': APP })
    const { code, stdout } = await cli.run(['test', 'app.yaml', '--suite', 'two'])
    expect(code).toBe(1)
    expect(stdout.replaceAll(/\d+ ms/g, 'N ms')).toBe(
      'FAIL  app:refuses N ms\n      not today\nok    app:value N ms\n1 passed, 1 failed, 5 skipped\n',
    )
  })

  test('--suite and --filter choose', async () => {
    cli.write({ 'app.yaml': APP })
    const chosen = async (...args: string[]): Promise<string[]> => (await report(...args)).tests.map(({ id }) => id)
    expect(await chosen('--suite', 'one', '--suite', 'two')).toHaveLength(4)
    expect(await chosen('--filter', 'pass')).toEqual(['app:passes'])
    expect(await report('--filter', 'pass')).toMatchObject({ code: 0, passed: 1, failed: 0, skipped: 6 })
    const none = await cli.run(['test', 'app.yaml', '--filter', 'nothing'])
    expect(none).toMatchObject({ code: 1, stderr: 'none of the 7 tests matches --suite and --filter\n' })
  })

  test('--timeout ends a test that hangs, and the next one runs', async () => {
    const app = `namespace: app\nentries:\n${test_('hangs', 'return function() channel.new():receive() end')}${test_('next', 'return function() end')}`
    cli.write({ 'app.yaml': app })
    const { code, tests } = await report('--timeout', '200ms')
    expect(code).toBe(1)
    expect(tests).toMatchObject([
      { id: 'app:hangs', ok: false, error: expect.stringContaining('200 ms') },
      { id: 'app:next', ok: true },
    ])
    expect((await cli.run(['test', 'app.yaml', '--timeout', 'soon'])).code).toBe(2)
  })

  test('a runaway test is stopped too', async () => {
    const app = `namespace: app\nentries:\n${test_('spins', 'return function() while true do end end')}${test_('tail', 'return function() end')}`
    cli.write({ 'app.yaml': app })
    const { tests } = await report('--timeout', '200ms')
    expect(tests).toMatchObject([
      { id: 'app:spins', ok: false },
      { id: 'app:tail', ok: true },
    ])
  })

  test('runs beside the app itself', async () => {
    const host = '  - { name: h, kind: process.host, lifecycle: { auto_start: true } }\n'
    cli.write({ 'app.yaml': APP + host })
    const program = cli.start(['run', 'app.yaml'])
    await program.until('is ready')
    expect(await report('--filter', 'pass')).toMatchObject({ code: 0, passed: 1 })
  })

  test('an app without tests says so', async () => {
    cli.write({ 'app.yaml': 'namespace: app\nentries: []\n' })
    const { code, stdout, stderr } = await cli.run(['test', 'app.yaml'])
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toContain('app.yaml has no tests')
  })
})

describe('ps', () => {
  const APP = `namespace: app
entries:
  - { name: h, kind: process.host, lifecycle: { auto_start: true } }
  - { name: a, kind: process.lua, source: "return function() process.registry.register('till') process.events():receive() end" }
  - { name: s, kind: process.service, process: a, host: h, lifecycle: { auto_start: true } }
`

  test('lists the processes of the only node under .runtime/', async () => {
    cli.write({ 'app.yaml': APP })
    const program = cli.start(['run', 'app.yaml', '--set', 'node.name=n1'])
    await program.until('is ready')
    const { code, stdout } = await cli.run(['ps'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^PID +ENTRY +STATE +MAILBOX +REDUCTIONS +MEMORY +AGE +NAMES\n/)
    expect(stdout).toMatch(/\n\{app:h\|\S+\} +app:a +waiting +0 +\d+ +\d+ +\d+\.\ds +till\n$/)
    const json = await cli.run(['ps', '--json', '--host', 'app:h'])
    expect(JSON.parse(json.stdout)).toMatchObject([
      {
        pid: expect.any(String),
        entry: 'app:a',
        host: 'app:h',
        state: 'waiting',
        mailbox: 0,
        memory: expect.any(Number),
        names: ['till'],
      },
    ])
    const stderr = 'error: no such host runs: app:other; those that run are app:h, system:actors\n'
    expect(await cli.run(['ps', '--json', '--host', 'app:other'])).toMatchObject({ code: 1, stdout: '', stderr })
  })

  test('of several nodes one must be named; a dead one does not count', async () => {
    cli.write({ 'app.yaml': APP })
    const programs = ['n1', 'n2', 'n3'].map((name) => cli.start(['run', 'app.yaml', '--set', `node.name=${name}`]))
    for (const program of programs) await program.until('is ready')
    const { code, stderr } = await cli.run(['ps'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/3 nodes are running[\s\S]*--node n1\n[\s\S]*--node n2\n[\s\S]*--node n3\n/)
    expect((await cli.run(['ps', '--node', 'n2'])).code).toBe(0)
    await programs[0]?.kill()
    await programs[1]?.kill()
    expect((await cli.run(['ps'])).code).toBe(0)
    const dead = await cli.run(['ps', '--node', 'n1'])
    expect(dead.code).toBe(1)
    expect(dead.stderr).toMatch(/node n1 is not running.*running: n3/)
  })

  test('--socket asks the node there', async () => {
    cli.write({ 'app.yaml': APP })
    const program = cli.start(['run', 'app.yaml', '--set', 'node.data_dir=elsewhere', '--set', 'node.name=n1'])
    await program.until('is ready')
    expect((await cli.run(['ps', '--socket', 'elsewhere/n1/admin.sock'])).code).toBe(0)
    expect(await cli.run(['ps', '--socket', 'nowhere.sock'])).toMatchObject({
      code: 1,
      stderr: 'error: no node is running at nowhere.sock; start one with: runtime run app.yaml\n',
    })
  })

  test('without a node: says so, and how to start one', async () => {
    const { code, stdout, stderr } = await cli.run(['ps'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('no node is running')
    expect(stderr).toContain('runtime run app.yaml')
  })
})

describe('keygen', () => {
  test('prints a key of 32 bytes and nothing else, another one each time', async () => {
    const first = await cli.run(['keygen'])
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(/^[A-Za-z0-9+/]{43}=\n$/)
    expect((await cli.run(['keygen'])).stdout).not.toBe(first.stdout)
  })

  test('--bytes chooses the length, --json says it', async () => {
    for (const bytes of [16, 24, 32]) {
      const { stdout } = await cli.run(['keygen', '--bytes', String(bytes), '--json'])
      const made = JSON.parse(stdout) as { key: string; bytes: number }
      expect(made.bytes).toBe(bytes)
      expect(Buffer.from(made.key, 'base64')).toHaveLength(bytes)
    }
    const wrong = await cli.run(['keygen', '--bytes', '20'])
    expect(wrong).toMatchObject({ code: 2, stdout: '' })
    expect(wrong.stderr).toContain('16, 24, 32')
  })

  test('the settings take it', async () => {
    const key = (await cli.run(['keygen'])).stdout
    cli.write({ 'app.yaml': 'cluster: { membership: { secret_file: gossip.key } }\n', 'gossip.key': key })
    expect((await cli.run(['check', 'app.yaml'])).code).toBe(0)
    const set = ['--set', `cluster.membership.secret_key=${key.trim()}`]
    const { code, stderr } = await cli.run(['check', 'app.yaml', ...set])
    expect(code).toBe(2)
    expect(stderr).toContain('cluster.membership.secret_file: give membership.secret_key or membership.secret_file')
    expect(stderr).not.toContain(key.trim())
  })
})

test('version', async () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
    version: string
  }
  const { code, stdout } = await cli.run(['version', '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    moonmesh: version,
    node: process.version,
    engine: 'moonmesh',
    fengari: expect.stringMatching(/^\d/),
    wire: { gossip: { speaks: 2, min: 1, max: 5 }, mesh: { min: 1, max: 1 } },
  })
  expect((await cli.run(['version'])).stdout).toContain(`moonmesh  ${version}\n`)
  expect((await cli.run(['--version'])).stdout).toBe(`${version}\n`)
})

test('help tells every command, and the exit codes of run', async () => {
  const { code, stdout, stderr } = await cli.run(['--help'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const name of ['run', 'check', 'init', 'test', 'ps', 'cluster', 'cert', 'keygen', 'version'])
    expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  expect((await cli.run(['run', '--help'])).stdout).toContain('0 after SIGTERM, 130 after SIGINT')
})
