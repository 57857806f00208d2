// Whoever means harm to the admin interface: web pages on other origins, clients without a token, requests that are no requests. One node for
// the whole file; after each test it is the same process, and what it keeps is untouched. operations.md §3, §4.

import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { StatusBody, StoreItem } from '../../runtime/admin/shapes.ts'
import { ask } from '../../runtime/cli/client.ts'
import { addressesOf, Cli, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const TOKEN = 'a-token-that-nobody-guesses'
const APP = `version: "1.0"
namespace: shop
node: { name: n1 }
admin: { http: "127.0.0.1:0", token: "${TOKEN}" }
entries:
  - { name: prices, kind: store.memory, lifecycle: { auto_start: true } }
`

let cli: Cli
let node: Program
let port = 0
const sockets = new Set<Socket>()

beforeAll(async () => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP })
  node = cli.start(['run', 'app.yaml', '--log-format', 'json'], { withAdmin: true })
  await node.until('"event":"ready"')
  port = Number(addressesOf(node).admin?.split(':').at(-1))
  await ask(socketPath(), '/v1/kv/shop:prices/tea', { method: 'PUT', body: 3 })
})

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  const { os_pid } = await ask<StatusBody>(socketPath(), '/v1/status')
  expect(os_pid).toBe(node.pid)
  expect((await ask<StoreItem>(socketPath(), '/v1/kv/shop:prices/tea')).value).toBe(3)
  expect(node.stderr).not.toContain('a bug in moonmesh')
})

afterAll(() => cli.close())

const socketPath = (): string => join(cli.dir, '.runtime/n1/admin.sock')

/** What the node answers to these bytes, until it closes or has said `enough`. */
function say(
  bytes: string | Buffer,
  { over = 'tcp', enough = /\r\n\r\n/ }: { over?: 'tcp' | 'unix'; enough?: RegExp } = {},
): Promise<string> {
  return new Promise((resolve) => {
    const socket = over === 'tcp' ? connect({ host: '127.0.0.1', port }) : connect(socketPath())
    sockets.add(socket)
    let text = ''
    socket.on('error', () => resolve(text))
    socket.on('close', () => resolve(text))
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (enough.test(text)) resolve(text)
    })
    socket.write(bytes)
  })
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0)

interface Page {
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: string
}

function request({ method = 'GET', path = '/v1/status', headers = {}, body = '' }: Page): string {
  const all = { host: `127.0.0.1:${port}`, connection: 'close', 'content-length': String(body.length), ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

const KEY = '/v1/kv/shop:prices/tea'
const ORDER = { method: 'PUT', path: KEY, body: '4', headers: { 'content-type': 'application/json' } }
const withHeaders = (headers: Record<string, string>): Page => ({ ...ORDER, headers: { ...ORDER.headers, ...headers } })
const bearer = { authorization: `Bearer ${TOKEN}` }

test('a web page on another origin changes nothing, whatever it sends and even if it had the token', async () => {
  const pages: Record<string, Page> = {
    'its origin': withHeaders({ origin: 'http://evil.example', ...bearer }),
    'no origin at all, as from a file or a sandbox': withHeaders({ origin: 'null', ...bearer }),
    'the same machine, another port': withHeaders({ origin: 'http://127.0.0.1:1', ...bearer }),
    'the same place over https': withHeaders({ origin: `https://127.0.0.1:${port}`, ...bearer }),
    'a name that it gave this machine': withHeaders({ host: `evil.example:${port}`, ...bearer }),
    'such a name, and the origin to it': withHeaders({
      host: 'evil.example',
      origin: 'http://evil.example',
      ...bearer,
    }),
    'such a name with a dot': withHeaders({ host: `localhost.:${port}`, ...bearer }),
    'a name that contains ours': withHeaders({ host: `127.0.0.1.evil.example:${port}`, ...bearer }),
    'two hosts in one': withHeaders({ host: `127.0.0.1:${port}, evil.example`, ...bearer }),
    'a form': {
      method: 'POST',
      path: '/v1/cluster/leave',
      headers: { origin: 'http://evil.example', 'content-type': 'application/x-www-form-urlencoded' },
      body: 'a=b',
    },
    'a form as text, from an old browser': {
      method: 'POST',
      path: '/v1/cluster/leave',
      headers: { 'content-type': 'text/plain' },
      body: '{}',
    },
    'an image': {
      path: '/v1/kv/shop:prices',
      headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
    },
    'an asked-for permission': {
      method: 'OPTIONS',
      path: KEY,
      headers: { origin: 'http://evil.example', 'access-control-request-method': 'PUT' },
    },
    'a web socket': {
      path: '/v1/console',
      headers: {
        origin: 'http://evil.example',
        connection: 'upgrade',
        upgrade: 'websocket',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        'sec-websocket-version': '13',
      },
    },
    events: { path: '/v1/events', headers: { origin: 'http://evil.example' } },
  }
  for (const [what, page] of Object.entries(pages)) {
    const answer = await say(request(page))
    expect([what, statusOf(answer)]).toEqual([what, 403])
    expect(answer.toLowerCase()).not.toContain('access-control-allow')
  }
})

test('a client of TCP without the token changes nothing, and sees no log and no console', async () => {
  const refused: Page[] = [
    ORDER,
    { ...ORDER, method: 'DELETE', body: '' },
    { ...ORDER, method: 'PATCH' },
    ...['join', 'leave', 'remove', 'transfer', 'snapshot'].map((what) => ({
      method: 'POST',
      path: `/v1/cluster/${what}`,
      body: '{}',
    })),
    ...[
      'Bearer',
      'Bearer wrong',
      `Basic ${TOKEN}`,
      `Bearer ${TOKEN.slice(1)}`,
      `Bearer ${TOKEN}x`,
      `Bearer x ${TOKEN}`,
    ].map((authorization) => withHeaders({ authorization })),
    withHeaders({ 'x-http-method-override': 'GET', 'x-forwarded-for': '127.0.0.1' }),
    { path: '/v1/logs' },
    { path: `/v1/logs?token=${TOKEN}` },
  ]
  for (const page of refused) expect([page, statusOf(await say(request(page)))]).toEqual([page, 403])
  const upgrade = { connection: 'upgrade', upgrade: 'moonmesh-console' }
  for (const headers of [upgrade, { ...upgrade, ...bearer }])
    expect(statusOf(await say(request({ path: '/v1/console', headers })))).toBe(404)
  // A second request behind the first one is looked at as well.
  const smuggled = await say(request({ headers: { connection: 'keep-alive' } }) + request(ORDER), { enough: /403/ })
  expect(smuggled).toContain('HTTP/1.1 403')
  const both = `PUT ${KEY} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n4\r\n0\r\n\r\n`
  expect(statusOf(await say(both))).toBeGreaterThanOrEqual(400)
  expect(statusOf(await say(request(withHeaders(bearer)).replace('\r\n\r\n4', '\r\n\r\n3')))).toBe(200)
})

test('names that would lead elsewhere lead nowhere', async () => {
  const stores = [
    '..%2f..%2fetc',
    '%2e%2e',
    '..',
    '.',
    '%00',
    'shop:prices%00',
    '__proto__',
    'constructor',
    'toString',
    'shop:prices%2f..%2fother',
    '%ff',
    'a'.repeat(9000),
  ]
  for (const store of stores) {
    for (const path of [`/v1/kv/${store}`, `/v1/kv/${store}/passwd`, `/v1/kv/shop:prices/../${store}/x`]) {
      const status = statusOf(await say(request({ path }), { over: 'unix' }))
      expect([path.slice(0, 80), status >= 400 && status < 500]).toEqual([path.slice(0, 80), true])
    }
  }
})

/** The same numbers for the same seed: a failure can be repeated. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    return (state >>> 0) / 2 ** 32
  }
}

test('requests that are no requests, by the hundred, over both ways in', { timeout: 120_000 }, async () => {
  const next = numbers(7)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T
  const junk = (length: number): string =>
    Buffer.from(Array.from({ length }, () => Math.floor(next() * 256))).toString('latin1')
  const paths = [
    '/v1/status',
    '/v1/kv',
    KEY,
    '/v1/kv/shop:prices',
    '/v1/events',
    '/v1/logs',
    '/v1/raft',
    '/v1/names',
    '/v1/locks',
    '/v1/groups',
    '/v1/cluster/join',
    '/v1/cluster/remove',
    '/v1/cluster/transfer',
    '/metrics',
    '/livez',
    '/',
    '*',
    '//',
    '/%',
    '/v1/%c0%af',
    '/v1/kv/%E0%A4%A',
  ]
  const queries = [
    '',
    '?limit=-1',
    '?limit=1e9',
    '?limit=9'.padEnd(400, '9'),
    '?after=%00&limit=1',
    '?prefix[]=a',
    '?watch=1&from=x',
    '?ttl=1e999',
    '?types=,,',
    '?follow=0x&limit=',
    '?__proto__=1',
    `?${junk(40)}`,
  ]
  const bodies = [
    '',
    '{',
    'null',
    '[]',
    '{"__proto__":{"a":1}}',
    '{"constructor":{"prototype":{}}}',
    '"\\ud800"',
    '1e999',
    '['.repeat(5000),
    '{"addresses":[1]}',
    '{"addresses":["\\u0000"]}',
    '{"name":{}}',
    '{"to":[]}',
    `"${'x'.repeat(20_000)}"`,
    junk(200),
  ]
  const headers = [
    'if-match: "0"',
    'if-match: "99999999999999999999"',
    'if-none-match: "x"',
    'expect: 100-continue',
    'expect: nothing',
    'content-encoding: gzip',
    'transfer-encoding: chunked',
    'transfer-encoding: gzip, chunked',
    'content-length: -1',
    'content-length: 99999999999',
    'range: bytes=0-',
    'x: '.padEnd(20_000, 'y'),
    `x: ${junk(10)}`,
    'content-type: application/json; charset=\\',
    'content-type: multipart/form-data',
  ]
  for (let i = 0; i < 400; i++) {
    const method = pick([
      'GET',
      'HEAD',
      'PUT',
      'POST',
      'DELETE',
      'PATCH',
      'OPTIONS',
      'TRACE',
      'CONNECT',
      'PROPFIND',
      'G T',
      '',
    ])
    const body = pick(bodies)
    const length = next() < 0.8 ? `content-length: ${Buffer.byteLength(body, 'latin1')}\r\n` : ''
    const json = next() < 0.7 ? 'content-type: application/json\r\n' : ''
    const extra = next() < 0.5 ? `${pick(headers)}\r\n` : ''
    const whole = `${method} ${pick(paths)}${pick(queries)} HTTP/1.${pick(['0', '1', '1', '9'])}\r\nhost: localhost\r\nconnection: close\r\n${length}${json}${extra}\r\n${body}`
    const bytes = Buffer.from(
      next() < 0.1 ? junk(300) : next() < 0.1 ? whole.slice(0, next() * whole.length) : whole,
      'latin1',
    )
    const over = pick(['tcp', 'unix'] as const)
    // Some are not whole, and wait for more: nobody waits for their answers.
    const late = new Promise<string>((resolve) => setTimeout(() => resolve(''), 40))
    const answer = await Promise.race([say(bytes, { over }), late])
    expect([statusOf(answer), bytes.toString('latin1').slice(0, 200)]).not.toEqual([500, expect.anything()])
    if (sockets.size > 60) for (const socket of sockets) socket.destroy()
    if (sockets.size > 60) sockets.clear()
  }
})

test('bodies and heads without end are cut off', async () => {
  const huge = request({
    ...ORDER,
    headers: { ...ORDER.headers, 'content-length': String(2 ** 33) },
    body: 'x'.repeat(100_000),
  })
  expect(statusOf(await say(huge, { over: 'unix' }))).toBeGreaterThanOrEqual(400)
  const chunks = `PUT ${KEY} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${`10000\r\n${'1'.repeat(65_536)}\r\n`.repeat(300)}`
  expect([0, 400, 413]).toContain(statusOf(await say(chunks, { over: 'unix' })))
  expect(statusOf(await say(`GET / HTTP/1.1\r\nhost: localhost\r\n${'a: b\r\n'.repeat(20_000)}\r\n`))).toBe(431)
})

test('a thousand idle connections and a thousand that drip keep nobody out', { timeout: 120_000 }, async () => {
  const open = (bytes: string): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port }, () => resolve())
      sockets.add(socket)
      socket.on('error', () => resolve())
      if (bytes !== '') socket.write(bytes)
    })
  for (let i = 0; i < 1000; i++) await open('')
  expect(statusOf(await say(request({ path: '/livez' })))).toBe(200)
  for (let i = 0; i < 1000; i++) await open('GET /v1/status HTTP/1.1\r\nhost: local')
  expect(statusOf(await say(request({ path: '/livez' })))).toBe(200)
  // The head of a request has its time.
  const drip = connect({ host: '127.0.0.1', port })
  sockets.add(drip)
  drip.on('error', () => {})
  let isClosed = false
  drip.on('close', () => {
    isClosed = true
  })
  drip.write('GET /v1/status HTTP/1.1\r\nhost: localhost\r\n')
  const dripping = setInterval(() => drip.writable && drip.write('x: y\r\n'), 500)
  drip.resume()
  await eventually(() => isClosed, { timeoutMs: 40_000 })
  clearInterval(dripping)
})

test('bodies that drip, with the token, leave room for those who ask how the node is', {
  timeout: 60_000,
}, async () => {
  const head = request({ ...ORDER, headers: { ...ORDER.headers, ...bearer, 'content-length': '1000' } })
  for (let i = 0; i < 224; i++) void say(head)
  const busy = await eventually(async () => {
    const answer = await say(request({ path: '/v1/status' }))
    return statusOf(answer) === 429 && answer
  })
  expect(busy).toContain('"kind":"LimitExceeded"')
  for (let i = 0; i < 100; i++) void say(head)
  for (const path of ['/livez', '/readyz', '/metrics']) expect(statusOf(await say(request({ path })))).toBe(200)
  for (const socket of sockets) socket.destroy()
  await eventually(async () => statusOf(await say(request({ path: '/v1/status' }))) === 200)
})
