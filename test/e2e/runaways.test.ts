// Scripts that take all they can get end as errors of their own process; the thread that runs them, and who else lives there, goes on.

import { afterAll, expect, test } from 'vitest'
import { Cli } from '../tools/cli.ts'

const GROWING = {
  list: 't[i] = { i }',
  records: 't[i] = { a = i, b = {} }',
  strings: 't[i] = "text " .. i',
  floats: 't[i] = i + 0.5',
  keys: 't["k" .. i] = i',
  closures: 't[i] = function() return i end',
  integers: 't[i] = i',
  nested: 't = { t }',
  coroutines: 't[i] = coroutine.create(function() end)',
  text: 's = s .. s',
  equalTexts: 't[i] = string.rep("x", 100000)',
  longTexts: 't[i] = string.rep(i % 10, 2000000):upper()',
  encoded: 't[i] = require("base64").encode(string.rep("x", 1000) .. i)',
  decoded: 't[i] = require("json").decode("[[1],[2],[3]]")',
  times: 't[i] = require("time").now()',
  patterns: 't[i] = require("text").regexp.compile("a+" .. i)',
  errors: 't[i] = errors.new("x")',
  channels: 't[i] = channel.new(0)',
  buffers: 'local c = channel.new(1000) t[i] = c for k = 1, 1000 do c:send({ k }) end',
}
const FAILING = {
  recursion: 'local function f() return 1 + f() end f()',
  pattern: 'string.find(string.rep("a", 100000), string.rep("a-", 200) .. "b")',
}
const loops = Object.entries(GROWING).map(([name, step]) => [name, `for i = 1, 1e9 do ${step} end`])
const bodies = Object.fromEntries([...loops, ...Object.entries(FAILING)]) as Record<string, string>

const app = {
  version: '1.0',
  namespace: 'app',
  entries: [
    {
      name: 'host',
      kind: 'process.host',
      host: { memory_limit: '64MiB', workers: 1 },
      lifecycle: { auto_start: true },
    },
    { name: 'others', kind: 'process.host', lifecycle: { auto_start: true } },
    {
      name: 'neighbour',
      kind: 'process.lua',
      source: 'return function() return process.inbox():receive():topic() end',
    },
    ...Object.entries(bodies).map(([name, body]) => ({
      name,
      kind: 'process.lua',
      modules: ['base64', 'json', 'text', 'time'],
      source: `return function() local t, s = {}, "xx" ${body} end`,
    })),
    {
      name: 'main',
      kind: 'process.lua',
      modules: ['io'],
      source: `
        local io = require("io")
        return function(...)
          local events = process.events()
          local neighbour = assert(process.spawn_monitored("app:neighbour", "app:host"))
          for _, name in ipairs({ ... }) do
            assert(process.spawn_monitored("app:" .. name, "app:host"))
            io.print(name, events:receive().result.error:kind())
          end
          process.send(neighbour, "still here")
          io.print("neighbour", events:receive().result.value)
        end`,
    },
  ],
}

const cli = new Cli()
afterAll(() => cli.close())

test('memory, depth and time: each runaway ends alone', { timeout: 120_000 }, async () => {
  cli.write({ 'app.yaml': JSON.stringify(app) })
  const names = Object.keys(bodies)
  const { code, stdout, stderr } = await cli.run(['run', 'app.yaml', '--exec', 'app:main', ...names])
  expect(stderr).not.toContain('worker crashed')
  const kindOf = Object.fromEntries(stdout.split('\n').map((line) => line.split('\t')))
  for (const name of Object.keys(GROWING)) expect([name, kindOf[name]]).toEqual([name, 'LimitExceeded'])
  for (const name of Object.keys(FAILING)) expect(kindOf[name]).toMatch(/^\w+$/)
  expect(kindOf['neighbour']).toBe('still here')
  expect(code).toBe(0)
})

/** Some 30 MiB. */
const SMALL = 'return function() local t = {} for i = 1, 300000 do t[i] = { i } end return #t end'
/** It computes little, and keeps what it gets. */
const KEEPER =
  'return function() local t, inbox = {}, process.listen("text") while true do t[#t + 1] = inbox:receive() end end'

test('a process that may have less than others ends where they go on', { timeout: 120_000 }, async () => {
  const source = `
    local io = require("io")
    return function()
      local function ended(name, id, builder)
        local value, why = builder:exec(id, "app:host")
        io.print(name, value or why:kind())
      end
      ended("neither", "app:free", process.with_options({}))
      ended("entry", "app:limited", process.with_options({}))
      ended("spawned", "app:free", process.with_options({ memory_limit = "8MiB" }))
      ended("both", "app:limited", process.with_options({ memory_limit = 64 * 1024 * 1024 }))
      local events = process.events()
      local keeper = assert(process.with_options({ memory_limit = "8MiB" }):spawn_monitored("app:keeper", "app:host"))
      for i = 1, 200 do process.send(keeper, "text", string.rep("x", 100000) .. i) end
      io.print("keeper", events:receive().result.error:kind())
    end`
  const code = (name: string, text: string, more = {}) => ({ name, kind: 'process.lua', source: text, ...more })
  const entries = [
    { name: 'host', kind: 'process.host', host: { workers: 1 }, lifecycle: { auto_start: true } },
    code('free', SMALL),
    code('limited', SMALL, { memory_limit: '8MiB' }),
    code('keeper', KEEPER),
    code('main', source, { modules: ['io'] }),
  ]
  cli.write({ 'limits.yaml': JSON.stringify({ version: '1.0', namespace: 'app', entries }) })
  const { stdout } = await cli.run(['run', 'limits.yaml', '--exec', 'app:main'])
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(/\s+/))
  expect(lines).toEqual([
    ['neither', '300000'],
    ...['entry', 'spawned', 'both', 'keeper'].map((name) => [name, 'LimitExceeded']),
  ])
})
