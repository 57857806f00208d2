// lua-core.md §11, §2, §20 in Lua.

import { describe, expect, test } from 'vitest'
import { runLua, TestNode } from '../tools/lua.ts'

describe('channels (§11)', () => {
  test('sender and receiver meet; several receivers are served in turn', () => {
    const source = `local ch, out = channel.new(), {}
      for i = 1, 3 do coroutine.spawn(function() local v = ch:receive() out[#out + 1] = i .. "=" .. v end) end
      coroutine.yield()
      for i = 1, 3 do ch:send(i * 10) end
      coroutine.yield()
      return table.concat(out, " ")`
    expect(runLua(source)).toBe('1=10 2=20 3=30')
  })

  test('send returns true; nil may be sent; the second result tells closing', () => {
    const source = `local ch = channel.new(2)
      local sent = ch:send(nil)
      ch:close() ch:close()
      local a, ok1 = ch:receive()
      local b, ok2 = ch:receive()
      return { sent, a == nil, ok1, b == nil, ok2, type(ch), (select(2, pcall(ch.send, ch, 1))) }`
    expect(runLua(source)).toEqual([
      true,
      true,
      true,
      true,
      false,
      'userdata',
      expect.stringContaining('send on closed channel'),
    ])
  })

  test('a sender that waits when the channel closes raises in its coroutine', () => {
    const source = `local ch, result = channel.new(), nil
      coroutine.spawn(function() result = select(2, pcall(ch.send, ch, 1)) end)
      coroutine.yield()
      ch:close()
      coroutine.yield()
      return result`
    expect(runLua(source)).toContain('send on closed channel')
  })

  test('select takes the first ready case in order, then the default', () => {
    const source = `local a, b = channel.new(1), channel.new(1)
      b:send("b") a:send("a")
      local one = channel.select({ a:case_receive(), b:case_receive() })
      local two = channel.select({ a:case_receive(), b:case_receive() })
      local none = channel.select({ a:case_receive(), default = true })
      local also = channel.select({ a:case_receive() }, true)
      local sent = channel.select({ a:case_send(5) })
      a:receive() a:close()
      local closed = channel.select({ a:case_receive() })
      return { one.channel == a, one.value, one.ok, two.value, none.default, none.channel == nil, also.default, sent.value, sent.channel == a, closed.ok, closed.value == nil }`
    expect(runLua(source)).toEqual([true, 'a', true, 'b', true, true, true, 5, true, false, true])
  })

  test('select waits for whichever comes first and withdraws from the others', () => {
    const source = `local a, b = channel.new(), channel.new()
      coroutine.spawn(function() b:send("late") end)
      local r = channel.select({ a:case_receive(), b:case_receive() })
      coroutine.spawn(function() a:send("kept") end)
      coroutine.yield()
      return { r.channel == b, r.value, (a:receive()) }`
    expect(runLua(source)).toEqual([true, 'late', 'kept'])
  })

  test('select names what is no case', () => {
    expect(runLua('return (select(2, pcall(channel.select, { channel.new():case_receive(), 5 })))')).toContain(
      'invalid case #2',
    )
    expect(
      runLua('local ch = channel.new() ch:close() return (select(2, pcall(channel.select, { ch:case_send(1) })))'),
    ).toContain('send on closed channel')
  })

  test('coroutine.spawn runs later, in order; a non-function raises', () => {
    const source = `local out = {}
      local t = coroutine.spawn(function() out[#out + 1] = "first" end)
      coroutine.spawn(function() out[#out + 1] = "second" end)
      out[#out + 1] = "main"
      coroutine.yield()
      return { table.concat(out, " "), coroutine.status(t), (pcall(coroutine.spawn, 1)) }`
    expect(runLua(source)).toEqual(['main first second', 'dead', false])
  })
})

describe('older names (§2.1)', () => {
  test.each([
    ['unpack({ 1, 2 })', 1],
    ['table.getn({ 1, 2 })', 2],
    ['table.maxn({ [10] = 1 })', 10],
    ['#table.create(5, 0)', 0],
    ['math.pow(2, 10)', 1024],
    ['math.log10(1000)', expect.closeTo(3)],
    ['math.ldexp(0.5, 3)', 4],
    ['(math.frexp(8))', 0.5],
    ['math.mod(7, 4)', 3],
    ['math.cosh(0)', 1],
    ['math.atan2(0, 1)', 0],
  ])('%s', (expression, expected) => expect(runLua(`return ${expression}`)).toEqual(expected))
})

describe('terminals (§20)', () => {
  const onTerminal = (source: string, args: readonly string[] = [], input: (string | undefined)[] = []): TestNode => {
    const node = new TestNode({ 'app:main': `local io = require("io") return function(...) ${source} end` })
    node.input = input
    node.lines.get('app:term')?.port.post({ kind: 'terminal-args', args })
    node.driver.settle()
    return node
  }

  test('write, print and eprint go to their streams in order', () => {
    const node = onTerminal('io.write("a", 1, true) io.print("b", nil) io.eprint("c") return io.flush()')
    expect(node.run('app:main', [], { host: 'app:term' })).toBe(true)
    expect([node.stdout.join(''), node.stderr.join('')]).toEqual(['a1trueb\tnil\n', 'c\n'])
    node.close()
  })

  test('args and input; the end of input is Internal, EOF', () => {
    const node = onTerminal(
      'local l = io.readline() local v, e = io.read(3) return { io.args()[1], l, v == nil, e:kind(), e:message() }',
      ['x'],
      ['line', undefined],
    )
    expect(node.run('app:main', [], { host: 'app:term' })).toEqual([
      'x',
      'line',
      true,
      'Internal',
      expect.stringContaining('EOF'),
    ])
    node.close()
  })

  test('runs one process at a time, which terminate does not end', () => {
    const node = onTerminal('return process.events():receive().reason')
    const { pid, outcome } = node.spawn('app:main', [], 'app:term')
    expect(() => node.spawn('app:main', [], 'app:term')).toThrow(expect.objectContaining({ kind: 'Unavailable' }))
    node.relay.ask({ kind: 'terminate', to: pid, from: '' }, () => {})
    node.driver.settle()
    expect(outcome()).toBeUndefined()
    node.relay.ask({ kind: 'cancel', to: pid, from: '', reason: 'bye' }, () => {})
    node.driver.settle()
    expect(outcome()).toEqual({ ok: true, value: 'bye' })
    node.close()
  })

  test('elsewhere there is none', () => {
    expect(
      runLua('local v, e = require("io").write("x") return { v == nil, e:kind(), e:message(), #require("io").args() }'),
    ).toEqual([true, 'Unavailable', 'no terminal context', 0])
  })
})

describe('immutable tables (§2.1)', () => {
  test('make_immutable returns the same table, which refuses writes and reads as before', () => {
    const source = `local t = { 1, 2, x = { y = 1 } }
      local same = table.make_immutable(t) == t
      local n = 0
      for _ in pairs(t) do n = n + 1 end
      t.x.y = 2
      return { same, table.is_immutable(t), table.is_immutable({}), (pcall(function() t.z = 1 end)), (pcall(rawset, t, 1, 5)),
        (pcall(table.insert, t, 3)), #t, t[1], n, t.x.y, t.z == nil, rawget(t, 1) }`
    expect(runLua(source)).toEqual([true, true, false, false, false, false, 2, 1, 3, 2, true, 1])
  })
})
