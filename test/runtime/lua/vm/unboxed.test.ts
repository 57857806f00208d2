// Floats that functions in JavaScript keep apart from what a register holds: every way on which one becomes a value again.

import { describe, expect, test } from 'vitest'
import { MODES, run } from './support.ts'

const PROGRAMS: readonly [name: string, source: string, printed: string][] = [
  [
    'a sum of integers that began as a float is a float',
    `local s = 0.0 for i = 1, 100 do s = s + i end print(s, math.type(s), s == 5050)`,
    '5050\tfloat\ttrue\n',
  ],
  [
    'one that began as an integer stays one, beyond 32 bits and around 64',
    `local s = 0 for i = 1, 100 do s = s + 4294967296 end print(s, math.type(s))
    s = math.maxinteger for i = 1, 3 do s = s + 1 end print(s, s - 1 - 2 == math.maxinteger)`,
    '429496729600\tinteger\n-9223372036854775806\ttrue\n',
  ],
  [
    'integers at the end of the exact doubles',
    `local s = 9007199254740980 for i = 1, 20 do s = s + 1 end print(s, math.type(s))
    local d = -9007199254740980 for i = 1, 20 do d = d - 1 end print(d, math.type(d))
    local f = 9007199254740980.0 for i = 1, 20 do f = f + 1 end print(string.format('%.0f', f), math.type(f))`,
    '9007199254741000\tinteger\n-9007199254741000\tinteger\n9007199254740992\tfloat\n',
  ],
  [
    'a fraction that rounds to a whole number is a float',
    `local s = 4503599627370496 for i = 1, 4 do s = s + 0.25 end print(math.type(s), s == 4503599627370496)`,
    'float\ttrue\n',
  ],
  [
    'minus zero, infinity and what is no number',
    `local z = 0.0 for i = 1, 5 do z = z * -1 end print(1 / z, 1 / -z)
    local big = 1.5 for i = 1, 2000 do big = big * 2.0 end print(big, -big, big == math.huge)
    local nan = big - big print(nan ~= nan, nan < 1, nan >= 1)
    local q = 0 for i = 1, 3 do q = q / -5 end print(1 / q)`,
    '-inf\tinf\ninf\t-inf\ttrue\ntrue\tfalse\tfalse\n-inf\n',
  ],
  [
    'stored, passed, returned, compared, joined, captured',
    `local t, u = {}, 0.0
    local function id(...) return ... end
    local function up() return u end
    local x = 1.0
    for i = 1, 6 do
      x = x * 2 + 0
      t[i] = x t[#t + 1] = x t.last = x
      u = x + 1
      if x == 8 then print('eight', x .. '|' .. x) end
      if x > 16 and not (x <= 16.0) then print(up(), id(x, x + 1, -x)) end
      if i == 5 then goto done end
    end
    ::done::
    print(x, #t, t[1], math.type(t[2]), t.last, t[x] == nil, ({ [32] = 'key' })[x])`,
    'eight\t8|8\n33\t32\t33\t-32\n32\t6\t2\tfloat\t32\ttrue\tkey\n',
  ],
  [
    'as the limits and the step of a loop',
    `local a, b = 1.0, 3.0
    for i = 1, 3 do a = a + 0.5 b = b + 0.5 end
    for x = a - 1, b + 1, a / 5 do io = (io or '') .. ' ' .. x end
    print(io)
    for i = a + 0.5, b - 0.5 do print(i, math.type(i)) end`,
    ' 1.5 2 2.5 3 3.5 4 4.5 5 5.5\n3\tfloat\n4\tfloat\n',
  ],
  [
    'moved from variable to variable',
    `local a, b = 0.0, 1.0
    for i = 1, 30 do a, b = b, a + b end
    print(a, b, math.type(a))
    local c = a for i = 1, 3 do local d = c c = d - 1 d = nil end print(c, a)`,
    '832040\t1346269\tfloat\n832037\t832040\n',
  ],
  [
    'in errors, which name the variable',
    `print(pcall(function() local x = 1.0 for i = 1, 5 do x = x + i if i == 4 then x = x + {} end end end))
    print(pcall(function() local x = 1.0 for i = 1, 5 do x = x * 2 if i == 4 then x = x.y end end end))
    print(pcall(function() local x = 1.0 for i = 1, 5 do x = x * 2 if x < 'a' then return x end end end))
    print(pcall(function() local x = 2.5 for i = 1, 5 do x = x + 1.5 local y = x | 1 end end))`,
    `false\tt:1: attempt to perform arithmetic on a table value
false\tt:2: attempt to index a number value (local 'x')
false\tt:3: attempt to compare number with string
false\tt:4: number (local 'x') has no integer representation\n`,
  ],
  [
    'across metamethods and waits',
    `local V = setmetatable({}, { __add = function(a, b) return (a == V and b or a) + 0.5 end, __lt = function() return true end })
    V = V or nil
    local co = coroutine.wrap(function() local s = 1.0 for i = 1, 4 do s = s * 2 coroutine.yield(s) s = s + 1 end return 'end', s end)
    print(co(), co(), co(), co(), co())
    local meta = setmetatable({}, { __add = function(_, b) return b * 2 end, __lt = function(_, b) return b > 3 end })
    local s, less = 1.0, 0
    for i = 1, 4 do s = meta + s + 0 if meta < s then less = less + 1.0 end end
    print(s, less, math.type(less))`,
    '2\t6\t14\t30\tend\t31\n16\t3\tfloat\n',
  ],
  [
    'powers, and constants that are whole floats',
    `local p, q = 1, 10
    for i = 1, 4 do p = p + i ^ 2.0 q = (q - 2.0) * 0.5 / -1.0 end
    print(p, q, 2.0 < p, -0.0 >= q, 31.0 <= p, p > 31.0)`,
    '31\t1.25\ttrue\tfalse\ttrue\tfalse\n',
  ],
  [
    'loops in loops that are left by every way',
    `local out = {}
    local function search(n)
      local s = 0.0
      for i = 1, n do
        local j = 0
        while true do
          j = j + 1 s = s + 0.5
          if j > i then break end
          if s > 20 then return s, i, j end
          if j % 3 == 0 then goto continue end
          s = s - 0.25
          ::continue::
        end
        repeat s = s + 1.0 until s % 2 == 0 or s > 15
        for k, v in ipairs({ 1, 2, 3 }) do s = s + v / 2 if k == 2 and i % 4 == 0 then break end end
      end
      return s
    end
    for n = 1, 8 do local s, i, j = search(n) out[n] = s .. ':' .. tostring(i) .. ':' .. tostring(j) end
    print(table.concat(out, ' '))`,
    '18.75:nil:nil 23.75:nil:nil 24.25:3:1 24.25:3:1 24.25:3:1 24.25:3:1 24.25:3:1 24.25:3:1\n',
  ],
]

describe.each(MODES)('%s', (mode) => {
  test.each(PROGRAMS)('%s', (_name, source, printed) => {
    expect(run(source, mode).printed).toBe(printed)
  })
})

/** Each operation with each pair of values, both in registers, and each constant on its right. */
const EDGES =
  `0 1 -1 3 -7 2147483647 2147483648 -2147483648 -2147483649 4294967295 4294967296 9007199254740991 9007199254740992
-9007199254740991 -9007199254740993 math.maxinteger math.mininteger 0.5 -0.0 3.0 -2.5 2^53 1e300 1/0`.split(/\s+/)
const BITWISE = ['&', '|', '~', '<<', '>>']
const COMPARISONS = ['<', '<=', '==']
const OPERATIONS = ['+', '-', '*', '%', '//', '/', ...BITWISE, ...COMPARISONS]
const CONSTANTS = [
  '1',
  '-1',
  '5',
  '52',
  '53',
  '255',
  '2147483648',
  '4294967295',
  '2147483647',
  '0.5',
  '2.0',
  '-0.0',
  '1e300',
]

test.each(OPERATIONS)('a %s b is in JavaScript what it is in the loop', (operation) => {
  const isFine = (constant: string): boolean => !(BITWISE.includes(operation) && /[.e]/.test(constant))
  const source = `
  local edges = { ${EDGES.join(', ')} }
  local function show(...)
    local ok, value = ...
    print(ok, value, math.type(value), value == 0 and 1 / value)
  end
  local function both(a, b) for _ = 1, 2 do a = a ${operation} b end return a end
  local function once(a, b) local c = a ${operation} b return c end
  for _, a in ipairs(edges) do
    for _, b in ipairs(edges) do
      show(pcall(once, a, b))
      ${COMPARISONS.includes(operation) ? '' : 'show(pcall(both, a, b))'}
    end
    ${CONSTANTS.filter(isFine)
      .map(
        (constant) =>
          `show(pcall(function(x) for _ = 1, 1 do local y = x ${operation} ${constant} x = y end return x end, a))`,
      )
      .join('\n    ')}
  end`
  const { printed } = run(source, 'loop')
  expect(printed.split('\n').length).toBeGreaterThan(EDGES.length * EDGES.length)
  for (const mode of ['compiled', 'slices'] as const) expect(run(source, mode).printed).toBe(printed)
})
