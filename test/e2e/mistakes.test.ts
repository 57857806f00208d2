// The first mistakes that people make, on what the command prints: each says where it is and what helps.

import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cli, logRecords } from '../tools/cli.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

const HOST = '  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }\n'
const SERVICE =
  '  - { name: s, kind: process.service, process: a, host: processes, lifecycle: { auto_start: true, start_timeout: 2s } }\n'
const ACTOR = '  - { name: a, kind: process.lua, source: file://a.lua }\n'

function app(...entries: string[]): string {
  return `namespace: app\nentries:\n${entries.join('')}`
}

describe('in the app file: every one is reported before anything starts, exit code 2 (operations.md §1)', () => {
  async function problems(files: Record<string, string>): Promise<string> {
    cli.write(files)
    const { code, stdout, stderr } = await cli.run(['run', 'app.yaml'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/\d+ problems?; nothing was started\n$/)
    return stderr
  }

  test('YAML syntax', async () => {
    expect(await problems({ 'app.yaml': 'namespace: app\nentries:\n\t- name: a\n' })).toMatch(
      /^app\.yaml:3:1 .*[Tt]abs are not allowed/,
    )
  })

  test('an unknown kind and an unknown key, each with what was meant', async () => {
    const text = await problems({
      'app.yaml': app(
        '  - { name: a, kind: proces.host }\n',
        '  - { name: b, kind: process.host, lifecycle: { autostart: true } }\n',
      ),
    })
    expect(text).toMatch(
      /app\.yaml:3:22 entries\[0\]\.kind: unknown kind "proces\.host" \(did you mean "process\.host"\?\)/,
    )
    expect(text).toMatch(/app\.yaml:4:\d+ entries\[1\]\.lifecycle\.autostart: .*did you mean "auto_start"\?/)
    expect(text).toContain('2 problems')
  })

  test('a Lua file that is not there', async () => {
    expect(await problems({ 'app.yaml': app(ACTOR) })).toMatch(
      /app\.yaml:3:\d+ entries\[0\]\.source: no such file .*a\.lua/,
    )
  })

  test('Lua syntax, at its place in the Lua file', async () => {
    const files = { 'app.yaml': app(ACTOR), 'a.lua': 'local function main()\n  local x = = 1\nend\nreturn main\n' }
    expect(await problems(files)).toMatch(/^a\.lua:2:\d+ Lua syntax: .*near '='/)
  })

  test('an unknown module', async () => {
    const actor = '  - { name: a, kind: process.lua, source: file://a.lua, modules: [tiem] }\n'
    expect(await problems({ 'app.yaml': app(actor), 'a.lua': 'return function() end' })).toMatch(
      /app\.yaml:3:\d+ entries\[0\]\.modules\[0\]: .*"tiem".*did you mean "time"\?/,
    )
  })

  test('a service on a host that does not exist', async () => {
    const service = '  - { name: s, kind: process.service, process: a, host: proceses }\n'
    expect(await problems({ 'app.yaml': app(HOST, ACTOR, service), 'a.lua': 'return function() end' })).toMatch(
      /app\.yaml:5:\d+ entries\[2\]\.host: .*did you mean "app:processes"\?/,
    )
  })
})

test('an app file that is not there, with how to make one', async () => {
  const { code, stdout, stderr } = await cli.run(['run', 'nope.yaml'])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(/nope\.yaml.*no such file/)
  expect(stderr).toContain('runtime init')
})

describe('in the Lua: found when it runs', () => {
  test('a method that the chunk does not return: the start fails with the reason, exit code 1', async () => {
    cli.write({ 'app.yaml': app(HOST, SERVICE, ACTOR), 'a.lua': 'return { run = function() end }' })
    const { code, stdout, stderr } = await cli.run(['run', 'app.yaml'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^error: .*app:s.*method "main" not found in module/m)
  })

  test('a module that is required but not declared, with what to add', async () => {
    cli.write({ 'app.yaml': app(HOST, SERVICE, ACTOR), 'a.lua': 'local time = require("time")\nreturn function() end' })
    const { code, stderr } = await cli.run(['run', 'app.yaml'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: .*app:a:1: module 'time' not found.*modules:/m)
  })

  test('spawning on a wrong host gives the script an error that names it', async () => {
    const lua = 'return function()\n  print(process.spawn("app:a", "app:nowhere"))\n  process.events():receive()\nend'
    cli.write({ 'app.yaml': app(HOST, SERVICE, ACTOR), 'a.lua': lua })
    const program = cli.start(['run', 'app.yaml', '--log-format', 'json'])
    await program.until('host not found')
    const record = logRecords(program.stderr).find(({ entry }) => entry === 'app:a')
    expect(record).toMatchObject({ level: 'info', line: 'app:a:2', pid: expect.stringMatching(/^\{app:processes\|/) })
    expect(record?.['msg']).toMatch(/^nil host not found.*app:nowhere/)
  })

  test('calling nil in a handler: the log says which field, in which line, called from where', async () => {
    const lua = [
      'local function handle(message)',
      '  local cart = {}',
      '  cart.add(message)',
      'end',
      'return function()',
      '  handle("apple")',
      'end',
    ].join('\n')
    cli.write({ 'app.yaml': app(HOST, SERVICE, ACTOR), 'a.lua': lua })
    const program = cli.start(['run', 'app.yaml', '--log-format', 'json'])
    await program.until('attempt to call a nil value')
    const failure = logRecords(program.stderr).find(({ level }) => level === 'error')
    expect(failure).toMatchObject({ entry: 'app:a', pid: expect.stringMatching(/^\{app:processes\|/) })
    expect(failure?.['msg']).toContain("app:a:3: attempt to call a nil value (field 'add')")
    expect(failure?.['traceback']).toMatch(/app:a:3: .*handle[\s\S]*app:a:6: /)
  })

  test('the same on a terminal: the traceback stands below the line', async () => {
    const lua = 'return function()\n  local cart = {}\n  cart.add("apple")\nend'
    cli.write({ 'app.yaml': app(HOST, SERVICE, ACTOR), 'a.lua': lua })
    const program = cli.start(['run', 'app.yaml', '--log-format', 'pretty'])
    await program.until('attempt to call a nil value')
    await program.until(/\n {4}.*app:a:3: /)
    expect(program.stderr).toMatch(/^\d\d:\d\d:\d\d\.\d{3} ERROR: app:a #\w+ process failed: app:a:3: attempt to call/m)
  })
})

describe('around the app', () => {
  let other: Server | undefined

  afterEach(() => {
    other?.close()
    other = undefined
  })

  async function takenAddress(): Promise<string> {
    other = createServer()
    await new Promise<void>((done) => other?.listen(0, '127.0.0.1', done))
    return `127.0.0.1:${(other.address() as AddressInfo).port}`
  }

  test('an admin port in use that was asked for: exit code 1, with the ways out', async () => {
    const http = await takenAddress()
    cli.write({ 'app.yaml': app(HOST) })
    const { code, stdout, stderr } = await cli.run(['run', 'app.yaml', '--set', `admin.http=${http}`])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^error: admin\\.http ${http} is in use.*":0".*off`, 'm'))
  })

  test('an admin address that is none: exit code 2', async () => {
    cli.write({ 'app.yaml': app(HOST) })
    const { code, stderr } = await cli.run(['run', 'app.yaml', '--set', 'admin.http=nonsense'])
    expect(code).toBe(2)
    expect(stderr).toContain('admin.http: expected "host:port" or "off", found "nonsense"')
  })

  test('a data directory in use: exit code 1, with whose it is and the ways out', async () => {
    cli.write({ 'app.yaml': app(HOST) })
    const first = cli.start(['run', 'app.yaml', '--set', 'node.name=n1'])
    await first.until('is ready')
    const { code, stdout, stderr } = await cli.run(['run', 'app.yaml', '--set', 'node.name=n1'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(`error: node n1 is already running (pid ${first.pid})`)
    expect(stderr).toContain('--set node.name=other')
    const second = cli.start(['run', 'app.yaml', '--set', 'node.name=other'])
    await second.until('is ready')
  })

  test('a data directory that is a file: exit code 1, with place and remedy', async () => {
    cli.write({ 'app.yaml': app(HOST) })
    writeFileSync(join(cli.dir, '.runtime'), '')
    const { code, stderr } = await cli.run(['run', 'app.yaml'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: .*\.runtime.*--set node\.data_dir=PATH/m)
  })

  test('a wrong command, option or value: exit code 2, with what was meant', async () => {
    cli.write({ 'app.yaml': app(HOST) })
    const said = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await cli.run(args)
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' })
      return stderr
    }
    expect(await said('rnu', 'app.yaml')).toMatch(/unknown command 'rnu'\n.*Did you mean run\?/)
    expect(await said('app.yaml')).toContain('to run an app: runtime run app.yaml')
    expect(await said('run', 'app.yaml', '--log-levle', 'debug')).toMatch(/unknown option '--log-levle'\n.*--log-level/)
    expect(await said('run', 'app.yaml', '--log-level', 'loud')).toContain('trace, debug, info, warn, error')
    expect(await said('run', 'app.yaml', '--set', 'admin')).toContain('expected path=value')
    expect(await said('run', 'app.yaml', '--set', 'node.nmae=x')).toContain('did you mean "name"?')
    expect(await said('run', 'app.yaml', '--config', 'more.yaml')).toMatch(/more\.yaml.*no such file/)
    expect(await said('run')).toContain("missing required argument 'app'")
    expect(await said()).toContain('Usage: runtime')
  })
})
