// Watches of names: what is there, then what changes, without a gap that is not told.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type NameEvent, NameWatches } from '../../runtime/name-watches.ts'
import type { Watching } from '../../runtime/watches.ts'
import { TestNode } from '../tools/lua.ts'

let names: Map<string, string>
let watches: NameWatches

beforeEach(() => {
  names = new Map()
  watches = new NameWatches({
    resolve: (name) => {
      const pid = names.get(name)
      return pid === undefined ? undefined : { pid, scope: 'consistent' }
    },
    names: (prefix) => [...names.keys()].filter((name) => name.startsWith(prefix)).sort(),
  })
})

function set(name: string, pid: string | undefined): void {
  const before = names.get(name)
  if (pid === undefined) names.delete(name)
  else names.set(name, pid)
  watches.changed(name, before)
}

const short = (event: NameEvent): string =>
  'name' in event ? `${event.type === 'bound' ? '+' : '-'}${event.name}=${event.pid}` : event.type

const nextOf = async (watch: Watching<NameEvent>): Promise<string[] | undefined> => (await watch.next())?.map(short)

test('one name: what it stands for, then every change, and nothing of others', async () => {
  set('a', 'p1')
  const watch = watches.watch({ name: 'a', isPrefix: false })
  const free = watches.watch({ name: 'free', isPrefix: false })
  expect(await nextOf(watch)).toEqual(['+a=p1', 'synced'])
  expect(await nextOf(free)).toEqual(['synced'])
  set('ab', 'p9')
  set('a', 'p2')
  set('a', undefined)
  set('free', 'p3')
  expect(await nextOf(watch)).toEqual(['+a=p2', '-a=p2'])
  expect(await nextOf(free)).toEqual(['+free=p3'])
  const waiting = nextOf(watch)
  set('a', 'p4')
  expect(await waiting).toEqual(['+a=p4'])
})

test('a prefix: all that begin with it', async () => {
  set('room/2', 'p2')
  set('room/1', 'p1')
  set('hall', 'p3')
  const watch = watches.watch({ name: 'room/', isPrefix: true })
  const next = async (): Promise<string[] | undefined> => (await watch.next())?.map(short)
  expect(await next()).toEqual(['+room/1=p1', '+room/2=p2', 'synced'])
  set('hall', 'p4')
  set('room/3', 'p3')
  set('room/1', 'p5')
  set('room/2', undefined)
  expect(await next()).toEqual(['+room/3=p3', '+room/1=p5', '-room/2=p2'])
  watch.close()
  expect(await next()).toBeUndefined()
  expect(watches.count).toBe(0)
})

test('what changes while the beginning is told is told once, as it is then', async () => {
  for (let i = 0; i < 600; i++) set(`n${String(i).padStart(3, '0')}`, 'p')
  const watch = watches.watch({ name: 'n', isPrefix: true })
  const known = new Map<string, string>()
  const page = async (): Promise<string[]> => {
    const events = (await watch.next()) ?? []
    for (const event of events) {
      if (event.type === 'bound') known.set(event.name, event.pid)
      else if (event.type === 'released') known.delete(event.name)
    }
    return events.map(short)
  }
  expect(await page()).toHaveLength(256)
  set('n001', 'told')
  set('n599', 'not told yet')
  set('n598', undefined)
  set('n9', 'new')
  expect((await page()).slice(0, 2)).toEqual(['+n001=told', '+n9=new'])
  expect((await page()).at(-1)).toBe('synced')
  expect(known).toEqual(names)
})

test('who does not read is told that changes are lost, and all there is again', async () => {
  set('a', 'p0')
  const watch = watches.watch({ name: '', isPrefix: true })
  await watch.next()
  for (let i = 1; i <= 1025; i++) set('a', `p${i}`)
  set('b', 'p')
  expect((await watch.next())?.map(short)).toEqual(['resync', '+a=p1025', '+b=p', 'synced'])
  set('b', undefined)
  expect((await watch.next())?.map(short)).toEqual(['-b=p'])
})

describe('from a script', () => {
  let node: TestNode
  afterEach(() => node.close())

  test('a channel of changes that ends with close', async () => {
    node = new TestNode({
      'app:main': `return function()
        process.registry.register("job/1")
        local watch = assert(process.registry.watch("job/", { prefix = true }))
        local changes, seen = watch:channel(), {}
        local function take()
          local event = changes:receive()
          local whose = event.pid == process.pid() and "me" or event.pid
          seen[#seen + 1] = table.concat({ event.type, event.name or "", whose or "", event.scope or "" }, " ")
        end
        take() take()
        process.registry.register("job/2")
        process.registry.register("other")
        process.registry.unregister("job/1")
        take() take()
        watch:close()
        return { table.concat(seen, "; "), changes:receive() == nil }
      end`,
      'app:bad': 'return function() local _, err = process.registry.watch("{x") return err:kind() end',
    })
    expect(await node.runOutside('app:main')).toEqual([
      'bound job/1 me local; synced   ; bound job/2 me local; released job/1 me ',
      true,
    ])
    expect(node.nameWatches.count).toBe(0)
    expect(node.run('app:bad')).toBe('Invalid')
  })

  test('hears of larger scopes, and of what they hide only when it changes', async () => {
    node = new TestNode(
      {
        'app:main': `return function(other)
          process.registry.register("x")
          local changes = assert(process.registry.watch("x")):channel()
          local seen = {}
          for i = 1, 4 do
            local event = changes:receive()
            seen[i] = event.type .. (event.pid == other and " other" or event.pid and " me" or "")
            if i == 2 then process.listen("go"):receive() end
          end
          return seen
        end`,
      },
      [],
      { name: 'n1' },
    )
    const other = '{n2@app:a|1.100}'
    const { pid, outcome } = node.spawn('app:main', [other])
    await new Promise((done) => setImmediate(done))
    node.driver.settle()
    node.relay.setShared([{ name: 'x', pid: other }])
    node.relay.setShared([{ name: 'x', pid: other }])
    node.relay.setShared([{ name: 'x', pid: undefined }])
    node.send(pid, 'go')
    for (let i = 0; i < 10 && outcome() === undefined; i++) {
      await new Promise((done) => setImmediate(done))
      node.driver.settle()
    }
    expect(outcome()).toMatchObject({ ok: true })
    expect(JSON.stringify(outcome())).toContain('other')
  })
})
