import { randomBytes } from 'node:crypto'
import { connect, createServer, type Server, type Socket } from 'node:net'
import * as prom from 'prom-client'
import { afterEach, expect, test } from 'vitest'
import { createAuthority, issueCertificate } from '../../../cluster/mesh/certificates.ts'
import type { MeshSettings } from '../../../cluster/mesh/core/settings.ts'
import { readMaterial } from '../../../cluster/mesh/identity.ts'
import { Mesh, type MeshOptions } from '../../../cluster/mesh/mesh.ts'
import { meshMetrics } from '../../../cluster/mesh/metrics.ts'
import type { SecuritySettings } from '../../../cluster/mesh/tls.ts'
import { ProtocolError } from '../../../cluster/mesh/wire/protocol-error.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { pack, unpack } from '../../../runtime/base/msgpack.ts'
import { systemEnv } from '../../../runtime/driver.ts'
import { eventually } from '../../tools/eventually.ts'

const HOST = '127.0.0.1'

interface Node {
  readonly mesh: Mesh
  readonly name: string
  readonly epoch: number
  readonly heard: string[]
  readonly logs: string[]
}

const open: { close(): Promise<unknown> | unknown }[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()))
})

type NodeOptions = Partial<Omit<MeshOptions, 'settings'>> & { settings?: Partial<MeshSettings> }

async function start(name: string, options: NodeOptions = {}): Promise<Node> {
  const heard: string[] = []
  const logs: string[] = []
  const mesh = await Mesh.open({
    name,
    epoch: 1,
    clusterId: 'test',
    bind: { host: HOST, port: 0 },
    security: { kind: 'plain' },
    env: systemEnv,
    log: (_level, event, fields) => logs.push(`${event} ${JSON.stringify(fields)}`),
    ...options,
  })
  open.push(mesh)
  mesh.on('node-up', ({ peer, epoch }) => heard.push(`up ${peer}/${epoch}`))
  mesh.on('node-down', ({ peer, epoch, reason }) => heard.push(`down ${peer}/${epoch} ${reason}`))
  return { mesh, name, epoch: options.epoch ?? 1, heard, logs }
}

/** Gossip tells `node` of `other`. @param port where the other is reached, when not at its own */
function tell(node: Node, other: Node, port = other.mesh.port): void {
  node.mesh.member({
    kind: 'joined',
    name: other.name,
    epoch: other.epoch,
    address: { host: HOST, port: 1 },
    tags: new Map([['internode_port', String(port)]]),
  })
}

function introduce(...nodes: readonly Node[]): void {
  for (const node of nodes) for (const other of nodes) if (node !== other) tell(node, other)
}

const isUp = (node: Node, other: Node): boolean => node.mesh.link(other.name)?.state === 'connected'
const up = (...nodes: readonly Node[]): Promise<unknown> =>
  eventually(() => nodes.every((node) => nodes.every((other) => node === other || isUp(node, other))), {
    what: 'links',
  })

/** A way to a port that can be broken: all connections through it are reset. */
async function detour(port: () => number): Promise<{ port: number; reset(): number }> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((near) => {
    const far = connect(port(), HOST)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  await new Promise<void>((done) => server.listen(0, HOST, done))
  const reset = (): number => {
    const count = sockets.size
    for (const socket of sockets) socket.resetAndDestroy()
    return count
  }
  const shut = (): void => {
    server.close()
    reset()
  }
  open.push({ close: shut })
  return { port: (server.address() as { port: number }).port, reset }
}

test('bytes that a layer above cannot read close the connection, and nothing else is lost (cluster.md §4.4)', async () => {
  const [a, b, c] = [await start('a'), await start('b'), await start('c')]
  introduce(a, b, c)
  await up(a, b, c)
  const got: string[] = []
  b.mesh.onMessage('app', ({ bytes }) => {
    const text = Buffer.from(bytes).toString()
    if (text.startsWith('bad')) throw new ProtocolError('no message')
    got.push(text)
  })
  for (const text of ['1', 'bad', '2', 'bad too', '3']) a.mesh.send('b', 'app', Buffer.from(text))
  await eventually(() => got.length === 3 && b.mesh.statistics().counters.violations > 0)
  a.mesh.send('b', 'app', Buffer.from('4'))
  await eventually(() => got.length === 4)
  expect(got).toEqual(['1', '2', '3', '4'])
  const { counters, links } = b.mesh.statistics()
  expect([counters.violations, counters.dropped.get('app decode')]).toEqual([1, 2])
  expect(b.logs.filter((line) => line.startsWith('mesh_protocol_error'))).toHaveLength(1)
  // The session went on, and the other link knows nothing of it.
  expect([a.heard.sort(), links.find(({ peer }) => peer === 'c')?.reconnects]).toEqual([['up b/1', 'up c/1'], 0])
})

test('three nodes come up and talk, in every class', async () => {
  const nodes = await Promise.all(['a', 'b', 'c'].map((name) => start(name)))
  const [a, b, c] = nodes as [Node, Node, Node]
  introduce(a, b, c)
  await up(a, b, c)
  const got: string[] = []
  for (const each of ['raft', 'app', 'pg', 'bulk', 'rlog'] as const) {
    c.mesh.onMessage(each, ({ peer, epoch, bytes }) => void got.push(`${each} ${peer}/${epoch} ${Buffer.from(bytes)}`))
    expect(a.mesh.send('c', each, Buffer.from('from a'))).toBeUndefined()
    expect(b.mesh.send('c', each, Buffer.from('from b'))).toBeUndefined()
  }
  await eventually(() => got.length === 10)
  expect(got).toContain('app a/1 from a')
  expect(a.heard.sort()).toEqual(['up b/1', 'up c/1'])
})

test('nodes of two versions talk in the one that both know; without one they refuse each other and say which they have', async () => {
  const old = await start('old', { versions: [1, 1] })
  const now = await start('now', { versions: [1, 2] })
  const later = await start('later', { versions: [2, 3] })
  introduce(old, now, later)
  await up(old, now)
  await up(now, later)
  const got: string[] = []
  old.mesh.onMessage('app', ({ peer, bytes }) => void got.push(`${peer} ${Buffer.from(bytes)}`))
  expect(now.mesh.send('old', 'app', Buffer.from('hello'))).toBeUndefined()
  await eventually(() => expect(got).toEqual(['now hello']))
  await eventually(() =>
    expect(old.logs.join('\n') + later.logs.join('\n')).toMatch(/versions \d-\d here, \d-\d there/),
  )
  expect(isUp(old, later)).toBe(false)
  expect(isUp(now, old)).toBe(true)
})

test('ports are chosen from 7950 on, kept, and one that is given and taken is an error', async () => {
  const [a, b] = [await start('a'), await start('b')]
  expect(a.mesh.port).toBeGreaterThan(0)
  expect(b.mesh.port).not.toBe(a.mesh.port)
  await expect(start('c', { bind: { host: HOST, port: a.mesh.port } })).rejects.toThrow(
    `port ${a.mesh.port} at ${HOST} is in use`,
  )
  await expect(start('c', { bind: { host: '203.0.113.7', port: 0 } })).rejects.toThrow('no address of this machine')
})

test('requests are answered, refused, cancelled and time out', async () => {
  const [a, b] = [await start('a'), await start('b')]
  introduce(a, b)
  const aborted: string[] = []
  b.mesh.onRequest('double', (body) => pack(2 * (unpack(body) as number)))
  b.mesh.onRequest('conflict', () => {
    throw new MoonmeshError('Conflict', 'taken', { details: { holder: 'x' } })
  })
  b.mesh.onRequest('bug', () => {
    throw new TypeError('secret')
  })
  b.mesh.onRequest('slow', (_body, { signal }) => {
    return new Promise((done) =>
      signal.addEventListener('abort', () => done(pack(aborted.push(String(signal.reason))))),
    )
  })
  expect(unpack(await a.mesh.request('b', 'double', pack(21)))).toBe(42)
  await expect(a.mesh.request('b', 'conflict', pack(null))).rejects.toMatchObject({
    kind: 'Conflict',
    message: 'taken',
    details: { holder: 'x' },
  })
  const bug = await a.mesh.request('b', 'bug', pack(null)).catch((error: MoonmeshError) => error)
  expect(bug).toMatchObject({ kind: 'Internal' })
  expect(String(bug)).not.toContain('secret')
  expect(b.logs.join()).toContain('secret')
  await expect(a.mesh.request('b', 'nothing', pack(null))).rejects.toMatchObject({ kind: 'NotFound' })
  await expect(a.mesh.request('z', 'double', pack(1))).rejects.toMatchObject({ kind: 'NotFound' })
  await expect(a.mesh.request('b', 'slow', pack(null), { deadlineMs: 50 })).rejects.toMatchObject({ kind: 'Timeout' })
  const controller = new AbortController()
  const cancelled = a.mesh.request('b', 'slow', pack(null), { signal: controller.signal })
  controller.abort()
  await expect(cancelled).rejects.toMatchObject({ kind: 'Canceled' })
  await eventually(() => aborted.length === 2)
  const told: unknown[] = []
  b.mesh.onNotify('word', ({ peer, bytes }) => void told.push([peer, unpack(bytes)]))
  expect(a.mesh.notify('b', 'word', pack('hi'))).toBeUndefined()
  await eventually(() => told.length === 1)
  expect(told).toEqual([['a', 'hi']])
})

test('requests fail at once when the peer dies', async () => {
  const [a, b] = [await start('a'), await start('b')]
  introduce(a, b)
  await up(a, b)
  b.mesh.onRequest('never', () => new Promise(() => {}))
  const waiting = a.mesh.request('b', 'never', pack(null)).catch((error: MoonmeshError) => error)
  a.mesh.member({
    kind: 'left',
    name: 'b',
    epoch: 1,
    reason: 'dead',
    address: { host: HOST, port: 1 },
    tags: new Map(),
  })
  expect(await waiting).toMatchObject({ kind: 'Unavailable', details: { reason: 'node_down', node: 'b' } })
  expect(a.heard).toEqual(['up b/1', 'down b/1 dead'])
})

test('connections that are reset in the middle of traffic lose, double and reorder nothing', async () => {
  const [a, b] = [await start('a'), await start('b')]
  const way = await detour(() => b.mesh.port)
  tell(a, b, way.port)
  tell(b, a)
  const got: number[] = []
  const back: number[] = []
  b.mesh.onMessage('app', ({ bytes }) => {
    const number = Buffer.from(bytes).readUInt32BE(0)
    got.push(number)
    const answer = Buffer.alloc(4)
    answer.writeUInt32BE(number)
    b.mesh.send('a', 'app', answer)
  })
  a.mesh.onMessage('app', ({ bytes }) => void back.push(Buffer.from(bytes).readUInt32BE(0)))
  await eventually(() => isUp(a, b))
  const count = 2000
  let resets = 0
  for (let i = 0; i < count; i++) {
    const bytes = Buffer.alloc(i % 50 === 0 ? 100_000 : 100)
    bytes.writeUInt32BE(i)
    expect(a.mesh.send('b', 'app', bytes)).toBeUndefined()
    if (i % 20 === 0) await new Promise((done) => setImmediate(done))
    if (i % 500 === 250) {
      resets += way.reset()
      await eventually(() => !isUp(a, b))
    } else if (i % 500 === 400) await eventually(() => isUp(a, b))
  }
  await eventually(() => back.length === count, { timeoutMs: 8000, what: 'answers' })
  const expected = Array.from({ length: count }, (_, i) => i)
  expect(got).toEqual(expected)
  expect(back).toEqual(expected)
  expect(resets).toBeGreaterThan(2)
  expect([...a.heard, ...b.heard]).toEqual(['up b/1', 'up a/1'])
  expect(a.mesh.statistics().counters.resumed).toBeGreaterThan(1)
})

test('a heartbeat does not wait behind bulk data', async () => {
  const [a, b] = [await start('a'), await start('b')]
  introduce(a, b)
  await up(a, b)
  let bulkBytes = 0
  b.mesh.onMessage('bulk', async ({ bytes }) => {
    bulkBytes += bytes.length
    await new Promise((done) => setImmediate(done))
  })
  const beats: number[] = []
  b.mesh.onMessage('raft', ({ bytes }) => void beats.push(performance.now() - Buffer.from(bytes).readDoubleBE(0)))
  const block = randomBytes(1024 * 1024)
  const fill = (): void => {
    while (a.mesh.send('b', 'bulk', block) === undefined);
  }
  a.mesh.on('room', fill)
  fill()
  for (let i = 0; i < 50; i++) {
    const beat = Buffer.alloc(8)
    beat.writeDoubleBE(performance.now())
    a.mesh.send('b', 'raft', beat)
    await eventually(() => beats.length > i)
  }
  expect(bulkBytes).toBeGreaterThan(10 * block.length)
  beats.sort((x, y) => x - y)
  // Both nodes and this test share one thread: what is left is well below a heartbeat's patience.
  expect(beats[25]).toBeLessThan(50)
  expect(Math.max(...beats)).toBeLessThan(1000)
}, 20_000)

test('a reader that stops is answered with a full queue, and memory stays within it', async () => {
  const settings = { queueBytesMax: 1024 * 1024 }
  const a = await start('a', { settings })
  const b = await start('b')
  const frozen = createServer((socket) => socket.on('error', () => {}).pause())
  open.push(frozen)
  introduce(a, b)
  await up(a, b)
  // From here on nobody reads what arrives at b's place.
  await b.mesh.close()
  await new Promise<void>((done) => frozen.listen(b.mesh.port, HOST, done))
  await eventually(() => a.mesh.send('b', 'app', Buffer.alloc(10_000)) === 'queue_full')
  expect(a.mesh.link('b')?.queueBytes[3]).toBeLessThanOrEqual(1024 * 1024)
})

const psk = (letter: string): SecuritySettings => ({
  kind: 'psk',
  clusterId: 'test',
  keys: [Buffer.from(letter.repeat(32))],
})

test('nodes with one gossip key talk over TLS; another key is refused with the reason on both sides', async () => {
  const [a, b] = [await start('a', { security: psk('k') }), await start('b', { security: psk('k') })]
  introduce(a, b)
  await up(a, b)
  expect(a.mesh.link('b')?.security).toBe('psk')
  const got: string[] = []
  b.mesh.onMessage('app', ({ bytes }) => void got.push(String(Buffer.from(bytes).length)))
  a.mesh.send('b', 'app', Buffer.alloc(300_000))
  await eventually(() => got.length === 1)
  const c = await start('c', { security: psk('x') })
  introduce(a, c)
  await eventually(() => a.mesh.statistics().counters.refused.has('auth') && c.logs.length > 0)
  expect(a.logs.join()).toContain('mesh key mismatch')
  expect(isUp(a, b)).toBe(true)
})

test('a plaintext node and a TLS node refuse each other and say so', async () => {
  const [a, b] = [await start('a'), await start('b', { security: psk('k') })]
  tell(a, b)
  await eventually(() => a.logs.join().includes('speaks TLS only'))
  await eventually(() => b.logs.join().includes('speaks no TLS'))
  const [c, d] = [await start('c', { security: psk('k') }), await start('d')]
  tell(c, d)
  await eventually(() => c.logs.join().includes('speaks no TLS'))
  await eventually(() => d.logs.join().includes('speaks TLS'))
})

test('certificates decide who is who', async () => {
  const nowMs = Date.now()
  const authority = await createAuthority({ commonName: 'ca', days: 2, nowMs })
  const security = async (nodeName: string): Promise<SecuritySettings> => {
    const { certPem: cert, keyPem: key } = await issueCertificate({ authority, nodeName, days: 1, nowMs })
    const read = await readMaterial({ ca: authority.certPem, cert, key }, { nodeName, nowMs })
    if (!read.ok) throw new Error(read.problems.join())
    return { kind: 'certificate', material: read.material }
  }
  const a = await start('a', { security: await security('a') })
  const b = await start('b', { security: await security('b') })
  introduce(a, b)
  await up(a, b)
  expect(a.mesh.link('b')?.security).toBe('certificate')
  expect(a.mesh.statistics().certificateSeconds).toBeGreaterThan(80_000)
  expect(a.logs.filter((line) => line.startsWith('mesh_cert_expires'))).toHaveLength(1)
  // Holds a good certificate, but of another node.
  const mallory = await start('c', { security: await security('mallory') })
  introduce(a, mallory)
  await eventually(() => a.logs.join().includes('certificate of mallory, not of c'))
  expect(a.mesh.statistics().counters.refused.get('cert_name')).toBeGreaterThan(0)
  expect(isUp(a, b)).toBe(true)
})

test('another cluster, garbage, a scan and a length of 2 GiB are refused, counted, and disturb nobody', async () => {
  const [a, b] = [await start('a'), await start('b')]
  introduce(a, b)
  await up(a, b)
  const c = await start('c', { clusterId: 'prod' })
  introduce(a, c)
  await eventually(() => a.mesh.statistics().counters.refused.has('cluster_id'))
  const send = (bytes: Buffer): Promise<void> =>
    new Promise((done) => {
      const socket = connect(a.mesh.port, HOST, () => socket.write(bytes))
      socket
        .on('error', () => {})
        .on('close', () => done())
        .resume()
    })
  const preamble = Buffer.from('MMESH\r\n\x01', 'latin1')
  await send(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
  await send(Buffer.concat([preamble, Buffer.from('0100030080000000', 'hex')]))
  await send(Buffer.concat([preamble, randomBytes(1000)]))
  await send(Buffer.from([0x16, 3, 1, 0, 100, 1, 2, 3]))
  expect(a.mesh.statistics().counters.violations).toBe(3)
  expect(a.mesh.statistics().counters.refused.get('plaintext')).toBe(1)
  expect(isUp(a, b)).toBe(true)
})

test('a node that closes says goodbye; the other waits for it and finds its next run', async () => {
  const [a, b] = [await start('a'), await start('b')]
  introduce(a, b)
  await up(a, b)
  const { port } = b.mesh
  const waiting = b.mesh.request('a', 'nothing-yet', pack(null), { deadlineMs: 5000 })
  a.mesh.onRequest('nothing-yet', () => new Promise(() => {}))
  const failed = expect(waiting).rejects.toMatchObject({ kind: expect.stringMatching(/Unavailable|NotFound/) })
  await b.mesh.close()
  await failed
  await eventually(() => !isUp(a, b))
  const next = await start('b', { epoch: 2, bind: { host: HOST, port } })
  a.mesh.member({
    kind: 'left',
    name: 'b',
    epoch: 1,
    reason: 'epoch',
    address: { host: HOST, port: 1 },
    tags: new Map(),
  })
  introduce(a, next)
  await up(a, next)
  expect(a.heard).toEqual(['up b/1', 'down b/1 epoch', 'up b/2'])
})

test('a connection that breaks and that nobody closed is told of, and the session goes on', async () => {
  const [a, b] = [await start('a'), await start('b')]
  const way = await detour(() => b.mesh.port)
  tell(a, b, way.port)
  tell(b, a)
  await eventually(() => isUp(a, b))
  const told: string[] = []
  a.mesh.on('connection-lost', ({ peer, epoch }) => told.push(`lost ${peer}/${epoch}`))
  way.reset()
  await eventually(() => told.length > 0 && isUp(a, b))
  expect([told, a.heard]).toEqual([['lost b/1'], ['up b/1']])
})

test('the metrics of §4.9 are read off the mesh', async () => {
  const [a, b] = [await start('a'), await start('b')]
  introduce(a, b)
  await up(a, b)
  expect(a.mesh.send('b', 'app', Buffer.alloc(1000))).toBeUndefined()
  const registry = new prom.Registry()
  for (const metric of meshMetrics(() => a.mesh.statistics())) registry.registerMetric(metric as unknown as prom.Metric)
  const text = await eventually(async () => {
    const each = await registry.metrics()
    return each.includes('mesh_messages_total{direction="out",class="app"} 1') && each
  })
  expect(text).toContain('mesh_links{state="connected"} 1')
  expect(text).toContain('mesh_handshake_seconds_bucket{le="+Inf"} 1')
  expect(text).toContain('mesh_handshake_seconds_count 1')
  expect(text).toContain('mesh_bytes_total{peer="b",direction="out",class="app"} 1000')
  expect(text).toContain('mesh_refused_total{code="cert_name"} 0')
  expect(text).toMatch(/mesh_rtt_seconds\{peer="b"\} 0\.\d+/)
})

test('what is worth it is compressed, where both understand that', async () => {
  const [a, b] = [await start('a'), await start('b')]
  introduce(a, b)
  await up(a, b)
  const got: Buffer[] = []
  b.mesh.onMessage('app', ({ bytes }) => void got.push(Buffer.from(bytes)))
  const text = Buffer.from('the same again and again '.repeat(5000))
  a.mesh.send('b', 'app', text, { isCompressible: true })
  await eventually(() => got.length === 1)
  expect(got[0]?.equals(text)).toBe(true)
  expect(a.mesh.statistics().bytes.get('b')?.sent[3]).toBeLessThan(5000)
})
