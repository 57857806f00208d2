// The public API: nodes of embedding programs, actors in TypeScript beside actors in Lua. Hosts run inline here (workers: 0).

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, expectTypeOf, test } from 'vitest'
import {
  type ActorContext,
  type ActorDefinition,
  type ActorEvent,
  type CreateNodeOptions,
  createNode,
  defineActor,
  type EntryDefinition,
  type Message,
  MoonmeshError,
  type Node,
  type Plain,
  type Receiver,
  type ServiceStatus,
  type StartReport,
} from '../../runtime/index.ts'
import { eventually } from '../tools/eventually.ts'

const started: { node: Node; dataDir: string }[] = []

afterEach(async () => {
  for (const { node, dataDir } of started.splice(0)) {
    await node.stop({ force: true })
    rmSync(dataDir, { recursive: true, force: true })
  }
})

const HOST: EntryDefinition = {
  id: 't:host',
  kind: 'process.host',
  host: { workers: 0 },
  lifecycle: { auto_start: true },
}
const lua = (id: string, source: string): EntryDefinition => ({ id, kind: 'process.lua', source, modules: ['time'] })

async function build(entries: readonly EntryDefinition[], options: CreateNodeOptions = {}): Promise<Node> {
  const dataDir = mkdtempSync(join(tmpdir(), 'moonmesh-node-'))
  const set = [`node.data_dir=${dataDir}`, 'node.name=t']
  const node = await createNode({ entries: [HOST, ...entries], set, log: false, ...options })
  started.push({ node, dataDir })
  return node
}

async function start(...entries: EntryDefinition[]): Promise<Node> {
  const node = await build(entries)
  await node.start()
  return node
}

/** What the admin interface shows. */
interface Internals {
  processes(): Promise<{ pid: string }[]>
}

const failure = (promise: Promise<unknown>): Promise<MoonmeshError> =>
  promise.then(
    () => Promise.reject(new Error('did not fail')),
    (error: MoonmeshError) => error,
  )

describe('createNode', () => {
  test('refuses entries that are wrong, with every problem in the error', async () => {
    const error = await failure(
      createNode({
        entries: [
          { id: 'a:b', kind: 'process.hots' },
          { id: 'x', kind: 'y' },
        ],
      }),
    )
    expect(error).toBeInstanceOf(MoonmeshError)
    expect(error.kind).toBe('Invalid')
    expect(error.message).toContain('entries[0].kind: unknown kind "process.hots" (did you mean "process.host"?)')
    expect(error.details?.['problems']).toHaveLength(3)
  })

  test('needs an app or entries', async () => {
    expect((await failure(createNode({}))).message).toMatch(/needs an app file .* or entries/)
  })

  test('starts nothing before start, and says so', async () => {
    const node = await build([])
    expect((await failure(node.spawn('t:x', { host: 't:host' }))).kind).toBe('InvalidState')
  })

  test('a node stops once, however often it is asked, also before it was started', async () => {
    const node = await build([])
    await node.stop()
    await Promise.all([node.stop(), node.stop({ force: true })])
  })

  test('a stop during the start is a start that was cancelled, and leaves nothing running', async () => {
    const node = await build([lua('t:x', 'return function() end')])
    const starting = failure(node.start())
    await node.stop()
    expect((await starting).kind).toBe('Canceled')
    expect(node.services().every((service) => service.state !== 'running')).toBe(true)
  })

  test('a forced stop does not wait for a chunk that takes for ever to load', async () => {
    const node = await build([
      lua('t:endless', 'while true do end'),
      { id: 't:s', kind: 'process.service', process: 't:endless', host: 't:host', lifecycle: { auto_start: true } },
    ])
    const starting = failure(node.start())
    await eventually(async () => expect((await node.processes()).map((info) => info.state)).toEqual(['loading']))
    await node.stop({ force: true })
    expect((await starting).kind).toBe('Canceled')
  })

  test('a service that cannot start fails the start with its id and reason, and leaves nothing behind', async () => {
    const node = await build([
      lua('t:bad', 'error("no luck")'),
      {
        id: 't:s',
        kind: 'process.service',
        process: 't:bad',
        host: 't:host',
        lifecycle: { auto_start: true, start_timeout: '50ms' },
      },
    ])
    const error = await failure(node.start())
    expect(error.message).toMatch(/t:s/)
    expect(error.message).toMatch(/t:bad:1: no luck/)
  })
})

describe('TypeScript actors', () => {
  test('receive what is sent, by topic and in the inbox, in order', async () => {
    const node = await start()
    const collect = defineActor('collect', async (self) => {
      const special = self.listen('special')
      const first = await self.inbox.receive()
      const second = await special.receive()
      const third = await self.inbox.receive()
      return [first?.topic, first?.value, second?.values.length, second?.values[1], third?.value]
    })
    const end = node.exec(collect, { name: 'collector' })
    await eventually(() => expect(node.lookup('collector')).toBeDefined())
    await node.send('collector', 'special', 1, 'zwei', null)
    await node.send('collector', 'plain', { text: 'hé', list: [1, 2.5, true] })
    await node.send('collector', 'plain', 'last')
    expect(await end).toEqual(['plain', { text: 'hé', list: [1, 2.5, true] }, 3, 'zwei', 'last'])
  })

  test('are reached by their name as soon as lookup knows it', async () => {
    const node = await start()
    const end = node.exec(
      defineActor('reader', async (self) => (await self.inbox.receive())?.value),
      { name: 'reader' },
    )
    while (node.lookup('reader') === undefined) await new Promise(setImmediate)
    await node.send('reader', 'topic', 7)
    expect(await end).toBe(7)
  })

  test('PIDs of hosts with letters beyond ASCII are text, in and out', async () => {
    const host = 't:hö'
    const node = await start(
      { ...HOST, id: host },
      lua(
        't:écho',
        `return function()
           process.registry.register("é")
           local m = process.inbox():receive()
           process.send(m:from(), "back", process.pid())
           process.inbox():receive()
         end`,
      ),
      {
        ...lua(
          't:list',
          `return function()
             local pids = {}
             for i, process in ipairs(require("system").hosts.processes("t:hö")) do pids[i] = process.pid end
             return pids
           end`,
        ),
        modules: ['system'],
      },
    )
    const pid = await node.spawn('t:écho', { host })
    expect(pid).toMatch(/^\{t:hö\|/)
    const asker = defineActor('asker', async (self, to: string) => {
      const back = self.listen('back')
      await self.monitor(to)
      await self.send(to, 'ask')
      const answer = await back.receive()
      const child = await self.spawn('t:écho', { host })
      await self.terminate(to)
      return [answer?.value, answer?.from, (await self.events.receive())?.from, child.startsWith('{t:hö|')]
    })
    await eventually(() => expect(node.lookup('é')).toBe(pid))
    expect(await node.exec(asker, { args: [pid] })).toEqual([pid, pid, pid, true])
    expect((await failure(node.send(pid, 'late'))).message).toBe(`process not found: ${pid}`)
    const pids = (await (node as unknown as Internals).processes()).map((process) => process.pid)
    expect(pids).toEqual([expect.stringMatching(/^\{t:hö\|/)])
    expect(await node.exec('t:list', { host })).toEqual(expect.arrayContaining(pids))
  })

  test('receive gives up after its timeout', async () => {
    const node = await start()
    const impatient = defineActor(
      'impatient',
      async (self) => (await self.inbox.receive({ timeoutMs: 10 })) === undefined,
    )
    expect(await node.exec(impatient)).toBe(true)
  })

  test('what they throw is their failure, kind and details kept', async () => {
    const node = await start()
    const failing = defineActor('failing', () => {
      throw new MoonmeshError('Conflict', 'taken', { retryable: true, details: { by: 'me' } })
    })
    expect(await failure(node.exec(failing))).toMatchObject({
      kind: 'Conflict',
      message: 'taken',
      retryable: true,
      details: { by: 'me' },
    })
  })

  test('talk with Lua actors in both directions', async () => {
    const node = await start(
      lua(
        't:double',
        `return function()
           local m = process.inbox():receive()
           process.send(m:from(), "doubled", m:payload():data() * 2)
         end`,
      ),
      lua('t:caller', 'return function() return process.exec("actor:triple", "system:actors", 14) end'),
    )
    const asking = defineActor('asking', async (self) => {
      const pid = await self.spawn('t:double', { host: 't:host' })
      await self.send(pid, 'n', 21)
      return (await self.inbox.receive())?.value
    })
    expect(await node.exec(asking)).toBe(42)
    node.define(defineActor('triple', (_self, n: number) => n * 3))
    expect(await node.exec('t:caller', { host: 't:host' })).toBe(42)
  })

  test('monitors get one EXIT with the result, links a LINK_DOWN on failure when trapped', async () => {
    const node = await start(
      lua('t:ok', 'return function() return "fine" end'),
      lua('t:bad', 'return function() error("boom") end'),
    )
    const watcher = defineActor('watcher', async (self) => {
      self.setOptions({ trapLinks: true })
      await self.spawn('t:ok', { host: 't:host', monitor: true, link: true })
      const first = await self.events.receive()
      await self.spawn('t:bad', { host: 't:host', link: true })
      const second = await self.events.receive()
      return [first, second].map((event) =>
        event === undefined || event.kind === 'cancel'
          ? event?.kind
          : [event.kind, event.result.value ?? 'none', event.result.error?.message ?? 'none'],
      )
    })
    expect(await node.exec(watcher)).toEqual([
      ['exit', 'fine', 'none'],
      ['link-down', 'none', expect.stringContaining('t:bad:1: boom')],
    ])
  })

  test('a linked failure ends an actor that does not trap, and aborts its signal', async () => {
    const node = await start(lua('t:bad', 'return function() error("boom") end'))
    let reason: unknown
    const fragile = defineActor('fragile', async (self) => {
      self.signal.addEventListener('abort', () => {
        reason = self.signal.reason
      })
      await self.spawn('t:bad', { host: 't:host', link: true })
      await self.inbox.receive()
    })
    expect((await failure(node.exec(fragile))).message).toBe('linked process failed')
    expect(reason).toMatchObject({ kind: 'Terminated' })
  })

  test('names are taken once; a second spawn under the name signals the holder', async () => {
    const node = await start()
    const waiting = defineActor('waiting', async (self) => {
      await self.inbox.receive()
    })
    const first = await node.spawn(waiting, { name: 'the-one' })
    expect(await node.spawn(waiting, { name: 'the-one' })).toBe(first)
    expect(node.lookup('the-one')).toBe(first)
    await node.send('the-one', 'stop')
    await eventually(() => expect(node.lookup('the-one')).toBeUndefined())
  })

  test('errors name what is missing', async () => {
    const node = await start(lua('t:x', 'return function() end'))
    expect((await failure(node.spawn('t:nope', { host: 't:host' }))).message).toContain('factory not found: t:nope')
    expect((await failure(node.spawn('t:x', { host: 't:nope' }))).message).toContain('host not found: t:nope')
    expect((await failure(node.spawn('t:x'))).message).toContain('needs a host')
    expect((await failure(node.spawn('actor:nope'))).message).toContain('factory not found: actor:nope')
    expect((await failure(node.send('nobody', 'x'))).message).toContain("could not resolve 'nobody'")
    expect((await failure(node.send('{t:host|zz.0}', 'x'))).message).toContain('process not found')
    expect((await failure(node.send('nobody', '@x'))).message).toContain('cannot send to @ topics')
    expect(() => defineActor('no good', () => {})).toThrow(/actor name/)
  })
})

describe('services', () => {
  test('a crashed one is restarted; one that returned is not', async () => {
    const node = await start(
      lua('t:flaky', 'return function() process.inbox():receive() error("crash") end'),
      lua('t:once', 'return function() return 1 end'),
      ...['flaky', 'once'].map((name) => ({
        id: `t:${name}.service`,
        kind: 'process.service',
        process: `t:${name}`,
        host: 't:host',
        lifecycle: { auto_start: true, restart: { initial_delay: '5ms', jitter: 0 } },
      })),
    )
    const pidOfFlaky = async (): Promise<string> =>
      (await node.processes()).find((info) => info.entry === 't:flaky')?.pid ?? Promise.reject(new Error('not there'))
    const before = await eventually(pidOfFlaky)
    await node.send(before, 'go')
    await eventually(async () => expect(await pidOfFlaky()).not.toBe(before))
    const state = (id: string): string | undefined => node.services().find((service) => service.id === id)?.state
    await eventually(() => expect(state('t:flaky.service')).toBe('running'))
    expect(state('t:once.service')).toBe('exited')
  })

  test('run TypeScript actors too, restarted like any other', async () => {
    const starts: number[] = []
    const flaky = defineActor('flaky', async (self, first: number) => {
      starts.push(first)
      await self.inbox.receive()
      throw new Error('crash')
    })
    const service = {
      id: 't:actor.service',
      kind: 'process.service',
      process: 'actor:flaky',
      host: 'system:actors',
      input: [7],
      lifecycle: { auto_start: true, restart: { initial_delay: '5ms', jitter: 0 } },
    }
    const node = await build([service], { actors: [flaky] })
    await node.start()
    const [before] = await node.processes()
    await node.send(before?.pid ?? '', 'go')
    await eventually(() => expect(starts).toEqual([7, 7]))
    const unknown = failure(createNode({ entries: [{ ...service, process: 'actor:flakey' }], actors: [flaky] }))
    expect((await unknown).message).toContain('no entry "actor:flakey" (did you mean "actor:flaky"?)')
  })

  test('processes get CANCEL when the node stops, and their names and hosts are shown while they live', async () => {
    const node = await start(
      lua(
        't:polite',
        `return function()
           process.registry.register("polite")
           local event = process.events():receive()
           return event.kind .. " " .. event.reason
         end`,
      ),
    )
    const end = node.exec('t:polite', { host: 't:host' })
    await eventually(async () => {
      const [info] = await node.processes()
      expect(info).toMatchObject({ entry: 't:polite', host: 't:host', names: ['polite'] })
    })
    await node.stop()
    expect(await end).toBe('pid.cancel scheduler shutdown')
  })
})

test('the types of the public API', () => {
  expectTypeOf(createNode).parameters.toEqualTypeOf<[options: CreateNodeOptions]>()
  expectTypeOf(createNode).returns.resolves.toEqualTypeOf<Node>()
  expectTypeOf<Node['start']>().returns.resolves.toEqualTypeOf<StartReport>()
  expectTypeOf<Node['stop']>().returns.resolves.toEqualTypeOf<void>()
  expectTypeOf<Node['exec']>().returns.resolves.toEqualTypeOf<Plain>()
  expectTypeOf<Node['services']>().returns.toEqualTypeOf<ServiceStatus[]>()
  expectTypeOf<ActorContext['inbox']>().toEqualTypeOf<Receiver<Message>>()
  expectTypeOf<ActorContext['events']>().toEqualTypeOf<Receiver<ActorEvent>>()
  expectTypeOf(
    defineActor('typed', async (self, count: number, label?: string) => {
      expectTypeOf(self).toEqualTypeOf<ActorContext>()
      return [count, label]
    }),
  ).toEqualTypeOf<ActorDefinition>()
})
