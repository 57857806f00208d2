// Processes that are saved and go on elsewhere: what scripts and those around them see of it.

import { afterEach, describe, expect, test } from 'vitest'
import { toBytes } from '../../../runtime/base/bytes.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { type Plain, toPlain } from '../../../runtime/base/plain.ts'
import { ErrorValue, record, type TableValue, type Value } from '../../../runtime/base/value.ts'
import type { Answer, Outcome } from '../../../runtime/services.ts'
import { TestNode } from '../../tools/lua.ts'
import { chance } from '../lua/vm/programs.ts'

const nodes: TestNode[] = []

function newNode(source: string, entries = {}): TestNode {
  const node = new TestNode({ 'app:worker': source, ...entries })
  nodes.push(node)
  return node
}

afterEach(() => {
  for (const node of nodes.splice(0)) node.close()
})

function capture(
  node: TestNode,
  pid: string,
  options: { stop?: boolean; timeoutMs?: number } = {},
): Answer<Value> | undefined {
  let answer: Answer<Value> | undefined
  const question = { kind: 'capture', to: pid, stop: false, timeoutMs: 1000, bytesMax: 1_000_000, ...options } as const
  node.relay.capture(question, (given) => {
    answer = given
  })
  node.driver.settle()
  return answer
}

function heapOf(answer: Answer<Value> | undefined): string {
  if (answer?.ok !== true) throw answer?.error ?? new Error('not answered')
  return (answer.value as TableValue).array[1] as string
}

function resume(
  node: TestNode,
  saved: string,
  host = 'app:a',
  name?: string,
): { pid: string; outcome: () => Outcome | undefined } {
  let pid = ''
  let failure: unknown
  let outcome: Outcome | undefined
  const request = { ...node.request('app:worker', [], host), context: record({}), saved, name }
  node.relay.spawn(
    request,
    (answer) => {
      if (answer.ok) pid = answer.value
      else failure = answer.error
    },
    (ended) => {
      outcome = ended
    },
  )
  node.driver.settle()
  if (failure !== undefined) throw failure
  return { pid, outcome: () => outcome }
}

/** Sends it what it waits for. */
function goOn(node: TestNode, { pid, outcome }: ReturnType<typeof resume>): Outcome | undefined {
  node.send(pid, 'end')
  return outcome()
}

function resultOf(outcome: Outcome | undefined): Plain {
  if (outcome === undefined) throw new Error('the process did not end')
  if (!outcome.ok) throw outcome.error
  return toPlain(outcome.value)
}

function refusal(answer: Answer<Value> | undefined): string {
  if (answer === undefined) return 'no answer'
  return answer.ok ? 'saved' : `${answer.error.kind}: ${answer.error.message}`
}

describe('a process that moves', () => {
  test('keeps its state, mail, listeners, coroutines and channels, and has a new pid', () => {
    const source = `return function()
      local born, inbox, numbers = process.pid(), process.inbox(), process.listen("number")
      local done, seen = channel.new(2), {}
      for n = 1, 3 do coroutine.spawn(function()
        local sum = 0
        for i = 1, n do sum = sum + numbers:receive() end
        done:send({ n = n, sum = sum })
      end) end
      local got = {}
      while #got < 5 do
        local r = channel.select({ inbox:case_receive(), done:case_receive() })
        if r.channel == inbox then got[#got + 1] = r.value:topic() .. ":" .. r.value:payload():data() .. ":" .. (r.value:from() == "" and "nobody" or "?")
        else got[#got + 1] = r.value.n .. "=" .. r.value.sum end
      end
      return { got = got, moved = process.pid() ~= born, id = process.id() }
    end`
    const a = newNode(source)
    const b = newNode(source)
    const { pid, outcome } = a.spawn('app:worker')
    a.send(pid, 'hello', 1)
    for (const n of [1, 2, 3, 4]) a.send(pid, 'number', n)
    const saved = heapOf(capture(a, pid, { stop: true }))
    const end = outcome()
    expect(end?.ok === false && [end.error.kind, end.error.message, end.error.retryable]).toEqual([
      'Canceled',
      'process captured',
      false,
    ])
    let moved = resume(b, saved)
    b.send(moved.pid, 'number', 5)
    const again = heapOf(capture(b, moved.pid, { stop: true }))
    moved = resume(newNode(source), again, 'app:b')
    const last = nodes.at(-1) as TestNode
    last.send(moved.pid, 'number', 6)
    last.send(moved.pid, 'bye', 2)
    expect(resultOf(moved.outcome())).toEqual({
      got: ['hello:1:nobody', '1=1', '2=6', '3=14', 'bye:2:nobody'],
      moved: true,
      id: 'app:worker',
    })
  })

  test('goes on with what was left of its sleep, its timers and its tickers', () => {
    const source = `local time = require("time")
    return function()
      local log, start = {}, time.now()
      local timer, ticker = time.timer("900ms"), time.ticker("400ms")
      local after = time.after("700ms")
      coroutine.spawn(function() time.sleep("500ms") log[#log + 1] = "slept" end)
      local open = 2
      while open > 0 do
        local r = channel.select({ after:case_receive(), timer:channel():case_receive(), ticker:channel():case_receive() })
        if r.channel == after then log[#log + 1] = "after" after = channel.new() open = open - 1
        elseif r.channel == ticker:channel() then log[#log + 1] = "tick"
        else log[#log + 1] = "timer" open = open - 1 end
      end
      ticker:stop()
      return { log = table.concat(log, " "), year = start:year() > 2000 }
    end`
    const a = newNode(source)
    const { pid } = a.spawn('app:worker')
    a.driver.advance(450)
    const saved = heapOf(capture(a, pid, { stop: true }))
    const b = newNode(source)
    const { outcome } = resume(b, saved)
    b.driver.advance(40)
    expect(outcome()).toBe(undefined)
    for (let i = 0; i < 12; i++) b.driver.advance(50)
    expect(resultOf(outcome())).toEqual({ log: 'tick slept after tick timer', year: true })
  })

  test('runs on in the original unless that is to stop', () => {
    const source =
      'return function() local inbox = process.inbox() local n = 0 while n < 3 do inbox:receive() n = n + 1 end return n end'
    const a = newNode(source)
    const { pid, outcome } = a.spawn('app:worker')
    a.send(pid, 'x')
    const saved = heapOf(capture(a, pid))
    const copy = resume(a, saved, 'app:b')
    for (const to of [pid, copy.pid]) for (let i = 0; i < 2; i++) a.send(to, 'x')
    expect([resultOf(outcome()), resultOf(copy.outcome())]).toEqual([3, 3])
  })

  test('keeps what its modules have made of plain data', () => {
    const source = `local text, expr, funcs, security = require("text"), require("expr"), require("funcs"), require("security")
      local held = {
        pattern = text.regexp.compile("(?P<key>[a-z]+)=(\\\\d+)"),
        splitter = text.splitter.recursive({ chunk_size = 5, chunk_overlap = 0, separators = { "\\195\\188", " " } }),
        markdown = text.splitter.markdown({ chunk_size = 40, chunk_overlap = 0, heading_hierarchy = true }),
        differ = text.diff.new({ diff_timeout = 2, patch_delete_threshold = 0.25 }),
        program = expr.compile("a * 2 + len(b)", { a = 1, b = "x" }),
        executor = funcs.new():with_context({ deep = { 1, 2 } }):with_options({ timeout = 1500 }),
        actor = security.new_actor("me", { role = "admin" }),
        scope = security.new_scope(),
        builder = process.with_context({ from = "before" }):with_name("child"):with_message("hello", 1, "two"),
      }
      held.same = held.pattern
      local function tell()
        return {
          pattern = held.pattern:find_string_submatch("  ab=12"), names = held.pattern:subexp_names(),
          chunks = held.splitter:split_text("one two\\195\\188three"),
          headings = held.markdown:split_text("# A\\n\\ntext of a\\n\\n## B\\n\\ntext of b that is long enough to be cut"),
          diff = held.differ:compare("abc", "abd"),
          value = held.program:run({ a = 20, b = "xy" }),
          answer = held.executor:call("app:told"),
          actor = held.actor:id() .. held.actor:meta().role, scope = tostring(held.scope),
          same = held.same == held.pattern,
        }
      end
      return function()
        local before = tell()
        process.inbox():receive()
        local child = held.builder:spawn("app:child", "app:b")
        return { before = before, after = tell(), child = process.inbox():receive():payload():data() }
      end`
    const told = 'return function() return require("ctx").get("deep")[2] end'
    const child = `return function()
      local inbox = process.inbox()
      local hello = inbox:receive()
      process.send(process.registry.lookup("worker"), "told", { topic = hello:topic(), from = require("ctx").get("from"), me = process.registry.lookup("child") == process.pid() })
    end`
    const entries = {
      'app:worker': { source, modules: ['text', 'expr', 'funcs', 'security'] },
      'app:told': { kind: 'function.lua', source: told, modules: ['ctx'] },
      'app:child': { source: child, modules: ['ctx'] },
    }
    const a = newNode('', entries)
    const { pid } = a.spawn('app:worker')
    const saved = heapOf(capture(a, pid, { stop: true }))
    const b = newNode('', entries)
    const moved = resume(b, saved, 'app:a', 'worker')
    b.send(moved.pid, 'go')
    b.driver.settle()
    const { before, after, child: heard } = resultOf(moved.outcome()) as Record<string, Plain>
    expect(after).toEqual(before)
    expect(after).toMatchObject({ pattern: ['ab=12', 'ab', '12'], value: 42, answer: 2, actor: 'meadmin', same: true })
    expect(heard).toEqual({ topic: 'hello', from: 'before', me: true })
  })

  test('brings its libraries, and is refused where their code is another one', () => {
    const source = `local lib = require("lib") return function() lib.count = 5 process.inbox():receive() return lib.count + lib.more() end`
    const lib = (more: number) => ({
      'app:lib': { kind: 'library.lua', source: `return { count = 0, more = function() return ${more} end }` },
      'app:worker': { source, imports: { lib: 'app:lib' } },
    })
    const a = newNode('', lib(1))
    const { pid } = a.spawn('app:worker')
    const saved = heapOf(capture(a, pid))
    const b = newNode('', lib(1))
    const moved = resume(b, saved)
    b.send(moved.pid, 'go')
    expect(resultOf(moved.outcome())).toBe(6)
    const other = newNode('', lib(2))
    expect(() => resume(other, saved)).toThrow(
      'cannot resume the process here: the source of app:lib is another one here',
    )
  })
})

describe('a document', () => {
  test('that is damaged never does more than fail the process that it would have made', { timeout: 60_000 }, () => {
    const source = `local time = require("time")
      return function()
        local inbox, listen, out = process.inbox(), process.listen("n"), channel.new(3)
        local ticker, co = time.ticker("10ms"), coroutine.wrap(function() while true do coroutine.yield(1) end end)
        coroutine.spawn(function() while true do out:send({ co(), x = "y" }) time.sleep("30ms") end end)
        coroutine.spawn(function() listen:receive() out:receive() end)
        while true do channel.select({ inbox:case_receive(), out:case_receive(), ticker:channel():case_receive() }) end
      end`
    const a = newNode(source)
    const { pid } = a.spawn('app:worker')
    a.send(pid, 'other', { deep: { er: [1, 2.5, 'text'] } })
    a.send(pid, 'n', 1)
    a.send(pid, 'n', 2)
    const saved = heapOf(capture(a, pid))
    const b = newNode(source)
    const next = chance(7)
    let refused = 0
    for (let i = 0; i < 600; i++) {
      const bytes = [...saved]
      for (let k = 1 + next(2); k > 0; k--) {
        const at = next(bytes.length)
        bytes.splice(at, next(4) === 0 ? next(3) : 1, String.fromCharCode(next(2) === 0 ? next(256) : next(8)))
      }
      try {
        const { pid: made, outcome } = resume(b, bytes.join(''))
        b.driver.advance(25)
        if (outcome() === undefined) b.relay.ask({ kind: 'terminate', to: made, from: '' }, () => {})
        b.driver.settle()
      } catch (error) {
        if (!(error instanceof ErrorValue) && !(error instanceof MoonmeshError)) throw error
        refused++
      }
    }
    expect(refused).toBeGreaterThan(200)
    // The host is well.
    const { pid: last } = resume(b, saved)
    b.driver.advance(25)
    expect(refusal(capture(b, last))).toBe('saved')
  })
})

test('a process does not go on under a name that is taken, and its holder does not stand for it', () => {
  const node = newNode('return function() local sum = 1 process.inbox():receive() return sum end')
  const saved = heapOf(capture(node, node.spawn('app:worker').pid))
  const first = resume(node, saved, 'app:a', 'tally')
  expect(() => resume(node, saved, 'app:b', 'tally')).toThrow('name already registered')
  expect(resultOf(goOn(node, first))).toBe(1)
  expect(resultOf(goOn(node, resume(node, saved, 'app:b', 'tally')))).toBe(1)
})

describe('a process is not saved', () => {
  test('while a call of it waits for a service; it is as soon as that has answered', () => {
    const source = `local system = require("system")
      return function() process.exec("app:slow", "app:b") process.inbox():receive() return "moved" end`
    const slow = 'local time = require("time") return function() time.sleep("2s") end'
    const node = newNode('', { 'app:worker': { source, modules: ['system'] }, 'app:slow': slow })
    const { pid } = node.spawn('app:worker')
    expect(refusal(capture(node, pid, { timeoutMs: 0 }))).toBe(
      'Unavailable: cannot save the process: a call of it is under way',
    )
    let answer: Answer<Value> | undefined
    node.relay.capture({ kind: 'capture', to: pid, stop: true, timeoutMs: 5000, bytesMax: 1e6 }, (given) => {
      answer = given
    })
    node.driver.advance(1000)
    expect(answer).toBe(undefined)
    for (let i = 0; i < 30; i++) node.driver.advance(100)
    const moved = resume(node, heapOf(answer))
    node.send(moved.pid, 'go')
    expect(resultOf(moved.outcome())).toBe('moved')
  })

  test('when that takes longer than one wants to wait, or it ends first', () => {
    const source = 'return function() process.exec("app:slow", "app:b") end'
    const node = newNode(source, { 'app:slow': 'local time = require("time") return function() time.sleep("2s") end' })
    const { pid } = node.spawn('app:worker')
    const answers: string[] = []
    for (const timeoutMs of [500, 10_000]) {
      node.relay.capture({ kind: 'capture', to: pid, stop: false, timeoutMs, bytesMax: 1e6 }, (given) => {
        answers.push(refusal(given))
      })
    }
    for (let i = 0; i < 40; i++) node.driver.advance(100)
    expect(answers).toEqual([
      'Unavailable: cannot save the process: a call of it is under way',
      `NotFound: process not found: ${pid} (it has ended)`,
    ])
    expect(refusal(capture(node, pid))).toMatch(/^NotFound: process not found/)
  })

  test('when it holds what cannot be written down', () => {
    const source = `local held = {}
      return function() held.made = require("eval_runner").compile("return 1") process.inbox():receive() return held end`
    const node = newNode('', { 'app:worker': { source, modules: ['eval_runner'] } })
    const { pid } = node.spawn('app:worker')
    expect(refusal(capture(node, pid))).toBe(
      "Invalid: cannot save upvalue 'held' of function <app:worker:2> .made: an object of class eval.Program",
    )
  })

  test('twice at once: whoever stops it first has it', () => {
    const source = 'return function() process.inbox():receive() end'
    const node = newNode(source)
    const { pid } = node.spawn('app:worker')
    const answers: string[] = []
    for (let i = 0; i < 2; i++) {
      node.relay.capture({ kind: 'capture', to: pid, stop: true, timeoutMs: 100, bytesMax: 1e6 }, (given) => {
        answers.push(refusal(given).replace(toBytes(pid), 'PID'))
      })
    }
    node.driver.settle()
    expect(answers).toEqual(['saved', 'NotFound: process not found: PID'])
  })

  test('into more than it may be', () => {
    const source = 'return function() local s = string.rep("x", 100000) process.inbox():receive() return s end'
    const node = newNode(source)
    const { pid } = node.spawn('app:worker')
    let error: MoonmeshError | undefined
    node.relay.capture({ kind: 'capture', to: pid, stop: true, timeoutMs: 100, bytesMax: 10_000 }, (given) => {
      if (!given.ok) error = given.error as MoonmeshError
    })
    node.driver.settle()
    expect([error?.kind, error?.message]).toEqual([
      'LimitExceeded',
      'cannot save process: a message has more than 10000 bytes',
    ])
    expect(refusal(capture(node, pid))).toBe('saved')
  })
})
