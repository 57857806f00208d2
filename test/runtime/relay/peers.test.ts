// Processes of two nodes: messages, monitors, links, spawns and ends between them are those of one node. cluster.md §10.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Plain, toPlain } from '../../../runtime/base/plain.ts'
import { ErrorValue, record } from '../../../runtime/base/value.ts'
import type { Outcome } from '../../../runtime/services.ts'
import { FakeDriver } from '../../tools/fake-driver.ts'
import { TestNode } from '../../tools/lua.ts'
import { type Connection, connect } from '../../tools/peers.ts'

const ENTRIES = {
  'app:echo': `return function()
    local inbox = process.inbox()
    while true do
      local m = inbox:receive()
      process.send(m:from(), m:topic(), m:payload():data())
    end
  end`,
  'app:idle': 'return function() channel.new():receive() end',
  'app:polite': 'return function() return process.events():receive().reason end',
  'app:fn': {
    kind: 'function.lua',
    source: `return { main = function()
      local echo = assert(process.spawn_monitored("app:echo", "two@app:a"))
      process.send(echo, "x", "hi")
      local m = process.inbox():receive()
      process.terminate(echo)
      local e = process.events():receive()
      return { m:payload():data(), m:from() == echo, e.kind }
    end }`,
  },
  'app:fn-caller': {
    modules: ['funcs'],
    source: 'local funcs = require("funcs") return { main = function() return assert(funcs.new():call("app:fn")) end }',
  },
  'app:first': `return function(to)
    local child = process.inbox():receive():payload():data()
    assert(process.monitor(child))
    process.upgrade("app:second", to, child)
  end`,
  'app:second': `return function(to, child)
    process.send(to, "ready", "second")
    local e = process.events():receive()
    return e.kind .. " " .. tostring(e.from == child)
  end`,
  'app:name': 'return function(pid) assert(process.registry.register("taken", pid)) end',
  'app:wordy': 'return function(ok) local text = ("x"):rep(20000) if ok then return text end error(text) end',
  'app:ok': 'return function(...) return ... end',
  'app:boom': 'return function(text) error(text or "boom") end',
  'app:whoami': 'return function() return process.pid() end',
  'app:parent': 'return function(to) process.send(to, "hello", process.pid()) channel.new():receive() end',
}

let a: TestNode
let b: TestNode
let line: Connection
/** Whether the hosts of the first node are as if each had a thread of its own. */
let isThreaded = false

function start(main = 'return function() end'): void {
  const driver = new FakeDriver()
  const entries = { ...ENTRIES, 'app:main': main }
  a = new TestNode(entries, [], { driver, name: 'one', epoch: 1000 })
  b = new TestNode(entries, [], { driver, name: 'two', epoch: 2000 })
  line = connect(a, b)
  if (isThreaded) for (const host of a.hosts.values()) host.sendAway = undefined
}

afterEach(() => {
  isThreaded = false
  a?.close()
  b?.close()
})

/** Runs the body of a process of the first node. */
function run(source: string, ...args: unknown[]): Plain {
  start(`return function(...) ${source} end`)
  return a.run('app:main', args)
}

/** The same body, with its partner in the same host, another host, another node: it must not matter. */
const EVERYWHERE = [
  ['in the same host', 'app:a'],
  ['in another host', 'app:b'],
  ['on another node', 'two@app:a'],
  ['on another node, from a thread', 'two@app:a', true],
] as const

test('a message overtakes nothing that was said before it', () => {
  const source = `local echo = assert(process.spawn("app:echo", ...))
    process.monitor(echo)
    process.send(echo, "n", 1)
    process.unmonitor(echo)
    process.send(echo, "n", 2)
    process.terminate(echo)
    process.send(echo, "n", 3)`
  run(source, 'two@app:a')
  // What the partner sends back comes in between.
  const own = line.log.filter((message) => 'from' in message && message.from.startsWith('{one@'))
  expect(own.map(({ kind }) => kind)).toEqual(['monitor', 'send', 'unmonitor', 'send', 'terminate', 'send'])
})

describe.each(EVERYWHERE)('%s', (_, host, isThread: boolean = false) => {
  beforeEach(() => {
    isThreaded = isThread
  })
  test('messages go and come, in order', () => {
    const source = `local echo = assert(process.spawn("app:echo", ...))
      for i = 1, 20 do assert(process.send(echo, "n", i)) end
      local inbox, got = process.inbox(), {}
      for i = 1, 20 do got[i] = inbox:receive():payload():data() end
      return table.concat(got, ",")`
    expect(run(source, host)).toBe(Array.from({ length: 20 }, (_, i) => i + 1).join(','))
  })

  test('values arrive as they were', () => {
    const source = `local echo = process.spawn("app:echo", ...)
      local t = { 1, 2.5, "x\\0\\255", true, nested = { list = { 1, 2 } }, [10] = "ten" }
      process.send(echo, "t", t)
      local got = process.inbox():receive():payload():data()
      return { got[1], math.type(got[1]), got[2], got[3] == t[3], got[4], got.nested.list[2], got[10], #got }`
    expect(run(source, host)).toEqual([1, 'integer', 2.5, true, true, 2, 'ten', 4])
  })

  test('a monitor hears the result, once', () => {
    const source = `local pid = assert(process.spawn_monitored("app:ok", ..., "done"))
      local events = process.events()
      local e = events:receive()
      local more = channel.select({ events:case_receive(), default = true })
      return { e.kind == process.event.EXIT, e.from == pid, e.result.value, more.default == true }`
    expect(run(source, host)).toEqual([true, true, 'done', true])
  })

  test('a monitor hears the failure', () => {
    const source = `process.spawn_monitored("app:boom", ..., "broken")
      local e = process.events():receive()
      return tostring(e.result.error)`
    expect(run(source, host)).toContain('broken')
  })

  test('a monitor that was taken back hears nothing', () => {
    const source = `local pid = process.spawn_monitored("app:polite", ...)
      assert(process.unmonitor(pid))
      process.cancel(pid, "1s")
      local e = channel.select({ process.events():case_receive(), require("time").after("100ms"):case_receive() })
      return e.channel == process.events()`
    expect(run(source, host)).toBe(false)
  })

  test('a link carries a failure to the other end', () => {
    const source = `process.set_options({ trap_links = true })
      local pid = process.spawn_linked("app:boom", ...)
      local e = process.events():receive()
      return { e.kind == process.event.LINK_DOWN, e.from == pid }`
    expect(run(source, host)).toEqual([true, true])
  })

  test('cancel reaches it, and terminate ends it', () => {
    const source = `local polite = process.spawn_monitored("app:polite", ...)
      assert(process.cancel(polite, "5s"))
      local first = process.events():receive()
      local idle = process.spawn_monitored("app:idle", ...)
      assert(process.terminate(idle))
      local second = process.events():receive()
      return { first.from == polite, second.from == idle, tostring(second.result.error) }`
    const [isPolite, isIdle, why] = run(source, host) as [boolean, boolean, string]
    expect([isPolite, isIdle]).toEqual([true, true])
    expect(why).toContain('terminated')
  })

  test('an entry that is not there fails the spawn', () => {
    const source = 'local pid, err = process.spawn("app:nothing", ...) return { pid == nil, err:kind() }'
    expect(run(source, host)).toEqual([true, 'NotFound'])
  })
})

test('a PID tells the node, and the node of a spawn may be the own one', () => {
  const pids = run(`local e1 = process.spawn_monitored("app:whoami", "two@app:b")
    local one = process.events():receive().result.value
    local e2 = process.spawn_monitored("app:whoami", "one@app:b")
    return { one, e1, process.events():receive().result.value, e2 }`) as string[]
  expect(pids[0]).toMatch(/^\{two@app:b\|/)
  expect(pids[0]).toBe(pids[1])
  expect(pids[2]).toMatch(/^\{one@app:b\|/)
  expect(pids[2]).toBe(pids[3])
})

test('a host or a node that is not there fails the spawn', () => {
  const source = `local out = {}
    for _, host in ipairs({ "two@app:none", "three@app:a" }) do
      local _, err = process.spawn("app:idle", host)
      out[#out + 1] = err:kind() .. " " .. err:message()
      assert(err:details().host_id == host)
    end
    return out`
  expect(run(source)).toEqual([
    'NotFound host not found: two@app:none',
    'NotFound host not found: three@app:a (node is not connected: three)',
  ])
})

test('what is not there any more: a send is on its way, a monitor fires, a link goes down', () => {
  const source = `process.set_options({ trap_links = true })
    local gone = process.spawn_monitored("app:ok", "two@app:a")
    process.events():receive()
    local sent = process.send(gone, "x")
    process.monitor(gone)
    local exit = process.events():receive()
    process.link(gone)
    local down = process.events():receive()
    return { sent, exit.kind == process.event.EXIT, exit.from == gone, tostring(exit.result.error),
      down.kind == process.event.LINK_DOWN }`
  expect(run(source)).toEqual([true, true, true, 'noproc', true])
})

test('a PID of an earlier run of a node is nobody', () => {
  start(`return function(pid)
    local sent, err = process.send(pid, "x")
    return { sent == nil, err:kind() }
  end`)
  expect(a.run('app:main', ['{two@app:a|1jj.001}'])).toEqual([true, 'NotFound'])
  expect(line.log).toEqual([])
})

test('a child on another node knows whom to answer at once', () => {
  const source = `local pid = process.spawn("app:parent", "two@app:a", process.pid())
    local m = process.inbox():receive()
    return { m:from() == pid, m:payload():data() == pid }`
  expect(run(source)).toEqual([true, true])
})

test('the spawner and its rights go along', () => {
  start()
  const request = {
    ...a.request('app:idle', [], 'two@app:a'),
    identity: { actor: { id: 'ada', meta: record({}) }, scope: ['p:x'] },
  }
  a.relay.spawn(request, () => {})
  a.driver.settle()
  expect(line.log[0]).toMatchObject({ kind: 'spawn', request: { host: 'app:a', identity: request.identity } })
})

describe('when the node is lost', () => {
  test('monitors hear it, links go down, each once, and a waiting spawn fails', () => {
    start(`return function()
      process.set_options({ trap_links = true })
      local watched = process.spawn_monitored("app:idle", "two@app:a")
      local linked = process.spawn_linked("app:idle", "two@app:a")
      local seen = {}
      for i = 1, 2 do
        local e = process.events():receive()
        seen[i] = e.kind .. " " .. tostring(e.from == watched) .. " " .. tostring(e.result.error)
      end
      local late = channel.select({ process.events():case_receive(), require("time").after("1s"):case_receive() })
      local sent, err = process.send(watched, "x")
      return { seen[1], seen[2], late.channel ~= process.events(), err:kind() }
    end`)
    const { outcome } = a.spawn('app:main')
    line.cut()
    a.driver.advance(2000)
    const end = outcome()
    expect(end?.ok === true && (end.value as { array: unknown[] }).array).toEqual([
      'pid.exit true node down: two',
      'pid.link.down false node down: two',
      true,
      'NotFound',
    ])
  })

  test('whoever was watched from there is not watched any more', () => {
    start()
    const idle = a.spawn('app:idle').pid
    b.relay.ask({ kind: 'monitor', to: idle, from: '{two@app:a|1jk.001}' }, () => {})
    a.driver.settle()
    line.cut()
    a.relay.ask({ kind: 'terminate', to: idle, from: '' }, () => {})
    a.driver.settle()
    expect(line.log.filter(({ kind }) => kind === 'down')).toEqual([])
  })

  test('a link to there ends the process that does not trap links', () => {
    start('return function() process.spawn_linked("app:idle", "two@app:a") channel.new():receive() end')
    const { outcome } = a.spawn('app:main')
    line.cut()
    expect(outcome()).toMatchObject({ ok: false, error: { message: 'linked process failed' } })
  })

  test('a new session of the same run carries on, and the old one is not heard', () => {
    start()
    const old = line
    line.cut()
    line = connect(a, b)
    expect(a.run('app:ok', ['x'], { host: 'two@app:a' })).toBe('x')
    const idle = a.spawn('app:idle').pid
    old.forge({ kind: 'terminate', to: idle, from: '' })
    a.driver.settle()
    expect([...(a.hosts.get('app:a')?.processes() ?? [])].map(({ pid }) => pid)).toContain(idle)
  })
})

test('a full queue is an error of the send, and nothing is lost silently', () => {
  start(`return function()
    local pid = process.spawn("app:idle", "two@app:a")
    process.send("ready", "now")
    process.inbox():receive()
    local sent, err = process.send(pid, "x")
    return { sent == nil, err:kind(), err:retryable(), err:message() }
  end`)
  const { pid, outcome } = a.spawn('app:main')
  line.refuse = 'full'
  a.send(pid, 'go')
  a.driver.advance(100)
  const end = outcome()
  expect(end?.ok === true && (end.value as { array: unknown[] }).array).toEqual([
    true,
    'Unavailable',
    true,
    'peer queue full: two',
  ])
})

describe('a host in a thread of its own', () => {
  beforeEach(() => {
    isThreaded = true
  })

  test('says so much ahead of the answer, asks beyond that, and hears when there is no room', () => {
    start(`return function()
      local pid = assert(process.spawn("app:idle", "two@app:a"))
      process.inbox():receive()
      local sent = 0
      while true do
        local ok, err = process.send(pid, "x", sent)
        if not ok then return { sent, err:message() } end
        sent = sent + 1
      end
    end`)
    const { pid, outcome } = a.spawn('app:main')
    line.refuse = 'full'
    a.send(pid, 'go')
    a.driver.advance(100)
    const end = outcome()
    const [sent, why] = end?.ok === true ? (end.value as unknown as { array: [number, string] }).array : [0, '']
    expect(why).toBe('peer queue full: two')
    expect(sent).toBeGreaterThan(2)
    expect(sent).toBeLessThan(20)
    expect(line.log.filter(({ kind }) => kind === 'send')).toHaveLength(sent)
  })

  test('goes on when there is room again, and nothing is lost or overtaken', () => {
    const source = `local echo = assert(process.spawn("app:echo", "two@app:a"))
      for i = 1, 100 do assert(process.send(echo, "n", i)) end
      local inbox = process.inbox()
      for i = 1, 100 do assert(inbox:receive():payload():data() == i) end
      return "all"`
    expect(run(source)).toBe('all')
  })

  test('asks what is too long for saying it ahead', () => {
    expect(run('return process.send(process.spawn("app:idle", "two@app:a"), "x", ("x"):rep(100000))')).toBe(true)
  })

  test('learns that a node is gone', () => {
    start(`return function()
      local pid = assert(process.spawn("app:idle", "two@app:a"))
      process.inbox():receive()
      local ok, err = process.send(pid, "x")
      return err:message()
    end`)
    const { pid, outcome } = a.spawn('app:main')
    line.cut()
    a.send(pid, 'go')
    a.driver.advance(100)
    expect(outcome()).toMatchObject({ ok: true, value: 'node is not connected: two' })
  })
})

test('the run of a function is a process for other nodes too', () => {
  const source = `local pid = assert(process.spawn("app:fn-caller", "app:a"))
    assert(process.monitor(pid))
    return process.events():receive().result.value`
  start(`return function() ${source} end`)
  expect(a.run('app:main')).toEqual(['hi', true, 'pid.exit'])
})

test('a process that starts over with new code stays watched, and goes on watching', () => {
  const source = `local pid = assert(process.spawn_monitored("app:first", "two@app:a", process.pid()))
    local inbox, events = process.inbox(), process.events()
    local child = assert(process.spawn_monitored("app:idle", "two@app:a"))
    process.send(pid, "watch", child)
    local ready = inbox:receive():payload():data()
    process.terminate(child)
    local first, second = events:receive(), events:receive()
    return { ready, first.from == child, second.from == pid, second.result.value }`
  expect(run(source)).toEqual(['second', true, true, 'pid.exit true'])
})

test.each(Array.from({ length: 16 }, (_, turns) => turns))(
  'a name whose bearer ends after %i turns: its end is heard',
  (turns) => {
    start(`return function(holder)
    local pid = assert(process.with_options({}):with_name("taken"):spawn_monitored("app:idle", "two@app:a"))
    return pid == holder and process.events():receive().kind or "a process of its own"
  end`)
    const holder = b.spawn('app:idle', [], 'app:b').pid
    b.spawn('app:name', [holder])
    let outcome: Outcome | undefined
    a.relay.spawn(
      a.request('app:main', [holder]),
      () => {},
      (ended) => {
        outcome = ended
      },
    )
    for (let i = 0; i < 60 && line.sent.every(({ kind }) => kind !== 'spawn'); i++) a.driver.turn()
    for (let i = 0; i < turns; i++) a.driver.turn()
    b.relay.ask({ kind: 'terminate', to: holder, from: '' }, () => {})
    a.driver.settle()
    expect(outcome).toMatchObject({ ok: true })
  },
)

describe('what does not fit into a message', () => {
  const SOURCE = `return function()
      process.set_options({ trap_links = true })
      process.spawn_linked_monitored("app:wordy", "two@app:a", "1")
      local exit = process.events():receive().result.error
      process.spawn_linked_monitored("app:wordy", "two@app:a")
      local out = { exit:kind() }
      for i = 1, 2 do
        local e = process.events():receive()
        out[#out + 1] = e.kind .. " " .. e.result.error:kind()
      end
      local value, err = process.exec("app:wordy", "two@app:a", "1")
      out[#out + 1] = err:kind()
      out[#out + 1] = err:message()
      return out
    end`

  test('is still an end that is heard: of a monitor, of a link, of exec', () => {
    start(SOURCE)
    line.bytesMax = 10_000
    expect(a.run('app:main')).toEqual([
      'Invalid',
      'pid.exit Invalid',
      'pid.link.down Invalid',
      'Invalid',
      'what the process ended with is too large, or nested too deep, for another node (cluster.internode.max_message_size)',
    ])
  })
})

describe('a spawn whose spawner is lost meanwhile', () => {
  test('tells the waiting spawner that nobody knows what became of it', () => {
    start(`return function()
      local pid, err = process.spawn("app:idle", "two@app:a")
      return { pid == nil, err:kind(), err:details().ambiguous }
    end`)
    let outcome: Outcome | undefined
    a.relay.spawn(
      a.request('app:main'),
      () => {},
      (ended) => {
        outcome = ended
      },
    )
    for (let i = 0; i < 50 && line.sent.every(({ kind }) => kind !== 'spawn'); i++) a.driver.turn()
    line.cut()
    expect(outcome?.ok === true && toPlain(outcome.value)).toEqual([true, 'Unavailable', true])
  })

  test('leaves no child that is linked to nobody', () => {
    start()
    const from = '{two@app:a|1jk.001}'
    line.forge({ kind: 'spawn', ref: 1, request: { ...a.request('app:idle'), from, link: true, monitor: true } })
    line.cut()
    expect(a.hosts.get('app:a')?.processCount).toBe(0)
  })
})

test('a monitor that is asked for twice stays one, also when its host dies', () => {
  start()
  const idle = a.spawn('app:idle').pid
  for (const _ of [1, 2]) line.forge({ kind: 'monitor', to: idle, from: '{two@app:a|1jk.001}' })
  a.driver.settle()
  a.crash('app:a')
  a.driver.settle()
  expect(line.log.filter(({ kind }) => kind === 'down')).toMatchObject([{ event: 'exit', from: idle }])
})

test('what is sent to a process that is not there is counted by why (cluster.md §10.4)', () => {
  start()
  const from = '{two@app:a|1jk.001}'
  const ended = a.spawn('app:ok').pid
  const toOtherRun = ended.replace('|rs.', '|rr.')
  const nowhere = '{one@app:none|rs.0zz}'
  for (const to of [ended, toOtherRun, nowhere]) line.forge({ kind: 'send', to, from, topic: 'x', values: [] })
  line.forge({ kind: 'terminate', to: ended, from })
  a.driver.settle()
  expect(a.relay.undelivered).toEqual({ stale_epoch: 1, noproc: 3 })
})

describe('a message to a name (cluster.md §1.3, §10.4)', () => {
  const FROM = '{two@app:a|1jk.001}'

  test('comes back when its process is not there, or of another run', () => {
    start()
    const ended = a.spawn('app:ok').pid
    for (const to of [ended, ended.replace('|rs.', '|rr.')]) {
      line.forge({ kind: 'send', to, from: FROM, topic: 'job', values: [7], name: 'worker' })
    }
    a.driver.settle()
    expect(b.undeliverable).toMatchObject([
      { pid: ended.replace('|rs.', '|rr.'), from: FROM, why: 'stale_epoch', name: 'worker' },
      { pid: ended, from: FROM, why: 'noproc', name: 'worker', message: { topic: 'job', values: [7] } },
    ])
    expect(a.relay.undelivered).toEqual({ stale_epoch: 1, noproc: 1 })
  })

  test('one that arrives does not', () => {
    start()
    const idle = a.spawn('app:idle').pid
    line.forge({ kind: 'send', to: idle, from: FROM, topic: 'job', values: [7], name: 'worker' })
    a.driver.settle()
    expect(b.undeliverable).toEqual([])
  })

  test('a node says so of its own processes, to processes of this node', () => {
    start()
    const notice = { why: 'noproc', name: 'worker', message: undefined } as const
    line.forge({ kind: 'undeliverable', pid: '{three@app:a|1.001}', from: '{one@app:a|rs.001}', ...notice })
    line.forge({ kind: 'undeliverable', pid: '{two@app:a|1.001}', from: '{three@app:a|rs.001}', ...notice })
    line.forge({ kind: 'undeliverable', pid: '{two@app:a|1.001}', from: '{one@app:a|rs.001}', ...notice })
    expect([a.relay.refusedMessages, a.undeliverable.length]).toEqual([2, 1])
  })
})

describe('what crosses on its way (cluster.md §10.1)', () => {
  const FAR = '{two@app:a|1jk.001}'
  const END = { ok: false, error: new ErrorValue('Internal', 'crashed', false) } as const
  const WATCHER = `return function(pid)
    process.set_options({ trap_links = true })
    local seen = {}
    local events = process.events()
    assert(process.monitor(pid))
    assert(process.unmonitor(pid))
    assert(process.monitor(pid))
    process.send(process.pid(), "go")
    process.inbox():receive()
    for i = 1, 2 do
      local e = channel.select({ events:case_receive(), require("time").after("1s"):case_receive() })
      if e.channel == events then seen[#seen + 1] = tostring(e.value.result.error) end
    end
    return seen
  end`

  function watcher(): { from: string; ids: number[]; outcome: () => Outcome | undefined } {
    start(WATCHER)
    line.isSlow = true
    const { pid, outcome } = a.spawn('app:main', [FAR])
    const ids = line.sent.flatMap((each) => (each.kind === 'monitor' ? [each.id as number] : []))
    return { from: pid, ids, outcome }
  }

  test('the EXIT of a monitor that was taken back is not that of the next one', () => {
    const { from, ids, outcome } = watcher()
    expect(ids).toHaveLength(2)
    const exit = { kind: 'down', event: 'exit', to: from, from: FAR, atMs: 0 } as const
    line.forge({ ...exit, outcome: END, id: ids[0] as number })
    line.forge({
      ...exit,
      outcome: { ok: false, error: new ErrorValue('NotFound', 'noproc', false) },
      id: ids[1] as number,
    })
    a.driver.advance(3000)
    const end = outcome()
    expect(end?.ok === true && toPlain(end.value)).toEqual(['noproc'])
  })

  test('and the next one still hears when the node is lost', () => {
    const { from, ids, outcome } = watcher()
    line.forge({ kind: 'down', event: 'exit', to: from, from: FAR, atMs: 0, outcome: END, id: ids[0] as number })
    line.cut()
    a.driver.advance(3000)
    const end = outcome()
    expect(end?.ok === true && toPlain(end.value)).toEqual(['node down: two'])
  })

  const LINKED = `return function(pid)
    process.set_options({ trap_links = true })
    assert(process.link(pid))
    assert(process.unlink(pid))
    local e = channel.select({ process.events():case_receive(), require("time").after("1s"):case_receive() })
    return e.channel == process.events()
  end`

  test('a LINK_DOWN that crosses the UNLINK is not heard', () => {
    start(LINKED)
    line.isSlow = true
    const { pid, outcome } = a.spawn('app:main', [FAR])
    expect(line.sent.map(({ kind }) => kind)).toEqual(['link', 'unlink'])
    line.forge({ kind: 'down', event: 'link-down', to: pid, from: FAR, atMs: 0, outcome: END })
    a.driver.advance(2000)
    const end = outcome()
    expect(end?.ok === true && end.value).toBe(false)
  })

  test('a LINK that crosses the UNLINK is void: both ends agree that there is none', () => {
    start(LINKED)
    line.isSlow = true
    const { pid } = a.spawn('app:main', [FAR])
    const unlink = line.sent.find((each) => each.kind === 'unlink')
    line.forge({ kind: 'link', to: pid, from: FAR })
    line.forge({ kind: 'unlink-ack', to: pid, from: FAR, id: unlink?.kind === 'unlink' ? (unlink.id as number) : 0 })
    a.driver.settle()
    expect(a.relay.pairsWith('two')).toBe(0)
    a.driver.advance(2000)
    expect(line.sent.map(({ kind }) => kind)).toEqual(['link', 'unlink'])
  })

  test('an UNLINK is acknowledged, also by a node whose process is gone', () => {
    start()
    const idle = a.spawn('app:idle').pid
    const gone = a.spawn('app:ok').pid
    line.forge({ kind: 'link', to: idle, from: FAR })
    for (const to of [idle, gone, '{one@app:none|rs.0zz}']) line.forge({ kind: 'unlink', to, from: FAR, id: 9 })
    a.driver.settle()
    const acknowledged = line.log.filter(({ kind }) => kind === 'unlink-ack')
    expect(acknowledged.map((each) => 'from' in each && each.from)).toEqual(['{one@app:none|rs.0zz}', idle, gone])
    expect(a.relay.pairsWith('two')).toBe(0)
  })
})

describe('with as many pairs as there may be', () => {
  function crowd(main: string): void {
    const driver = new FakeDriver()
    const entries = { ...ENTRIES, 'app:main': main }
    a = new TestNode(entries, [], { driver, name: 'one', epoch: 1000, peerPairsMax: 3 })
    b = new TestNode(entries, [], { driver, name: 'two', epoch: 2000 })
    line = connect(a, b)
  }

  test('whoever asks for one more is told', () => {
    crowd(`return function()
      local pids, said = {}, {}
      for i = 1, 5 do pids[i] = assert(process.spawn("app:idle", "two@app:a")) end
      for i = 1, 2 do assert(process.monitor(pids[i])) end
      assert(process.link(pids[3]))
      for _, try in ipairs({
        function() return process.monitor(pids[4]) end,
        function() return process.link(pids[5]) end,
        function() return process.spawn_monitored("app:idle", "two@app:a") end,
      }) do
        local ok, err = try()
        said[#said + 1] = tostring(ok) .. " " .. err:kind()
      end
      assert(process.unmonitor(pids[1]))
      said[4] = process.monitor(pids[4])
      return said
    end`)
    expect(a.run('app:main')).toEqual([...new Array(3).fill('nil LimitExceeded'), true])
  })

  test('so is another node, by the end that it waits for', () => {
    crowd('return function() end')
    const idle = a.spawn('app:idle').pid
    for (let i = 1; i <= 4; i++) line.forge({ kind: 'monitor', to: idle, from: `{two@app:a|1jk.00${i}}`, id: i })
    line.forge({ kind: 'link', to: idle, from: '{two@app:a|1jk.001}' })
    line.forge({
      kind: 'spawn',
      ref: 1,
      request: { ...a.request('app:idle'), from: '{two@app:a|1jk.001}', monitor: true },
    })
    a.driver.settle()
    expect(line.log).toMatchObject([
      { kind: 'down', event: 'exit', id: 4, from: idle, outcome: { error: { kind: 'LimitExceeded' } } },
      { kind: 'down', event: 'link-down', from: idle, outcome: { error: { kind: 'LimitExceeded' } } },
      { kind: 'reply', ref: 1, ok: false, error: { kind: 'LimitExceeded' } },
    ])
  })
})

describe('a hostile node', () => {
  test('cannot speak as the runtime', () => {
    start()
    const idle = a.spawn('app:idle').pid
    const messages = [{ topic: '@feed/1', values: [] }]
    line.forge({ kind: 'send', to: idle, from: '', topic: '@feed/1', values: ['x'] })
    line.forge({ kind: 'spawn', ref: 1, request: { ...a.request('app:idle'), messages } })
    a.driver.settle()
    expect(a.relay.refusedMessages).toBe(2)
    expect(a.hosts.get('app:a')?.processCount).toBe(1)
  })

  test.each([undefined, 7, '', 'x', '{one@app:a|rs.001}', '{three@app:a|1jk.001}'])(
    'cannot answer a spawn with %j',
    (value) => {
      start(`return function()
        local pid, err = process.spawn("app:idle", "two@app:a")
        return { pid == nil, err:kind() }
      end`)
      let outcome: Outcome | undefined
      a.relay.spawn(
        a.request('app:main'),
        () => {},
        (ended) => {
          outcome = ended
        },
      )
      for (let i = 0; i < 50 && line.sent.every(({ kind }) => kind !== 'spawn'); i++) a.driver.turn()
      const spawn = line.sent.find((each) => each.kind === 'spawn')
      line.forge({ kind: 'reply', ref: spawn?.kind === 'spawn' ? spawn.ref : 0, ok: true, value })
      a.driver.settle()
      expect(outcome?.ok === true && toPlain(outcome.value)).toEqual([true, 'Internal'])
    },
  )

  test('answers once, and tells an end after the answer', () => {
    start(`return function()
      local value = process.exec("app:polite", "two@app:a")
      return value
    end`)
    let outcome: Outcome | undefined
    a.relay.spawn(
      a.request('app:main'),
      () => {},
      (ended) => {
        outcome = ended
      },
    )
    for (let i = 0; i < 50 && line.sent.every(({ kind }) => kind !== 'spawn'); i++) a.driver.turn()
    const spawn = line.sent.find((each) => each.kind === 'spawn')
    const ref = spawn?.kind === 'spawn' ? spawn.ref : 0
    line.forge({ kind: 'ended', ref, outcome: { ok: true, value: 'early' } })
    a.driver.settle()
    line.forge({ kind: 'reply', ref, ok: true, value: '{two@app:a|1jk.001}' })
    a.driver.settle()
    expect([a.relay.refusedMessages, outcome]).toEqual([2, undefined])
  })

  test('speaks for its own processes only', () => {
    start()
    const idle = a.spawn('app:idle').pid
    const other = a.spawn('app:idle').pid
    for (const from of [other, '{three@app:a|1jk.001}', '{two@app:a|1.001}']) {
      line.forge({ kind: 'send', to: idle, from, topic: 'x', values: [] })
      line.forge({ kind: 'terminate', to: idle, from })
      line.forge({ kind: 'monitor', to: idle, from })
      line.forge({ kind: 'down', to: idle, from, event: 'link-down', outcome: { ok: true, value: undefined }, atMs: 0 })
      line.forge({ kind: 'spawn', ref: 1, request: { ...a.request('app:idle'), from } })
    }
    a.driver.settle()
    expect(a.relay.refusedMessages).toBe(15)
    expect(a.hosts.get('app:a')?.processCount).toBe(2)
  })

  test('answers only what it was asked, and passes nothing on', () => {
    start()
    line.forge({ kind: 'reply', ref: 1, ok: true, value: 'x' })
    line.forge({ kind: 'ended', ref: 2, outcome: { ok: true, value: undefined } })
    line.forge({ kind: 'send', to: '{two@app:a|1jk.001}', from: '', topic: 'x', values: [] })
    line.forge({ kind: 'spawn', ref: 1, request: a.request('app:idle', [], 'two@app:a') })
    line.forge({ kind: 'abandon', ref: 99 })
    a.driver.settle()
    expect(line.log).toEqual([])
    expect(a.relay.refusedMessages).toBe(3)
  })

  test('has a bound to what it hands to a process', () => {
    start()
    const args = new Array(2_000_000).fill(undefined)
    line.forge({ kind: 'spawn', ref: 1, request: { ...a.request('app:ok'), args } })
    a.driver.settle()
    expect(line.log).toMatchObject([{ kind: 'reply', ref: 1, ok: false, error: { kind: 'Invalid' } }])
  })

  test('has a bound to what it starts', () => {
    start()
    for (let ref = 1; ref <= 4100; ref++) line.forge({ kind: 'spawn', ref, request: a.request('app:none') })
    a.driver.settle()
    const refused = line.log.filter((each) => each.kind === 'reply' && !each.ok && each.error.kind === 'Unavailable')
    expect(refused).toHaveLength(4)
  })
})

describe('with strict code', () => {
  /** What the first node's spawn of `app:child` on the second comes to. */
  function spawned(strict: [boolean, boolean], there: Record<string, string> = {}, entry = 'app:child'): Plain {
    const driver = new FakeDriver()
    const here = {
      'app:child': 'return function() return "ran" end',
      'app:main': `return function(id)
        local value, err = process.exec(id, "two@app:a")
        return err and err:kind() .. " " .. err:message() or value
      end`,
    }
    a = new TestNode(here, [], { driver, name: 'one', epoch: 1000, isStrict: strict[0] })
    b = new TestNode({ ...here, ...there }, [], { driver, name: 'two', epoch: 2000, isStrict: strict[1] })
    line = connect(a, b)
    return a.run('app:main', [entry])
  }
  const OTHER = { 'app:child': 'return function() return "other" end' }

  test('the same source runs', () => {
    expect(spawned([true, true])).toBe('ran')
  })

  test('another source there is not found', () => {
    expect(spawned([true, true], OTHER)).toBe(
      'NotFound factory not found: app:child (its source on node two is another one; cluster.strict_code)',
    )
    expect(spawned([false, false], OTHER)).toBe('other')
  })

  test('an entry that is only there is not found', () => {
    expect(spawned([true, true], { 'app:more': 'return function() end' }, 'app:more')).toContain('has no such entry')
    expect(line.log).toEqual([])
  })

  test('one that is strict takes nothing from one that is not', () => {
    expect(spawned([true, false])).toContain('node two has no cluster.strict_code, the asking node has')
    expect(spawned([false, true])).toContain('node two has cluster.strict_code, the asking node has not')
  })
})
