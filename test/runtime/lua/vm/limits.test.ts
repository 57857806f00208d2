// Scripts that run away: each ends as an error of its own process, and the engine goes on with others.

import { describe, expect, test } from 'vitest'
import { record } from '../../../../runtime/base/value.ts'
import { ErrorObject, HostObject, type LuaThread, type LuaValue, SUSPEND } from '../../../../runtime/lua/engine.ts'
import { VmEngine } from '../../../../runtime/lua/vm/engine.ts'

const BUDGET = 10_000
const TURNS_MAX = 100_000
const MEBIBYTE = 2 ** 20

class Handle extends HostObject {
  readonly #value: LuaValue
  constructor(value: LuaValue) {
    super()
    this.#value = value
  }
  override get className(): string {
    return 'Handle'
  }
  override heldValues(): LuaValue[] {
    return [this.#value]
  }
}

class Host {
  readonly #engine: VmEngine
  readonly #base

  constructor(memoryBytesMax: number, callsUntilHot = 20) {
    const engine = new VmEngine({ memoryBytesMax })
    engine.machine.callsUntilHot = callsUntilHot
    engine.defineClass({ name: 'Error', methods: {}, metamethods: { tostring: (call) => text(call.arg(1)) } })
    const { globals, libraries } = engine.standardLibrary
    this.#base = engine.newTable()
    for (const [name, value] of Object.entries(globals)) engine.set(this.#base, name, value as LuaValue)
    for (const [name, library] of Object.entries(libraries)) {
      const table = engine.moduleTable(name, library)
      engine.set(this.#base, name, table)
      if (name === 'string') engine.setStringMethods(table)
    }
    let count = 0
    const given = engine.function('given', (call) => `${count++}`.padStart(Number(call.arg(1)), '.'))
    const filled = engine.function('filled', (call) => {
      const table = engine.newTable()
      for (let i = 1; i <= Number(call.arg(1)); i++) engine.set(table, i, i)
      return table
    })
    engine.set(this.#base, 'given', given)
    engine.set(this.#base, 'filled', filled)
    engine.defineClass({ name: 'Handle', methods: {} })
    engine.set(
      this.#base,
      'handle',
      engine.function('handle', (call) => new Handle(call.arg(1))),
    )
    this.#engine = engine
  }

  /** @param ownBytesMax what this one may hold */
  run(source: string, ownBytesMax?: number): string[] {
    const engine = this.#engine
    const thread = this.#begin(source, ownBytesMax)
    const owner = {}
    let status = engine.run(thread, owner, BUDGET, { values: [] })
    for (let i = 0; status === 'preempted' && i < TURNS_MAX; i++)
      status = engine.run(thread, owner, BUDGET, { values: [] })
    return [status, ...engine.results.map(text)]
  }

  /** Of one that waits for a table with a new text of `bytes` again and again. */
  runWaiting(source: string, ownBytesMax: number, bytes: number): string[] {
    const engine = this.#engine
    const wait = engine.function('wait', () => SUSPEND)
    engine.set(this.#base, 'wait', wait)
    const thread = this.#begin(source, ownBytesMax)
    const owner = {}
    let status = engine.run(thread, owner, BUDGET, { values: [] })
    for (let i = 0; (status === 'preempted' || status === 'suspended') && i < 1000; i++) {
      const message = engine.copyIn(record({ text: `${i}`.padStart(bytes, '.') }))
      status = engine.run(thread, owner, BUDGET, { values: status === 'suspended' ? [message] : [] })
    }
    return [status, ...engine.results.map(text)]
  }

  #begin(source: string, ownBytesMax: number | undefined): LuaThread {
    const engine = this.#engine
    const thread = engine.newThread(engine.load(engine.compile('t', source), engine.newEnvironment(this.#base)), true)
    if (ownBytesMax !== undefined) engine.limitMemory(thread, ownBytesMax)
    return thread
  }
}

const text = (value: LuaValue): string =>
  value instanceof ErrorObject ? `${value.error.kind}: ${value.error.message}` : String(value)

/** What ends the program, on a host that then runs another. */
function endOf(source: string, memoryBytesMax = 512 * MEBIBYTE): string[] {
  const host = new Host(memoryBytesMax)
  const ended = host.run(source)
  expect(host.run('local t = {} for i = 1, 100 do t[i] = tostring(i) end return #table.concat(t)')).toEqual([
    'done',
    '192',
  ])
  return ended
}

const NO_MEMORY = expect.stringMatching(/^LimitExceeded: not enough memory: /)

describe('memory', () => {
  test.each([
    ['a table', 'local t = {} for i = 1, 1e9 do t[i] = { i } end'],
    ['a list of numbers', 'local t = {} for i = 1, 1e9 do t[i] = i end'],
    ['a hash', 'local t = {} for i = 1, 1e9 do t[i * 1.5] = i end'],
    ['strings', 'local t = {} for i = 1, 1e9 do t[i] = string.rep("x", 1000) .. i end'],
    ['closures', 'local f for i = 1, 1e9 do local g = f f = function() return g end end'],
    ['coroutines', 'local t = {} for i = 1, 1e9 do t[i] = coroutine.wrap(pcall) end'],
    ['a string that doubles', 'local s = "x" while true do s = s .. s end'],
    [
      'a string that grows',
      'local s, t = "x", {} while true do s = s .. string.rep("y", 1000) t[#t + 1] = s:upper() end',
    ],
    ['string.rep in a loop', 'local t = {} while true do t[#t + 1] = ("x"):rep(1e6) end'],
  ])('%s that grows without end', (_what, source) => {
    expect(endOf(source, 20 * MEBIBYTE)).toEqual(['error', NO_MEMORY])
  })

  test('one process may have less than all on its host', () => {
    const host = new Host(512 * MEBIBYTE)
    const source = 'local t = {} for i = 1, 200000 do t[i] = { i } end return #t'
    const why = 'LimitExceeded: not enough memory: this process has at most 4 MiB'
    expect(host.run(source, 4 * MEBIBYTE)).toEqual(['error', why])
    expect(host.run(source)).toEqual(['done', '200000'])
    expect(host.run('local n = 0 for i = 1, 200000 do local t = { i } n = n + #t end return n', 4 * MEBIBYTE)).toEqual([
      'done',
      '200000',
    ])
  })

  test('a limit above that of the host changes nothing', () => {
    const why = 'LimitExceeded: not enough memory: a process on this host has at most 20 MiB'
    expect(new Host(20 * MEBIBYTE).run('local t = {} for i = 1, 1e9 do t[i] = { i } end', 2 ** 40)).toEqual([
      'error',
      why,
    ])
  })

  test.each([
    ['what it makes before it waits', 'local t = {} while true do t[#t + 1] = ("x"):rep(1e5) .. #t wait() end', 10],
    ['equal texts', 'local t = {} while true do t[#t + 1] = ("x"):rep(1e5) wait() end', 10],
    [
      'equal texts of a megabyte and more',
      'local t = {} while true do t[#t + 1] = ("x"):rep(2e6):upper() wait() end',
      10,
    ],
    [
      'texts of one length',
      'local t = {} while true do t[#t + 1] = (#t % 10 .. ("x"):rep(1e5)):upper() wait() end',
      10,
    ],
    ['ends of long texts', 'local t = {} while true do t[#t + 1] = ("x"):rep(1e5):sub(#t % 9 + 1) wait() end', 10],
    ['parts of long texts', 'local t = {} while true do t[#t + 1] = ("x"):rep(1e5):match("x(.*)") wait() end', 10],
    ['texts of functions of the host', 'local t = {} while true do t[#t + 1] = given(100000) wait() end', 10],
    [
      'short texts of functions of the host',
      'local t = {} while true do for i = 1, 100 do t[#t + 1] = given(900) end wait() end',
      10,
    ],
    ['objects of the host', 'local t = {} while true do for i = 1, 100 do t[#t + 1] = handle() end wait() end', 10],
    ['what objects of the host hold', 'local t = {} while true do t[#t + 1] = handle(("x"):rep(1e5)) wait() end', 10],
    [
      'tables of functions of the host',
      'local t = {} while true do for i = 1, 100 do t[#t + 1] = filled(50) end wait() end',
      10,
    ],
    ['the messages it gets', 'local t = {} while true do t[#t + 1] = wait() end', 1e5],
    ['tables in messages', 'local t = {} while true do t[#t + 1] = wait().text end', 1e5],
  ])('a process that keeps %s is stopped when it goes on', (_what, source, bytes) => {
    expect(new Host(512 * MEBIBYTE).runWaiting(source, 8 * MEBIBYTE, bytes)).toEqual(['error', NO_MEMORY])
  })

  test.each([
    ['that it made', 'local s = ("x"):rep(1e5)'],
    ['that it was given', 'local s = given(100000)'],
    ['of its code', `local s = "${'x'.repeat(20_000)}"`],
    [
      'of which it made many before',
      'local s for i = 1, 500 do s = ("x"):rep(1e5):upper() wait() end for i = 1, 9 do wait() end',
    ],
  ])('a long text %s counts once, in however many places it is', (_which, source) => {
    const places = 'local t = {} for i = 1, 400 do t[i] = { s, s } wait() end return "end"'
    expect(new Host(512 * MEBIBYTE).runWaiting(`${source} ${places}`, 8 * MEBIBYTE, 10)).toEqual(['done', 'end'])
  })

  test('what functions of the host give in one turn is counted before it is too much', () => {
    const source = 'local t = {} while true do t[#t + 1] = given(1000000) end'
    expect(endOf(source, 40 * MEBIBYTE)).toEqual(['error', NO_MEMORY])
    const garbage = 'for i = 1, 2000 do given(1000000) end return "end"'
    expect(endOf(garbage, 40 * MEBIBYTE)).toEqual(['done', 'end'])
  })

  test('a process that waits and lets go is not stopped', () => {
    const source = 'for i = 1, 900 do local m = wait() end return "end"'
    expect(new Host(512 * MEBIBYTE).runWaiting(source, 2 * MEBIBYTE, 1e5)).toEqual(['done', 'end'])
  })

  test('a script may catch it, let go, and go on', () => {
    const source = `local ok, e = pcall(function() local t = {} for i = 1, 1e9 do t[i] = { i } end end)
      local t = {} for i = 1, 1000 do t[i] = i end
      return ok, tostring(e), #t`
    expect(endOf(source, 20 * MEBIBYTE)).toEqual(['done', 'false', NO_MEMORY, '1000'])
  })

  test('one that always catches it ends, too, or goes on within its limit', () => {
    const source = `local kept = {}
      for round = 1, 5 do pcall(function() for i = 1, 1e9 do kept[#kept + 1] = { i } end end) kept = {} end
      return "end"`
    expect(endOf(source, 20 * MEBIBYTE)).toEqual(['done', 'end'])
  })

  test('garbage is not held against a process', () => {
    const source = 'local t for i = 1, 1e6 do t = { i, tostring(i) } end return "end"'
    expect(endOf(source, 20 * MEBIBYTE)).toEqual(['done', 'end'])
  })

  test.each([
    ['string.rep', 'return pcall(string.rep, "x", 1e9)', 'resulting string too large'],
    ['string.rep with a separator', 'return pcall(string.rep, "x", 1e8, "yyyyyyyyyy")', 'resulting string too large'],
    ['a width of format', 'return pcall(string.format, "%99999d", 1)', 'invalid format (width or precision too long)'],
    ['table.unpack', 'return pcall(table.unpack, {}, 1, 1e8)', 'too many results to unpack'],
    ['string.byte', 'return pcall(string.byte, ("x"):rep(1e7), 1, -1)', 'string slice too long'],
    [
      'table.concat',
      'local t, s = {}, ("x"):rep(1e6) for i = 1, 400 do t[i] = s end return pcall(table.concat, t)',
      'resulting string too large',
    ],
    ['gsub', 'return pcall(string.gsub, ("x"):rep(1e6), "x", ("y"):rep(1e4))', 'resulting string too large'],
  ])('%s of something huge', (_what, source, expected) => {
    const [status, ok, error] = endOf(source)
    expect([status, ok]).toEqual(['done', 'false'])
    expect(error).toMatch(new RegExp(`${expected.replace(/[()]/g, '\\$&')}|not enough memory`))
  })
})

describe('time', () => {
  test.each([
    ['a pattern with many choices', 'return pcall(string.find, ("a"):rep(5000), ".-.-.-.-b")'],
    ['a pattern of repetitions', 'return pcall(string.match, ("a"):rep(100000), "a*a*a*a*b")'],
    ['a pattern with a back reference', 'return pcall(string.find, ("a"):rep(20000), "(.*)(.*)%1%2b")'],
  ])('%s', (_what, source) => {
    expect(endOf(source)).toEqual(['done', 'false', expect.stringContaining('pattern too complex')])
  })
})

describe.each([
  ['the loop', 1e9],
  ['JavaScript', 0],
])('recursion without end, in %s', (_way, callsUntilHot) => {
  test.each([
    ['a function', 'local function f() return 1 + f() end return pcall(f)'],
    [
      '__index',
      'local t = {} setmetatable(t, { __index = function(t, k) return t[k + 1] + 1 end }) return pcall(function() return t[1] end)',
    ],
    [
      '__newindex',
      'local t = {} setmetatable(t, { __newindex = function(t, k) t[k + 1] = 1 end }) return pcall(function() t[1] = 1 end)',
    ],
    ['__call', 'local t = {} setmetatable(t, { __call = function(t) return 1 + t() end }) return pcall(t)'],
    [
      '__add',
      'local t = {} setmetatable(t, { __add = function(a, b) return 1 + (a + b) end }) return pcall(function() return t + t end)',
    ],
    [
      '__eq',
      'local m = {} m.__eq = function(a, b) return not (a == b) end local a, b = setmetatable({}, m), setmetatable({}, m) return pcall(function() return a == b end)',
    ],
    [
      '__concat',
      'local t = {} setmetatable(t, { __concat = function(a, b) return "x" .. (a .. b) end }) return pcall(function() return t .. t end)',
    ],
    [
      '__tostring',
      'local t = {} setmetatable(t, { __tostring = function(t) return "x" .. tostring(t) end }) return pcall(tostring, t)',
    ],
    ['pcall', 'local function f() local ok, e = pcall(f) if ok then return 1 end error(e, 0) end return pcall(f)'],
    [
      'xpcall',
      'local function f() local ok, e = xpcall(f, function(e) return e end) if ok then return 1 end error(e, 0) end return pcall(f)',
    ],
    [
      'coroutines',
      'local function f() local ok, e = coroutine.resume(coroutine.create(f)) error(e, 0) end return pcall(f)',
    ],
    ['coroutine.wrap', 'local function f() return 1 + coroutine.wrap(f)() end return pcall(f)'],
    ['string.gsub', 'local function f() return (string.gsub("x", "x", f)) end return pcall(f)'],
    ['table.sort', 'local function f() table.sort({ 3, 2, 1 }, f) return true end return pcall(f)'],
    ['an iterator', 'local function f() for _ in f do end return 1 end return pcall(f)'],
    [
      'an __index chain of tables',
      'local t = setmetatable({}, {}) getmetatable(t).__index = t return pcall(function() return t.x end)',
    ],
  ])('%s', (_what, source) => {
    const host = new Host(512 * MEBIBYTE, callsUntilHot)
    const [status, ok, error] = host.run(source)
    expect([status, ok, error]).toEqual([
      'done',
      'false',
      expect.stringMatching(/overflow|chain too long|not enough memory/),
    ])
    expect(host.run('return 7')).toEqual(['done', '7'])
  })
})
