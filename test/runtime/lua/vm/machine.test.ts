// What the machine promises beyond the seam's conformance suite, in each of the ways to run it.

import { describe, expect, test } from 'vitest'
import { LuaSyntaxError, type LuaValue } from '../../../../runtime/lua/engine.ts'
import { compile } from '../../../../runtime/lua/vm/compiler.ts'
import { MODES, run } from './support.ts'

describe.each(MODES)('%s', (mode) => {
  const results = (source: string): readonly LuaValue[] => {
    const ended = run(source, mode)
    if (ended.printed !== '') throw new Error(ended.printed)
    return ended.results
  }

  test('150,000 calls inside each other, and more are an error that can be caught', () => {
    const source = `local function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end
      local ok, text = pcall(deep, 1e6)
      return deep(150000), ok, (string.find(text, "stack overflow", 1, true)) ~= nil`
    expect(results(source)).toEqual([150_000, false, true])
  })

  test('tail calls take no room (manual §3.4.10)', () => {
    const source = `local function f(n) if n == 0 then return "end" end return f(n - 1) end
      local function a(n) if n == 0 then return "even" end return b(n - 1) end
      function b(n) if n == 0 then return "odd" end return a(n - 1) end
      return f(300000), a(300001)`
    expect(results(source)).toEqual(['end', 'odd'])
  })

  test.each([
    ['__index', 'setmetatable({}, { __index = function(_, k) return coroutine.yield(k) end }).x', 'x'],
    ['__add', 'setmetatable({}, { __add = function(_, n) return coroutine.yield(n) end }) + 7', 7],
    ['__concat', 'setmetatable({}, { __concat = function(_, s) return coroutine.yield(s) end }) .. "s"', 's'],
    ['__call', 'setmetatable({}, { __call = function(_, v) return coroutine.yield(v) end })(3)', 3],
    ['__len', '#setmetatable({}, { __len = function() return coroutine.yield("len") end })', 'len'],
    ['__unm', '-setmetatable({}, { __unm = function() return coroutine.yield("unm") end })', 'unm'],
    ['pcall', 'select(2, pcall(function() return coroutine.yield("in pcall") end))', 'in pcall'],
    ['xpcall', 'select(2, xpcall(coroutine.yield, print, "in xpcall"))', 'in xpcall'],
    ['an iterator', '(function() for v in function() return coroutine.yield("it") end do return v end end)()', 'it'],
    [
      'ipairs',
      '(function() for _, v in ipairs(setmetatable({}, { __index = function(_, i) return coroutine.yield(i) end })) do return v end end)()',
      1,
    ],
  ] as const)('a coroutine yields inside %s', (_what, expression, yielded) => {
    const source = `local co = coroutine.wrap(function() return "got", ${expression} end)
      local first = co()
      return first, co("sent")`
    expect(results(source)).toEqual([yielded, 'got', 'sent'])
  })

  test('comparisons may yield, and jump as their answer says', () => {
    const source = `local mt = { __lt = function() return coroutine.yield() end, __eq = function() return coroutine.yield() end }
      local a, b = setmetatable({}, mt), setmetatable({}, mt)
      local co = coroutine.wrap(function()
        local out = {}
        if a < b then out[#out + 1] = "lt" end
        if a <= b then out[#out + 1] = "le" end
        if a == b then out[#out + 1] = "eq" end
        if a ~= b then out[#out + 1] = "ne" end
        return table.concat(out, " ")
      end)
      co() co(true) co(true) co(false)
      return co(false)`
    expect(results(source)).toEqual(['lt ne'])
  })

  test('errors name variables and lines, in functions of JavaScript too', () => {
    const source = `local function fail(t)
        local x = t.inner
        return x.value
      end
      local last
      for i = 1, 50 do
        local ok, text = pcall(fail, i < 50 and { inner = { value = i } } or {})
        last = text
      end
      return last`
    expect(results(source)).toEqual(["t:3: attempt to index a nil value (local 'x')"])
  })

  test('an upvalue of each round of a loop is its own', () => {
    const source = `local fs = {}
      for i = 1, 60 do local j = i * 2 fs[i] = function() j = j + 1 return i, j end end
      fs[1]() fs[60]()
      local a, b = fs[1]()
      local c, d = fs[60]()
      return a, b, c, d`
    expect(results(source)).toEqual([1, 4, 60, 122])
  })

  test('what was learned about a class is forgotten when the class changes', () => {
    const source = `local Base = {} Base.__index = Base
      function Base:name() return "base" end
      local Sub = setmetatable({}, { __index = Base }) Sub.__index = Sub
      local o, out = setmetatable({}, Sub), {}
      local function ask() return o:name() end
      for i = 1, 60 do
        if i == 20 then function Base:name() return "changed" end end
        if i == 30 then function Sub:name() return "sub" end end
        if i == 40 then Sub.name = nil end
        if i == 50 then o.name = function() return "own" end end
        if i == 55 then o.name = nil setmetatable(Sub, nil) Sub.name = function() return "alone" end end
        local name = ask()
        if out[#out] ~= name then out[#out + 1] = name end
      end
      return table.concat(out, " ")`
    expect(results(source)).toEqual(['base changed sub changed own alone'])
  })

  test('errors caught below and above functions of JavaScript leave their registers whole', () => {
    const source = `local function inner(n) if n % 3 == 0 then error({ n = n }) end return n end
      local function outer(a, b, ...)
        local ok, e = pcall(inner, a, ...)
        local also = pcall(error, "x")
        return a, b, ok, ok and e or e.n, also, select("#", ...)
      end
      local sum = 0
      for i = 1, 100 do
        local a, b, ok, v, also, n = outer(i, i + 1, nil, nil)
        if a ~= i or b ~= i + 1 or ok ~= (i % 3 ~= 0) or v ~= i or also or n ~= 2 then error("round " .. i) end
        sum = sum + v
      end
      return sum`
    expect(results(source)).toEqual([5050])
  })

  test.each([
    ['in a call that is caught', 'pcall(function() return {} .. o .. "z" end)'],
    ['in a callback, caught outside', 'pcall(string.gsub, "x", "x", function() return {} .. o .. "z" end)'],
    ['in a coroutine, caught outside', 'pcall(coroutine.wrap(function() return {} .. o .. "z" end))'],
    [
      'in a coroutine that its resumer asks',
      'coroutine.resume(coroutine.create(function() return {} .. o .. "z" end))',
    ],
  ])('a coroutine keeps its registers when who resumed it fails with what it yields, %s', (_where, failing) => {
    const source = `local gen = coroutine.wrap(function()
        local p, q = 10, 20
        for i = 1, 1e9 do
          p = p + 1
          coroutine.yield({ p, q, i })
        end
      end)
      local o = setmetatable({}, { __concat = gen })
      local caught = 0
      for i = 1, 60 do
        local ok, e = ${failing}
        if not ok and string.find(e, "attempt to concatenate a table value", 1, true) then caught = caught + 1 end
        local t = gen()
        if t[1] ~= 10 + 2 * i or t[2] ~= 20 or t[3] ~= 2 * i then return i, t[1], t[2], t[3] end
      end
      return caught`
    expect(results(source)).toEqual([60])
  })

  test('select, whatever becomes of its results', () => {
    const source = `local function tail(i, ...) return select(i, ...) end
      local function list(i, ...) return { select(i, ...) } end
      local function passed(i, ...) return table.concat({ "", tail(1, select(i, ...)) }, ",") end
      local function one(i, ...) return (select(i, ...)) end
      local function text(...)
        local out = { select("#", ...) }
        for i = 1, select("#", ...) do out[i + 1] = tostring((select(i, ...))) end
        return table.concat(out, " ")
      end
      local out
      for i = 1, 60 do
        out = {}
        for _, at in ipairs({ "#", 1, 2, 3, 4, -1, -3, 2.0 }) do
          out[#out + 1] = text(tail(at, 1, nil, "c"))
          out[#out + 1] = #list(at, 1, 2, "c")
          out[#out + 1] = passed(at, "a", 2, 3)
          out[#out + 1] = tostring(one(at, 1, nil, "c"))
        end
        out[#out + 1] = tostring(select(2, pcall(tail, 0, 1)))
        out[#out + 1] = tostring(select(2, pcall(tail, "x", 1)))
        out[#out + 1] = text(tail(1))
      end
      return table.concat(out, "; ")`
    // As lua5.3 says, but for the name of the chunk.
    expect(results(source)).toEqual([
      '1 3; 1; ,3; 3; 3 1 nil c; 3; ,a,2,3; 1; 2 nil c; 2; ,2,3; nil; 1 c; 1; ,3; c; 0; 0; ; nil; 1 c; 1; ,3; c; ' +
        "3 1 nil c; 3; ,a,2,3; 1; 2 nil c; 2; ,2,3; nil; t:1: bad argument #1 to 'select' (index out of range); " +
        "t:1: bad argument #1 to 'select' (number expected, got string); 0",
    ])
  })

  test('lists of all lengths: table.insert and table.remove do what a loop does', () => {
    const source = `local function put(t, at, v) for i = #t, at, -1 do t[i + 1] = t[i] end t[at] = v end
      local function take(t, at) local v = t[at] for i = at, #t do t[i] = t[i + 1] end return v end
      local a, b = {}, {}
      local x, longest = 1, 0
      local function random(n) x = (x * 1103515245 + 12345) % 2147483648 return x // 65536 % n + 1 end
      for round = 1, 3000 do
        local grows = round % 300 < 170
        if #a == 0 or grows and random(4) > 1 then
          local at = random(#a + 1)
          put(a, at, round)
          table.insert(b, at, round)
        else
          local at = random(#a)
          if take(a, at) ~= table.remove(b, at) then return "taken", round end
        end
        if #a ~= #b then return "length", round, #a, #b end
        longest = math.max(longest, #a)
        local at = random(#a + 1)
        if a[at] ~= b[at] then return "value", round, at end
      end
      local n = 0
      for k, v in pairs(b) do
        if a[k] ~= v then return "key", k end
        n = n + 1
      end
      return n == #a and longest > 60`
    expect(results(source)).toEqual([true])
  })

  test('what is caught for somebody who can do nothing with it fails in turn, and is caught above', () => {
    const source = `local t = setmetatable({}, {
        __concat = pcall,
        __call = function() for i = 1, 3000 do end error("x") end,
      })
      local n = 0
      for i = 1, 50 do
        local ok, e = pcall(function() return "z" .. t .. "y" end)
        if not ok and string.find(e, "attempt to concatenate a boolean value", 1, true) then n = n + 1 end
      end
      return n`
    expect(results(source)).toEqual([50])
  })

  test('errors of error and assert where the library calls them', () => {
    const source = `local out = {}
      local function add(...) out[#out + 1] = table.concat({ ... }, " ") end
      local function text(ok, e) return tostring(ok) .. " " .. tostring(e) end
      for i = 1, 40 do
        out = {}
        add(text(xpcall(error, error, "a")))
        add(text(xpcall(function() error("q", 0) end, error)))
        add(text(xpcall(function() error("q", 0) end, function(e) return e .. "!" end)))
        add(text(pcall(coroutine.wrap(error), "x")))
        add(text(coroutine.resume(coroutine.create(error), 5)))
        add(text(pcall(assert, false, "m")))
        add(text(pcall(assert, nil)))
        add(text(pcall(error)))
        add(text(pcall(table.sort, { 3, 2, 1 }, function() error("s", 0) end)))
        add(text(pcall(string.gsub, "abc", "%w", function() error("g", 0) end)))
        add(text(pcall(function() return setmetatable({}, { __index = function() error("i", 0) end }).x end)))
        add(text(pcall(function() for k in error, "e" do end end)))
        local caught = pcall(function() local ok, e = pcall(error, "in", 0) error(e .. "ner", 0) end)
        add(tostring(caught))
      end
      return table.concat(out, "; ")`
    // As lua5.3 says, but for the name of the chunk.
    expect(results(source)).toEqual([
      'false error in error handling; false error in error handling; false q!; false x; false 5; false m; ' +
        'false assertion failed!; false nil; false s; false g; false i; false t:17: e; false',
    ])
  })

  test('what a coroutine raises at once leaves alone what a function of JavaScript above it waits for', () => {
    const source = `local function native(n) local p, q, r, s = 1, 2, 3, 4 local w = coroutine.wrap(error) w("x") return p, q, r, s end
      local function lua(n) local p, q, r, s = 1, 2, 3, 4 coroutine.wrap(function() error("y") end)() return p, q, r, s end
      local function deep(n)
        local p, q, r, s = 1, 2, 3, 4
        coroutine.wrap(function() local a, b = 7, 8 coroutine.wrap(error)("z") return a, b end)()
        return p, q, r, s
      end
      local function resumed(n)
        local p, q, r, s = 1, 2, 3, 4
        local ok, e, more = coroutine.resume(coroutine.create(error), "w")
        if ok or e ~= "w" or more ~= nil then return "results" end
        coroutine.wrap(error)("x")
        return p, q, r, s
      end
      local function handler(m, n, o, p) if n ~= nil or o ~= nil or p ~= nil then return "handler" end return m end
      for i = 1, 100 do
        for _, f in ipairs({ native, lua, deep, resumed }) do
          local ok, e, x, y, z = pcall(f, i)
          if ok or not string.find(e, "%l$") or x ~= nil or y ~= nil or z ~= nil then return "pcall", i end
          ok, e, x, y, z = xpcall(f, handler, i)
          if ok or e == "handler" or x ~= nil or y ~= nil or z ~= nil then return "xpcall", i end
        end
      end
      return "whole"`
    expect(results(source)).toEqual(['whole'])
  })
})

describe('the compiler', () => {
  test.each([
    ['x = = 1', 1, "unexpected symbol near '='"],
    ['if x then', 1, "'end' expected near <eof>"],
    ['\nif x then\n\nfoo(', 4, 'unexpected symbol near <eof>'],
    ['if x then\n', 2, "'end' expected (to close 'if' at line 1) near <eof>"],
    ['local x = "abc\n"', 1, "unfinished string near '\"abc'"],
    ['x = 3x', 1, 'syntax error near <eof>'],
    ['x = 3e', 1, "malformed number near '3e'"],
    ['x = "\\q"', 1, "invalid escape sequence near '\"\\q'"],
    ['goto nowhere', 1, "no visible label 'nowhere' for <goto> at line 1"],
    ['break', 1, '<break> at line 1 not inside a loop'],
    ['goto l local a ::l:: print(a)', 1, "<goto l> at line 1 jumps into the scope of local 'a'"],
    ['::l:: ::l::', 1, "label 'l' already defined on line 1"],
    ['function f() return ... end', 1, "cannot use '...' outside a vararg function near '...'"],
    ['x', 1, 'syntax error near <eof>'],
    ['--[[ x', 1, 'unfinished long comment (starting at line 1) near <eof>'],
    [`x = ${'('.repeat(300)}`, 1, expect.stringContaining('too many C levels')],
    [
      `local ${Array.from({ length: 201 }, (_, i) => `a${i}`).join(',')}`,
      1,
      expect.stringContaining('too many local variables'),
    ],
  ])('%o', (source, line, text) => {
    expect(() => compile('t', source)).toThrow(LuaSyntaxError)
    expect(() => compile('t', source)).toThrow(expect.objectContaining({ line, text }))
  })

  test('takes a function with many constants, and a table of many fields', () => {
    const fields = Array.from({ length: 1000 }, (_, i) => `k${i} = ${i}`).join(', ')
    const list = Array.from({ length: 1000 }, (_, i) => `"v${i}"`).join(', ')
    const { results } = run(`local t, l = { ${fields} }, { ${list} } return t.k999, l[1000], #l, t.k0`, 'loop')
    expect(results).toEqual([999, 'v999', 1000, 0])
  })
})
