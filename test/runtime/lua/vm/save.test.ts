// Programs that are written down at any moment and go on in a fresh engine print what they print otherwise. More: MOONMESH_LUA_SEEDS=2000.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MoonmeshError } from '../../../../runtime/base/errors.ts'
import { HostObject, LuaSyntaxError } from '../../../../runtime/lua/engine.ts'
import { compile } from '../../../../runtime/lua/vm/compiler.ts'
import { floats } from '../../../../runtime/lua/vm/number.ts'
import { comparable } from './fuzz.ts'
import { isInstalled, reference } from './lua53.ts'
import { Place, runMoving } from './moving.ts'
import { chance, ProgramMaker } from './programs.ts'
import { MODES, run } from './support.ts'
import { PRELUDE } from './templates.ts'

const SEEDS = Number(process.env['MOONMESH_LUA_SEEDS'] ?? 8)
const HOPS_MAX = 12

beforeAll(() => {
  floats.areShort = false
})
afterAll(() => {
  floats.areShort = true
})

/** The first program from a seed on that can be compiled: some of them cannot, on purpose. */
function programFrom(seed: number): string {
  for (let n = seed; ; n += 1_000_000) {
    const program = `do\n${PRELUDE}\nend\nreset()\n${new ProgramMaker(n).program()}`
    try {
      compile('t', program)
      return program
    } catch (error) {
      if (!(error instanceof LuaSyntaxError)) throw error
    }
  }
}

/** The values of errors that nobody catches are shown in different ways. */
const printedBy = (text: string): string => comparable(text).replace(/^error .*$/m, 'error')

describe('a generated program that moves', () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => i + 1))('seed %d', { timeout: 60_000 }, (seed) => {
    const program = programFrom(seed)
    const expected = run(program, 'loop').printed
    if (isInstalled) expect(printedBy(expected)).toBe(printedBy(reference([program])[0] ?? ''))
    for (const mode of [...MODES, 'changing'] as const) {
      const next = chance(seed * 7 + mode.length)
      let hops = 0
      const moves = (): boolean => hops < HOPS_MAX && next(3) === 0 && ++hops > 0
      const modeOf = (hop: number) => (mode === 'changing' ? (MODES[hop % MODES.length] ?? 'loop') : mode)
      const moved = runMoving(program, modeOf, () => 1 + next(hops < HOPS_MAX ? 400 : 100_000), moves)
      // Addresses are others in another engine.
      expect([mode, comparable(moved.printed)]).toEqual([mode, comparable(expected)])
    }
  })
})

const STORIES: Record<string, string> = {
  'shared variables, cycles, metatables': `
    local a = { 1, 2, nil, 4, x = 1 } a.self = a
    local count = 0
    local function up() count = count + 1 return count end
    local function get() return count end
    local mt = { __index = function(t, k) return k .. "!" end, __name = "thing" }
    local o = setmetatable({ [a] = "keyed", [2.5] = 1, [1 << 60] = 2, [true] = 3 }, mt)
    for i = 1, 20 do up() end
    print(get(), a.self == a, a[4], #a > 0, o[a], o[2.5], o[1 << 60], o[true], o.foo, getmetatable(o) == mt)
    print(math.maxinteger, -0.0, 1e300 * 1e10, 2^53, 3.0, string.rep("long", 30) == ("longlong"):rep(15))`,
  'a traversal during which keys go away': `
    local t = {} for i = 1, 10 do t[i] = i t["k" .. i] = i t[i + 0.5] = i end
    local n, sum = 0, 0
    for k, v in pairs(t) do n = n + 1 sum = sum + v t[k] = nil end
    print(n, sum, next(t))
    local order = {}
    for _, k in ipairs({ "z", "a", "q", "m" }) do order[k] = #k end
    local seen = "" for k in pairs(order) do seen = seen .. k end print(seen)`,
  'coroutines: nested, wrapped, dead, fresh, in iterators': `
    local function range(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i, i * i) end end) end
    local inner = coroutine.create(function(...)
      local sum = select("#", ...)
      for i = 1, 5 do sum = sum + coroutine.yield(sum) end
      return "end", sum
    end)
    local outer = coroutine.wrap(function() for i = 1, 8 do coroutine.yield(coroutine.resume(inner, i)) end end)
    local dead = coroutine.create(function() error("oops") end) coroutine.resume(dead)
    local fresh = coroutine.create(function(a, b) return a + b end)
    for i, sq in range(5) do
      for j in range(3) do if j == 2 then print(i, sq, j, outer()) end end
    end
    print(coroutine.status(dead), coroutine.resume(dead)) print(coroutine.resume(fresh, 1, 2))
    print(coroutine.status(inner), pcall(outer))`,
  'coroutines that functions in JavaScript resume, one inside the other': `
    local function tree(n) if n == 0 then return nil end return { l = tree(n - 1), v = n, r = tree(n - 1) } end
    local function walk(t)
      return coroutine.wrap(function()
        if t == nil then return end
        for v in walk(t.l) do coroutine.yield(v) end
        coroutine.yield(t.v)
        for v in walk(t.r) do coroutine.yield(v) end
      end)
    end
    for _ = 1, 3 do local s = "" for v in walk(tree(4)) do s = s .. v end print(s) end
    local function sums() local a, b = 0, 0.0 while true do local x, y = coroutine.yield(a, b) a = a + x b = b + y / 4 end end
    local inner = coroutine.create(sums)
    local outer = coroutine.wrap(function(x) for i = 1, 20 do x = coroutine.yield(select(2, coroutine.resume(inner, x, i))) end error("over") end)
    local got = 0 for i = 1, 20 do got = got + outer(i) end
    print(got, pcall(outer, 1), coroutine.status(inner), coroutine.resume(inner, 0.5, 2))`,
  'protected calls of functions without a local value, in their last statement': `
    local function busy() local s = 0 for i = 1, 30 do s = s + i end return s end
    local function first() return pcall(busy) end
    local function second() return xpcall(busy, print) end
    print(first()) print(second()) print(select("#", first(), second()))`,
  'metamethods, protected calls and handlers': `
    local mt = {} local function busy(n) local s = 0 for i = 1, n do s = s + i end return s end
    mt.__add = function(a, b) return busy(20) end mt.__concat = function(a, b) busy(5) return "cat" end
    mt.__lt = function(a, b) return busy(3) > 0 end mt.__le = function() return busy(3) < 0 end mt.__eq = function() return busy(4) > 0 end
    mt.__index = function(t, k) return busy(k) end mt.__newindex = function(t, k, v) busy(3) rawset(t, k, v) end
    mt.__call = function(self, ...) busy(3) return ... end mt.__len = function() return busy(9) end mt.__unm = function() return busy(2) end
    local function object() return setmetatable({}, mt) end
    local o, p = object(), object()
    print(o + 1, "x" .. 1 .. o .. "y" .. p, o < p, o <= p, o == p, o ~= p, o[3], #o, -o, o(1, 2, nil))
    o.new = 5 print(rawget(o, "new"), not (o > p))
    print(pcall(function(...) busy(30) error({ code = select("#", ...) }) end, 1, nil) , xpcall(function() busy(9) error("bad", 0) end, function(m) busy(9) return m .. "!" end))
    print(select(2, pcall(pcall, error, "e")), (select("#", pcall(function() return busy(3), nil, nil end))))
    for i, v in ipairs(setmetatable({}, { __index = function(t, i) busy(3) if i < 4 then return i * 2 end end })) do print(i, v) end`,
  'loops of all kinds, tail calls, varargs, patterns': `
    for i = 1, 3 do for x = 0.5, 2 do for b = math.maxinteger - 2, math.maxinteger do print(i, x, b) end end end
    for x = 1.0, 3 do print(x) end for i = 3, 1, -1 do print(i) end
    local function loop(n, acc) if n == 0 then return acc end return loop(n - 1, acc + n) end print(loop(60, 0))
    local function va(...) local t = { ..., n = select("#", ...) } for i = 1, 10 do t.n = t.n + 1 end return t.n, ... end
    print(va(1, nil, 3)) print((va()))
    for w, d in string.gmatch("a1 b22 c333 d4444", "(%a)(%d+)") do local s = 0 for i = 1, #d do s = s + i end print(w, d, s) end
    local i = 0 ::again:: i = i + 1 if i < 30 then goto again end print(i)
    local fns = {} for i = 1, 5 do fns[i] = function() i = i + 1 return i end end
    for k = 1, 3 do print(fns[k](), fns[k]()) end
    local function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end print(deep(300))`,
}

describe('what moves', () => {
  test.each(Object.entries(STORIES))('%s', (_, source) => {
    const expected = run(source, 'loop').printed
    for (const mode of MODES) {
      for (const budget of [1, 7, 40]) {
        let hops = 0
        const moved = runMoving(
          source,
          () => mode,
          () => (hops < 60 ? budget : 100_000),
          () => ++hops <= 60,
        )
        expect([mode, budget, moved.printed]).toEqual([mode, budget, expected])
        expect(moved.hops).toBeGreaterThan(budget < 40 ? 5 : 0)
      }
    }
  })
})

describe('a document', () => {
  /** A place, and what was written down there after so many instructions. */
  function saved(source: string, budget: number): { bytes: Uint8Array; place: Place } {
    const place = new Place(source, 'loop', () => {})
    const thread = place.begin()
    expect(place.run(thread, budget)).toBe('preempted')
    return { bytes: place.capture(thread), place }
  }

  test('that is damaged is refused, or yields a process that can be run; nothing else happens', {
    timeout: 60_000,
  }, () => {
    for (const [n, source] of Object.values(STORIES).entries()) {
      const { bytes, place } = saved(source, 60 + n * 40)
      const next = chance(n + 1)
      let refused = 0
      for (let i = 0; i < 400; i++) {
        const changed = Uint8Array.from(bytes)
        const kind = next(4)
        for (let k = 1 + next(3); k > 0; k--) changed[next(changed.length)] = next(2) === 0 ? next(256) : next(8)
        let bad: Uint8Array = changed
        if (kind === 1) bad = changed.slice(0, next(changed.length))
        else if (kind === 2) {
          const at = next(changed.length)
          bad = Uint8Array.from([...changed.slice(0, at), next(256), ...changed.slice(at + next(3))])
        }
        let thread: ReturnType<Place['restore']>
        try {
          thread = place.restore(bad)
        } catch (error) {
          if (!(error instanceof MoonmeshError)) throw error
          refused++
          continue
        }
        if (place.engine.typeOf(thread) !== 'thread') continue
        for (let slice = 0; slice < 20; slice++) if (place.run(thread, 1000) !== 'preempted') break
      }
      expect(refused).toBeGreaterThan(100)
    }
  })

  test('is refused where the code is another one', () => {
    const { bytes } = saved('local x = 1 for i = 1, 100 do x = x + i end print(x)', 30)
    const other = new Place('local x = 2 for i = 1, 100 do x = x + i end print(x)', 'loop', () => {})
    expect(() => other.restore(bytes)).toThrow('cannot resume the process here: the source of t is another one here')
  })

  test('names the path to what cannot be saved', () => {
    class File extends HostObject {
      override get className(): string {
        return 'File'
      }
    }
    const define = ({ engine, base }: Place): void => {
      engine.defineClass({ name: 'File', methods: {}, saving: 'an open file' })
      engine.set(
        base,
        'open',
        engine.function('open', () => new File()),
      )
    }
    const refusal = (source: string): string => {
      const place = new Place(source, 'loop', () => {}, define)
      const thread = place.begin()
      place.run(thread, 60)
      try {
        place.capture(thread)
        return 'saved'
      } catch (error) {
        return (error as Error).message
      }
    }
    const loop = 'local go = true while go do end'
    expect(refusal(`local f = { handles = { 1, 2, open() } }\nlocal function g() ${loop} return f end g()`)).toBe(
      "cannot save upvalue 'f' of function <t:2> .handles[3]: an open file",
    )
    expect(refusal(`handles = { [true] = { f = open() } } ${loop}`)).toBe(
      "cannot save global 'handles' [true].f: an open file",
    )
    expect(refusal(`local f = open()\n${loop} print(f)`)).toBe(
      'cannot save a local value of the main chunk of t (line 2): an open file',
    )
    expect(refusal(`local t = setmetatable({}, { __index = open() }) ${loop} print(t)`)).toBe(
      'cannot save a local value of the main chunk of t (line 1) (its metatable).__index: an open file',
    )
    // What nobody asks for any more is no obstacle.
    expect(refusal(`local f = open() f = nil ${loop} print(f)`)).toBe('saved')
    expect(refusal(`tostring(open()) ${loop}`)).toBe('saved')
  })
})
