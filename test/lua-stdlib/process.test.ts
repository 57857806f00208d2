// lua-core.md §5 to §10, §24, in Lua: on one host and across two (`app:a`, `app:b`).

import { describe, expect, test } from 'vitest'
import { type Entries, processLab } from '../tools/processes.ts'

const lab = processLab()
const { make, run, failure } = lab

describe('loading code (§5)', () => {
  test.each([
    ['a declared module', 'return require("time") == time', { modules: ['time'] }, true],
    ['an always-present table', 'return require("process") == process and require("string") == string', {}, true],
    ['the same table each time', 'return require("json") == require("json")', { modules: ['json'] }, true],
  ])('require gives %s', (_what, source, fields, expected) => {
    expect(make({ 'app:main': { source: `return function() ${source} end`, ...fields } }).run('app:main')).toBe(
      expected,
    )
  })

  test('an undeclared module raises at require, and names the remedy', () => {
    const entry = { source: 'local t = require("time") return function() end', modules: [] }
    expect(() => make({ 'app:main': entry }).spawn('app:main')).toThrow(
      expect.objectContaining({
        message: expect.stringContaining(`module 'time' not found; add "time" to the entry's modules:`),
      }),
    )
    expect(failure('require("nope")').message).toContain("module 'nope' not found")
  })

  test('a library runs once a process, after its own imports; aliases share its value; nothing leaks', () => {
    const entries: Entries = {
      'app:deep': { kind: 'library.lua', source: 'return { n = 0 }', modules: [] },
      'app:lib': {
        kind: 'library.lua',
        source: 'local deep = require("d") leaked = 1 return { deep = deep }',
        imports: { d: 'app:deep' },
        modules: [],
      },
      'app:main': {
        source: `local a, b, deep = require("a"), require("b"), require("deep")
          return function()
            deep.n = deep.n + 1
            return { a == b, a.deep == deep, deep.n, leaked == nil, d == nil, deep == require("deep"), a == _G.a }
          end`,
        imports: { a: 'app:lib', b: 'app:lib', deep: 'app:deep' },
        modules: [],
      },
    }
    const both = make(entries)
    expect(both.run('app:main')).toEqual([true, true, 1, true, true, true, true])
    expect(both.run('app:main')).toEqual([true, true, 1, true, true, true, true])
  })

  test.each([
    ['the table’s method', 'return { main = function() return 1 end }', 'main', 1],
    ['a function, whatever method says', 'return function() return 2 end', 'other', 2],
  ])('the chunk may return %s', (_what, source, method, expected) => {
    expect(make({ 'app:main': { source, method } }).run('app:main')).toBe(expected)
  })

  test.each([
    ['a table without the method', 'return { mian = function() end }'],
    ['a method that is no function', 'return { main = 1 }'],
    ['nothing', 'local x = 1'],
  ])('%s is NotFound', (_what, source) => {
    expect(() => make({ 'app:main': source }).spawn('app:main')).toThrow(
      expect.objectContaining({
        kind: 'NotFound',
        message: expect.stringContaining('method "main" not found in module'),
      }),
    )
  })

  test.each([
    'process.inbox()',
    'process.events()',
    'channel.new():receive()',
    'time.sleep("1s")',
    'process.spawn("app:ok", "app:a")',
    'process.send("x", "y")',
  ])('a blocking call at the top level raises: %s', (call) => {
    expect(() =>
      make({ 'app:main': `local time = require("time") ${call} return function() end` }).spawn('app:main'),
    ).toThrow(expect.objectContaining({ message: expect.stringContaining('attempt to yield') }))
  })

  test('an endless chunk fails the spawn instead of keeping the spawner waiting', () => {
    expect(() => make({ 'app:main': 'while true do end' }).spawn('app:main')).toThrow(
      expect.objectContaining({ kind: 'Timeout', message: expect.stringContaining('did not finish loading') }),
    )
  })

  test('processes do not share globals; shared tables are read-only', () => {
    const source = 'return function() local before = counter counter = 1 return before == nil and counter end'
    const both = make({ 'app:main': source })
    expect([both.run('app:main'), both.run('app:main')]).toEqual([1, 1])
    expect(failure('process.send = 1').message).toContain('read-only')
    expect(failure('string.format = 1').message).toContain('read-only')
  })
})

describe('the result of a process (§6.3)', () => {
  const outcome = (source: string): unknown => {
    const { outcome } = make({ 'app:main': `return function() ${source} end` }).spawn('app:main')
    lab.node.driver.advance(10_000)
    const end = outcome()
    return end?.ok === true ? end.value : end?.error
  }

  test.each([
    ['nothing', 'return', undefined],
    ['a value', 'return 5, nil', 5],
    ['a value and something else', 'return 5, true', 5],
    ['an error object first', 'return errors.new{ message = "x", kind = "K" }', expect.objectContaining({ kind: 'K' })],
    [
      'nil and a string',
      'return nil, "why"',
      expect.objectContaining({ kind: 'Internal', message: 'why', retryable: false }),
    ],
    ['false and a string', 'return false, "why"', expect.objectContaining({ kind: 'Internal', message: 'why' })],
    [
      'an error object second',
      'return 1, errors.new{ message = "x", kind = "K", retryable = true }',
      expect.objectContaining({ kind: 'K', retryable: true }),
    ],
    [
      'raising a string',
      'error("x")',
      expect.objectContaining({ kind: 'Internal', message: 'app:main:1: x', retryable: undefined }),
    ],
    [
      'raising an error object',
      'error(errors.new{ message = "x", kind = "Conflict", retryable = true })',
      expect.objectContaining({ kind: 'Conflict', message: 'x', retryable: true }),
    ],
    ['raising an error without a kind', 'error(errors.new("x"))', expect.objectContaining({ kind: 'Internal' })],
    [
      'an error in another coroutine',
      'coroutine.spawn(function() error("x") end) channel.new():receive()',
      expect.objectContaining({ message: 'app:main:1: x' }),
    ],
    ['a deadlock', 'channel.select({})', expect.objectContaining({ message: expect.stringMatching(/^deadlock:/) })],
  ])('%s', (_what, source, expected) => {
    expect(outcome(source)).toEqual(expected)
  })

  test('returning ends all other coroutines at once', () => {
    const source = 'coroutine.spawn(function() while true do coroutine.yield() end end) coroutine.yield() return "done"'
    expect(outcome(source)).toBe('done')
  })

  test('waiting for ever on a channel, or with an inbox, is idle and no deadlock', () => {
    const { outcome: first } = make().spawn('app:idle')
    const { outcome: second } = lab.node.spawn('app:echo')
    lab.node.driver.advance(1_000_000)
    expect([first(), second()]).toEqual([undefined, undefined])
  })
})

describe('messages (§7)', () => {
  test('carry sender, topic and values', () => {
    const receiver = `return function()
      local m = process.inbox():receive()
      process.send(m:from(), "back", m:topic(), #m:payload(), m:payload()[2]:data(), (tostring(m):find("process.Message{topic=", 1, true)))
    end`
    const source = `local pid = assert(process.spawn("app:r", ...))
      process.send(pid, "t", 1, "two")
      return process.listen("back"):receive()`
    expect(run(source, { 'app:r': receiver }, ['app:a'])).toEqual(['t', 2, 'two', 1])
    expect(run(source, { 'app:r': receiver }, ['app:b'])).toEqual(['t', 2, 'two', 1])
  })

  test.each([
    ['nil', 'nil', 'nil'],
    ['an integer', '3', 'integer 3'],
    ['a float', '3.0', 'float 3'],
    ['bytes', '"\\0\\255x"', 'string 3'],
    ['a table', '{ 1, { a = 2 } }', 'table 1 2'],
    ['an error object', 'errors.new{ message = "m", kind = "K", details = { a = 1 } }', 'userdata K m 1'],
    ['an error without kind', 'errors.new("m")', 'userdata Internal m nil'],
    ['a function', 'print', 'nil'],
    ['a channel', 'channel.new()', 'nil'],
    ['a coroutine', 'coroutine.create(print)', 'nil'],
    ['a payload', 'payload.new({ 5, { a = 6 } })', 'table 5 6'],
  ])('%s is copied', (_what, value, expected) => {
    const show = `return function()
      local v = process.listen("v"):receive()
      local t = type(v)
      if t == "number" then return math.type(v) .. " " .. v end
      if t == "string" then return t .. " " .. #v end
      if t == "table" then return t .. " " .. v[1] .. " " .. v[2].a end
      if t == "userdata" then return t .. " " .. v:kind() .. " " .. v:message() .. " " .. tostring(v:details() and v:details().a) end
      return t
    end`
    for (const host of ['app:a', 'app:b']) {
      const source = `local pid = assert(process.spawn_monitored("app:show", "${host}"))
        process.send(pid, "v", ${value})
        return process.events():receive().result.value`
      expect(run(source, { 'app:show': show })).toBe(expected)
    }
  })

  test('shared references and cycles survive, metatables and later changes do not', () => {
    const source = `local t = setmetatable({ {} }, { __index = { x = 1 } })
      t[2] = t[1]
      t.me = t
      local pid = assert(process.spawn("app:echo", "app:b"))
      process.send(pid, "t", t)
      t[1].changed = true
      local back = process.listen("t"):receive()
      return { back[1] == back[2], back.me == back, back.x == nil, back[1].changed == nil }`
    expect(run(source)).toEqual([true, true, true, true])
  })

  test('are kept in order from one sender, across topics, and nothing is lost by listening late', () => {
    const source = `local me = process.pid()
      for i = 1, 3 do process.send(me, "a", "a" .. i) process.send(me, "b", "b" .. i) end
      local a = process.listen("a")
      local inbox = process.inbox()
      local out = {}
      for i = 1, 3 do out[#out + 1] = a:receive() end
      for i = 1, 3 do out[#out + 1] = inbox:receive():payload():data() end
      process.unlisten(a)
      process.send(me, "a", "again")
      out[#out + 1] = inbox:receive():payload():data()
      return table.concat(out, " ")`
    expect(run(source)).toBe('a1 a2 a3 b1 b2 b3 again')
  })

  test('one listener that nobody reads does not hold up others', () => {
    const source = `local me = process.pid()
      local unread, read = process.listen("u"), process.listen("r")
      for i = 1, 100 do process.send(me, "u", i) end
      process.send(me, "r", "ok")
      return read:receive()`
    expect(run(source)).toBe('ok')
  })

  test('listen gives bare values, or Message objects; the same channel each time', () => {
    const source = `local ch = process.listen("t")
      local me = process.pid()
      local same = process.listen("t") == ch and process.inbox() == process.inbox() and process.events() == process.events()
      process.send(me, "t") process.send(me, "t", 1) process.send(me, "t", 1, 2)
      local a, b, c = ch:receive(), ch:receive(), ch:receive()
      process.listen("t", { message = true }) process.listen("t")
      process.send(me, "t", 7)
      return { same, a == nil, b, c[2], ch:receive():payload():data() }`
    expect(run(source)).toEqual([true, true, 1, 2, 7])
  })

  test('a full mailbox refuses with LimitExceeded, events still come', () => {
    const small = make({
      'app:main': `return function(pid)
      local _, err
      for i = 1, 4 do _, err = process.send(pid, "x", i) end
      return err:kind() .. " " .. tostring(process.cancel(pid, "r"))
    end`,
    })
    small.startHost('app:small', { mailboxCountMax: 3 })
    const { pid } = small.spawn('app:idle', [], 'app:small')
    for (const host of ['app:small', 'app:a']) {
      if (host === 'app:small') expect(small.run('app:main', [pid], { host })).toBe('LimitExceeded true')
    }
    expect(small.run('app:main', [pid])).toBe('LimitExceeded true')
  })
})

describe('process.send (§9.2)', () => {
  test.each([
    ['process.send("x")', 'Invalid', 'send requires at least destination and topic arguments'],
    ['process.send(process.pid(), "@x")', 'Invalid', 'cannot send to @ topics'],
    ['process.send("nobody", "x")', 'NotFound', "could not resolve 'nobody' as PID or registered name"],
    ['process.send(dead, "x")', 'NotFound', 'process not found'],
    ['process.send("{nope:host|x.1}", "x")', 'NotFound', 'host not found'],
  ])('%s -> nil, %s', (call, kind, text) => {
    for (const host of ['app:a', 'app:b']) {
      const source = `local dead = process.spawn_monitored("app:ok", "${host}")
        process.events():receive()
        local n, v, err = select("#", ${call}), ${call}
        return { n, v == nil, err:kind(), err:message() }`
      expect(run(source)).toEqual([2, true, kind, expect.stringContaining(text)])
    }
  })

  test('wrong types raise; success is true, nil', () => {
    expect(failure('process.send({}, "x")').message).toContain("bad argument #1 to 'send' (string expected, got table)")
    expect(failure('process.send(process.pid(), nil)').message).toContain("bad argument #2 to 'send'")
    expect(run('return select("#", process.send(process.pid(), "x"))')).toBe(2)
  })
})

describe('spawning (§9.3, §9.9)', () => {
  test.each([
    ['process.spawn("app:ok")', 'Invalid', 'spawn requires at least id and host arguments'],
    ['process.spawn_linked("app:ok")', 'Invalid', 'spawn_linked requires at least id and host arguments'],
    ['process.spawn("app:ok", "app:nope")', 'NotFound', 'host not found'],
    ['process.spawn("app:nope", "app:a")', 'NotFound', 'factory not found'],
    ['process.spawn("app:nope", "app:b")', 'NotFound', 'factory not found'],
    ['process.spawn("app:bad", "app:b")', 'Internal', 'app:bad:1: in chunk'],
    ['process.exec("app:ok")', 'Invalid', 'exec requires id and host arguments'],
    ['process.exec("", "app:a")', 'Invalid', 'process ID required'],
    ['process.exec("ok", "app:a")', 'Invalid', 'invalid process ID format (namespace:name required)'],
    ['process.exec("app:ok", "")', 'Invalid', 'host ID required'],
    ['process.exec("app:boom", "app:b", "x")', 'Internal', 'app:boom:1: x'],
    ['process.exec("app:nilerr", "app:a", "why")', 'Internal', 'why'],
  ])('%s -> nil, %s', (call, kind, text) => {
    const source = `local v, err = ${call} return { v == nil, err:kind(), err:message() }`
    expect(run(source, { 'app:bad': 'error("in chunk")' })).toEqual([true, kind, expect.stringContaining(text)])
  })

  test('details name the missing host and factory', () => {
    expect(run('local _, e = process.spawn("app:ok", "app:nope") return e:details().host_id')).toBe('app:nope')
    expect(run('local _, e = process.spawn("app:nope", "app:b") return e:details().factory_id')).toBe('app:nope')
  })

  test('monitor and link are in place before the first instruction', () => {
    for (const host of ['app:a', 'app:b']) {
      const source = `process.set_options({ trap_links = true })
        local pid = process.spawn_linked_monitored("app:boom", "${host}", "x")
        local a, b = process.events():receive(), process.events():receive()
        return { a.kind, b.kind, a.from == pid, a.result.error:message(), type(a.at), a.error == nil }`
      expect(run(source)).toEqual(['pid.exit', 'pid.link.down', true, 'app:boom:1: x', 'number', true])
    }
  })

  test('exec returns the result of the child and two values', () => {
    expect(
      run(
        'local v, e = process.exec("app:ok", "app:b", { 7 }) return { v[1], e == nil, select("#", process.exec("app:ok", "app:a")) }',
      ),
    ).toEqual([7, true, 2])
  })

  test('a host that is stopping or full refuses', () => {
    const full = make({
      'app:main':
        'return function(h) local _, e = process.spawn("app:idle", h) return e:kind() .. ": " .. e:message() end',
    })
    full.startHost('app:one', { processCountMax: 1 })
    full.spawn('app:idle', [], 'app:one')
    expect(full.run('app:main', ['app:one'])).toMatch(/^LimitExceeded: host app:one already runs 1 processes/)
    full.spawn('app:polite', [], 'app:b')
    full.spawn('app:idle', [], 'app:b')
    full.lines.get('app:b')?.port.post({ kind: 'stop', reason: 'scheduler shutdown', timeoutMs: 1000 })
    full.driver.settle()
    expect(full.run('app:main', ['app:b'])).toMatch(/^Unavailable: host is shutting down/)
    full.driver.advance(1000)
    expect(full.stoppedHosts).toEqual(['app:b'])
  })
})

describe('the spawn builder (§9.10)', () => {
  test('is immutable, and raises on what is missing', () => {
    const source = `local base = process.with_context({ a = 1 })
      local named = base:with_name("n")
      local first = named:spawn("app:idle", "app:a")
      return { base ~= named, first == named:spawn("app:idle", "app:a"), first ~= base:spawn("app:idle", "app:a"),
        (select(2, pcall(base.spawn, base, "app:ok"))), (pcall(base.with_name, base, "")), (pcall(base.with_message, base, "@x")) }`
    expect(run(source)).toEqual([
      true,
      true,
      true,
      expect.stringContaining('spawn requires at least id and host arguments'),
      false,
      false,
    ])
  })

  test('with_message comes before any other traffic, in order, from nobody', () => {
    const listing = `return function() local out = {} local inbox = process.inbox()
      for i = 1, 3 do local m = inbox:receive() out[i] = m:topic() .. "<" .. m:from() end
      return table.concat(out, " ") end`
    for (const host of ['app:a', 'app:b']) {
      const source = `local pid = process.with_context({}):with_message("one", 1):with_message("two"):spawn_monitored("app:l", "${host}")
        process.send(pid, "three")
        return process.events():receive().result.value`
      expect(run(source, { 'app:l': listing })).toMatch(/^one< two< three<\{app:a\|/)
    }
  })

  test('with_name on a taken name signals the holder, and monitors it when asked', () => {
    for (const host of ['app:a', 'app:b']) {
      const source = `local b = process.with_context({}):with_name("job")
        local first = b:spawn("app:take", "${host}")
        local second = b:with_message("go", 5):spawn_monitored("app:take", "app:a")
        local ev = process.events():receive()
        return { first == second, ev.from == first, ev.result.value, (process.registry.lookup("job")) == nil }`
      expect(run(source, { 'app:take': 'return function() return process.listen("go"):receive() end' })).toEqual([
        true,
        true,
        5,
        true,
      ])
    }
  })
})

describe('spawn-or-signal (§9.10)', () => {
  test.each(['app:one', 'app:a'])('a spawner on %s signals the holder though the host of the child is full', (host) => {
    const node = make({
      'app:main': `return function()
        local b = process.with_context({}):with_name("job"):with_message("go", 6)
        local pid, err = b:spawn_monitored("app:take", "app:one")
        return { pid, process.events():receive().result.value, err }
      end`,
      'app:take': 'return function() process.registry.register("job") return process.listen("go"):receive() end',
    })
    node.startHost('app:one', { processCountMax: host === 'app:one' ? 2 : 1 })
    const { pid } = node.spawn('app:take', [], 'app:one')
    expect(node.run('app:main', [], { host })).toEqual([pid, 6])
  })
})

describe('monitors, links, cancel, terminate (§8, §9.4, §9.5)', () => {
  test.each(['app:a', 'app:b'])('a monitor on %s hears of any end once', (host) => {
    const source = `local pid = process.spawn("app:polite", "${host}")
      assert(process.monitor(pid))
      local again, err = process.monitor(pid)
      process.cancel(pid, "enough")
      local ev = process.events():receive()
      local late, gone = process.monitor(pid)
      return { again == nil, err:message(), ev.kind, ev.result.value, ev.result.error == nil, gone:message() }`
    expect(run(source)).toEqual([
      true,
      expect.stringContaining('already monitoring pid'),
      'pid.exit',
      'enough',
      true,
      expect.stringContaining('pid not registered'),
    ])
  })

  test.each(['app:a', 'app:b'])('terminate on %s ends without running any more Lua', (host) => {
    const source = `local pid = process.spawn_monitored("app:idle", "${host}")
      assert(process.terminate(pid))
      local ev = process.events():receive()
      local _, err = process.terminate(pid)
      local _, err2 = process.cancel(pid)
      return { ev.result.error:message(), ev.result.error:kind(), err:message(), err:kind(), err2:kind() }`
    expect(run(source)).toEqual([
      'process terminated',
      'Internal',
      expect.stringContaining('process not found'),
      'NotFound',
      'NotFound',
    ])
  })

  test.each(['app:a', 'app:b'])('a linked failure on %s fails whoever does not trap', (host) => {
    const middle = `return function(host) process.spawn_linked("app:boom", host) channel.new():receive() end`
    const source = `process.spawn_monitored("app:middle", "app:a", "${host}")
      return process.events():receive().result.error:message()`
    expect(run(source, { 'app:middle': middle })).toBe('linked process failed')
  })

  test.each(['app:a', 'app:b'])('a normal end on %s dissolves a link silently', (host) => {
    const source = `local pid = process.spawn_linked_monitored("app:ok", "${host}")
      process.events():receive()
      local r = channel.select({ process.events():case_receive(), default = true })
      return r.default`
    expect(run(source)).toBe(true)
  })

  test('unlink and unmonitor are idempotent; unlink removes both directions', () => {
    for (const host of ['app:a', 'app:b']) {
      const source = `local pid = process.spawn_linked_monitored("app:idle", "${host}")
        local ok = process.unlink(pid) and process.unlink(pid) and process.unmonitor(pid) and process.unmonitor(pid)
        process.terminate(pid)
        local r = channel.select({ process.events():case_receive(), default = true })
        return ok and r.default`
      expect(run(source)).toBe(true)
    }
  })

  test('a process can terminate itself, and runs no further', () => {
    const entries = { 'app:self': 'return function() process.terminate(process.pid()) print("never") end' }
    expect(
      run(
        'process.spawn_monitored("app:self", "app:a") return process.events():receive().result.error:message()',
        entries,
      ),
    ).toBe('process terminated')
    expect(lab.node.logs.map((line) => line.text)).not.toContain('never')
  })

  test('a chain of thousands of linked processes falls without falling over', () => {
    const link = `return function(n, top) if n > 0 then process.spawn_linked("app:chain", "app:a", n - 1, top) else process.send(top, "up") end channel.new():receive() end`
    const source = `local pid = process.spawn_monitored("app:chain", "app:a", 5000, process.pid())
      process.listen("up"):receive()
      process.terminate(pid)
      process.events():receive()
      return "down"`
    expect(run(source, { 'app:chain': link })).toBe('down')
    lab.node.driver.advance(1000)
    expect(lab.node.hosts.get('app:a')?.processCount).toBe(0)
  })
})

describe('options (§9.6)', () => {
  test.each([
    ['"x"', 'options parameter must be a table'],
    ['{ trap_links = 1 }', 'trap_links must be a boolean'],
    ['{ nope = 1 }', 'option nope is not supported'],
  ])('set_options(%s) is false, Invalid', (arg, text) => {
    expect(run(`local ok, e = process.set_options(${arg}) return { ok, e:kind(), e:message() }`)).toEqual([
      false,
      'Invalid',
      text,
    ])
  })

  test('valid keys beside wrong ones are applied, omitted ones keep their value', () => {
    const source = `process.set_options({ upgradable = true })
      process.set_options({ trap_links = true, nope = 1 })
      local o = process.get_options()
      return { o.trap_links, o.upgradable }`
    expect(run(source)).toEqual([true, true])
  })
})

describe('listen and unlisten (§9.7)', () => {
  test.each([
    ['process.listen("")', 'Invalid', 'topic cannot be empty'],
    ['process.listen("@x")', 'Invalid', 'cannot listen to @ topics'],
  ])('%s', (call, kind, text) => {
    expect(run(`local v, e = ${call} return { v == nil, e:kind(), e:message() }`)).toEqual([true, kind, text])
  })

  test('unlisten closes, works once, and raises for what is no channel', () => {
    const source = `local ch = process.listen("t")
      local first = process.unlisten(ch)
      local again, err = process.unlisten(ch)
      local v, ok = ch:receive()
      return { first, again, err:kind(), err:message(), v == nil, ok, (pcall(process.unlisten, 1)) }`
    expect(run(source)).toEqual([true, false, 'NotFound', 'channel not found', true, false, false])
  })

  test('subscribe binds a channel of the script', () => {
    const source = `local ch, other = channel.new(2), channel.new()
      local same = subscribe("t", ch) == ch and subscribe("t", ch) == ch
      local _, err = subscribe("t", other)
      process.send(process.pid(), "t", 9)
      local v = ch:receive()
      return { same, err:kind(), err:message(), v, unsubscribe(ch), (unsubscribe(ch)) }`
    expect(run(source)).toEqual([true, 'AlreadyExists', 'topic "t" already subscribed', 9, true, false])
  })
})

describe('upgrade (§9.8)', () => {
  test('keeps PID, names, mail and links, and drops coroutines, channels and timers', () => {
    const entries: Entries = {
      'app:v1': `return function()
        process.registry.register("svc")
        local a = process.listen("a")
        process.inbox():receive()
        coroutine.spawn(function() while true do coroutine.yield() end end)
        process.upgrade("app:v2", process.pid())
        error("not reached")
      end`,
      'app:v2': `return function(pid)
        local inbox, out = process.inbox(), {}
        for i = 1, 4 do out[i] = inbox:receive():payload():data() end
        return table.concat(out, " ") .. " " .. tostring(pid == process.pid()) .. " " .. process.id() .. " " .. tostring(process.registry.lookup("svc") == pid)
      end`,
    }
    const source = `local pid = process.spawn_monitored("app:v1", "app:a")
      process.send(pid, "go")
      process.send(pid, "x", 1) process.send(pid, "a", 2) process.send(pid, "x", 3) process.send(pid, "a", 4)
      return process.events():receive().result.value`
    expect(run(source, entries)).toBe('1 2 3 4 true app:v2 true')
  })

  test('fails the process when the new code cannot be loaded', () => {
    for (const id of ['app:nope', 'app:bad']) {
      const entries = { 'app:up': `return function() process.upgrade("${id}") end`, 'app:bad': 'error("chunk")' }
      const source =
        'process.spawn_monitored("app:up", "app:a") return process.events():receive().result.error:message()'
      expect(run(source, entries)).toMatch(/^upgrade/)
    }
  })
})

describe('local names (§10)', () => {
  test('resolve everywhere, are free before EXIT is heard, and belong to the first', () => {
    for (const host of ['app:a', 'app:b']) {
      const named =
        'return function(me) assert(process.registry.register("n")) process.send(me, "up") process.inbox():receive() end'
      const source = `local pid = process.spawn_monitored("app:named", "${host}", process.pid())
        process.listen("up"):receive()
        local found = process.registry.lookup("n")
        local _, err = process.registry.register("n")
        process.send("n", "stop")
        process.events():receive()
        local gone, missing = process.registry.lookup("n")
        local _, unresolved = process.send("n", "x")
        return { found == pid, err:kind(), err:message(), gone == nil, missing:kind(), missing:message(), unresolved:kind(), process.registry.register("n") }`
      expect(run(source, { 'app:named': named })).toEqual([
        true,
        'AlreadyExists',
        'name already registered',
        true,
        'NotFound',
        'name not registered',
        'NotFound',
        true,
      ])
    }
  })

  test.each([
    ['process.registry.register("n", 5)', 'Invalid', 'pid must be a string'],
    ['process.registry.register("n", "x")', 'Invalid', 'invalid pid'],
    ['process.registry.register("n", nil, "x")', 'Invalid', 'scope'],
    ['process.registry.register("n", nil, 9)', 'Invalid', 'scope'],
    ['process.registry.register("n", nil, process.registry.EVENTUAL)', 'Internal', 'eventual registry not available'],
    ['process.registry.register("n", nil, process.registry.CONSISTENT)', 'Internal', 'global registry not available'],
    ['process.registry.register("n", nil, process.registry.STRONG)', 'Internal', 'global registry not available'],
  ])('%s', (call, kind, text) => {
    expect(run(`local v, e = ${call} return { v == nil, e:kind(), e:message() }`)).toEqual([
      true,
      kind,
      expect.stringContaining(text),
    ])
  })

  test('unregister is true once, false after; anybody may', () => {
    const source = `local pid = process.spawn("app:idle", "app:b")
      process.registry.register("n", pid)
      return { process.registry.unregister("n"), process.registry.unregister("n"), process.registry.unregister("n", process.registry.STRONG) }`
    expect(run(source)).toEqual([true, false, false])
  })

  test('registering lets no other coroutine of the process run', () => {
    const source = `local other = false
      coroutine.spawn(function() other = true end)
      process.registry.register("n")
      return other`
    expect(run(source)).toBe(false)
  })
})

describe('a host that crashes', () => {
  test('ends its processes for monitors and links, frees their names, fails what waits', () => {
    const watcher = `return function()
      process.set_options({ trap_links = true })
      local pid = process.spawn_linked_monitored("app:idle", "app:b")
      process.registry.register("victim", pid)
      coroutine.spawn(function()
        local _, err = process.exec("app:idle", "app:b")
        process.send("main", "exec", err:kind())
      end)
      process.send("main", "ready")
      local a, b = process.events():receive(), process.events():receive()
      local kinds = { [a.kind] = a.result.error:kind(), [b.kind] = b.result.error:kind() }
      local _, dead = process.send(pid, "x")
      local _, down = process.spawn("app:idle", "app:b")
      return { kinds["pid.exit"], kinds["pid.link.down"], process.registry.lookup("victim") == nil, dead:kind(), down:message() }
    end`
    const main = `return function()
      process.registry.register("main")
      local exec, ready = process.listen("exec"), process.listen("ready")
      process.spawn_monitored("app:watcher", "app:a")
      ready:receive()
      process.registry.register("go")
      local kind = exec:receive()
      local result = process.events():receive().result.value
      result[#result + 1] = kind
      return result
    end`
    const crashing = make({ 'app:watcher': watcher, 'app:main': main })
    const { outcome } = crashing.spawn('app:main')
    crashing.driver.settle()
    expect(crashing.relay.lookup('go')).toBeDefined()
    crashing.crash('app:b')
    crashing.driver.settle()
    expect(outcome()).toMatchObject({
      ok: true,
      value: {
        array: [
          'Unavailable',
          'Unavailable',
          true,
          'NotFound',
          expect.stringContaining('host is not running'),
          'Unavailable',
        ],
      },
    })
  })
})

describe('scheduling (§24)', () => {
  test('a busy loop leaves others answering, and is paused between any two instructions', () => {
    const busy = make({
      'app:busy': 'return function() while true do end end',
      'app:main': `return function()
        local pid = process.spawn("app:echo", "app:a")
        local inbox = process.inbox()
        for i = 1, 20 do process.send(pid, "x", i) assert(inbox:receive():payload():data() == i) end
        return "answered"
      end`,
    })
    const { driver } = busy
    let pid: string | undefined
    busy.relay.spawn({ ...busy.request('app:busy'), wantsEnd: false }, (answer) => {
      if (answer.ok) pid = answer.value
    })
    let result: unknown
    busy.relay.spawn(
      busy.request('app:main'),
      () => {},
      (end) => {
        result = end
        busy.relay.ask({ kind: 'terminate', to: pid as string, from: '' }, () => {})
      },
    )
    driver.settle(100_000)
    expect(result).toEqual({ ok: true, value: 'answered' })
  })

  test('code between two waiting calls is atomic for the other coroutines of the process', () => {
    const source = `local seen, done = 0, channel.new()
      coroutine.spawn(function() for i = 1, 10 do coroutine.yield() seen = seen + 1 end done:send(true) end)
      coroutine.yield()
      local before = seen
      for i = 1, 200000 do end
      local unchanged = seen == before
      done:receive()
      return { unchanged, seen }`
    expect(run(source)).toEqual([true, 10])
  })

  test('print writes one record, joined by spaces, with pid and place', () => {
    run('print("a", 1, nil, true)\nreturn 1')
    expect(lab.node.logs).toEqual([
      expect.objectContaining({ level: 'info', text: 'a 1 nil true', where: 'app:main:2' }),
    ])
  })
})
