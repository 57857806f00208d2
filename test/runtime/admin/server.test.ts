import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseAddress } from '../../../runtime/admin/address.ts'
import { AdminServer, type AdminSettings } from '../../../runtime/admin/server.ts'
import type { AdminNode, ErrorBody } from '../../../runtime/admin/shapes.ts'
import type { MemoryStoreEntry } from '../../../runtime/app/load.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { follow } from '../../../runtime/cli/client.ts'
import { systemDriver, systemEnv } from '../../../runtime/driver.ts'
import { createLog, type Log } from '../../../runtime/log.ts'
import { NodeDirectory } from '../../../runtime/node-dir.ts'
import type { NodeEvent, NodeEventType } from '../../../runtime/node-events.ts'
import { PlainStores } from '../../../runtime/store/admin-stores.ts'
import { MemoryStoreKeeper, Stores } from '../../../runtime/store/stores.ts'
import type { WatchEvent } from '../../../runtime/store/watches.ts'
import type { ServiceStatus } from '../../../runtime/supervisor/supervisor.ts'
import { eventually } from '../../tools/eventually.ts'

const HOST = 'shop:processes'
const running: ServiceStatus = { id: HOST, kind: 'process.host', state: 'running', attempts: 1, sinceMs: 1000.4 }

class FakeNode implements AdminNode {
  readonly readiness = (): [] => []
  readonly name = 'n1'
  cluster: AdminNode['cluster']
  readonly memory = new Stores(() => undefined)
  readonly stores = new PlainStores(this.memory)
  readonly left: string[] = []
  entries(): { id: string; kind: string; source?: string }[] {
    return [
      { id: 'shop:a', kind: 'process.lua', source: 'secret' },
      { id: HOST, kind: 'process.host' },
    ]
  }
  statuses: ServiceStatus[] = [running]
  asked: () => void = () => {}

  services(): ServiceStatus[] {
    return this.statuses
  }

  async locks(range: { prefix?: string; after?: string }): ReturnType<AdminNode['locks']> {
    const lock = { name: 'till', holder: '{n2@shop:processes|1.1}', token: 7, heldMs: 1500, waiters: 2, leftMs: 0 }
    return [lock, { ...lock, name: 'tills', leftMs: 900 }].filter(({ name }) => name > (range.after ?? ''))
  }

  names(): ReturnType<AdminNode['names']> {
    return [
      { name: 'orders', scope: 'eventual', pid: '{n2@shop:processes|1.1}' },
      { name: 'orders', scope: 'local', pid: '{shop:processes|1.1}' },
      { name: 'till', scope: 'local', pid: '{shop:processes|1.1}' },
    ]
  }

  readonly groups: AdminNode['groups'] = {
    scopes: () => ['shop:rooms'],
    rows: () => [{ scope: 'shop:rooms', group: 'lobby', members: ['{shop:processes|1.1}', '{shop:processes|1.1}'] }],
    checks: () => this.groupChecks,
  }
  groupChecks: { name: string; ok: boolean; detail: string }[] = []

  async leave(): Promise<void> {
    this.left.push('left')
  }

  readonly log = log
  openConsole(): never {
    throw new MoonmeshError('LimitExceeded', 'no consoles')
  }
  readonly watchers: ((event: NodeEvent) => void)[] = []
  watch(_types: ReadonlySet<NodeEventType>, listener: (event: NodeEvent) => void): () => void {
    this.watchers.push(listener)
    return () => void this.watchers.splice(this.watchers.indexOf(listener), 1)
  }

  async metrics(): ReturnType<AdminNode['metrics']> {
    return { contentType: 'text/plain; version=0.0.4', text: 'orders_total 3\n' }
  }

  async processes(): ReturnType<AdminNode['processes']> {
    this.asked()
    const counts = { mailbox: 2, reductions: 30, memory: 4096, ageMs: 12.7, isUpgradable: false }
    return [
      { pid: `{${HOST}|1.1}`, entry: 'shop:a', host: HOST, state: 'waiting', names: ['till'], ...counts },
      { pid: '{shop:other|1.2}', entry: 'shop:a', host: 'shop:other', state: 'ready', names: [], ...counts },
    ]
  }

  async figures(): ReturnType<AdminNode['figures']> {
    const exits = { ok: 1, failed: 1, linked: 1, terminated: 0 }
    const sliceTimes = { perBound: [], count: 9, sum: 0.0015 }
    const counts = { spawns: 4, messages: 5, slices: 9 }
    return [{ host: HOST, processes: 1, exits, runQueue: 0, busyMs: 1.5, sliceTimes, ...counts }]
  }
}

let dataDir = ''
let directory: NodeDirectory
let log: Log
let node: FakeNode
let admin: AdminServer | undefined
let other: Server | undefined

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'mm-'))
  directory = await NodeDirectory.open({ dataDir, nodeName: 'n1' })
  log = createLog({ level: 'info', format: 'json', stream: { write: () => {} } })
  node = new FakeNode()
})

afterEach(async () => {
  await admin?.close()
  await directory.close()
  other?.close()
  admin = undefined
  other = undefined
  rmSync(dataDir, { recursive: true, force: true })
})

async function start(settings: AdminSettings = { http: 'off', httpIsDefault: false }): Promise<AdminServer> {
  admin = new AdminServer({ node, settings, directory, log })
  await admin.start()
  return admin
}

interface Answer {
  status: number
  body: unknown
  headers: NodeJS.Dict<string | string[]>
}

interface Ask {
  method?: string
  /** Sent as JSON. */
  body?: unknown
  /** JSON as it is. */
  text?: string
  headers?: Record<string, string>
  /** `host:port`; absent: the Unix socket. */
  at?: string | undefined
}

function ask(path: string, { method = 'GET', headers: given = {}, body, text, at }: Ask = {}): Promise<Answer> {
  const headers = {
    ...(body === undefined && text === undefined ? {} : { 'content-type': 'application/json' }),
    ...given,
  }
  const place =
    at === undefined
      ? { socketPath: directory.socketPath }
      : { host: parseAddress(at).host, port: parseAddress(at).port }
  return new Promise((done, fail) => {
    const sent = request({ ...place, path, method, headers, agent: false }, (response) => {
      let answer = ''
      response.on('data', (chunk) => {
        answer += String(chunk)
      })
      response.on('end', () => {
        done({
          status: response.statusCode ?? 0,
          body: answer === '' ? undefined : JSON.parse(answer),
          headers: response.headers,
        })
      })
    })
    sent.on('error', fail)
    sent.end(text ?? (body === undefined ? undefined : JSON.stringify(body)))
  })
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

describe('routes (operations.md §3)', () => {
  test('/v1/status', async () => {
    await start()
    const { status, body, headers } = await ask('/v1/status')
    expect(status).toBe(200)
    expect(headers['cache-control']).toBe('no-store')
    expect(body).toMatchObject({
      node: 'n1',
      os_pid: process.pid,
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      healthy: true,
      checks: [{ name: 'services', ok: true, detail: '1 running' }],
      services: { running: 1 },
      hosts: [{ host: HOST, processes: 1, run_queue: 0, exits: { ok: 1, failed: 2 } }],
      entries: 2,
    })
  })

  test('/v1/services, with the error of one that failed', async () => {
    const error = new MoonmeshError('NotFound', 'no such entry')
    node.statuses = [
      running,
      {
        id: 'shop:s',
        kind: 'process.service',
        state: 'failed',
        attempts: 3,
        sinceMs: 2000,
        error,
        nextRestartMs: 12.5,
      },
      { id: 'shop:t', kind: 'process.service', state: 'unknown', attempts: 0, sinceMs: 0, waitsFor: ['shop:s'] },
    ]
    await start()
    expect((await ask('/v1/services')).body).toEqual([
      { id: HOST, kind: 'process.host', state: 'running', attempts: 1, since_ms: 1000 },
      {
        id: 'shop:s',
        kind: 'process.service',
        state: 'failed',
        attempts: 3,
        since_ms: 2000,
        error: { kind: 'NotFound', message: 'no such entry' },
        next_restart_ms: 13,
      },
      { id: 'shop:t', kind: 'process.service', state: 'unknown', attempts: 0, since_ms: 0, waits_for: ['shop:s'] },
    ])
  })

  test('/v1/kv reads and writes stores, with conditions and deadlines', async () => {
    const keeper = new MemoryStoreKeeper(node.memory, { ...systemEnv, setTimer: systemDriver.timeout })
    keeper.start({ id: 'shop:cache', sizeMax: 10, cleanupIntervalMs: 0 } as MemoryStoreEntry)
    await start()
    expect((await ask('/v1/kv')).body).toEqual([
      { id: 'shop:cache', backend: 'memory', consistency: 'local', durable: false, keys: null },
    ])
    const path = '/v1/kv/shop:cache/a%2Fb%3Aé'.replace('é', '%C3%A9')
    const value = { name: 'Zoë', list: [1, 2.5, true] }
    const put = await ask(path, { method: 'PUT', body: value })
    expect(put).toMatchObject({ status: 200, body: { key: 'a/b:é', value, version: '1' } })
    expect((await ask(path)).body).toEqual(put.body)
    const onlyIfAbsent = { method: 'PUT', body: 'x', headers: { 'if-none-match': '*' } }
    expect(await ask(path, onlyIfAbsent)).toMatchObject({ status: 409, body: { error: { kind: 'AlreadyExists' } } })
    const older = { method: 'PUT', body: 'x', headers: { 'if-match': '"7"' } }
    expect(await ask(path, older)).toMatchObject({ status: 409, body: { error: { kind: 'Conflict' } } })
    const current = { method: 'PUT', body: 'x', headers: { 'if-match': '"1"' } }
    expect(await ask(`${path}?ttl=60`, current)).toMatchObject({ status: 200, body: { value: 'x', version: '2' } })
    expect((await ask('/v1/kv/shop:cache?prefix=a/&limit=5')).body).toMatchObject({
      items: [{ key: 'a/b:é', value: 'x' }],
      cursor: 'a/b:é',
      has_more: false,
    })
    expect((await ask(path, { method: 'DELETE', headers: { 'if-match': '1' } })).status).toBe(409)
    expect((await ask(path, { method: 'DELETE' })).body).toEqual({ deleted: true })
    expect((await ask(path, { method: 'DELETE' })).body).toEqual({ deleted: false })
    expect(await ask(path)).toMatchObject({ status: 404, body: { error: { message: 'key not found' } } })
    expect(await ask('/v1/kv/shop:cash/k')).toMatchObject({
      status: 404,
      body: { error: { message: 'no store shop:cash: there are shop:cache' } },
    })
    const long = 'k'.repeat(3000)
    expect((await ask(`/v1/kv/shop:cache/${long}`, { method: 'PUT', body: 1 })).status).toBe(200)
    const refused: [string, Ask][] = [
      [`${path}?ttl=soon`, { method: 'PUT', body: 1 }],
      [`${path}?ttl=-1`, { method: 'PUT', body: 1 }],
      [path, { method: 'PUT', body: null }],
      [path, { method: 'PUT', body: 1, headers: { 'if-match': 'x' } }],
      [path, { method: 'PUT', body: 1, headers: { 'if-none-match': '"1"' } }],
      [path, { method: 'PUT', body: 1, headers: { 'if-none-match': '*', 'if-match': '"1"' } }],
      ['/v1/kv/shop:cache?limit=x', {}],
      [path, { method: 'PUT', text: '{"id": 9007199254740993}' }],
    ]
    for (const [at, options] of refused) expect((await ask(at, options)).status, at).toBe(400)
    const exact = {
      least: -(2 ** 53) + 1,
      text: '9007199254740993 \\" 9007199254740993',
      float: 1e20 / 3,
      large: 1.5e300,
    }
    expect((await ask(path, { method: 'PUT', body: exact })).body).toMatchObject({ value: exact })
  })

  test('/v1/kv?watch tells what changes, a line each, until nobody listens', async () => {
    const batches: WatchEvent[][] = [
      [{ type: 'put', key: 'a', value: 1, version: '7' }],
      [
        { type: 'expired', key: 'a', version: '8', prevVersion: '7' },
        { type: 'resync', version: '9' },
      ],
    ]
    let asked: unknown
    let close: () => void = () => {}
    const closed = new Promise<void>((resolve) => {
      close = resolve
    })
    node.memory.add('shop:followed', {
      info: { backend: 'kv.raft', consistency: 'linearizable', durable: true, versioned: true, conditionalPut: true },
      get: () => undefined,
      put: () => ({ key: '', value: 1, version: '1' }),
      delete: () => false,
      list: () => ({ items: [], cursor: '', hasMore: false }),
      watch: async (...given) => {
        asked = given
        return { next: async () => batches.shift() ?? closed.then(() => undefined), close: () => close() }
      },
    })
    await start()
    expect((await ask('/v1/kv/shop:followed?watch=true&from=x')).status).toBe(400)
    expect(await ask('/v1/kv/shop:followed?watch=maybe')).toMatchObject({
      status: 400,
      body: { error: { message: 'watch takes true or false, not "maybe"' } },
    })
    const lines: unknown[] = []
    const abort = new AbortController()
    const path = '/v1/kv/shop:followed?watch=true&prefix=a&from=6'
    await follow(directory.socketPath, path, {
      signal: abort.signal,
      line: (value) => {
        if (lines.push(value) === 3) abort.abort()
      },
    })
    expect(asked).toEqual(['a', { from: '6' }])
    expect(lines).toEqual([
      { type: 'put', key: 'a', value: 1, version: '7' },
      { type: 'expired', key: 'a', version: '8', prev_version: '7' },
      { type: 'resync', version: '9' },
    ])
    await closed
    const refused = follow(directory.socketPath, '/v1/kv/shop:none?watch=true', {
      signal: new AbortController().signal,
      line: () => {},
    })
    await expect(refused).rejects.toMatchObject({ kind: 'NotFound' })
  })

  test('/v1/processes, all or those of one host, in the shape of `ps --json`', async () => {
    await start()
    const row = {
      pid: `{${HOST}|1.1}`,
      entry: 'shop:a',
      host: HOST,
      state: 'waiting',
      mailbox: 2,
      reductions: 30,
      memory: 4096,
      age_ms: 13,
      names: ['till'],
    }
    expect((await ask('/v1/processes')).body).toHaveLength(2)
    expect((await ask(`/v1/processes?host=${HOST}`)).body).toEqual([row])
    expect((await ask('/v1/processes?host=nowhere')).status).toBe(404)
    expect((await ask('/v1/processes?top=1')).body).toEqual([row])
    for (const top of ['0', '-1', 'x', '']) expect((await ask(`/v1/processes?top=${top}`)).status).toBe(400)
  })

  test('/v1/names, all or by scope and prefix, with the node of each process', async () => {
    await start()
    const row = { name: 'orders', scope: 'eventual', pid: '{n2@shop:processes|1.1}', node: 'n2' }
    expect((await ask('/v1/names')).body).toHaveLength(3)
    expect((await ask('/v1/names?scope=eventual')).body).toEqual([row])
    expect(await ask('/v1/names?scope=global')).toMatchObject({
      status: 400,
      body: { error: { message: 'there is no scope "global"; scopes: local, eventual, consistent, strong' } },
    })
    expect((await ask('/v1/names?prefix=till')).body).toEqual([
      { name: 'till', scope: 'local', pid: '{shop:processes|1.1}', node: 'n1' },
    ])
  })

  test('/v1/groups tells who is in which group', async () => {
    await start()
    const rows = [{ scope: 'shop:rooms', group: 'lobby', members: ['{shop:processes|1.1}', '{shop:processes|1.1}'] }]
    expect((await ask('/v1/groups')).body).toEqual(rows)
    expect((await ask('/v1/groups?scope=shop:rooms')).body).toEqual(rows)
    expect(await ask('/v1/groups?scope=shop:none')).toMatchObject({
      status: 404,
      body: { error: { message: 'no such scope runs: shop:none; those that run are shop:rooms' } },
    })
  })

  test('/readyz asks the scopes of groups, /livez does not', async () => {
    node.groupChecks = [{ name: 'pg_broadcast_recent.shop:rooms', ok: false, detail: 'nothing was heard' }]
    await start()
    expect((await ask('/readyz')).status).toBe(503)
    expect((await ask('/livez')).status).toBe(200)
  })

  test('/livez and /readyz ask for the disk and the replica, and only /readyz whether there is a leader', async () => {
    const checks = { raft_last_contact: true, disk: true, fsm: true }
    const names = ['raft_last_contact', 'disk', 'fsm'] as const
    const group = { checks: () => names.map((name) => ({ name, ok: checks[name], detail: 'so it is' })) }
    node.cluster = { group, health: () => ({ ok: true, detail: '' }) } as unknown as NonNullable<AdminNode['cluster']>
    await start()
    const answers = async (): Promise<number[]> => [(await ask('/livez')).status, (await ask('/readyz')).status]
    expect(await answers()).toEqual([200, 200])
    for (const name of ['disk', 'fsm'] as const) {
      checks[name] = false
      expect(await answers()).toEqual([503, 503])
      expect((await ask('/livez')).body).toContainEqual({ name, ok: false, detail: 'so it is' })
      checks[name] = true
    }
    checks.raft_last_contact = false
    expect(await answers()).toEqual([200, 503])
  })

  test('/v1/locks, with the node of each holder', async () => {
    await start()
    const row = { holder: '{n2@shop:processes|1.1}', node: 'n2', token: 7, waiters: 2, since: expect.any(String) }
    expect((await ask('/v1/locks?after=till')).body).toEqual([{ ...row, name: 'tills', left_ms: 900 }])
    expect((await ask('/v1/locks')).body).toMatchObject([{ name: 'till', left_ms: null }, { name: 'tills' }])
  })

  test('/v1/entries tells ids and kinds, and no source', async () => {
    await start()
    expect((await ask('/v1/entries')).body).toEqual([
      { id: 'shop:a', kind: 'process.lua' },
      { id: HOST, kind: 'process.host' },
    ])
    expect((await ask('/v1/entries?kind=process.host')).body).toHaveLength(1)
  })

  test('/livez and /readyz: 503 with the reason while a service is down', async () => {
    await start()
    expect((await ask('/livez')).status).toBe(200)
    expect(await ask('/readyz')).toMatchObject({ status: 200, body: [{ name: 'services', ok: true }] })
    const error = new MoonmeshError('Internal', 'boom')
    node.statuses = [{ id: 'shop:s', kind: 'process.service', state: 'failed', attempts: 1, sinceMs: 0, error }]
    expect(await ask('/readyz')).toMatchObject({
      status: 503,
      body: [{ name: 'services', ok: false, detail: 'shop:s failed: boom' }],
    })
    expect((await ask('/livez')).status).toBe(200)
    node.statuses = [{ ...running, state: 'starting' }]
    expect((await ask('/readyz')).status).toBe(503)
  })

  test('/v1/logs takes follow=true, follow=false, and nothing else', async () => {
    await start()
    expect(await ask('/v1/logs?follow=false')).toMatchObject({ status: 200, body: [] })
    for (const given of ['maybe', '1', '']) expect((await ask(`/v1/logs?follow=${given}`)).status).toBe(400)
  })

  test('errors have a kind, a message and the status of the kind', async () => {
    await start()
    const missing = await ask('/v1/nothing')
    expect(missing).toMatchObject({ status: 404, body: { error: { kind: 'NotFound' } } })
    expect((missing.body as ErrorBody).error.message).toContain('GET /v1/nothing')
    node.asked = () => {
      throw new MoonmeshError('Unavailable', 'stopping', { details: { since: 1 } })
    }
    const { status, body } = await ask('/v1/processes')
    expect({ status, body }).toEqual({
      status: 503,
      body: { error: { kind: 'Unavailable', message: 'stopping', details: { since: 1 } } },
    })
    node.asked = () => {
      throw new TypeError('a bug')
    }
    expect(await ask('/v1/processes')).toMatchObject({ status: 500, body: { error: { kind: 'Internal' } } })
    expect(log.recent().at(-1)?.text).toContain('a bug')
  })

  test('a body that is no JSON by its header is refused with what to send', async () => {
    await start()
    const { status, body } = await ask('/v1/kv/shop:a/b', { method: 'PUT', body: 1, headers: FORM })
    expect(status).toBe(400)
    expect((body as ErrorBody).error.message).toContain('content-type: application/json')
  })

  test('a path that is no path is the asker’s mistake', async () => {
    await start()
    expect(await ask('/v1/%zz')).toMatchObject({ status: 400, body: { error: { kind: 'Invalid' } } })
  })
})

/** Reads what a stream says, piece by piece, until it is told to stop. */
async function streamOf(path: string, at?: string): Promise<{ status: number; text: () => string; stop: () => void }> {
  let text = ''
  const place =
    at === undefined
      ? { socketPath: directory.socketPath }
      : { host: parseAddress(at).host, port: parseAddress(at).port }
  return new Promise((done, fail) => {
    const sent = request({ ...place, path, agent: false }, (response) => {
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      response.on('error', () => {})
      done({ status: response.statusCode ?? 0, text: () => text, stop: () => void sent.destroy() })
    })
    sent.on('error', fail)
    sent.end()
  })
}

describe('streams', () => {
  const joined: NodeEvent = { type: 'membership', kind: 'node.joined', subject: 'n2', timeMs: 7.6, data: { epoch: 3n } }

  test('/v1/events tells what happens from now on, as server-sent events', async () => {
    await start()
    const { text, stop } = await streamOf('/v1/events')
    await eventually(() => expect(text()).toBe('retry: 2000\n: node n1\n\n'))
    node.watchers[0]?.(joined)
    const data = '{"kind":"node.joined","subject":"n2","time_ms":8,"data":{"epoch":"3"}}'
    await eventually(() => expect(text()).toContain(`id: 1\nevent: membership\ndata: ${data}\n\n`))
    stop()
    await eventually(() => node.watchers.length === 0)
    expect(await ask('/v1/events?types=service,prices')).toMatchObject({
      status: 400,
      body: { error: { kind: 'Invalid', message: expect.stringContaining('"prices"') } },
    })
    expect((await ask('/v1/events', { method: 'HEAD' })).status).toBe(404)
  })

  test('a bound for streams of events, and one that ends makes room', async () => {
    await start()
    const streams = await Promise.all(Array.from({ length: 64 }, () => streamOf('/v1/events')))
    expect((await ask('/v1/events')).status).toBe(429)
    streams[0]?.stop()
    await eventually(() => node.watchers.length === 63)
    const another = await streamOf('/v1/events')
    expect(another.status).toBe(200)
    for (const { stop } of [...streams, another]) stop()
  })

  test('/v1/logs: the last lines, by level, entry and process, and those to come', async () => {
    await start()
    log.write('info', { entry: 'shop:a', pid: '{shop:h|1.2}' }, 'one')
    log.write('warn', { entry: 'shop:b', pid: '{shop:h|1.3}' }, 'two')
    log.write('error', {}, 'three')
    const lines = async (query: string): Promise<unknown[]> =>
      ((await ask(`/v1/logs?${query}`)).body as { msg: string }[]).map(({ msg }) => msg)
    expect(await lines('')).toEqual(['one', 'two', 'three'])
    expect(await lines('limit=2')).toEqual(['two', 'three'])
    expect(await lines('limit=0')).toEqual([])
    expect(await lines('level=warn')).toEqual(['two', 'three'])
    expect(await lines('entry=shop:a')).toEqual(['one'])
    expect(await lines(`pid=${encodeURIComponent('{shop:h|1.3}')}`)).toEqual(['two'])
    expect(await lines(`pid=${encodeURIComponent('#3')}`)).toEqual(['two'])
    expect((await ask('/v1/logs?level=loud')).status).toBe(400)
    expect((await ask('/v1/logs?limit=-1')).status).toBe(400)
    const { text, stop } = await streamOf('/v1/logs?follow=true&limit=1&level=warn')
    await eventually(() => expect(text()).toMatch(/^\{"level":"error","time":\d+,"msg":"three"\}\n$/))
    log.write('info', {}, 'four')
    log.write('warn', {}, 'five')
    await eventually(() => expect(text()).toMatch(/"three"\}\n.*"five"\}\n$/))
    stop()
  })

  test('over TCP logs need the token, by whatever spelling of the path they are asked for', async () => {
    const settings = { http: '127.0.0.1:0', httpIsDefault: false }
    const { address } = await start({ ...settings, token: 'secret' })
    const spellings = ['/v1/logs', '/v1/logs?limit=1', '/v1/logs#a', '/v1/%6cogs', `http://${address}/v1/logs`]
    for (const path of spellings) expect([path, (await ask(path, { at: address })).status]).toEqual([path, 403])
    const headers = { authorization: 'Bearer secret' }
    expect((await ask('/v1/logs', { at: address, headers })).status).toBe(200)
    expect((await ask('/v1/events?types=nothing', { at: address })).status).toBe(400)
  })
})

test('streams that were asked for at once are over with their connection', async () => {
  await start()
  const asks = 'GET /v1/events HTTP/1.1\r\nhost: n1\r\n\r\n'.repeat(16)
  const socket = connect(directory.socketPath)
  socket.on('error', () => {})
  socket.write(asks)
  await eventually(() => expect(node.watchers.length).toBe(16))
  socket.destroy()
  await eventually(() => expect(node.watchers).toEqual([]))
})

test.each([
  ['/v1/console', 'no consoles'],
  ['/v1/elsewhere', '404 Not Found'],
])('who is refused an upgrade to %s holds no connection, even without hanging up', async (path, answer) => {
  await start()
  const socket = connect({ path: directory.socketPath, allowHalfOpen: true })
  let text = ''
  socket.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  socket.on('error', () => {})
  socket.write(`GET ${path} HTTP/1.1\r\nhost: n1\r\nconnection: upgrade\r\nupgrade: moonmesh-console\r\n\r\n`)
  await eventually(() => expect(text).toContain(answer))
  // Nobody is there to read what is written.
  await eventually(() => {
    socket.write('x')
    expect(socket.destroyed).toBe(true)
  })
})

test('a parameter that is given twice is the asker’s mistake', async () => {
  await start()
  for (const path of [
    '/v1/names?prefix=a&prefix=b',
    '/v1/kv/shop:none?limit=1&limit=2',
    '/v1/processes?host=a&host=b',
  ]) {
    expect([path, (await ask(path)).status]).toEqual([path, 400])
  }
})

describe('the TCP listener', () => {
  test('answers reads, on the port that is asked for or any free one', async () => {
    const { address } = await start({ http: '127.0.0.1:0', httpIsDefault: false })
    expect(address).toMatch(/^127\.0\.0\.1:[1-9]\d+$/)
    expect((await ask('/v1/entries', { at: address })).status).toBe(200)
  })

  test('refuses writes and names the Unix socket', async () => {
    const { address } = await start({ http: '127.0.0.1:0', httpIsDefault: false })
    const { status, body } = await ask('/v1/entries', { at: address, method: 'POST' })
    expect(status).toBe(403)
    expect((body as ErrorBody).error).toMatchObject({ kind: 'PermissionDenied' })
    expect((body as ErrorBody).error.message).toContain(directory.socketPath)
  })

  test('refuses a foreign Host and a foreign Origin; the Unix socket does not ask', async () => {
    const { address } = await start({ http: '127.0.0.1:0', httpIsDefault: false })
    const foreign = { headers: { host: 'evil.example' } }
    expect((await ask('/v1/status', { at: address, ...foreign })).status).toBe(403)
    expect((await ask('/v1/status', { at: address, headers: { origin: 'http://evil.example' } })).status).toBe(403)
    expect((await ask('/v1/status', foreign)).status).toBe(200)
  })

  async function takenPort(): Promise<number> {
    other = createServer()
    await new Promise<void>((done) => other?.listen(0, '127.0.0.1', done))
    return (other.address() as AddressInfo).port
  }

  test('a port in use that was asked for is an error with place and remedy', async () => {
    const http = `127.0.0.1:${await takenPort()}`
    await expect(start({ http, httpIsDefault: false })).rejects.toMatchObject({
      kind: 'Unavailable',
      message: expect.stringMatching(new RegExp(`admin.http ${http} is in use.*off.*--set admin.http=`)),
    })
  })

  test('a port in use that nobody asked for gives way to a free one, with a warning', async () => {
    const http = `127.0.0.1:${await takenPort()}`
    const { address } = await start({ http, httpIsDefault: true })
    expect(address).not.toBe(http)
    expect((await ask('/livez', { at: address })).status).toBe(200)
    expect(log.recent()).toMatchObject([{ level: 'warn', text: expect.stringContaining(`${http} is in use`) }])
  })

  test('an address of another machine, or none at all, is an error', async () => {
    await expect(start({ http: '192.0.2.1:0', httpIsDefault: false })).rejects.toMatchObject({ kind: 'Invalid' })
    await expect(start({ http: 'nonsense', httpIsDefault: false })).rejects.toMatchObject({ kind: 'Invalid' })
  })

  test('listening for other machines is said in the log', async () => {
    await start({ http: '0.0.0.0:0', httpIsDefault: false })
    expect(log.recent()).toMatchObject([{ level: 'warn', text: expect.stringContaining('other machines') }])
  })
})

describe('the cluster', () => {
  const joins: string[][] = []
  const tags = new Map([
    ['version', '1.2.3'],
    ['failure_domain', 'rack-1'],
    ['internode_port', '7950'],
    ['raft_role', 'voter'],
  ])
  const cluster: AdminNode['cluster'] = {
    members: () => [
      {
        name: 'n1',
        address: '10.0.0.1:7946',
        state: 'alive',
        role: 'voter',
        isLocal: true,
        incarnation: 3,
        rttMs: 1.23456,
        tags,
      },
    ],
    join: async (addresses) => joins.push([...addresses]),
    settings: { id: 'shop' },
    backups: {
      take: async () => {
        const pieces = ['one ', 'two'].map((text) => new TextEncoder().encode(text))
        return { next: async () => pieces.shift(), close: () => {} }
      },
    },
    group: {
      status: () => ({
        ...{ role: 'voter', formation: 'f00d', leader: 'n2', term: 3, commitIndex: 9, appliedIndex: 8 },
        ...{ voters: ['n1', 'n2', 'n3'], standbys: [], hasQuorum: true, waitingFor: undefined },
      }),
      leader: async () => 'n2',
      checks: () => [{ name: 'raft_formation', ok: true, detail: 'in group f00d' }],
      membership: {
        transfer: async (to) => to ?? 'n3',
        remove: async (name, { force }) => {
          if (!force) throw new MoonmeshError('Conflict', `${name} is there`)
        },
      },
    },
    health: () => ({ ok: false, detail: 'health score 6' }),
  }

  test('/v1/members has a row for every known node', async () => {
    node.cluster = cluster
    await start()
    expect((await ask('/v1/members')).body).toEqual([
      {
        name: 'n1',
        addr: '10.0.0.1:7946',
        mesh_addr: '10.0.0.1:7950',
        state: 'alive',
        role: 'voter',
        suffrage: 'voter',
        local: true,
        incarnation: 3,
        rtt_ms: 1.23,
        failure_domain: 'rack-1',
        tags: Object.fromEntries(tags),
        version: '1.2.3',
      },
    ])
  })

  test('a node whose clustering is off knows itself, and has nothing to join or leave', async () => {
    await start()
    const { body } = await ask('/v1/members')
    expect(body).toMatchObject([{ name: 'n1', addr: null, role: 'none', state: 'alive', local: true }])
    for (const path of ['/v1/cluster/join', '/v1/cluster/leave']) {
      const { status, body } = await ask(path, { method: 'POST', body: { addresses: ['a:1'] } })
      expect(status).toBe(503)
      expect((body as ErrorBody).error.message).toContain('set cluster.enabled to true')
    }
    expect(node.left).toEqual([])
  })

  test('joining and leaving', async () => {
    node.cluster = cluster
    await start()
    const addresses = ['10.0.0.2', 'n3/10.0.0.3:7000']
    expect(await ask('/v1/cluster/join', { method: 'POST', body: { addresses } })).toMatchObject({
      status: 200,
      body: { joined: 1 },
    })
    expect(joins).toEqual([addresses])
    for (const body of [{}, { addresses: [] }, { addresses: [5] }, { addresses: 'x' }, [], 'x']) {
      expect((await ask('/v1/cluster/join', { method: 'POST', body })).status).toBe(400)
    }
    expect(await ask('/v1/cluster/leave', { method: 'POST', body: {} })).toMatchObject({ status: 200 })
    expect(node.left).toEqual(['left'])
  })

  test('the group, and what an operator does about it', async () => {
    node.cluster = cluster
    await start()
    expect((await ask('/v1/raft')).body).toMatchObject({
      ...{ node: 'n1', cluster_id: 'shop', role: 'voter', leader: 'n2', term: 3, commit_index: 9, applied_index: 8 },
      ...{ voters: ['n1', 'n2', 'n3'], standbys: [], members: 1, quorum: true, healthy: false },
    })
    const post = (path: string, body: object) => ask(path, { method: 'POST', body })
    expect(await post('/v1/cluster/transfer', {})).toMatchObject({ status: 200, body: { leader: 'n3' } })
    expect(await post('/v1/cluster/transfer', { to: 'n1' })).toMatchObject({ status: 200, body: { leader: 'n1' } })
    expect((await post('/v1/cluster/transfer', { to: 5 })).status).toBe(400)
    expect((await post('/v1/cluster/remove', { name: 'n2' })).status).toBe(409)
    expect(await post('/v1/cluster/remove', { name: 'n2', force: true })).toMatchObject({ body: { removed: 'n2' } })
    expect((await post('/v1/cluster/remove', {})).status).toBe(400)
  })

  test('a backup comes as bytes, and a node without a cluster has none', async () => {
    await start()
    expect((await ask('/v1/cluster/snapshot', { method: 'POST' })).status).toBe(503)
    node.cluster = cluster
    const socketPath = join(directory.path, 'admin.sock')
    const bytes = await new Promise<string>((resolve, reject) => {
      const sent = request({ socketPath, path: '/v1/cluster/snapshot', method: 'POST' }, (response) => {
        let text = ''
        response.on('data', (part) => {
          text += part
        })
        response.on('end', () => resolve(`${response.headers['content-type']} ${text}`))
      })
      sent.on('error', reject)
      sent.end()
    })
    expect(bytes).toBe('application/octet-stream one two')
  })

  test('a node that doubts itself is neither alive nor ready', async () => {
    node.cluster = cluster
    await start()
    for (const path of ['/livez', '/readyz']) {
      const { status, body } = await ask(path)
      expect(status).toBe(503)
      expect(body).toContainEqual({ name: 'gossip', ok: false, detail: 'health score 6' })
    }
  })

  test('over TCP changes need the token, and reading does not', async () => {
    node.cluster = cluster
    const { address: at } = await start({ http: '127.0.0.1:0', httpIsDefault: false, token: 'sesame' })
    const leave = (headers: Record<string, string>): Promise<Answer> =>
      ask('/v1/cluster/leave', { method: 'POST', at, body: {}, headers })
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'Basic sesame' }]) {
      const { status, body } = await leave(headers as Record<string, string>)
      expect(status).toBe(403)
      expect((body as ErrorBody).error.message).toContain('Authorization: Bearer TOKEN')
    }
    expect(node.left).toEqual([])
    expect((await leave({ authorization: 'Bearer sesame', origin: 'http://evil.example' })).status).toBe(403)
    expect((await leave({ authorization: 'Bearer sesame' })).status).toBe(200)
    expect((await ask('/v1/members', { at })).status).toBe(200)
  })
})

test('closing ends connections and frees the port; it may be repeated, and come before the start', async () => {
  const server = await start({ http: '127.0.0.1:0', httpIsDefault: false })
  const { address } = server
  await ask('/livez', { at: address })
  await Promise.all([server.close(), server.close()])
  await expect(ask('/livez', { at: address })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  await expect(ask('/livez')).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) })
  const settings = { http: 'off', httpIsDefault: false }
  await new AdminServer({ node, settings, directory, log }).close()
})
