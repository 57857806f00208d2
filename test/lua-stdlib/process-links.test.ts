// lua-core.md §8, §9.4, §9.5: events field by field, the rules of links and monitors, within a host and across two.

import { describe, expect, test } from 'vitest'
import { processLab } from '../tools/processes.ts'

const lab = processLab()
const { make, run } = lab
const HOSTS = ['app:a', 'app:b']

/** Waits for an event, or for a second without one. */
const NEXT = `local time = require("time")
  local function next_event()
    local late = time.after("1s")
    local r = channel.select({ process.events():case_receive(), late:case_receive() })
    return r.channel ~= late and r.value or nil
  end `

/** Lets `body` run while the end of its `child` is on its way to it. What it returns afterwards is the result. */
function letGo(kind: 'spawn_monitored' | 'spawn_linked', body: string): unknown {
  const node = make({
    'app:main': `${NEXT} return function()
      local go = process.listen("go")
      local pid = process.with_context({}):with_name("child"):${kind}("app:idle", "app:b")
      go:receive()
      ${body}
    end`,
  })
  const { pid, outcome } = node.spawn('app:main')
  node.relay.ask({ kind: 'terminate', to: node.relay.lookup('child') ?? '', from: '' }, () => {})
  node.send(pid, 'go')
  node.driver.advance(2000)
  return outcome()
}

describe('fields of events (§8)', () => {
  const fields = `local function fields(t) local out = {} for k in pairs(t) do out[#out + 1] = k end table.sort(out) return table.concat(out, " ") end `

  test.each(HOSTS)('EXIT of a success on %s has kind, from, at and result.value, and nothing else', (host) => {
    const source = `${fields}
      local pid = process.spawn_monitored("app:ok", "${host}", { 7 })
      local ev = process.events():receive()
      return { fields(ev), fields(ev.result), ev.kind == process.event.EXIT, ev.from == pid, math.type(ev.at), ev.result.value[1] }`
    expect(run(source)).toEqual(['at from kind result', 'value', true, true, 'integer', 7])
  })

  test.each(HOSTS)('EXIT of a success without a value on %s has an empty result', (host) => {
    const source = `${fields}
      process.spawn_monitored("app:ok", "${host}")
      return fields(process.events():receive().result)`
    expect(run(source)).toBe('')
  })

  test.each(HOSTS)('EXIT and LINK_DOWN of a failure on %s have result.error', (host) => {
    const source = `${fields}
      process.set_options({ trap_links = true })
      local pid = process.spawn_linked_monitored("app:nilerr", "${host}", "why")
      local out = {}
      for i = 1, 2 do
        local ev = process.events():receive()
        local e = ev.result.error
        out[i] = table.concat({ ev.kind, fields(ev), fields(ev.result), tostring(ev.from == pid), e:kind(), e:message(), tostring(e:retryable()) }, "; ")
      end
      return out`
    expect(run(source)).toEqual([
      'pid.exit; at from kind result; error; true; Internal; why; false',
      'pid.link.down; at from kind result; error; true; Internal; why; false',
    ])
  })

  test('CANCEL has kind, from, at and reason; the reason is empty unless given', () => {
    const show = `${fields} return function()
      local a, b = process.events():receive(), process.events():receive()
      return { fields(a), a.kind == process.event.CANCEL, a.from, a.reason, b.reason }
    end`
    for (const host of HOSTS) {
      const source = `local pid = process.spawn_monitored("app:show", "${host}")
        process.cancel(pid) process.cancel(pid, "enough")
        local v = process.events():receive().result.value
        v[3] = v[3] == process.pid()
        return v`
      expect(run(source, { 'app:show': show })).toEqual(['at from kind reason', true, true, '', 'enough'])
    }
  })

  test('a CANCEL by the runtime comes from nobody', () => {
    const node = make({ 'app:show': 'return function() return process.events():receive().from end' })
    const { outcome } = node.spawn('app:show')
    node.lines.get('app:a')?.port.post({ kind: 'stop', reason: 'scheduler shutdown', timeoutMs: 100 })
    node.driver.settle()
    expect(outcome()).toEqual({ ok: true, value: '' })
  })

  test('the constants have these values', () => {
    const source = 'local e = process.event return { e.EXIT, e.LINK_DOWN, e.CANCEL, e.OUTDATED }'
    expect(run(source)).toEqual(['pid.exit', 'pid.link.down', 'pid.cancel', 'pid.outdated'])
  })

  test('what was raised arrives with kind, retryable and details, across hosts too', () => {
    const entries = {
      'app:fails':
        'return function() error(errors.new{ message = "taken", kind = "Conflict", retryable = true, details = { by = { "x" } } }) end',
    }
    for (const host of HOSTS) {
      const source = `process.spawn_monitored("app:fails", "${host}")
        local e = process.events():receive().result.error
        return { e:kind(), e:message(), e:retryable(), e:details().by[1] }`
      expect(run(source, entries)).toEqual(['Conflict', 'taken', true, 'x'])
    }
  })

  test.each([
    ['return nil, errors.new("x")', 'result.error'],
    ['return errors.new("x")', 'result.value'],
  ])('an error without a kind is Internal once it has crossed: %s', (body, field) => {
    const entries = { 'app:e': `return function() ${body} end` }
    const source = `process.spawn_monitored("app:e", "app:a") return process.events():receive().${field}:kind()`
    expect(run(source, entries)).toBe('Internal')
  })
})

describe('monitors (§8, §9.5)', () => {
  test.each(HOSTS)('one EXIT for each watcher on %s, then the monitor is gone', (host) => {
    const watcher = `${NEXT} return function(pid, top)
      process.monitor(pid)
      process.send(top, "ready")
      local first, second = next_event(), next_event()
      return { first.kind, second == nil }
    end`
    const source = `local ready = process.listen("ready")
      local pid = process.spawn("app:polite", "${host}")
      for i = 1, 3 do process.spawn_monitored("app:watcher", i < 3 and "app:a" or "app:b", pid, process.pid()) end
      for i = 1, 3 do ready:receive() end
      process.cancel(pid)
      local out = {}
      for i = 1, 3 do local v = process.events():receive().result.value out[i] = v[1] .. " " .. tostring(v[2]) end
      return out`
    expect(run(source, { 'app:watcher': watcher })).toEqual(['pid.exit true', 'pid.exit true', 'pid.exit true'])
  })

  test.each(HOSTS)('a monitor of a spawn counts: a second one on %s is refused, unmonitor ends it', (host) => {
    const source = `${NEXT}
      local pid = process.spawn_monitored("app:idle", "${host}")
      local again, err = process.monitor(pid)
      local undone = process.unmonitor(pid)
      local renewed = process.monitor(pid)
      process.unmonitor(pid)
      process.terminate(pid)
      return { again == nil, err:kind(), undone, renewed, next_event() == nil }`
    expect(run(source)).toEqual([true, 'AlreadyExists', true, true, true])
  })

  test.each(HOSTS)('an EXIT that is queued already on %s stays after unmonitor', (host) => {
    const source = `${NEXT}
      local pid = process.spawn_monitored("app:ok", "${host}")
      time.sleep("10ms")
      return { process.unmonitor(pid), next_event().kind }`
    expect(run(source)).toEqual([true, 'pid.exit'])
  })

  test('an EXIT that is on its way when unmonitor returns is not delivered', () => {
    expect(letGo('spawn_monitored', 'process.unmonitor(pid) return next_event() == nil')).toEqual({
      ok: true,
      value: true,
    })
    expect(letGo('spawn_monitored', 'return next_event().kind')).toEqual({ ok: true, value: 'pid.exit' })
  })

  test('EXIT waits until events() is called', () => {
    const source = `process.spawn_monitored("app:ok", "app:a", 1) process.spawn_monitored("app:ok", "app:b", 2)
      require("time").sleep("1s")
      return process.events():receive().result.value + process.events():receive().result.value`
    expect(run(source)).toBe(3)
  })

  test('the end of a watcher takes its monitors along', () => {
    for (const host of HOSTS) {
      const entries = { 'app:w': 'return function(pid) process.monitor(pid) end' }
      const source = `local pid = process.spawn("app:idle", "${host}")
        process.exec("app:w", "app:b", pid) process.exec("app:w", "app:a", pid)
        return process.terminate(pid)`
      expect(run(source, entries)).toBe(true)
    }
  })

  test('a process may monitor itself and link to itself; nothing comes of it', () => {
    const source =
      'return { process.monitor(process.pid()), process.link(process.pid()), process.unlink(process.pid()) }'
    expect(run(source)).toEqual([true, true, true])
  })
})

describe('links (§8, §9.5)', () => {
  const parent = `return function(host, top)
    process.send(top, "child", (process.spawn_linked("app:idle", host)))
    channel.new():receive()
  end`

  test.each(HOSTS)('a failing parent fails the child that it linked at its spawn on %s', (host) => {
    const source = `local parent = process.spawn("app:parent", "app:a", "${host}", process.pid())
      process.monitor(process.listen("child"):receive())
      process.terminate(parent)
      local ev = process.events():receive()
      return { ev.kind, ev.result.error:message() }`
    expect(run(source, { 'app:parent': parent })).toEqual(['pid.exit', 'linked process failed'])
  })

  test.each(HOSTS)('process.link works in both directions on %s', (host) => {
    const linker = `return function(to, top) process.link(to) process.send(top, "linked") channel.new():receive() end`
    for (const victim of [1, 2]) {
      const source = `local linked = process.listen("linked")
        local one = process.spawn("app:idle", "${host}")
        local two = process.spawn("app:linker", "app:a", one, process.pid())
        linked:receive()
        local pids = { one, two }
        process.monitor(pids[${3 - victim}])
        process.terminate(pids[${victim}])
        local ev = process.events():receive()
        return { ev.from == pids[${3 - victim}], ev.result.error:message() }`
      expect(run(source, { 'app:linker': linker })).toEqual([true, 'linked process failed'])
    }
  })

  test.each(HOSTS)('a link on %s is one however often it is made; unlink removes both directions', (host) => {
    const source = `${NEXT}
      process.set_options({ trap_links = true })
      local pid = process.spawn_linked("app:idle", "${host}")
      local again = process.link(pid) and process.link(pid)
      local undone = process.unlink(pid)
      process.terminate(pid)
      return { again, undone, next_event() == nil }`
    expect(run(source)).toEqual([true, true, true])
  })

  test('a LINK_DOWN that is on its way when unlink returns does no harm', () => {
    expect(letGo('spawn_linked', 'process.unlink(pid) next_event() return "alive"')).toEqual({
      ok: true,
      value: 'alive',
    })
    expect(letGo('spawn_linked', 'next_event() return "alive"')).toMatchObject({
      error: { message: 'linked process failed' },
    })
  })

  test.each(HOSTS)('the dead cannot be linked or monitored on %s', (host) => {
    const source = `local pid = process.spawn_monitored("app:ok", "${host}")
      process.events():receive()
      local a, e1 = process.link(pid)
      local b, e2 = process.monitor(pid)
      return { a == nil, e1:message(), e1:kind(), b == nil, e2:message(), e2:kind() }`
    const gone = expect.stringContaining('pid not registered')
    expect(run(source)).toEqual([true, gone, 'NotFound', true, gone, 'NotFound'])
  })

  test('a failure goes on from link to link across hosts, and stops where one traps', () => {
    const link = `return function(n, top)
      if n > 0 then process.spawn_linked("app:chain", n % 2 == 0 and "app:a" or "app:b", n - 1, top) else process.send(top, "up", process.pid()) end
      channel.new():receive()
    end`
    const source = `local up = process.listen("up")
      process.set_options({ trap_links = true })
      local first = process.spawn_linked("app:chain", "app:a", 50, process.pid())
      process.terminate(up:receive())
      local ev = process.events():receive()
      return { ev.kind, ev.from == first, ev.result.error:message() }`
    expect(run(source, { 'app:chain': link })).toEqual(['pid.link.down', true, 'linked process failed'])
    expect(['app:a', 'app:b'].map((host) => lab.node.hosts.get(host)?.processCount)).toEqual([0, 0])
  })

  test('a star of 5,000 links falls at once', () => {
    const entries = {
      'app:ray': 'return function(hub) process.link(hub) channel.new():receive() end',
    }
    const source = `local hub = process.spawn("app:idle", "app:a")
      for i = 1, 5000 do process.spawn("app:ray", "app:a", hub) end
      require("time").sleep("1s")
      process.terminate(hub)`
    make({ ...entries, 'app:main': `return function() ${source} end` }).run('app:main')
    lab.node.driver.settle()
    expect(lab.node.hosts.get('app:a')?.processCount).toBe(0)
  })

  test.each(HOSTS)('a child on %s whose parent fails before the spawn is answered fails too', (host) => {
    const entries = {
      'app:slow': `for i = 1, 20 do process.registry.register("slow") process.registry.unregister("slow") end
        return function() channel.new():receive() end`,
      'app:hasty': 'return function(host) process.spawn_linked("app:slow", host) end',
    }
    const node = make(entries)
    let hasty = ''
    node.relay.spawn(node.request('app:hasty', [host]), (answer) => {
      hasty = answer.ok ? answer.value : ''
    })
    for (let turn = 0; turn < 20; turn++) node.driver.turn()
    expect(hasty).not.toBe('')
    node.relay.ask({ kind: 'terminate', to: hasty, from: '' }, () => {})
    for (let turn = 0; turn < 5; turn++) node.driver.turn()
    expect(node.hosts.get(host)?.processCount).toBe(1)
    node.driver.settle()
    expect(node.hosts.get(host)?.processCount).toBe(0)
  })
})

describe('cancel and terminate (§6.4, §9.4)', () => {
  test.each(['{}', 'print', 'true'])('a reason that is no string raises: %s', (reason) => {
    expect(run(`return (select(2, pcall(process.cancel, process.pid(), ${reason})))`)).toContain(
      "bad argument #2 to 'cancel' (string expected",
    )
  })

  test('cancel is a request: a process that never looks keeps running', () => {
    const source = `local pid = process.spawn("app:idle", "app:a")
      process.cancel(pid) process.cancel(pid)
      require("time").sleep("1s")
      return process.send(pid, "still there")`
    expect(run(source)).toBe(true)
  })

  test('names serve wherever a PID does', () => {
    const source = `local pid = process.with_context({}):with_name("victim"):spawn("app:polite", "app:b")
      process.monitor("victim")
      process.link("victim") process.unlink("victim")
      process.cancel("victim", "by name")
      local value = process.events():receive().result.value
      local out = { value }
      for i, fn in ipairs({ "send", "cancel", "terminate", "monitor", "unmonitor", "link", "unlink" }) do
        local v, e = process[fn]("victim", "x")
        out[#out + 1] = v == nil and e:kind() .. " " .. e:message() == "NotFound could not resolve 'victim' as PID or registered name"
      end
      return out`
    expect(run(source)).toEqual(['by name', true, true, true, true, true, true, true])
  })

  test.each(HOSTS)('a busy process on %s is terminated at the end of its slice', (host) => {
    const node = make({ 'app:main': 'return function(pid) return process.terminate(pid) end' })
    let busy = ''
    node.relay.spawn(node.request('app:busy', [], host), (answer) => {
      busy = answer.ok ? answer.value : ''
    })
    for (let turn = 0; turn < 10; turn++) node.driver.turn()
    let result: unknown
    node.relay.spawn(
      node.request('app:main', [busy]),
      () => {},
      (outcome) => {
        result = outcome
      },
    )
    node.driver.settle(1000)
    expect(result).toEqual({ ok: true, value: true })
    expect(node.hosts.get(host)?.processCount).toBe(0)
  })

  test('whoever fails through its own call runs no further', () => {
    const entries = {
      'app:suicidal': `return function(host)
        local pid = process.spawn_linked("app:idle", host)
        local ok = pcall(process.terminate, pid)
        require("time").sleep("10ms")
        print("never")
      end`,
    }
    for (const host of HOSTS) {
      const source = `process.spawn_monitored("app:suicidal", "app:a", "${host}")
        return process.events():receive().result.error:message()`
      expect(run(source, entries)).toBe('linked process failed')
      expect(lab.node.logs.map((line) => line.text)).not.toContain('never')
    }
  })
})
