// What a node shows of itself: records of function calls, the listener for Prometheus, the log as events. Hosts run inline here.

import { mkdtempSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { createNode, type EntryDefinition, type Node } from '../../runtime/index.ts'
import { createLog } from '../../runtime/log.ts'
import type { NodeEventType } from '../../runtime/node-events.ts'
import { eventually } from '../tools/eventually.ts'

const closers: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const HOST: EntryDefinition = {
  id: 't:host',
  kind: 'process.host',
  host: { workers: 0 },
  lifecycle: { auto_start: true },
}

const script = (kind: string, name: string, modules: readonly string[], source: string): EntryDefinition => ({
  id: `t:${name}`,
  kind,
  source,
  method: 'main',
  modules: [...modules],
})

async function nodeWith(
  settings: readonly string[],
  entries: readonly EntryDefinition[],
  written?: string[],
): Promise<Node> {
  const dataDir = mkdtempSync(join(tmpdir(), 'moonmesh-observing-'))
  closers.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const set = [`node.data_dir=${dataDir}`, 'node.name=t', ...settings]
  const stream = {
    write: (text: string, done?: () => void): void => {
      written?.push(text)
      done?.()
    },
  }
  const log = createLog({ level: 'info', format: 'json', stream })
  const node = await createNode({ entries: [HOST, ...entries], set, log })
  closers.push(() => node.stop({ force: true }))
  return node
}

const CALLER = script(
  'process.lua',
  'caller',
  ['funcs'],
  `local function main()
     local funcs = require("funcs")
     funcs.call("t:good")
     funcs.call("t:bad")
     return "done"
   end
   return { main = main }`,
)
const FUNCTIONS = [
  script('function.lua', 'good', [], 'return { main = function() return 1 end }'),
  script('function.lua', 'bad', [], 'return { main = function() error("no") end }'),
]

/** Runs `t:caller` to its end on the inline host. */
async function callBoth(node: Node): Promise<void> {
  await node.start()
  expect(await node.exec('t:caller', { host: 't:host' })).toBe('done')
}

test('calls of functions are counted, timed and shown in flight when that is asked for', async () => {
  const node = await nodeWith(['metrics.interceptor.enabled=true'], [CALLER, ...FUNCTIONS])
  await callBoth(node)
  const { text } = await node.metrics()
  expect(text).toContain('moonmesh_function_calls_total{function_id="t:good",status="success"} 1')
  expect(text).toContain('moonmesh_function_calls_total{function_id="t:bad",status="error"} 1')
  expect(text).toContain('moonmesh_function_in_flight{function_id="t:good"} 0')
  expect(text).toContain('moonmesh_function_duration_seconds_count{function_id="t:bad"} 1')
})

test('nobody records them otherwise', async () => {
  const node = await nodeWith([], [CALLER, ...FUNCTIONS])
  await callBoth(node)
  expect((await node.metrics()).text).not.toContain('moonmesh_function')
})

test('every node shows how late its event loop is, and what it could not deliver', async () => {
  const node = await nodeWith([], [])
  await node.start()
  const text = await eventually(async () => {
    const found = (await node.metrics()).text
    expect(found).toMatch(/event_loop_lag_seconds_count [1-9]/)
    return found
  })
  expect(text).toMatch(/event_loop_lag_seconds_bucket\{le="\+Inf"\} [1-9]/)
  expect(text).toContain('messages_undeliverable_total{why="stale_epoch"} 0')
  expect(text).toContain('messages_undeliverable_total{why="noproc"} 0')
})

test('every node shows its processes, their ends, their messages and the scheduler', async () => {
  const busy = script(
    'process.lua',
    'busy',
    [],
    `return { main = function(command)
       if command == "fail" then error("no") end
       if command == "wait" then process.inbox():receive() end
     end }`,
  )
  const node = await nodeWith([], [busy])
  await node.start()
  await node.exec('t:busy', { host: 't:host' })
  await node.exec('t:busy', { host: 't:host', args: ['fail'] }).catch(() => {})
  const pid = await node.spawn('t:busy', { host: 't:host', args: ['wait'] })
  await eventually(async () =>
    expect((await node.metrics()).text).toContain('processes{host="t:host",state="waiting"} 1'),
  )
  const { text } = await node.metrics()
  expect(text).toContain('process_spawns_total 3')
  expect(text).toContain('process_exits_total{reason="ok"} 1')
  expect(text).toContain('process_exits_total{reason="failed"} 1')
  expect(text).toContain('mailbox_messages 0')
  expect(text).toContain('scheduler_run_queue 0')
  expect(text).toMatch(/scheduler_slice_seconds_count [1-9]/)
  await node.send(pid, 'end')
  await eventually(async () => {
    const after = (await node.metrics()).text
    expect(after).toContain('process_exits_total{reason="ok"} 2')
    expect(after).toContain('messages_total{kind="delivered"} 1')
  })
})

test('what happens on a node is told to those who watch, and processes only to those who want them', async () => {
  const done = script('process.lua', 'done', [], 'return { main = function(name) process.registry.register(name) end }')
  const node = await nodeWith([], [done])
  await node.start()
  const seen: string[] = []
  const all = new Set<NodeEventType>(['process', 'name', 'service'])
  const end = node.watch(all, ({ type, kind, subject }) => seen.push(`${type} ${kind} ${subject}`))
  const services: string[] = []
  node.watch(new Set<NodeEventType>(['service']), ({ kind }) => services.push(kind))
  await node.exec('t:done', { host: 't:host', args: ['till'] })
  await eventually(() => expect(seen).toHaveLength(4))
  expect(seen.map((line) => line.replace(/\{.*\}/, 'PID')).sort()).toEqual([
    'name name.bound till',
    'name name.released till',
    'process process.ended PID',
    'process process.started PID',
  ])
  end()
  await node.stop()
  expect(seen).toHaveLength(4)
  expect(services).toEqual(['service.stopping', 'service.stopped'])
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

const fetched = (port: number, path: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path }, (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    }).on('error', reject)
  })

test('a listener for Prometheus shows the metrics, and a line a check', async () => {
  const port = await freePort()
  const settings = [
    'prometheus.enabled=true',
    `prometheus.address=127.0.0.1:${port}`,
    'metrics.interceptor.enabled=true',
  ]
  const node = await nodeWith(settings, [CALLER, ...FUNCTIONS])
  await callBoth(node)
  expect(await fetched(port, '/metrics')).toMatchObject({
    status: 200,
    text: expect.stringContaining('moonmesh_function_calls_total'),
  })
  expect(await fetched(port, '/livez')).toEqual({ status: 200, text: 'services\tok\n' })
  expect((await fetched(port, '/v1/status')).status).toBe(404)
  await node.stop()
  await expect(fetched(port, '/metrics')).rejects.toThrow('ECONNREFUSED')
})

test('an address that is taken stops the start and names the setting', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  closers.push(() => new Promise<void>((resolve) => taken.close(() => resolve())))
  const { port } = taken.address() as { port: number }
  const node = await nodeWith(['prometheus.enabled=true', `prometheus.address=127.0.0.1:${port}`], [])
  await expect(node.start()).rejects.toThrow(`prometheus.address 127.0.0.1:${port} is in use by another program`)
})

test('lines of the log are events where that is asked for, and are not written where that is not wanted', async () => {
  const written: string[] = []
  const listener = script(
    'process.lua',
    'listener',
    ['events', 'process'],
    `local function main()
       local feed = require("events").subscribe("log", "warn")
       require("process").registry.register("listening")
       local event = feed:channel():receive()
       return "heard " .. event.data.message .. " of " .. event.path
     end
     return { main = main }`,
  )
  const speaker = script(
    'process.lua',
    'speaker',
    ['logger'],
    'return { main = function() require("logger"):warn("careful") end }',
  )
  const node = await nodeWith(
    ['logmanager.stream_to_events=true', 'logmanager.propagate_downstream=false'],
    [listener, speaker],
    written,
  )
  await node.start()
  const heard = node.exec('t:listener', { host: 't:host' })
  await eventually(async () => {
    const processes = await node.processes()
    expect(processes.flatMap((process) => process.names)).toContain('listening')
  })
  await node.exec('t:speaker', { host: 't:host' })
  expect(await heard).toBe('heard careful of t:speaker')
  expect(written.join('')).toBe('')
})

test('error objects in fields are logged as their message, also within tables (lua-libraries.md §10)', async () => {
  const written: string[] = []
  const speaker = script(
    'process.lua',
    'speaker',
    ['logger'],
    `return { main = function()
       local full = errors.new({ message = "the disk is full", kind = "Unavailable", details = { n = 1 } })
       require("logger"):with({ cause = full }):error("failed", { error = full, list = { full, { why = full } } })
     end }`,
  )
  const node = await nodeWith([], [speaker], written)
  await node.start()
  await node.exec('t:speaker', { host: 't:host' })
  const line = written.map((text) => JSON.parse(text)).find(({ msg }) => msg === 'failed')
  const full = 'the disk is full'
  expect(line).toMatchObject({ error: full, cause: full, list: [full, { why: full }] })
})

test('a line without fields of its own says as an event, too, where it comes from', async () => {
  const listener = script(
    'process.lua',
    'listener',
    ['events', 'logger'],
    `return { main = function()
       local feed = require("events").subscribe("log", "warn")
       require("logger"):warn("careful")
       local data = feed:channel():receive().data
       return data.fields.entry .. " " .. tostring(data.fields.pid == process.pid())
     end }`,
  )
  const node = await nodeWith(['logmanager.stream_to_events=true'], [listener])
  await node.start()
  expect(await node.exec('t:listener', { host: 't:host' })).toBe('t:listener true')
})
