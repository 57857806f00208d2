import { connect as connectPlain, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeAll, expect, test } from 'vitest'
import {
  createAuthority,
  type Issued,
  type IssueOptions,
  issueCertificate,
} from '../../../cluster/mesh/certificates.ts'
import {
  type CertificateFiles,
  type CertificateMaterial,
  describeCertificates,
  readMaterial,
} from '../../../cluster/mesh/identity.ts'
import {
  derivePsk,
  type Secured,
  type SecurityRefusal,
  type SecuritySettings,
  Transport,
} from '../../../cluster/mesh/tls.ts'
import { ANY_USAGE, CLIENT_AUTH, dnsNames, SERVER_AUTH } from '../../../cluster/x509.ts'
import { createRevocationList } from '../../tools/revocation-list.ts'

const nowMs = Date.now()
const DAY_MS = 86_400_000
const closing: (() => void)[] = []

let authority: Issued
let other: Issued

beforeAll(async () => {
  authority = await createAuthority({ commonName: 'test authority', days: 10, nowMs })
  other = await createAuthority({ commonName: 'test authority', days: 10, nowMs })
})

afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function filesOf(
  nodeName: string,
  options: Partial<IssueOptions> & { crl?: string } = {},
): Promise<CertificateFiles> {
  const { certPem: cert, keyPem: key } = await issueCertificate({ authority, nodeName, days: 5, nowMs, ...options })
  return { ca: authority.certPem, cert, key, ...(options.crl === undefined ? {} : { crl: options.crl }) }
}

/** Without the checks of a node's own files, so that a bad one can be shown to a peer. */
async function unchecked(files: CertificateFiles): Promise<CertificateMaterial> {
  const good = await readMaterial(await filesOf('x', files.crl === undefined ? {} : { crl: files.crl }), {
    nodeName: 'x',
    nowMs,
  })
  if (!good.ok) throw new Error(good.problems.join())
  return { ...good.material, files }
}

const certificate = async (files: CertificateFiles): Promise<SecuritySettings> => ({
  kind: 'certificate',
  material: await unchecked(files),
})

const psk = (...keys: string[]): SecuritySettings => ({
  kind: 'psk',
  clusterId: 'test',
  keys: keys.map((key) => Buffer.from(key.repeat(32))),
})

type Result = Secured | SecurityRefusal

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

function transport(settings: SecuritySettings): Transport {
  const made = new Transport(settings, { wallMs: () => nowMs, handshakeTimeoutMs: 2000 })
  closing.push(() => made.close())
  return made
}

async function listen(acceptor: Transport, onResult: (result: Result) => void): Promise<number> {
  const server: Server = createServer()
  const sockets: Socket[] = []
  server.on('connection', (raw) => {
    sockets.push(raw)
    raw.on('error', () => {})
  })
  server.on('connection', acceptor.onAccepted(onResult, onResult))
  closing.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return (server.address() as { port: number }).port
}

/** What each end makes of a connection. */
async function meet(acceptor: Transport, dialer: Transport): Promise<{ accepted: Result; dialed: Result }> {
  const accepted = deferred<Result>()
  const dialed = deferred<Result>()
  const port = await listen(acceptor, accepted.resolve)
  const raw = connectPlain(port, '127.0.0.1', () => dialer.dial(raw, dialed.resolve))
  raw.on('error', () => {})
  closing.push(() => raw.destroy())
  const results = { accepted: await accepted.promise, dialed: await dialed.promise }
  return results
}

const summary = (result: Result): string =>
  'code' in result ? `${result.code}: ${result.reason}` : result.security.kind

test('holders of the gossip key understand each other', async () => {
  const { accepted, dialed } = await meet(transport(psk('a')), transport(psk('a')))
  expect([summary(accepted), summary(dialed)]).toEqual(['psk', 'psk'])
  const text = new Promise<string>(
    (done) => 'socket' in accepted && accepted.socket.once('data', (data) => done(String(data))),
  )
  if ('socket' in dialed) dialed.socket.write('hello')
  expect(await text).toBe('hello')
})

test('the pre-shared key depends on key and cluster, and its identity gives nothing away', () => {
  const one = derivePsk(Buffer.alloc(32, 1), 'test')
  expect(one.psk).toHaveLength(32)
  expect(one.identity).toMatch(/^mm1:[0-9a-f]{16}$/)
  expect(derivePsk(Buffer.alloc(32, 1), 'prod').identity).not.toBe(one.identity)
  expect(derivePsk(Buffer.alloc(32, 2), 'test').identity).not.toBe(one.identity)
  expect(derivePsk(Buffer.alloc(32, 1), 'test')).toEqual(one)
})

test('an acceptor takes every key of its ring, so that keys can be changed', async () => {
  const { accepted } = await meet(transport(psk('b', 'a')), transport(psk('a')))
  expect(summary(accepted)).toBe('psk')
  const acceptor = transport(psk('a'))
  acceptor.reload(psk('c'))
  const { accepted: refused, dialed } = await meet(acceptor, transport(psk('a')))
  expect(summary(refused)).toMatch(/^auth: mesh key mismatch/)
  expect(summary(dialed)).toMatch(/^auth: mesh key mismatch/)
})

test('a certificate node and a key node refuse each other, in both directions', async () => {
  const files = await filesOf('a')
  const one = await meet(transport(await certificate(files)), transport(psk('a')))
  expect('code' in one.dialed && one.dialed.code).toBe('auth')
  expect(summary(one.accepted)).toBe('gone: closed during the TLS handshake')
  const two = await meet(transport(psk('a')), transport(await certificate(files)))
  expect(summary(two.dialed)).toBe('auth: the peer takes no certificates; do all nodes have cluster.tls?')
  expect(summary(two.accepted)).toMatch(/^auth: mesh key mismatch/)
})

test('plain and TLS do not understand each other, and say so', async () => {
  const acceptor = transport(psk('a'))
  const accepted = deferred<Result>()
  const port = await listen(acceptor, accepted.resolve)
  const raw = connectPlain(port, '127.0.0.1', () => raw.write('MMESH\r\n\x01 and more of it'))
  raw.on('error', () => {})
  closing.push(() => raw.destroy())
  expect(summary(await accepted.promise)).toBe('plaintext: the peer speaks no TLS, this node does')

  const plain = createServer((socket) => socket.on('error', () => {}).end('MMESH\r\n\x01 and more of it'))
  closing.push(() => plain.close())
  await new Promise<void>((done) => plain.listen(0, '127.0.0.1', done))
  const dialed = deferred<Result>()
  const dialing = connectPlain((plain.address() as { port: number }).port, '127.0.0.1', () =>
    transport(psk('a')).dial(dialing, dialed.resolve),
  )
  dialing.on('error', () => {})
  expect(summary(await dialed.promise)).toBe('plaintext: the peer speaks no TLS, this node does')
})

test('certificates prove names on both sides', async () => {
  const a = transport(await certificate(await filesOf('a', { dnsNames: ['a.example'] })))
  const b = transport(await certificate(await filesOf('b')))
  const { accepted, dialed } = await meet(a, b)
  expect('security' in accepted && accepted.security).toMatchObject({ kind: 'certificate', names: ['b'] })
  expect('security' in dialed && dialed.security).toMatchObject({ names: ['a', 'a.example'] })
  expect(a.notAfterMs).toBeGreaterThan(nowMs + 4 * DAY_MS)
})

test.each([
  ['only serverAuth', { usages: [SERVER_AUTH] }, /lacks clientAuth|INVALID_PURPOSE/],
  ['only clientAuth', { usages: [CLIENT_AUTH] }, /lacks serverAuth/],
  ['no usage at all', { usages: [] }, /no extended key usage/],
  ['expired', { nowMs: nowMs - 10 * DAY_MS }, /expired/],
  ['not valid yet', { nowMs: nowMs + 3 * DAY_MS }, /not valid yet|not valid before/],
] as const)('a certificate that is %s is refused on both sides', async (_what, options, reason) => {
  const bad = await certificate(await filesOf('b', options))
  const good = await certificate(await filesOf('a'))
  expect(summary((await meet(transport(good), transport(bad))).accepted)).toMatch(reason)
  expect(summary((await meet(transport(bad), transport(good))).dialed)).toMatch(reason)
})

test('another authority is refused, also one of the same name', async () => {
  const bad = await certificate(await filesOf('b', { authority: other }))
  const good = await certificate(await filesOf('a'))
  expect(summary((await meet(transport(good), transport(bad))).accepted)).toMatch(/^auth: certificate of b/)
  expect(summary((await meet(transport(bad), transport(good))).dialed)).toMatch(/^auth: certificate of b/)
})

test('any-usage is taken, after its chain was checked by hand', async () => {
  const usages = [ANY_USAGE]
  const any = await certificate(await filesOf('b', { usages }))
  const good = await certificate(await filesOf('a'))
  const { accepted, dialed } = await meet(transport(good), transport(any))
  expect([summary(accepted), summary(dialed)]).toEqual(['certificate', 'certificate'])
  expect(summary((await meet(transport(any), transport(good))).dialed)).toBe('certificate')

  for (const options of [{ authority: other }, { nowMs: nowMs - 10 * DAY_MS }]) {
    const bad = await certificate(await filesOf('b', { usages, ...options }))
    expect(summary((await meet(transport(good), transport(bad))).accepted)).toMatch(/^auth/)
    expect(summary((await meet(transport(bad), transport(good))).dialed)).toMatch(/^auth/)
  }
})

test('a revoked certificate is refused, whichever way it is checked', async () => {
  for (const usages of [[SERVER_AUTH, CLIENT_AUTH], [ANY_USAGE]]) {
    const files = await filesOf('b', { usages })
    const [facts] = describeCertificates(files.cert)
    const serialNumbers = [facts?.serialNumber ?? '']
    const crl = await createRevocationList({ authority, serialNumbers, days: 5, nowMs })
    const strict = await certificate(await filesOf('a', { crl }))
    const bad = await certificate(files)
    expect(summary((await meet(transport(strict), transport(bad))).accepted)).toMatch(/revoked/)
    expect(summary((await meet(transport(bad), transport(strict))).dialed)).toMatch(/revoked/)
    const fine = await certificate(await filesOf('c', { usages }))
    expect(summary((await meet(transport(strict), transport(fine))).accepted)).toBe('certificate')
  }
})

test('TLS 1.2 and a missing certificate are refused', async () => {
  const acceptor = transport(await certificate(await filesOf('a')))
  const first = deferred<Result>()
  const second = deferred<Result>()
  const waiting = [first.resolve, second.resolve]
  const port = await listen(acceptor, (result) => waiting.shift()?.(result))
  const old = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
  old.on('error', () => {})
  expect(summary(await first.promise)).toBe('auth: the peer speaks no TLS 1.3')
  const bare = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: 'TLSv1.3' })
  bare.on('error', () => {})
  expect(summary(await second.promise)).toBe('auth: no certificate')
})

test('a session is not resumed, even when a peer offers one', async () => {
  const files = await filesOf('b')
  const acceptor = transport(await certificate(await filesOf('a')))
  const results: Result[] = []
  const port = await listen(acceptor, (result) => {
    results.push(result)
    if ('socket' in result) result.socket.end('x')
  })
  const options = { port, host: '127.0.0.1', ...files, checkServerIdentity: () => undefined }
  const session = await new Promise<Buffer | undefined>((done) => {
    const socket = connectTls(options)
    let last: Buffer | undefined
    socket.on('session', (each) => {
      last = each
    })
    socket.on('close', () => done(last)).resume()
  })
  const isReused = await new Promise<boolean>((done) => {
    const socket = connectTls({ ...options, ...(session === undefined ? {} : { session }) })
    let was = true
    socket.on('secureConnect', () => {
      was = socket.isSessionReused()
    })
    socket.on('close', () => done(was)).resume()
  })
  expect(isReused).toBe(false)
  expect(results.map(summary)).toEqual(['certificate', 'certificate'])
})

test('new files hold for new connections, without a restart', async () => {
  const acceptor = transport(await certificate(await filesOf('a')))
  const dialer = transport(await certificate(await filesOf('b')))
  expect(summary((await meet(acceptor, dialer)).accepted)).toBe('certificate')
  const moved = await filesOf('b', { authority: other })
  const material = await unchecked({ ...moved, ca: other.certPem })
  const trusting = await readMaterial(
    { ...(await filesOf('a', { authority: other })), ca: other.certPem },
    { nodeName: 'a', nowMs },
  )
  if (!trusting.ok) throw new Error(trusting.problems.join())
  acceptor.reload({ kind: 'certificate', material: trusting.material })
  dialer.reload({ kind: 'certificate', material: { ...trusting.material, files: material.files } })
  expect(summary((await meet(acceptor, dialer)).accepted)).toBe('certificate')
  expect(() => acceptor.reload({ kind: 'plain' })).toThrow(TypeError)
})

test("a node's own files are checked, and everything wrong is said in words", async () => {
  const good = await filesOf('a')
  const read = async (files: CertificateFiles, nodeName = 'a', atMs = nowMs): Promise<readonly string[]> => {
    const result = await readMaterial(files, { nodeName, nowMs: atMs })
    return result.ok ? [] : result.problems
  }
  expect(await read(good)).toEqual([])
  expect(await read(good, 'b')).toEqual([expect.stringMatching(/^tls.cert: .* needs the name "b" .* and has "a"/)])
  expect((await read(good, 'a', nowMs + 6 * DAY_MS))[0]).toMatch(/^tls.cert: expired on/)
  expect(await read({ ...good, ca: other.certPem })).toEqual([
    expect.stringMatching(/^tls.cert: .* not signed by the CA/),
  ])
  expect(await read({ ...good, key: (await filesOf('a')).key })).toEqual([
    'tls.key: this is not the key of the certificate',
  ])
  expect((await read({ ca: 'x', cert: 'y', key: 'z' })).map((each) => each.split(' ')[0])).toEqual([
    'tls.ca:',
    'tls.cert:',
    'tls.key:',
  ])
  expect(await read(await filesOf('a', { usages: [SERVER_AUTH] }))).toEqual([
    expect.stringMatching(/^tls.cert: .* lacks clientAuth/),
  ])
  const foreign = await createRevocationList({ authority: other, serialNumbers: [], days: 1, nowMs })
  expect((await read({ ...good, crl: foreign }))[0]).toMatch(/signed by no authority in tls.ca/)
})

test('certificates are made for names that nodes can have, by authorities that may', async () => {
  await expect(filesOf('no spaces')).rejects.toThrow('node name')
  const leaf = await issueCertificate({ authority, nodeName: 'a', days: 1, nowMs })
  await expect(filesOf('b', { authority: leaf })).rejects.toThrow('no authority')
  await expect(filesOf('b', { authority: { ...authority, keyPem: other.keyPem } })).rejects.toThrow(
    'not that of the authority',
  )
  const [facts] = describeCertificates((await filesOf('a', { ipAddresses: ['10.0.0.1'] })).cert)
  expect(facts).toMatchObject({
    subject: 'CN=a',
    names: ['a'],
    usages: ['serverAuth', 'clientAuth'],
    isAuthority: false,
  })
  expect(describeCertificates(authority.certPem)[0]).toMatchObject({ isAuthority: true, problem: undefined })
})

test('DNS names are read past values that pretend to be several', () => {
  expect(dnsNames('DNS:a, IP Address:10.0.0.1, DNS:b.c')).toEqual(['a', 'b.c'])
  expect(dnsNames('DNS:"x, DNS:evil, DNS:y", DNS:b')).toEqual(['b'])
  expect(dnsNames('DNS:a", DNS:evil')).toEqual([])
  expect(dnsNames('')).toEqual([])
})
