// cluster.md §2.1 (tls.*), §4.3: what is wrong with a node's own certificate is told before the node starts.
// testdata/: `ca` has issued all but `below` (by `between`, which `ca` has issued) and `below-leaf` (by `node-2`, which is no CA).

import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { checkTls, type TlsPem } from '../../../cluster/config/tls-files.ts'
import { namesOf } from '../../../cluster/x509.ts'
import { at, KEY_32, machine, pem, problemsOf, settingsOf, type TestFiles } from './context.ts'

const nowMs = Date.UTC(2050, 0, 1)
const right: TlsPem = { ca: pem('ca.pem'), cert: pem('node-1.pem'), key: pem('node.key'), crl: undefined }

const problems = (changes: Partial<TlsPem> = {}, now = nowMs): string[] =>
  checkTls({ ...right, ...changes }, { nodeName: 'node-1', nowMs: now }).map(
    ({ file, message }) => `${file}: ${message}`,
  )

describe('a set of files is right with', () => {
  test.each([
    ['the name as CN', {}],
    ['the name as DNS SAN', { cert: pem('san.pem') }],
    ['any usage', { cert: pem('any-usage.pem') }],
    ['a certificate between it and the CA', { cert: pem('below.pem') + pem('between.pem') }],
    ['that one in the CA file', { cert: pem('below.pem'), ca: pem('between.pem') + pem('ca.pem') }],
    ['several CAs', { ca: pem('other-ca.pem') + pem('ca.pem') }],
    ['a revocation list', { crl: pem('crl.pem') }],
  ])('%s', (_what, changes) => {
    expect(problems(changes)).toEqual([])
  })
})

describe('it is told in words', () => {
  test.each([
    ['no CA certificate', { ca: 'x' }, 'ca: it holds no certificate (PEM)'],
    ['no certificate', { cert: '' }, 'cert: it holds no certificate (PEM)'],
    ['a damaged certificate', { cert: right.cert.replace(/\n..../, '\nAAAA') }, 'cert: it holds a damaged certificate'],
    ['no key', { key: right.cert }, 'key: it holds no private key (PEM)'],
    ['an encrypted key', { key: pem('encrypted.key') }, 'key: the key is encrypted; store it without a passphrase'],
    ['the key of another certificate', { key: pem('other.key') }, 'key: this is not the key of the certificate'],
    [
      'another CA',
      { ca: pem('other-ca.pem') },
      'cert: the certificate is not signed by the CA in tls.ca: its issuer is CN=Test CA',
    ],
    [
      'a chain with a gap',
      { cert: pem('below.pem') },
      'cert: the certificate is not signed by the CA in tls.ca: its issuer is CN=Between',
    ],
    [
      'an intermediate alone as CA',
      { cert: pem('below.pem'), ca: pem('between.pem') },
      'cert: the certificate is not signed by the CA in tls.ca: its issuer is CN=Test CA',
    ],
    ['an issuer that is no CA', { cert: pem('below-leaf.pem') + pem('node-2.pem') }, 'cert: CN=node-2 is no CA'],
    ['a server’s certificate', { cert: pem('server-only.pem') }, 'cert: the certificate needs the extended key usages'],
    ['no usage', { cert: pem('no-usage.pem') }, 'cert: the certificate needs the extended key usages'],
    [
      'another node’s',
      { cert: pem('node-2.pem') },
      'cert: the certificate is not for this node: it needs the name "node-1" as its CN or a DNS SAN, and has "node-2";',
    ],
    [
      'a nameless one',
      { cert: pem('nameless.pem') },
      'cert: the certificate is not for this node: it needs the name "node-1" as its CN or a DNS SAN, and has no name',
    ],
    ['names in one name', { cert: pem('node-2.pem') }, 'cert: the certificate is not for this node'],
    ['no revocation list', { crl: right.ca }, 'crl: it holds no revocation list (PEM)'],
    [
      'a damaged revocation list',
      { crl: pem('crl.pem').replace(/\n..../, '\nAAAA') },
      'crl: it holds a damaged revocation list',
    ],
  ])('%s', (_what, changes, expected) => {
    const found = problems(changes)
    expect(found).toHaveLength(1)
    expect(found[0]?.startsWith(expected), found[0]).toBe(true)
  })

  test('expired, and not valid yet', () => {
    expect(problems({}, Date.UTC(2200, 0, 1))).toEqual([
      expect.stringMatching(/^cert: expired on /),
      expect.stringMatching(/^ca: the certificate of CN=Test CA expired on /),
    ])
    expect(problems({}, Date.UTC(2000, 0, 1))[0]).toMatch(/^cert: is not valid before /)
  })

  test('several problems at once', () => {
    expect(problems({ cert: pem('server-only.pem'), key: pem('other.key'), ca: pem('other-ca.pem') })).toHaveLength(3)
  })
})

test('a name with commas does not pass for several', () => {
  expect(namesOf(new X509Certificate(pem('comma.pem')))).toEqual(['x'])
})

describe('tls.*', () => {
  const files: TestFiles = {
    '/app/ca': right.ca,
    '/app/cert': right.cert,
    '/app/key': right.key,
    '/app/crl': pem('crl.pem'),
  }
  const all = { ca: 'ca', cert: 'cert', key: 'key' }
  const context = machine({ nodeName: 'node-1' }, files)

  test('with a gossip key: certificates on the mesh, the key on gossip', () => {
    const { tls, security } = settingsOf({ membership: { secret_key: KEY_32 }, tls: { ...all, crl: 'crl' } }, context)
    expect(security).toEqual({ gossip: 'key', mesh: 'certificates' })
    expect(tls).toEqual({
      ca: '/app/ca',
      cert: '/app/cert',
      key: '/app/key',
      crl: '/app/crl',
      pem: { ca: right.ca, cert: right.cert, key: right.key, crl: files['/app/crl'] },
    })
  })

  test('all three or none', () => {
    expect(problemsOf(at('tls.ca', 'ca'), context)).toEqual([
      'tls.ca: tls.ca, tls.cert and tls.key go together: tls.cert and tls.key are missing',
    ])
    expect(problemsOf({ tls: { ca: 'ca', key: 'key' } }, context)).toEqual([
      'tls.ca: tls.ca, tls.cert and tls.key go together: tls.cert is missing',
    ])
    expect(problemsOf(at('tls.crl', 'crl'), context)).toEqual([
      'tls.crl: tls.ca, tls.cert and tls.key go together: tls.ca and tls.cert and tls.key are missing',
    ])
  })

  test('unreadable files', () => {
    expect(problemsOf({ tls: { ca: 'ca', cert: 'nope', key: 'none' } }, context)).toEqual([
      'tls.cert: /app/nope cannot be read: no such file',
      'tls.key: /app/none cannot be read: no such file',
    ])
  })

  test('a certificate of another name', () => {
    expect(problemsOf({ tls: all }, machine({ nodeName: 'node-9' }, files))).toEqual([
      expect.stringMatching(
        /^tls\.cert: \/app\/cert: the certificate is not for this node: it needs the name "node-9"/,
      ),
    ])
  })

  test('without a gossip key they do not open a node to others: gossip would be open', () => {
    const raw = { tls: all, membership: { bind_addr: '10.0.0.5' } }
    expect(problemsOf(raw, context)).toEqual([
      expect.stringMatching(
        /^membership\.bind_addr: .*gossip is open without a gossip key, tls\.\* protects the mesh only/,
      ),
    ])
    expect(settingsOf({ tls: all }, context).security).toEqual({ gossip: 'plain', mesh: 'certificates' })
  })
})
