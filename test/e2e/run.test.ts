// A node in the foreground: its ready line, its logs, its end.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cli, type CliResult, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

const PATIENT = `
local function main()
  local events = process.events()
  print("up")
  events:receive()
  print("asked to stop")
  return
end
return { main = main }
`
const STUBBORN = 'return function()\n  print("up")\n  process.inbox():receive()\nend\n'
const APP = `namespace: app
node: { name: n1 }
entries:
  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }
  - { name: a, kind: process.lua, source: file://a.lua }
  - { name: s, kind: process.service, process: a, host: processes, lifecycle: { auto_start: true } }
`

async function startApp(lua: string, args: string[] = [], withAdmin = false): Promise<Program> {
  cli.write({ 'app.yaml': APP, 'a.lua': lua })
  return ready(args, withAdmin)
}

async function ready(args: string[], withAdmin: boolean): Promise<Program> {
  const program = cli.start(['run', 'app.yaml', ...args], { withAdmin })
  const line = args.includes('--json')
    ? /^\{"event":"ready"/
    : args.includes('--log-format')
      ? '"event":"ready"'
      : /^node \S+ is ready .* ms\n/
  await program.until(line)
  await program.until('up')
  return program
}

describe('the ready line', () => {
  test('names node, services and the time taken', async () => {
    const program = await startApp(PATIENT)
    expect(program.stdout).toMatch(/^node n1 is ready · 2 services · \d+ ms\n$/)
  })

  test('names the admin address, where the node answers', async () => {
    const program = await startApp(PATIENT, ['--set', 'admin.http=127.0.0.1:0'], true)
    const address = /admin (http:\/\/127\.0\.0\.1:\d+) /.exec(program.stdout)?.[1]
    const answer = await fetch(`${address}/v1/status`)
    expect(await answer.json()).toMatchObject({
      node: 'n1',
      os_pid: program.pid,
      healthy: true,
      services: { running: 2 },
    })
    expect((await fetch(`${address}/readyz`)).status).toBe(200)
    const foreign = await fetch(`${address}/v1/status`, { headers: { origin: 'http://evil.example' } })
    expect(foreign.status).toBe(403)
  })

  test('with --log-format json it is a record of the log, and standard output stays empty', async () => {
    const program = await startApp(PATIENT, ['--log-format', 'json', '--set', 'admin.http=127.0.0.1:0'], true)
    const records = logRecords(program.stderr)
    expect(program.stderr.trimEnd().split('\n')).toHaveLength(records.length)
    expect(records.find(({ event }) => event === 'ready')).toMatchObject({
      level: 'info',
      node: 'n1',
      addresses: { admin: expect.stringMatching(/^127\.0\.0\.1:\d+$/) },
      services: ['app:processes', 'app:s'],
      took_ms: expect.any(Number),
    })
    expect(program.stdout).toBe('')
  })

  test('with --json it is JSON on standard output', async () => {
    const program = await startApp(PATIENT, ['--json'])
    expect(JSON.parse(program.stdout)).toMatchObject({
      event: 'ready',
      node: 'n1',
      services: ['app:processes', 'app:s'],
    })
  })
})

describe('logs', () => {
  test('a line from Lua carries pid, entry and line', async () => {
    const program = await startApp(PATIENT, ['--log-format', 'json'])
    expect(logRecords(program.stderr).find(({ msg }) => msg === 'up')).toMatchObject({
      level: 'info',
      time: expect.any(Number),
      pid: expect.stringMatching(/^\{app:processes\|/),
      entry: 'app:a',
      line: 'app:a:4',
    })
  })

  test('--log-level leaves out what is below', async () => {
    cli.write({ 'app.yaml': APP, 'a.lua': PATIENT })
    const program = cli.start(['run', 'app.yaml', '--log-level', 'error'])
    await program.until('is ready')
    program.signal('SIGTERM')
    expect(await program.exit()).toMatchObject({ code: 0, stderr: '' })
  })

  test('nothing is lost at the end', async () => {
    const lua = `return function()
  process.events():receive()
  for i = 1, 2000 do print("line " .. i) end
end`
    cli.write({ 'app.yaml': APP, 'a.lua': lua })
    const program = cli.start(['run', 'app.yaml', '--log-format', 'json'])
    await program.until('is ready')
    program.signal('SIGTERM')
    const { stderr } = await program.exit()
    const lines = logRecords(stderr).filter(({ msg }) => String(msg).startsWith('line '))
    expect(lines.map(({ msg }) => msg)).toEqual(Array.from({ length: 2000 }, (_, i) => `line ${i + 1}`))
  })
})

describe('the end', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 0],
  ] as const)('%s stops everything in order; the exit code is %i', async (signal, exitCode) => {
    const program = await startApp(PATIENT)
    program.signal(signal)
    const { code, stderr } = await program.exit()
    expect(code).toBe(exitCode)
    expect(stderr).toContain('asked to stop')
  })

  test('a second signal stops at once', async () => {
    const program = await startApp(STUBBORN)
    program.signal('SIGINT')
    await program.until('once more stops at once')
    const sentMs = performance.now()
    program.signal('SIGINT')
    expect((await program.exit()).code).toBe(130)
    // Without it the process would have had its stop_timeout of 10 s.
    expect(performance.now() - sentMs).toBeLessThan(5_000)
  })

  test('a signal while it starts stops it too', async () => {
    const slow = 'local n = 0\nfor i = 1, 3e8 do n = n + i end\nreturn function() end\n'
    cli.write({ 'app.yaml': APP, 'a.lua': slow })
    const program = cli.start(['run', 'app.yaml', '--log-format', 'json', '--log-level', 'debug'])
    await program.until('starting: app:s')
    program.signal('SIGINT')
    await program.until('once more stops at once')
    program.signal('SIGINT')
    expect((await program.exit()).code).toBe(130)
  })

  test('when every process has ended the node runs on', async () => {
    const program = await startApp('return function() print("up") end')
    await eventually(async () => expect(JSON.parse((await cli.run(['ps', '--json'])).stdout)).toEqual([]))
    program.signal('SIGTERM')
    expect((await program.exit()).code).toBe(0)
  })

  test('socket and pid file are gone, the epoch stays and rises', async () => {
    const path = join(cli.dir, '.runtime', 'n1')
    const program = await startApp(PATIENT)
    expect(statSync(join(path, 'admin.sock')).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(path, 'pid'), 'utf8')).toBe(`${program.pid}\n`)
    const epoch = Number(readFileSync(join(path, 'epoch'), 'utf8'))
    program.signal('SIGTERM')
    await program.exit()
    expect(existsSync(join(path, 'admin.sock'))).toBe(false)
    expect(existsSync(join(path, 'pid'))).toBe(false)
    await ready([], false)
    expect(Number(readFileSync(join(path, 'epoch'), 'utf8'))).toBeGreaterThan(epoch)
  })

  test('a node that was killed is no obstacle to the next', async () => {
    const program = await startApp(PATIENT)
    await program.kill()
    expect(existsSync(join(cli.dir, '.runtime', 'n1', 'admin.sock'))).toBe(true)
    const next = await ready([], false)
    next.signal('SIGTERM')
    expect((await next.exit()).code).toBe(0)
  })

  test('a reader of standard output that leaves does not stop the node', async () => {
    cli.write({ 'app.yaml': APP, 'a.lua': PATIENT })
    const program = cli.start(['run', 'app.yaml'])
    program.stopReading()
    await program.until('up')
    program.signal('SIGTERM')
    const { code, stderr } = await program.exit()
    expect(code).toBe(0)
    expect(stderr).not.toContain('EPIPE')
  })
})

describe('an error inside moonmesh', () => {
  const preload = 'process.on(%22SIGUSR2%22,()=>{throw%20new%20TypeError(%22inside%22)})'
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${preload}` }

  async function crashed(logLevel: string): Promise<CliResult> {
    cli.write({ 'app.yaml': APP, 'a.lua': PATIENT })
    const program = cli.start(['run', 'app.yaml', '--log-level', logLevel], { env })
    await program.until('is ready')
    program.signal('SIGUSR2')
    return program.exit()
  }

  test('is one line that says so, exit code 1', async () => {
    const { code, stderr } = await crashed('error')
    expect(code).toBe(1)
    expect(stderr).toBe('error: inside\nthis is a bug in moonmesh; --log-level debug shows where\n')
  })

  test('with --log-level debug it comes with its stack', async () => {
    const { code, stderr } = await crashed('debug')
    expect(code).toBe(1)
    expect(stderr).toMatch(/this is a bug in moonmesh\nTypeError: inside\n {4}at /)
  })
})

describe('settings', () => {
  test('the app file < --config < environment < --set', async () => {
    cli.write({
      'app.yaml': APP,
      'a.lua': PATIENT,
      'one.yaml': 'node: { name: one }\n',
      'two.yaml': 'node: { name: two }\n',
    })
    const nameOf = async (args: string[], env: Record<string, string> = {}): Promise<string | undefined> => {
      const program = cli.start(['run', 'app.yaml', ...args], { env })
      await program.until('is ready')
      program.signal('SIGTERM')
      const { stdout } = await program.exit()
      return /^node (\S+) is ready/.exec(stdout)?.[1]
    }
    expect(await nameOf([])).toBe('n1')
    expect(await nameOf(['--config', 'one.yaml', '--config', 'two.yaml'])).toBe('two')
    expect(await nameOf(['--config', 'one.yaml'], { RUNTIME_NODE__NAME: 'env' })).toBe('env')
    expect(await nameOf(['--set', 'node.name=set'], { RUNTIME_NODE__NAME: 'env' })).toBe('set')
  })

  test('the default admin port gives way when it is taken: two nodes of one app start side by side', async () => {
    const first = await startApp(PATIENT, [], true)
    const second = await ready(['--set', 'node.name=n2'], true)
    const ports = [first, second].map((program) => /admin http:\/\/127\.0\.0\.1:(\d+)/.exec(program.stdout)?.[1])
    expect(ports[0]).toBeDefined()
    expect(ports[1]).toBeDefined()
    expect(ports[0]).not.toBe(ports[1])
  })

  test('the Unix socket answers too', async () => {
    await startApp(PATIENT)
    const socketPath = join(cli.dir, '.runtime', 'n1', 'admin.sock')
    const status = await new Promise((done, fail) => {
      request({ socketPath, path: '/livez', agent: false }, (response) => {
        response.resume()
        done(response.statusCode)
      })
        .on('error', fail)
        .end()
    })
    expect(status).toBe(200)
  })
})
