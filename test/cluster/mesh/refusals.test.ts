// Who is not let in, over real sockets: each is refused, logged and counted, and the links of others know nothing of it.
// cluster.md §4.2, §4.3, §4.4; §12 rows 29 and 48.

import { connect, Server } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  createAuthority,
  type Issued,
  type IssueOptions,
  issueCertificate,
} from '../../../cluster/mesh/certificates.ts'
import { type CertificateFiles, readMaterial } from '../../../cluster/mesh/identity.ts'
import { Mesh, type MeshOptions } from '../../../cluster/mesh/mesh.ts'
import type { SecuritySettings } from '../../../cluster/mesh/tls.ts'
import { encodeFrames, FrameDecoder, linkFrame } from '../../../cluster/mesh/wire/frame.ts'
import { decodeHandshake, encodeHandshake, PREAMBLE } from '../../../cluster/mesh/wire/handshake.ts'
import { CLIENT_AUTH, SERVER_AUTH } from '../../../cluster/x509.ts'
import { systemEnv } from '../../../runtime/driver.ts'
import { eventually } from '../../tools/eventually.ts'

const HOST = '127.0.0.1'
const DAY_MS = 86_400_000
const nowMs = Date.now()
const open: { close(): Promise<unknown> | unknown }[] = []

interface Node {
  readonly mesh: Mesh
  readonly name: string
  readonly logs: string[]
}

let authority: Issued
let other: Issued

beforeAll(async () => {
  authority = await createAuthority({ commonName: 'ca', days: 10, nowMs })
  other = await createAuthority({ commonName: 'ca', days: 10, nowMs })
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()))
})

async function filesOf(nodeName: string, options: Partial<IssueOptions> = {}): Promise<CertificateFiles> {
  const { certPem: cert, keyPem: key } = await issueCertificate({ authority, nodeName, days: 5, nowMs, ...options })
  return { ca: authority.certPem, cert, key }
}

/** Without the checks that a node makes of its own files: here they are bad on purpose. */
async function certificate(files: CertificateFiles): Promise<SecuritySettings> {
  const good = await readMaterial(await filesOf('x'), { nodeName: 'x', nowMs })
  if (!good.ok) throw new Error(good.problems.join())
  return { kind: 'certificate', material: { ...good.material, files } }
}

async function start(name: string, options: Partial<MeshOptions> = {}): Promise<Node> {
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
  return { mesh, name, logs }
}

function tell(node: Node, name: string, port: number): void {
  node.mesh.member({
    kind: 'joined',
    name,
    epoch: 1,
    address: { host: HOST, port: 1 },
    tags: new Map([['internode_port', String(port)]]),
  })
}

const isUp = (node: Node, name: string): boolean => node.mesh.link(name)?.state === 'connected'

/** `a` and `b`, which are linked, and what is to be found of it afterwards. */
async function pair(security: (name: string) => Promise<SecuritySettings>): Promise<{ a: Node; undisturbed(): void }> {
  const a = await start('a', { security: await security('a') })
  const b = await start('b', { security: await security('b') })
  tell(a, 'b', b.mesh.port)
  tell(b, 'a', a.mesh.port)
  await eventually(() => isUp(a, 'b') && isUp(b, 'a'))
  const session = a.mesh.link('b')?.sessionId
  const undisturbed = (): void => {
    expect(a.mesh.link('b')).toMatchObject({ state: 'connected', sessionId: session, reconnects: 0 })
    expect(b.mesh.link('a')).toMatchObject({ state: 'connected', sessionId: session, reconnects: 0 })
  }
  return { a, undisturbed }
}

const refused = (node: Node, code: 'auth' | 'cert_name' | 'plaintext' | 'cluster_id' | 'handshake'): number =>
  node.mesh.statistics().counters.refused.get(code) ?? 0

/** Sends bytes and waits for the end of the connection. */
const send = (port: number, bytes: Uint8Array): Promise<void> =>
  new Promise((done) => {
    const socket = connect(port, HOST, () => socket.write(bytes))
    socket.on('error', () => {})
    socket.on('close', () => done())
    socket.resume()
  })

const GARBAGE = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 167) % 251))
const LENGTH_2_GIB = Buffer.from('0100030080000000', 'hex')
const MESSAGE_2_GIB = Buffer.from('010001000000000480000000', 'hex')

/** What a dialer of that name says first. */
function helloOf(name: string): Buffer {
  const hello = encodeHandshake({
    kind: 'hello',
    versions: [1, 1],
    features: ['resume'],
    clusterId: 'test',
    name,
    epoch: 1,
    storeId: '',
    formationId: '',
    nonce: '00'.repeat(16),
    session: '',
    received: { system: 0, app: 0 },
    limits: { frameBytesMax: 65_536, messageBytesMax: 1024 },
    to: 'a',
    toEpoch: 1,
    dialCount: 1,
  })
  return Buffer.concat([PREAMBLE, ...encodeFrames([linkFrame(hello)])])
}

describe('where nodes have certificates', () => {
  let a: Node
  let undisturbed: () => void

  beforeEach(async () => {
    const found = await pair(async (name) => certificate(await filesOf(name)))
    a = found.a
    undisturbed = found.undisturbed
  })

  const CASES: readonly [what: string, Partial<IssueOptions> | 'other', 'auth' | 'cert_name', RegExp][] = [
    ['of another authority', 'other', 'auth', /certificate of c: .*tls\.ca/],
    ['that has expired', { nowMs: nowMs - 10 * DAY_MS }, 'auth', /certificate of c: it has expired/],
    ['of another node', { nodeName: 'mallory' }, 'cert_name', /certificate of mallory, not of c/],
    ['without clientAuth', { usages: [SERVER_AUTH] }, 'auth', /certificate of c: .*(lacks clientAuth|INVALID_PURPOSE)/],
    ['without serverAuth', { usages: [CLIENT_AUTH] }, 'auth', /certificate of c: .*lacks serverAuth/],
  ]

  test.each(CASES)('a certificate %s, whoever dials', async (_what, options, code, reason) => {
    const files = await filesOf('c', options === 'other' ? { authority: other } : options)
    const c = await start('c', { security: await certificate(files) })
    // It dials.
    tell(c, 'a', a.mesh.port)
    await eventually(() => expect(refused(a, code)).toBeGreaterThan(0))
    expect(a.logs.join('\n')).toMatch(reason)
    // And is dialed.
    const before = refused(a, code)
    tell(a, 'c', c.mesh.port)
    await eventually(() => expect(refused(a, code)).toBeGreaterThan(before))
    expect([isUp(a, 'c'), isUp(c, 'a')]).toEqual([false, false])
    undisturbed()
  })

  test('TLS 1.2, and no certificate at all', async () => {
    for (const options of [{ maxVersion: 'TLSv1.2' }, { minVersion: 'TLSv1.3' }] as const) {
      const before = refused(a, 'auth')
      const socket = connectTls({ port: a.mesh.port, host: HOST, rejectUnauthorized: false, ...options })
      socket.on('error', () => {})
      await eventually(() => expect(refused(a, 'auth')).toBe(before + 1))
    }
    expect(a.logs.join('\n')).toContain('the peer speaks no TLS 1.3')
    undisturbed()
  })

  test('plaintext', async () => {
    await send(a.mesh.port, PREAMBLE)
    expect(refused(a, 'plaintext')).toBe(1)
    expect(a.logs.join('\n')).toContain('speaks no TLS')
    undisturbed()
  })

  test('a node of another cluster', async () => {
    const c = await start('c', { security: await certificate(await filesOf('c')), clusterId: 'prod' })
    tell(c, 'a', a.mesh.port)
    await eventually(() => expect(refused(a, 'cluster_id')).toBeGreaterThan(0))
    expect(a.logs.join('\n')).toContain('this is cluster test, not prod')
    expect(isUp(c, 'a')).toBe(false)
    undisturbed()
  })

  test('garbage, before and within TLS', async () => {
    await send(a.mesh.port, GARBAGE)
    await eventually(() => expect(refused(a, 'handshake') + refused(a, 'plaintext')).toBe(1))
    const files = await filesOf('c')
    for (const bytes of [GARBAGE, Buffer.concat([PREAMBLE, LENGTH_2_GIB])]) {
      const before = a.mesh.statistics().counters.violations
      const socket = connectTls({ port: a.mesh.port, host: HOST, ...files, checkServerIdentity: () => undefined })
      socket.on('error', () => {})
      socket.resume().write(bytes)
      await eventually(() => expect(a.mesh.statistics().counters.violations).toBe(before + 1))
    }
    expect(a.logs.join('\n')).toContain('mesh_protocol_error')
    undisturbed()
  })
})

describe('where nothing is encrypted', () => {
  const plain = async (): Promise<SecuritySettings> => ({ kind: 'plain' })

  test.each([
    ['garbage', GARBAGE],
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a frame of 2 GiB', Buffer.concat([PREAMBLE, LENGTH_2_GIB])],
    ['a handshake of 2 GiB', Buffer.concat([PREAMBLE, MESSAGE_2_GIB])],
  ])('%s', async (_what, bytes) => {
    const { a, undisturbed } = await pair(plain)
    await send(a.mesh.port, bytes)
    expect(a.mesh.statistics().counters.violations).toBe(1)
    expect(a.logs.join('\n')).toContain('mesh_protocol_error')
    undisturbed()
  })

  test('a message of 2 GiB, of a node that is let in', async () => {
    const { a, undisturbed } = await pair(plain)
    // Nobody listens there: it comes by itself.
    tell(a, 'evil', 1)
    const socket = connect(a.mesh.port, HOST)
    open.push({ close: () => socket.destroy() })
    socket.on('error', () => {})
    socket.write(helloOf('evil'))
    const decoder = new FrameDecoder({ messageBytesMax: 1024 })
    const welcome = await new Promise((done) => {
      socket.once('data', (data) => {
        decoder.push(data)
        const message = decoder.next()
        done(message === undefined ? undefined : decodeHandshake(message.bytes).kind)
        socket.resume()
      })
    })
    expect(welcome).toBe('welcome')
    const gone = new Promise((done) => socket.on('close', done))
    // Class app, first chunk: number 1, 2 GiB, one byte of it.
    socket.write(Buffer.from('010301000000000b000000000001800000000ff'.padEnd(38, '0'), 'hex'))
    await gone
    expect(a.mesh.statistics().counters.violations).toBe(1)
    expect(a.logs.join('\n')).toContain('message over the limit')
    undisturbed()
  })
})

test('a listener that cannot accept costs a connection and not the node', async () => {
  const a = await start('a')
  const servers = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles()
  const own = servers.find(
    (each) => each instanceof Server && (each.address() as { port: number })?.port === a.mesh.port,
  )
  ;(own as Server).emit('error', new Error('EMFILE: too many open files'))
  ;(own as Server).emit('error', new Error('EMFILE: too many open files'))
  expect(a.logs).toEqual(['mesh_accept_failed {"reason":"EMFILE: too many open files"}'])
})

test('nothing is kept of strangers whom gossip never confirms', async () => {
  let passedMs = 0
  const a = await start('a', { env: { ...systemEnv, nowMs: () => systemEnv.nowMs() + passedMs } })
  for (const name of ['ghost-1', 'ghost-2']) {
    const socket = connect(a.mesh.port, HOST, () => socket.write(helloOf(name)))
    await new Promise((done) => socket.on('error', () => {}).once('data', done))
    socket.destroy()
  }
  const known = (): string[] => [...a.mesh.statistics().bytes.keys()]
  expect(known()).toEqual(['ghost-1', 'ghost-2'])
  // As with any peer that is gone, its figures stay for ten minutes.
  await eventually(() => {
    passedMs += 600_000
    expect(known()).toEqual([])
  })
})
