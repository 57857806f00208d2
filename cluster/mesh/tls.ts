// The three levels of security of the mesh: plain, a pre-shared key made of the gossip key, certificates on both sides. Chosen by
// configuration, never negotiated: ends of different levels do not understand each other. cluster.md §2.3, §4.3.

import { createHash, hkdfSync } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  createServer,
  type SecureContext,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import type { Security } from './core/mesh.ts'
import { type CertificateMaterial, judgePeer } from './identity.ts'
import { encodeFrames, linkFrame } from './wire/frame.ts'
import { encodeHandshake, PREAMBLE } from './wire/handshake.ts'

export type SecuritySettings =
  | { readonly kind: 'plain' }
  /** Keys of gossip, the primary first. */
  | { readonly kind: 'psk'; readonly clusterId: string; readonly keys: readonly Uint8Array[] }
  | { readonly kind: 'certificate'; readonly material: CertificateMaterial }

/** A connection that may carry frames. */
export interface Secured {
  readonly socket: Socket
  readonly security: Security
}

/** Why a handshake came to nothing. `code` is a metric's label; `gone`: the other end broke it off, and nobody here refused. */
export interface SecurityRefusal {
  readonly code: 'auth' | 'plaintext' | 'handshake' | 'gone'
  readonly reason: string
}

const NO_TLS = 'the peer speaks no TLS, this node does'
const SUITE = 'TLS_AES_128_GCM_SHA256'
const VERSIONS = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const
const PSK_BYTES = 32
const IDENTITY_DIGEST_BYTES = 8

interface Psk {
  readonly identity: string
  readonly psk: Buffer
}

/** The pre-shared key that a gossip key stands for. */
export function derivePsk(gossipKey: Uint8Array, clusterId: string): Psk {
  const psk = Buffer.from(hkdfSync('sha256', gossipKey, clusterId, 'moonmesh mesh psk 1', PSK_BYTES))
  const digest = createHash('sha256').update(psk).digest('hex')
  return { identity: `mm1:${digest.slice(0, 2 * IDENTITY_DIGEST_BYTES)}`, psk }
}

/** One node's side of the chosen level, for both directions. */
export class Transport {
  readonly kind: SecuritySettings['kind']
  readonly #wallMs: () => number
  readonly #handshakeTimeoutMs: number
  #settings: SecuritySettings
  #psks: readonly Psk[] = []
  #server: Server | undefined
  #context: SecureContext | undefined

  /** @param options.handshakeTimeoutMs of an accepted connection's TLS handshake */
  constructor(settings: SecuritySettings, options: { wallMs: () => number; handshakeTimeoutMs: number }) {
    this.kind = settings.kind
    this.#wallMs = options.wallMs
    this.#handshakeTimeoutMs = options.handshakeTimeoutMs
    this.#settings = settings
    this.#prepare(settings)
    if (settings.kind !== 'plain') {
      this.#server = createServer({ ...this.#serverOptions(), handshakeTimeout: options.handshakeTimeoutMs })
    }
  }

  /** Takes new keys or files for connections to come. The level stays. */
  reload(settings: SecuritySettings): void {
    if (settings.kind !== this.kind) throw new TypeError(`the mesh runs ${this.kind}, not ${settings.kind}`)
    this.#prepare(settings)
    this.#settings = settings
    // The keys of the other level are asked for with each handshake.
    if (settings.kind === 'certificate') this.#server?.setSecureContext(this.#serverOptions())
  }

  /** When this node's own certificate ends. */
  get notAfterMs(): number | undefined {
    return this.#settings.kind === 'certificate' ? this.#settings.material.notAfterMs : undefined
  }

  /** Handles accepted sockets: each is answered once, unless it closes first. */
  onAccepted(
    accept: (result: Secured) => void,
    refuse: (refusal: SecurityRefusal, from: string) => void,
  ): (raw: Socket) => void {
    const server = this.#server
    if (server === undefined) return (socket) => accept({ socket, security: { kind: 'plain' } })
    server.on('secureConnection', (socket: TLSSocket) => {
      const verdict = this.#judge(socket)
      if ('kind' in verdict) return accept({ socket, security: verdict })
      refuse(verdict, remoteOf(socket))
      socket.on('error', () => {})
      socket.destroy()
    })
    server.on('tlsClientError', (error: Error & { code?: string }, socket: TLSSocket) => {
      refuse(describeServerError(error, this.kind), remoteOf(socket))
      socket.destroy()
    })
    return (raw) => this.#peek(raw, server, refuse)
  }

  /** The first byte tells TLS from a mesh without it, which is told why it is refused; TLS alone would just close. */
  #peek(raw: Socket, server: Server, refuse: (refusal: SecurityRefusal, from: string) => void): void {
    const from = remoteOf(raw)
    const timer = setTimeout(() => {
      refuse({ code: 'handshake', reason: `no TLS handshake within ${this.#handshakeTimeoutMs} ms` }, from)
      raw.destroy()
    }, this.#handshakeTimeoutMs)
    raw.once('close', () => clearTimeout(timer))
    raw.once('readable', () => {
      clearTimeout(timer)
      const first: Buffer | null = raw.read()
      if (first === null) return
      if (first[0] !== PREAMBLE[0]) {
        raw.unshift(first)
        server.emit('connection', raw)
        return
      }
      refuse({ code: 'plaintext', reason: NO_TLS }, from)
      const refusal = encodeHandshake({ kind: 'refuse', code: 'plaintext', text: 'this node speaks TLS only' })
      for (const bytes of encodeFrames([linkFrame(refusal)])) raw.write(bytes)
      raw.end()
    })
  }

  /** Secures a dialed socket. Calls `done` once; destroys the socket when it refuses. */
  dial(raw: Socket, done: (result: Secured | SecurityRefusal) => void): void {
    if (this.kind === 'plain') return done({ socket: raw, security: { kind: 'plain' } })
    let isOver = false
    const socket = connect({ ...this.#clientOptions(), socket: raw })
    const finish = (result: Secured | SecurityRefusal): void => {
      if (isOver) return
      isOver = true
      if ('code' in result) {
        socket.on('error', () => {})
        socket.destroy()
        raw.destroy()
      }
      done(result)
    }
    socket.once('secureConnect', () => {
      const verdict = this.#judge(socket)
      finish('kind' in verdict ? { socket, security: verdict } : verdict)
    })
    socket.once('error', (error: Error & { code?: string }) => finish(describeClientError(error, this.kind)))
    socket.once('close', () => finish({ code: 'handshake', reason: 'closed during the TLS handshake' }))
  }

  close(): void {
    this.#server?.removeAllListeners()
    this.#server = undefined
  }

  #prepare(settings: SecuritySettings): void {
    if (settings.kind === 'psk') {
      this.#psks = settings.keys.map((key) => derivePsk(key, settings.clusterId))
    } else if (settings.kind === 'certificate') {
      const { ca, cert, key, crl } = settings.material.files
      this.#context = createSecureContext({ ca, cert, key, ...VERSIONS, ...(crl === undefined ? {} : { crl }) })
    }
  }

  #serverOptions(): TlsOptions {
    if (this.#settings.kind === 'certificate') {
      const { ca, cert, key, crl } = this.#settings.material.files
      return {
        ...VERSIONS,
        ca,
        cert,
        key,
        ...(crl === undefined ? {} : { crl }),
        requestCert: true,
        // The verdict is looked at in #judge, where reasons can be told and usages are understood.
        rejectUnauthorized: false,
        secureOptions: NO_TICKET,
      }
    }
    return {
      ...VERSIONS,
      ciphers: SUITE,
      secureOptions: NO_TICKET,
      pskCallback: (_socket: TLSSocket, identity: string) =>
        this.#psks.find((each) => each.identity === identity)?.psk ?? null,
    }
  }

  #clientOptions(): ConnectionOptions {
    // Host names mean nothing here: node names are compared with what the handshake says.
    const checkServerIdentity = (): undefined => undefined
    if (this.#settings.kind === 'certificate') {
      return { secureContext: this.#context as SecureContext, rejectUnauthorized: false, checkServerIdentity }
    }
    const [primary] = this.#psks as readonly [Psk]
    return {
      ...VERSIONS,
      ciphers: SUITE,
      // No authority at all: a server that comes with a certificate instead of the key is refused, whoever signed it.
      ca: [],
      checkServerIdentity,
      pskCallback: () => ({ psk: primary.psk, identity: primary.identity }),
    }
  }

  #judge(socket: TLSSocket): Security | SecurityRefusal {
    if (socket.getProtocol() !== 'TLSv1.3')
      return { code: 'auth', reason: `${socket.getProtocol()} instead of TLSv1.3` }
    const settings = this.#settings
    const peer = socket.getPeerCertificate(true)
    if (settings.kind !== 'certificate') {
      // With an external key the library reports a session as reused; without, somebody came with a certificate.
      if (socket.isSessionReused() && peer?.raw === undefined) return { kind: 'psk' }
      return { code: 'auth', reason: 'no pre-shared key offered' }
    }
    const { authorizationError } = socket
    const verdict = socket.authorized ? undefined : codeOf(authorizationError)
    const proof = judgePeer(peer?.raw === undefined ? undefined : peer, verdict, settings.material, this.#wallMs())
    if (!proof.ok) return { code: 'auth', reason: proof.reason }
    return { kind: 'certificate', names: proof.names, notAfterMs: proof.notAfterMs }
  }
}

/** SSL_OP_NO_TICKET of OpenSSL. */
const NO_TICKET = 1 << 14

function codeOf(error: unknown): string {
  if (typeof error === 'string') return error
  const code: unknown = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : String(error)
}

function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`
}

const KEY_MISMATCH = new Set([
  'ERR_SSL_BINDER_DOES_NOT_VERIFY',
  'ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM',
  'ERR_SSL_NO_SHARED_CIPHER',
])

function describeServerError(error: Error & { code?: string }, kind: string): SecurityRefusal {
  const { code = '' } = error
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_HTTP_REQUEST') {
    return { code: 'plaintext', reason: NO_TLS }
  }
  if (kind === 'psk' && KEY_MISMATCH.has(code)) {
    return { code: 'auth', reason: 'mesh key mismatch: the peer has another gossip key, or none' }
  }
  if (code === 'ERR_SSL_UNSUPPORTED_PROTOCOL') return { code: 'auth', reason: 'the peer speaks no TLS 1.3' }
  // It saw why, or needs no second connection.
  if (code === 'ECONNRESET') return { code: 'gone', reason: 'closed during the TLS handshake' }
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE')
    return { code: 'auth', reason: 'the peer has no certificate' }
  return { code: 'handshake', reason: shortReason(error) }
}

function describeClientError(error: Error & { code?: string }, kind: string): SecurityRefusal {
  const { code = '' } = error
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') {
    return { code: 'plaintext', reason: NO_TLS }
  }
  if (kind === 'psk' && (code.includes('ALERT') || code === 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED')) {
    return { code: 'auth', reason: 'mesh key mismatch: the peer has another gossip key, or uses certificates' }
  }
  if (kind === 'psk' && /CERT|ISSUER|SIGNATURE/.test(code)) {
    return { code: 'auth', reason: 'the peer uses certificates, this node a pre-shared key' }
  }
  if (kind === 'certificate' && code.includes('HANDSHAKE_FAILURE')) {
    return { code: 'auth', reason: 'the peer takes no certificates; do all nodes have cluster.tls?' }
  }
  return { code: 'handshake', reason: shortReason(error) }
}

/** OpenSSL's messages carry addresses and source lines; people want the middle. */
function shortReason(error: Error & { code?: string; reason?: string }): string {
  return error.reason ?? error.code ?? error.message
}
