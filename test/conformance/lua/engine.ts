// What any engine behind the seam must do (runtime/lua/engine.ts), through the seam alone.

import { describe, expect, test } from 'vitest'
import { ErrorValue, Float, TableValue } from '../../../runtime/base/value.ts'
import {
  type Engine,
  ErrorObject,
  HostObject,
  LuaSyntaxError,
  type LuaTable,
  type LuaValue,
  Raise,
  type RunStatus,
  SUSPEND,
} from '../../../runtime/lua/engine.ts'

class Counter extends HostObject {
  count = 0
  override get className(): string {
    return 'Counter'
  }
}

interface Run {
  statuses: RunStatus[]
  results: readonly LuaValue[]
  traceback: string
}

const BUDGET = 20_000
const TURNS_MAX = 2000

export function engineConformance(name: string, make: () => Engine): void {
  /** A state with the standard library, `wait` (suspends), `fail` (raises what it is given) and the class Counter. */
  function start(): { engine: Engine; base: LuaTable } {
    const engine = make()
    const { globals, libraries } = engine.standardLibrary
    engine.defineClass({
      name: 'Counter',
      methods: { add: (call) => ++(call.arg(1) as Counter).count },
      metamethods: { tostring: (call) => `counter ${(call.arg(1) as Counter).count}` },
    })
    engine.defineClass({
      name: 'Error',
      methods: { kind: (call) => (call.arg(1) as ErrorObject).error.kind },
      metamethods: { tostring: (call) => (call.arg(1) as ErrorObject).error.message },
    })
    const base = engine.newTable()
    for (const [key, value] of Object.entries(globals)) engine.set(base, key, value as LuaValue)
    for (const [key, library] of Object.entries(libraries)) {
      const table = engine.moduleTable(key, library)
      engine.set(base, key, table)
      if (key === 'string') engine.setStringMethods(table)
    }
    engine.set(
      base,
      'wait',
      engine.function('wait', () => SUSPEND),
    )
    engine.set(
      base,
      'where',
      engine.function('where', (call) => call.where()),
    )
    engine.set(
      base,
      'counts',
      engine.function('counts', (call) => [call.count, call.type(1), call.type(9)]),
    )
    engine.set(
      base,
      'show',
      engine.function('show', (call) => call.tostring(1)),
    )
    engine.set(
      base,
      'nothing',
      engine.function('nothing', () => {}),
    )
    engine.set(
      base,
      'raise',
      engine.function('raise', () => {
        throw new Raise('from the host')
      }),
    )
    engine.set(
      base,
      'fault',
      engine.function('fault', () => {
        throw new TypeError('a bug of ours')
      }),
    )
    engine.set(
      base,
      'newcounter',
      engine.function('newcounter', () => new Counter()),
    )
    engine.set(base, 'failure', new ErrorObject(new ErrorValue('Conflict', 'taken')))
    engine.set(
      base,
      'copy',
      engine.function('copy', (call) => call.engine.copyIn(call.engine.copyOut(call.arg(1)))),
    )
    return { engine, base }
  }

  /** Runs a chunk; each suspended call returns the next of `feed`. */
  function run(source: string, feed: readonly LuaValue[] = [], budget = BUDGET): Run {
    const { engine, base } = start()
    const thread = engine.newThread(engine.load(engine.compile('t:x', source), engine.newEnvironment(base)), true)
    const statuses: RunStatus[] = []
    let fed = 0
    let status = engine.run(thread, {}, budget, { values: [] })
    statuses.push(status)
    while (status !== 'done' && status !== 'error' && statuses.length < TURNS_MAX) {
      status = engine.run(thread, {}, budget, { values: status === 'suspended' ? [feed[fed++]] : [] })
      statuses.push(status)
    }
    return { statuses, results: engine.results, traceback: engine.traceback }
  }
  const results = (source: string, feed?: readonly LuaValue[]): readonly LuaValue[] => {
    const { statuses, results } = run(source, feed)
    if (statuses.at(-1) !== 'done') throw new Error(`${statuses.at(-1)}: ${String(results[0])}`)
    return results
  }

  describe(`${name}: values`, () => {
    test.each([
      ['nil', 'return nil', [undefined]],
      ['nothing', 'return', []],
      ['several', 'return 1, nil, "x", nil', [1, undefined, 'x', undefined]],
      ['an integer', 'return 3', [3]],
      ['a whole float', 'return 3.0, -0.0', [new Float(3), new Float(-0)]],
      ['a float', 'return 2.5, 1/0', [2.5, Number.POSITIVE_INFINITY]],
      ['bytes', 'return "\\0\\200\\255"', ['\0\xc8\xff']],
    ])('%s', (_what, source, expected) => expect(results(source)).toEqual(expected))

    test('whole floats print without a fraction and stay floats', () => {
      expect(results('return tostring(10/2), "" .. 3.0, math.type(10/2), string.format("%s", 2.0)')).toEqual([
        '5',
        '3',
        'float',
        '2',
      ])
    })

    test('integers that do not fit arrive as floats, never wrapped', () => {
      const { engine, base } = start()
      engine.set(base, 'big', 1_767_323_045_123)
      engine.set(base, 'huge', 2n ** 62n)
      const source = 'return big == 1767323045123.0, huge == 2.0^62, big + 1 > big'
      const thread = engine.newThread(engine.load(engine.compile('t:x', source), engine.newEnvironment(base)))
      engine.run(thread, {}, BUDGET, { values: [] })
      expect(engine.results).toEqual([true, true, true])
    })

    test('whole floats print all their digits as far as they are exact', () => {
      expect(results('return tostring(2.0^53 - 1), tostring(-0.0), tostring(1e100), 1767323045123.0 .. ""')).toEqual([
        '9007199254740991',
        expect.stringMatching(/^-?0$/),
        '1e+100',
        '1767323045123',
      ])
    })

    test('host functions see their arguments, trailing nils included', () => {
      expect(results('return counts(nil, nil)')).toEqual([2, 'nil', 'none'])
      expect(results('return select("#", nothing()), select("#", (nothing()))')).toEqual([0, 1])
      expect(
        results('return show(setmetatable({}, { __tostring = function() return "meta" end })), show(nil)'),
      ).toEqual(['meta', 'nil'])
    })

    test('strings with different bytes are different keys, and order by their bytes', () => {
      expect(
        results('local t = { ["\\1\\35"] = 1 } return t["\\18\\3"], t["\\1\\35"], "\\n" < "b", "a\\0b" < "a\\1"'),
      ).toEqual([undefined, 1, true, true])
    })

    test('a host object is one userdata, with its methods and tostring', () => {
      expect(
        results('local c = newcounter() c:add() return c:add(), tostring(c), type(c), c == c, copy(c) == nil'),
      ).toEqual([2, 'counter 2', 'userdata', true, true])
    })

    test('tables are copied with shared references and cycles, strings and subtypes kept', () => {
      const source = `local t = { 1, 2.0, "x", { y = true } }
        t.again, t.me = t[4], t
        local c = copy(t)
        return c ~= t, c.me == c, c.again == c[4], math.type(c[1]), math.type(c[2]), #c`
      expect(results(source)).toEqual([true, true, true, 'integer', 'float', 4])
    })

    test('a table filled out of order is a sequence all the same', () => {
      const { engine, base } = start()
      const source = 'local t = {} t[3] = "c" t[2] = "b" t[1] = "a" t.x = 1 return t'
      const thread = engine.newThread(engine.load(engine.compile('t:x', source), engine.newEnvironment(base)))
      engine.run(thread, {}, BUDGET, { values: [] })
      expect(engine.copyOut(engine.results[0])).toEqual(new TableValue(['a', 'b', 'c'], ['x'], [1]))
    })

    test('a table nested very deeply is copied too', () => {
      const source = `local t, depth = {}, 0
        for i = 1, 20000 do t = { t } end
        local c = copy(t)
        while c[1] do c, depth = c[1], depth + 1 end
        return depth`
      expect(results(source)).toEqual([20_000])
    })
  })

  describe(`${name}: suspension`, () => {
    test.each([
      ['a plain call', 'return wait() + 1', [4], [5]],
      ['pcall', 'return pcall(function() return wait() + 1 end)', [4], [true, 5]],
      [
        'xpcall',
        'return xpcall(function() local v = wait() error("e" .. v, 0) end, function(e) return e .. "!" end)',
        [4],
        [false, 'e4!'],
      ],
      [
        'a coroutine',
        'local co = coroutine.create(function() return wait() end) return coroutine.resume(co)',
        [4],
        [true, 4],
      ],
      [
        'nested coroutines',
        'local function deep(n) if n == 0 then return wait() end return select(2, coroutine.resume(coroutine.create(deep), n - 1)) end return deep(50)',
        [4],
        [4],
      ],
      [
        'a wrapped iterator',
        'local s = 0 for v in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(wait()) end end) do s = s + v end return s',
        [1, 2, 3],
        [6],
      ],
      [
        'an iterator function',
        'local s = 0 for v in function() return wait() end do s = s + v end return s',
        [1, 2, undefined],
        [3],
      ],
      [
        'a metamethod',
        'local t = setmetatable({}, { __index = function(_, k) return k .. wait() end }) return t.x',
        ['y'],
        ['xy'],
      ],
      [
        'an error after it',
        'local ok, e = pcall(function() wait() error({}) end) return ok, type(e)',
        [1],
        [false, 'table'],
      ],
    ] satisfies [string, string, LuaValue[], LuaValue[]][])('works in %s', (_what, source, feed, expected) => {
      expect(results(source, feed)).toEqual(expected)
    })

    test('a coroutine sees its own yields and not the runtime’s', () => {
      const source = `local co = coroutine.wrap(function(a) local b = coroutine.yield(a .. wait()) return b .. wait() end)
        return co("a"), co("b")`
      expect(results(source, ['1', '2'])).toEqual(['a1', 'b2'])
    })

    test('is refused, not broken, where it cannot work', () => {
      expect(
        results('local ok, e = pcall(table.sort, { 3, 2, 1 }, function(a, b) wait() return a < b end) return ok, e'),
      ).toEqual([false, expect.stringContaining('attempt to yield')])
      expect(results('local ok, e = pcall(string.gsub, "abc", ".", function() wait() end) return ok, e')).toEqual([
        false,
        expect.stringContaining('attempt to yield'),
      ])
    })

    test('coroutine.yield outside of a coroutine gives up the turn', () => {
      expect(run('coroutine.yield() coroutine.yield() return 1').statuses).toEqual(['yielded', 'yielded', 'done'])
    })

    test('a thread of the scheduler, and one that waits, cannot be resumed by a script', () => {
      const source = 'local me = coroutine.running() return coroutine.resume(me)'
      expect(results(source)).toEqual([false, 'cannot resume non-suspended coroutine'])
      expect(
        results(
          'local co = coroutine.create(function() end) coroutine.resume(co) return coroutine.status(co), coroutine.resume(co)',
        ),
      ).toEqual(['dead', false, 'cannot resume dead coroutine'])
    })

    test('the answer may be an error', () => {
      const { engine, base } = start()
      const thread = engine.newThread(
        engine.load(engine.compile('t:x', 'return pcall(wait)'), engine.newEnvironment(base)),
      )
      engine.run(thread, {}, BUDGET, { values: [] })
      expect(engine.run(thread, {}, BUDGET, { raise: 'closed' })).toBe('done')
      expect(engine.results).toEqual([false, expect.stringContaining('closed')])
    })
  })

  describe(`${name}: budget`, () => {
    test.each([
      ['a loop', 'local n = 0 while n < 200000 do n = n + 1 end return n'],
      [
        'a loop in a coroutine under pcall',
        'return select(2, pcall(coroutine.wrap(function() local n = 0 while n < 200000 do n = n + 1 end return n end)))',
      ],
      ['recursion', 'local function f(n) if n == 0 then return 200000 end return f(n - 1) end return f(200000)'],
    ])('pauses %s and goes on', (_what, source) => {
      const { statuses, results } = run(source)
      expect(statuses.filter((status) => status === 'preempted').length).toBeGreaterThan(3)
      expect(results).toEqual([200_000])
    })

    test.each([
      'pcall(error, "x")',
      'xpcall(error, tostring, "x")',
      'coroutine.wrap(function() pcall(error) end)()',
      'pcall(pcall, error)',
    ])('still pauses after a caught error: %s', (caught) => {
      const { statuses, results } = run(`${caught} local n = 0 while n < 200000 do n = n + 1 end return n`)
      expect(statuses.filter((status) => status === 'preempted').length).toBeGreaterThan(3)
      expect(results).toEqual([200_000])
    })

    test('is kept to its grain', () => {
      const { engine, base } = start()
      const thread = engine.newThread(
        engine.load(engine.compile('t:x', 'while true do end'), engine.newEnvironment(base)),
      )
      expect(engine.run(thread, {}, 50_000, { values: [] })).toBe('preempted')
      expect(engine.usedBudget).toBeGreaterThanOrEqual(50_000)
      expect(engine.usedBudget).toBeLessThan(60_000)
    })

    test('stops a runaway that cannot be paused', { timeout: 60_000 }, () => {
      const { statuses, results } = run('return pcall(table.sort, { 1, 2, 3 }, function() while true do end end)')
      expect(statuses.at(-1)).toBe('done')
      expect(results).toEqual([false, expect.stringContaining('instruction budget exceeded')])
    })
  })

  describe(`${name}: errors`, () => {
    test.each([
      ['a nil index', 'local x\nx.y = 1', "t:x:2: attempt to index a nil value (local 'x')"],
      ['a nil call', '\n\nnope()', "t:x:3: attempt to call a nil value (global 'nope')"],
      ['arithmetic on a string', 'return {} + 1', 't:x:1: attempt to perform arithmetic on a table value'],
      ['a host’s error', 'raise()', 't:x:1: from the host'],
    ])('%s has its place', (_what, source, expected) => {
      const { statuses, results, traceback } = run(source)
      expect([statuses.at(-1), results[0]]).toEqual(['error', expected])
      expect(traceback).toContain('stack traceback')
    })

    test('syntax errors have chunk, line and text', () => {
      const compile = (source: string) => () => start().engine.compile('ns:long.name', source)
      expect(compile('x = 1\ny = = 2')).toThrow(LuaSyntaxError)
      expect(compile('x = 1\ny = = 2')).toThrow(
        expect.objectContaining({ line: 2, text: expect.stringContaining("unexpected symbol near '='") }),
      )
      expect(compile('end')).toThrow(expect.objectContaining({ line: 1 }))
    })

    test('error objects pass unchanged and serve as strings', () => {
      const source = `local ok, e = pcall(error, failure)
        return e == failure, e:kind(), string.find(e, "tak", 1, true), string.upper(e), table.concat({ e, "x" }, "-"), tostring(e)`
      expect(results(source)).toEqual([true, 'Conflict', 1, 'TAKEN', 'taken-x', 'taken'])
    })

    test('a fault of ours is an Internal error of the script, and nothing worse', () => {
      expect(results('local ok, e = pcall(fault) return ok, type(e), e:kind(), tostring(e)')).toEqual([
        false,
        'userdata',
        'Internal',
        expect.stringContaining('a bug of ours'),
      ])
    })

    test('argument errors leave the stack whole', () => {
      const source = `local out = {}
        for _, f in ipairs({ coroutine.status, coroutine.resume, coroutine.wrap, string.rep, table.concat, math.floor }) do
          out[#out + 1] = tostring(select(2, pcall(f))):match("argument #1")
        end
        return table.concat(out, ",")`
      expect(results(source)).toEqual([Array(6).fill('argument #1').join(',')])
    })

    test('a function is named as one knows it, also where the call does not name it', () => {
      const source =
        'return select(2, pcall(string.rep)), select(2, pcall(ipairs)), select(2, pcall(coroutine.status, 1))'
      expect(results(source)).toEqual([
        "bad argument #1 to 'string.rep' (string expected, got no value)",
        "bad argument #1 to 'ipairs' (value expected)",
        "bad argument #1 to 'coroutine.status' (thread expected, got number)",
      ])
    })

    test('strings that grow without end are an error that can be caught', { timeout: 60_000 }, () => {
      const doubled = 'pcall(function() local s = "x" for _ = 1, 60 do s = s .. s end return #s end)'
      expect(results(`return ${doubled}`)).toEqual([false, 'not enough memory'])
      expect(results(`return coroutine.wrap(function() return ${doubled} end)()`)).toEqual([false, 'not enough memory'])
      expect(run('local s = "x" while true do s = s .. s end').statuses.at(-1)).toBe('error')
    })

    test('endless recursion is an error that can be caught', { timeout: 60_000 }, () => {
      expect(
        results(
          'local function f() return 1 + f() end local ok, e = pcall(f) return ok, (string.find(tostring(e), "stack overflow")) ~= nil',
        ),
      ).toEqual([false, true])
      expect(results('local function f() return (pcall(f)) end return pcall(f)')).toHaveLength(2)
    })
  })

  describe(`${name}: the sandbox`, () => {
    test.each([
      'load',
      'loadstring',
      'loadfile',
      'dofile',
      'collectgarbage',
      'rawlen',
      'debug',
      'utf8',
      'package',
      'io',
      'os',
    ])('%s is not there', (global) => {
      expect(results(`return ${global}`)).toEqual([undefined])
    })

    test('string.dump is not there', () => expect(results('return string.dump')).toEqual([undefined]))

    test.each([
      'string.x = 1',
      'rawset(string, "x", 1)',
      'getmetatable("").__index = {}',
      'table.insert(string, 1)',
      'setmetatable(string, {})',
      'string.format = nil',
    ])('shared tables cannot be changed: %s', (source) =>
      expect(results(`return (pcall(function() ${source} end))`)).toEqual([false]),
    )

    test('shared tables can be read and traversed', () => {
      expect(
        results('local n = 0 for k, v in pairs(string) do n = n + 1 end return n > 10, ("x"):rep(3), #math == 0'),
      ).toEqual([true, 'xxx', true])
    })

    test('a module table may be callable', () => {
      const { engine, base } = start()
      const shout = engine.moduleTable('shout', { loud: true }, (call) => [call.type(1), call.arg(2), call.count])
      engine.set(base, 'shout', shout)
      const code = engine.compile('t:x', 'return shout.loud, select("#", shout("a")), shout("a")')
      engine.run(engine.newThread(engine.load(code, engine.newEnvironment(base))), {}, BUDGET, { values: [] })
      expect(engine.results).toEqual([true, 3, 'table', 'a', 2])
    })

    test('lookup follows tables and classes, and runs nothing', () => {
      const { engine, base } = start()
      const look = engine.function('look', (call) => [
        call.engine.lookup(call.arg(1) as LuaTable, call.arg(2) as string),
      ])
      engine.set(base, 'look', look)
      const source = `local a = { x = 1 }
        local b = setmetatable({ y = 2 }, { __index = setmetatable({}, { __index = a }) })
        local c = setmetatable({}, { __index = function() return 3 end })
        local d = {}
        setmetatable(d, { __index = d })
        return look(b, "x"), look(b, "y"), look(c, "x"), look(d, "x"), look(string, "rep") == string.rep,
          type(look(newcounter(), "add")), look(newcounter(), "x")`
      const code = engine.compile('t:x', source)
      engine.run(engine.newThread(engine.load(code, engine.newEnvironment(base))), {}, BUDGET, { values: [] })
      expect(engine.results).toEqual([1, 2, undefined, undefined, true, 'function', undefined])
    })

    test('environments share nothing', () => {
      const { engine, base } = start()
      const code = engine.compile('t:x', 'local before = x x = 1 return before, _G.x, _G._G == _G')
      for (let i = 0; i < 2; i++) {
        engine.run(engine.newThread(engine.load(code, engine.newEnvironment(base))), {}, BUDGET, { values: [] })
        expect(engine.results).toEqual([undefined, 1, true])
      }
    })

    test.each(['string.rep("x", 1e9)', 'string.rep("x", 1e5, string.rep("y", 1e5))'])(
      'sizes are bounded: %s',
      (source) => {
        expect(results(`local ok, e = pcall(function() return ${source} end) return ok, e`)).toEqual([
          false,
          expect.stringContaining('too large'),
        ])
      },
    )

    test('%d truncates, also beyond the engine’s integers', () => {
      expect(results('return string.format("%d|%5d|%-4d|%d|%%d", 3.7, -2.5, 1, 3e10)')).toEqual([
        '3|   -2|1   |30000000000|%d',
      ])
    })

    test('where tells entry and line of the caller', () => expect(results('\nreturn (where())')).toEqual(['t:x:2']))
  })
}
