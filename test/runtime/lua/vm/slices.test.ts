// A thread that is given one slice after the other without being left: it uses of each what it uses when it is left and run again.

import { describe, expect, test } from 'vitest'
import { begin, MODES, type Mode, newEngine } from './support.ts'

const PROGRAM = `
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
local function down(n) if n == 0 then return 'down' end return down(n - 1) end
print(fib(12), down(300), pcall(error, 'e'))
local Account = {}
Account.__index = Account
Account.__add = function(a, b) return a.n + b.n end
function Account.new(n) return setmetatable({ n = n }, Account) end
function Account:put(n) for _ = 1, 3 do self.n = self.n + n end return self end
local a, b = Account.new(1), Account.new(2)
for i = 1, 40 do a:put(i) b:put(a + b) end
print(a.n, b.n)
local co = coroutine.wrap(function(x) while true do for _ = 1, 5 do x = x + 1 end x = coroutine.yield(x) end end)
local sum = 0
for i = 1, 50 do sum = sum + co(i) end
print(sum)
local list = {}
for i = 1, 60 do list[i] = (i * 37) % 61 end
table.sort(list)
print((table.concat(list, ' '):gsub('%d+', function(d) for _ = 1, 3 do d = d .. d end return d end)))
print((('abc'):rep(20):gsub('%a', function(c) local up = c:upper() while #up < 2 do up = up .. c end return up end)))
local words = 0
for _ in ('one two three four'):gmatch('%a+') do words = words + 1 end
print(words, pcall(function() for i = 1, 100 do if i == 77 then error(i, 0) end end end))
`

/** @param most slices that it may have at once */
function runWith(mode: Mode, budget: number, most: number) {
  const engine = newEngine(mode)
  let printed = ''
  const used: number[] = []
  const owner = {}
  let more = 0
  engine.moreBudget = (asking, spent) => {
    expect(asking).toBe(owner)
    if (++more >= most) return 0
    used.push(spent)
    return budget
  }
  const thread = begin(engine, PROGRAM, (line) => {
    printed += line
  })
  let runs = 0
  for (let status = 'preempted'; status === 'preempted'; runs++) {
    more = 0
    status = engine.run(thread, owner, budget, { values: [] })
    used.push(engine.usedBudget)
  }
  return { printed, used, runs }
}

describe.each(MODES)('%s', (mode) => {
  test.each([17, 40, 1000, 3001])(
    'slices of %i instructions',
    (budget) => {
      const left = runWith(mode, budget, 1)
      const some = runWith(mode, budget, 3)
      const all = runWith(mode, budget, Number.POSITIVE_INFINITY)
      expect(some).toEqual({ ...left, runs: some.runs })
      expect(all).toEqual({ ...left, runs: 1 })
      expect(some.runs).toBeLessThan(left.runs)
      expect(runWith('loop', budget, 1).used).toEqual(left.used)
    },
    120_000,
  )
})

test('what a process holds is counted as often, however many slices it has at once', () => {
  const engine = newEngine('compiled')
  const thread = begin(engine, 'local t = {} for i = 1, math.huge do t[i] = { i } end', () => {})
  engine.limitMemory(thread, 4 * 2 ** 20)
  engine.moreBudget = () => 1000
  let status = 'preempted'
  for (let i = 0; status === 'preempted' && i < 1000; i++) status = engine.run(thread, {}, 1000, { values: [] })
  expect([status, String((engine.results[0] as { error?: { kind: string } }).error?.kind)]).toEqual([
    'error',
    'LimitExceeded',
  ])
}, 120_000)
