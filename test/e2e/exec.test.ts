// `run --exec`: a program on the terminal, and the exit code that its result makes. lua-core.md §20.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cli, type CliResult, logRecords, type RunOptions } from '../tools/cli.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

const APP = `namespace: app
entries:
  - { name: main, kind: process.lua, source: file://main.lua, modules: [io] }
  - { name: helper, kind: function.lua, source: "return function() end", method: main }
`

function exec(body: string, args: string[] = [], options: RunOptions = {}): Promise<CliResult> {
  cli.write({ 'app.yaml': APP, 'main.lua': `local io = require("io")\nreturn function(...)\n${body}\nend\n` })
  return cli.run(['run', 'app.yaml', '--exec', 'app:main', ...args], options)
}

describe('the result makes the exit code', () => {
  test.each([
    ['return "hellö"', 0, 'hellö\n'],
    ['return 7', 7, ''],
    ['return 7.9', 7, ''],
    ['return 0', 0, ''],
    ['return 256', 255, ''],
    ['return -1', 255, ''],
    ['return true', 0, ''],
    ['return false', 1, ''],
    ['return', 0, ''],
    ['return { 1, 2 }', 0, ''],
  ])('%s: %i', async (body, exitCode, text) => {
    const { code, stdout, stderr } = await exec(body)
    expect({ code, stdout, stderr }).toEqual({ code: exitCode, stdout: text, stderr: '' })
  })

  test('`return nil, text` is a failure, its text on standard error', async () => {
    expect(await exec('return nil, "no such order"')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'error: no such order\n',
    })
  })

  test('so is an error that is raised, with where it was', async () => {
    const { code, stdout, stderr } = await exec('local order = {}\norder.ship()')
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^error: app:main:4: attempt to call a nil value \(field 'ship'\)$/m)
  })

  test('a chunk that cannot be loaded', async () => {
    cli.write({ 'app.yaml': APP, 'main.lua': 'return { run = function() end }' })
    const { code, stderr } = await cli.run(['run', 'app.yaml', '--exec', 'app:main'])
    expect(code).toBe(1)
    expect(stderr).toContain('error: method "main" not found in module')
  })

  test('--json: the result as JSON', async () => {
    cli.write({
      'app.yaml': APP,
      'main.lua': 'return function(what) if what then return { n = 1 } end return nil, "no" end',
    })
    const ok = await cli.run(['run', 'app.yaml', '--json', '--exec', 'app:main', 'x'])
    expect({ code: ok.code, result: JSON.parse(ok.stdout) }).toEqual({ code: 0, result: { ok: true, value: { n: 1 } } })
    const failed = await cli.run(['run', 'app.yaml', '--json', '--exec', 'app:main'])
    expect(failed.code).toBe(1)
    expect(JSON.parse(failed.stdout)).toEqual({ ok: false, error: { kind: 'Internal', message: 'no' } })
  })

  test('--json: results that JSON has no words for', async () => {
    cli.write({
      'app.yaml': APP,
      'main.lua': `local results = {
        large = { math.maxinteger, 2^53 // 1 | 0 },
        sold_out = { errors.new{ message = "sold out", kind = errors.CONFLICT, details = { sku = "A1" } } },
      }
      results.cyclic = { results }
      return function(what) return results[what] end`,
    })
    const result = async (what: string): Promise<unknown> => {
      const { code, stdout } = await cli.run(['run', 'app.yaml', '--json', '--exec', 'app:main', what])
      return { code, ...JSON.parse(stdout) }
    }
    expect(await result('large')).toEqual({ code: 0, ok: true, value: ['9223372036854775807', '9007199254740992'] })
    expect(await result('sold_out')).toEqual({
      code: 0,
      ok: true,
      value: [{ kind: 'Conflict', message: 'sold out', details: { sku: 'A1' } }],
    })
    expect(await result('cyclic')).toEqual({ code: 0, ok: true, value: null })
  })
})

describe('arguments and streams', () => {
  test('what follows the entry is the program’s, also what looks like options of ours', async () => {
    const { stdout } = await exec('io.print(#io.args(), ...)', ['Ada', '--set', 'x=1', '-v', '--help', ''])
    expect(stdout).toBe('6\tAda\t--set\tx=1\t-v\t--help\t\n')
  })

  test('input is read to its end, output keeps its order and is complete', async () => {
    const body = `
      local count = 0
      while true do
        local line, err = io.readline()
        if not line then
          io.eprint(tostring(err):find("EOF") and "the end" or "another error")
          return count
        end
        count = count + 1
        io.write(line:upper(), "\\n")
      end`
    const { code, stdout, stderr } = await exec(body, [], { input: 'one\r\ntwo\nthree' })
    expect({ code, stdout, stderr }).toEqual({ code: 3, stdout: 'ONE\nTWO\nTHREE\n', stderr: 'the end\n' })
  })

  test('much output arrives whole, before the exit', async () => {
    const { code, stdout } = await exec('for i = 1, 20000 do io.print("line", i) end return "done"')
    expect(code).toBe(0)
    expect(stdout.length).toBe(Array.from({ length: 20000 }, (_, i) => `line\t${i + 1}\n`).join('').length + 5)
    expect(stdout.endsWith('line\t20000\ndone\n')).toBe(true)
  })

  test('a reader that has seen enough ends the program, without a complaint', async () => {
    cli.write({
      'app.yaml': APP,
      'main.lua': 'local io = require("io")\nreturn function() while true do io.print("yes") end end',
    })
    const program = cli.start(['run', 'app.yaml', '--exec', 'app:main'])
    await program.until('yes\n')
    program.stopReading()
    expect(await program.exit()).toMatchObject({ code: 0, stderr: '' })
  })

  test('print goes to the log, not to standard output', async () => {
    const { stdout, stderr } = await exec('print("logged") io.print("shown")')
    expect(stdout).toBe('shown\n')
    expect(logRecords(stderr).map(({ msg }) => msg)).toEqual(['logged'])
  })

  test('hide_logs keeps log lines off the terminal', async () => {
    const host = '  - { name: terminal, kind: terminal.host, hide_logs: true }\n'
    cli.write({ 'app.yaml': APP + host, 'main.lua': 'return function() print("logged") return "result" end' })
    expect(await cli.run(['run', 'app.yaml', '--exec', 'app:main'])).toMatchObject({
      code: 0,
      stdout: 'result\n',
      stderr: '',
    })
  })
})

test('services run meanwhile, and are stopped afterwards', async () => {
  const app = `${APP}  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }
  - { name: server, kind: process.lua, source: file://server.lua }
  - { name: s, kind: process.service, process: server, host: processes, lifecycle: { auto_start: true } }
`
  const server = `return function()
  assert(process.registry.register("server"))
  local inbox, events = process.inbox(), process.events()
  while true do
    local got = channel.select({ inbox:case_receive(), events:case_receive() })
    if got.channel == events then print("stopped") return end
    process.send(got.value:from(), "answer", got.value:payload():data() * 2)
  end
end`
  const main = `return function(n)
  local answers = process.listen("answer")
  for i = 1, 100 do
    if process.send("server", "ask", tonumber(n)) then break end
    coroutine.yield()
  end
  return (answers:receive())
end`
  cli.write({ 'app.yaml': app, 'server.lua': server, 'main.lua': main })
  const { code, stderr } = await cli.run(['run', 'app.yaml', '--exec', 'app:main', '21'])
  expect(code).toBe(42)
  expect(logRecords(stderr).map(({ msg }) => msg)).toContain('stopped')
})

test('a program that asks for its end is not waited for', async () => {
  cli.write({
    'app.yaml': APP.replace('[io]', '[system]'),
    'main.lua': 'return function() require("system").exit(7) channel.new():receive() end',
  })
  const startedMs = performance.now()
  expect(await cli.run(['run', 'app.yaml', '--exec', 'app:main'])).toMatchObject({ code: 7 })
  // Less than a host gives its processes to end.
  expect(performance.now() - startedMs).toBeLessThan(9000)
})

test('a program that does not listen ends with the first signal', async () => {
  cli.write({ 'app.yaml': APP, 'main.lua': 'return function() require("io").print("up") channel.new():receive() end' })
  const program = cli.start(['run', 'app.yaml', '--exec', 'app:main'])
  await program.until('up')
  const sentMs = performance.now()
  program.signal('SIGINT')
  expect(await program.exit()).toMatchObject({ code: 130 })
  // Less than a host gives its processes to end.
  expect(performance.now() - sentMs).toBeLessThan(9000)
})

test('a program that is asked to end has the time to do so, and may be hurried', async () => {
  cli.write({
    'app.yaml': APP.replace('[io]', '[io, time]'),
    'main.lua': `local io, time = require("io"), require("time")
      return function()
        io.print("up")
        local reason = process.events():receive().reason
        time.sleep("20ms")
        io.print("asked", reason)
        channel.new():receive()
      end`,
  })
  const program = cli.start(['run', 'app.yaml', '--exec', 'app:main'])
  await program.until('up')
  program.signal('SIGTERM')
  await program.until('asked\tscheduler shutdown')
  program.signal('SIGTERM')
  expect(await program.exit()).toMatchObject({ code: 0 })
})

test('SIGINT interrupts the program: exit code 130, and nothing is said of its end', async () => {
  cli.write({
    'app.yaml': APP,
    'main.lua': 'local io = require("io")\nreturn function() io.print("up") process.events():receive() end',
  })
  const program = cli.start(['run', 'app.yaml', '--exec', 'app:main'])
  await program.until('up')
  program.signal('SIGINT')
  const { code, stderr } = await program.exit()
  expect(code).toBe(130)
  expect(stderr).not.toContain('error')
})

test('an entry that is not there, or no process, is a mistake in the command line', async () => {
  cli.write({ 'app.yaml': APP, 'main.lua': 'return function() end' })
  const missing = await cli.run(['run', 'app.yaml', '--exec', 'app:nope'])
  expect(missing).toMatchObject({ code: 2, stdout: '' })
  expect(missing.stderr).toContain("the app's processes are: app:main")
  const other = await cli.run(['run', 'app.yaml', '--exec', 'app:helper'])
  expect(other.code).toBe(2)
  expect(other.stderr).toContain('function.lua')
})
