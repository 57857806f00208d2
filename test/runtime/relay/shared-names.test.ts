// Names of scopes larger than the node: every host has a copy, in which they come before the local ones. lua-core.md §10.

import { afterEach, expect, test } from 'vitest'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { nameProblem } from '../../../runtime/process/core/names.ts'
import { TestNode } from '../../tools/lua.ts'

const LOOKUP = 'return function(name) return (process.registry.lookup(name)) or "none" end'
const HOLDER = 'return function() process.inbox():receive() end'
const REGISTER = `return function(name, pid)
  local ok, err = process.registry.register(name, pid)
  return ok and "ok" or err:kind() .. " " .. err:details().existing_pid
end`
const REGISTER_WIDE = `return function(name)
  local ok, err = process.registry.register(name, nil, process.registry.EVENTUAL)
  return ok and (process.registry.lookup(name)) == process.pid() and "ok" or tostring(err)
end`
const RELEASE = `return function(name)
  local done, err = process.registry.unregister(name, process.registry.CONSISTENT)
  return tostring(done) .. " " .. (err and err:kind() or "none")
end`
/** Watches the holder of a name, ends it, and says what the name stands for when it hears of the end. */
const WATCH = `return function(name, holder)
  local events = process.events()
  assert(process.monitor(holder))
  process.send(name, "end")
  events:receive()
  return (process.registry.lookup(name)) or "none"
end`

let node: TestNode

afterEach(() => node.close())

function make(): TestNode {
  node = new TestNode(
    {
      'app:lookup': LOOKUP,
      'app:holder': HOLDER,
      'app:register': REGISTER,
      'app:wide': REGISTER_WIDE,
      'app:watch': WATCH,
      'app:release': RELEASE,
    },
    [],
    { name: 'n1' },
  )
  return node
}

test('come before local ones on every host, also on one that begins later', () => {
  make()
  const { pid } = node.spawn('app:holder')
  const other = '{n2@app:a|1.100}'
  expect(node.run('app:register', ['x', pid])).toBe('ok')
  node.relay.setShared([{ name: 'x', pid: other }])
  node.startHost('app:late')
  for (const host of ['app:a', 'app:b', 'app:late']) expect(node.run('app:lookup', ['x'], { host })).toBe(other)
  expect(node.relay.lookup('x')).toBe(other)
  expect(node.relay.namesOf(other)).toEqual(['x'])
  node.relay.setShared([{ name: 'x', pid: undefined }])
  for (const host of ['app:a', 'app:b', 'app:late']) expect(node.run('app:lookup', ['x'], { host })).toBe(pid)
})

test('a name that another process has in a larger scope cannot be registered locally', () => {
  const holders = new Map<string, string>()
  node = new TestNode({ 'app:register': REGISTER, 'app:holder': HOLDER }, [], {
    name: 'n1',
    sharedHolder: (name) => holders.get(name),
  })
  const { pid } = node.spawn('app:holder')
  holders.set('x', '{n2@app:a|1.100}')
  holders.set('y', pid)
  expect(node.run('app:register', ['x', pid])).toBe('AlreadyExists {n2@app:a|1.100}')
  expect(node.run('app:register', ['y', pid])).toBe('ok')
})

test('the name of a process that ended is gone before anybody hears of the end', () => {
  make()
  for (const host of ['app:a', 'app:b']) {
    const { pid } = node.spawn('app:holder')
    node.relay.setShared([{ name: 'x', pid }])
    node.services.watch(pid)
    const ended = (each: string): void => node.relay.setShared([{ name: 'x', pid: each === pid ? undefined : each }])
    node.services.add('watcher', { methods: {}, clientEnded: ended })
    node.relay.bear(pid, (problem) => expect(problem).toBeUndefined())
    node.driver.settle()
    expect(node.run('app:watch', ['x', pid], { host })).toBe('none')
  }
})

test('what is told of a process that has ended meanwhile is passed over', () => {
  make()
  const { pid } = node.spawn('app:holder')
  node.send(pid, 'end')
  node.relay.setShared([{ name: 'x', pid }])
  node.driver.settle()
  expect(node.run('app:lookup', ['x'])).toBe('none')
})

test('who is asked to bear a name: a process that is there, one that is not', () => {
  make()
  const { pid } = node.spawn('app:holder')
  const answers: string[] = []
  const ask = (each: string): void =>
    node.relay.bear(each, (problem) => {
      // Other nodes are told as well, and only of failures of this class.
      if (problem !== undefined) expect(problem).toBeInstanceOf(MoonmeshError)
      answers.push(problem?.kind ?? 'ok')
    })
  ask(pid)
  node.driver.settle()
  node.send(pid, 'end')
  ask(pid)
  ask('{n2@app:a|1.100}')
  node.driver.settle()
  expect(answers.sort()).toEqual(['NotFound', 'NotFound', 'ok'])
})

test('registering in a larger scope asks the service, and is visible when it answers', async () => {
  make()
  node.services.add('names', {
    methods: {
      register: ([name, pid, scope]) => {
        expect([nameProblem(String(name)), scope]).toEqual([undefined, 1])
        node.relay.setShared([{ name: String(name), pid: String(pid) }])
        return true
      },
    },
  })
  expect(await node.runOutside('app:wide', ['x'])).toBe('ok')
})

test('giving up a name that nobody answers for is not told as if there had been none', async () => {
  make()
  node.services.add('names', {
    methods: {
      unregister: ([name]) => {
        if (name === 'x') throw new MoonmeshError('Unavailable', 'no leader', { details: { ambiguous: true } })
        if (name === 'y') throw new MoonmeshError('Internal', 'global registry not available')
        return name === 'mine'
      },
    },
  })
  expect(await node.runOutside('app:release', ['mine'])).toBe('true none')
  expect(await node.runOutside('app:release', ['yours'])).toBe('false none')
  expect(await node.runOutside('app:release', ['x'])).toBe('false Unavailable')
  expect(await node.runOutside('app:release', ['y'])).toBe('false none')
})
