// The admin interface: HTTP on the node's Unix socket and, read-only, on `admin.http`. operations.md §3.
//
// The listeners are plain node:http. Fastify answers by the routes; both are loaded with the first request: a node starts faster without them.

import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { codeOf, MoonmeshError, messageOf } from '../base/errors.ts'
import { roundedInteger } from '../base/plain.ts'
import type { Log } from '../log.ts'
import { type Address, formatAddress, parseAddress } from './address.ts'
import { CONSOLE_PATH, CONSOLE_PROTOCOL, serveConsole } from './attach.ts'
import { Connections, REQUEST_TIMES } from './connections.ts'
import { isLoopback, refusal } from './guard.ts'
import { explained, listen } from './listen.ts'
import { type AdminNode, errorBody, httpStatus } from './shapes.ts'

export interface AdminSettings {
  /** `host:port` (port 0: any free one), or `off`. */
  readonly http: string
  /** Nobody asked for this very address: when it is taken, another port will do. */
  readonly httpIsDefault: boolean
  /** Who knows it may change things over TCP; undefined: nobody may. */
  readonly token?: string | undefined
}

interface AdminServerOptions {
  node: AdminNode
  settings: AdminSettings
  /** Where the Unix socket is listened on. */
  directory: {
    readonly socketPath: string
    serve(handler: ((socket: Socket) => void) | undefined): void
  }
  log: Pick<Log, 'write'>
}

/** To one listener. */
const CONNECTIONS = { countMax: 256, workingMax: 224 }
/** Whoever watches over the node asks these. */
const PROBES: ReadonlySet<string> = new Set(['/livez', '/readyz', '/metrics'])
const PARAMETER_LENGTH_MAX = 8192
const REMEDY = 'choose another port, ":0" for any free one, or off: --set admin.http=127.0.0.1:0'

export class AdminServer {
  readonly #options: AdminServerOptions
  readonly #local: Server
  /** What came through the Unix socket: whoever can open that may do everything. */
  readonly #ofSocket = new WeakSet<IncomingMessage>()
  #network: Server | undefined
  #address: string | undefined
  #app: Promise<FastifyInstance> | undefined
  #closing: Promise<void> | undefined

  constructor(options: AdminServerOptions) {
    this.#options = options
    const connections = new Connections(CONNECTIONS)
    this.#local = createServer((request, response) => {
      if (!isTaken(connections, request, response)) return
      this.#ofSocket.add(request)
      void this.#answer(request, response)
    })
    this.#local.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const isConsole = request.url === CONSOLE_PATH && request.headers.upgrade === CONSOLE_PROTOCOL
      if (isConsole) {
        connections.upgraded(request.socket)
        serveConsole(this.#options.node, socket, head)
      } else {
        const answer = 'HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'
        socket.end(answer, () => socket.destroy())
      }
    })
    this.#local.on('connection', (socket: Socket) => connections.add(socket))
  }

  /** `host:port` of the TCP listener; undefined when it is off. */
  get address(): string | undefined {
    return this.#address
  }

  /** @throws MoonmeshError `Invalid` (admin.http is no address), `Unavailable` (in use), `PermissionDenied` */
  async start(): Promise<void> {
    const { settings, directory, log } = this.#options
    directory.serve((socket) => this.#local.emit('connection', socket))
    if (settings.http === 'off') return
    const wanted = parseAddress(settings.http)
    const connections = new Connections(CONNECTIONS)
    const network = createServer(REQUEST_TIMES, (request, response) => {
      if (!isTaken(connections, request, response)) return
      this.#answerNetwork(request, response, wanted.host)
    })
    network.on('connection', (socket: Socket) => connections.add(socket))
    this.#network = network
    await this.#listen(network, wanted)
    const { port } = network.address() as AddressInfo
    this.#address = formatAddress({ host: wanted.host, port })
    if (!isLoopback(wanted.host)) {
      log.write(
        'warn',
        { address: this.#address },
        'the admin interface is readable from other machines, without a password',
      )
    }
  }

  async #listen(network: Server, wanted: Address): Promise<void> {
    const { settings, log } = this.#options
    try {
      await listen(network, wanted)
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE' || !settings.httpIsDefault)
        throw explained(error, settings.http, 'admin.http', REMEDY)
      await listen(network, { ...wanted, port: 0 })
      const { port } = network.address() as AddressInfo
      const taken = formatAddress({ ...wanted, port })
      log.write('warn', { address: taken }, `admin.http ${settings.http} is in use; using ${taken} instead`)
    }
    // Accepting fails when the program is out of file descriptors: that costs a client its connection, not the node its life.
    network.on('error', (error) => log.write('warn', {}, `admin.http: ${messageOf(error)}`))
  }

  #answerNetwork(request: IncomingMessage, response: ServerResponse, configuredHost: string): void {
    const reason = refusal(request.headers, configuredHost)
    if (reason !== undefined) {
      refuse(response, reason)
    } else if (request.method !== 'GET' && request.method !== 'HEAD' && !this.#mayChange(request)) {
      refuse(response, this.#remedy())
    } else {
      void this.#answer(request, response)
    }
  }

  /** What somebody on the TCP listener lacks. */
  #remedy(): string {
    const { directory, settings } = this.#options
    return settings.token === undefined
      ? `the admin interface is read-only here, and shows no logs, since admin.token is not set; the Unix socket ${directory.socketPath} takes everything`
      : 'changes and logs need the header "Authorization: Bearer TOKEN", with the token that admin.token says'
  }

  #mayChange({ headers }: IncomingMessage): boolean {
    const { token } = this.#options.settings
    const [, given] = /^Bearer +(.+)$/i.exec(headers.authorization ?? '') ?? []
    return token !== undefined && given !== undefined && isSame(given, token)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#closing !== undefined) {
      return send(response, new MoonmeshError('Unavailable', 'the node is stopping', { retryable: true }))
    }
    try {
      this.#app ??= this.#makeApp()
      const app = await this.#app
      app.routing(request, response)
    } catch (error) {
      this.#options.log.write('error', {}, `admin: ${messageOf(error)}`)
      send(response, new MoonmeshError('Internal', messageOf(error)))
    }
  }

  async #makeApp(): Promise<FastifyInstance> {
    const [{ fastify }, { addRoutes }] = await Promise.all([import('fastify'), import('./routes/all.ts')])
    const { node, log } = this.#options
    const app = fastify({
      // Its own answer while it closes is none of ours.
      return503OnClosing: false,
      // A key of a store may have a kilobyte.
      routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX },
      // What fails before a route is found does not come to the error handler.
      frameworkErrors: (thrown, _request, reply) => {
        reply.hijack()
        send(reply.raw, asMoonmeshError(thrown))
      },
    })
    app.addHook('onRequest', (request, _reply, done) => {
      const isPrivate = (request.routeOptions.config as { isPrivate?: boolean }).isPrivate === true
      const isKnown = !isPrivate || this.#ofSocket.has(request.raw) || this.#mayChange(request.raw)
      done(isKnown ? undefined : new MoonmeshError('PermissionDenied', this.#remedy()))
    })
    // `?prefix=a&prefix=b`: every parameter is one text, and routes may rely on it.
    app.addHook('preHandler', (request, _reply, done) => {
      const query = request.query as Record<string, unknown>
      const repeated = Object.keys(query).find((name) => typeof query[name] !== 'string')
      done(repeated === undefined ? undefined : new MoonmeshError('Invalid', `${repeated} is given more than once`))
    })
    app.addHook('onSend', (_request, reply, _payload, done) => {
      reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
      done()
    })
    const parse = app.getDefaultJsonParser('error', 'error')
    app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
      void parse(request, body, (error, value) => {
        const rounded = error === null ? roundedInteger(body) : undefined
        if (rounded === undefined) done(error, value)
        else
          done(invalid(`${rounded} would be rounded: integers beyond 2^53 have no exact form here; send it as a text`))
      })
    })
    app.setNotFoundHandler((request, reply) => {
      const error = new MoonmeshError('NotFound', `no such route: ${request.method} ${request.url}`)
      return reply.code(404).send(errorBody(error))
    })
    app.setErrorHandler((thrown, _request, reply) => {
      const error = asMoonmeshError(thrown)
      if (error.kind === 'Internal') log.write('error', {}, `admin: ${error.message}`)
      return reply.code(httpStatus(error.kind)).send(errorBody(error))
    })
    await addRoutes(app, node, log)
    await app.ready()
    return app
  }

  /** Ends every connection. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#options.directory.serve(undefined)
    this.#local.closeAllConnections()
    const network = this.#network
    if (network?.listening === true) {
      const closed = new Promise((done) => network.close(done))
      network.closeAllConnections()
      await closed
    }
    const app = await this.#app?.catch(() => undefined)
    await app?.close()
  }
}

/** @returns false: it is not to be answered, or was told that there are too many */
function isTaken(connections: Connections, request: IncomingMessage, response: ServerResponse): boolean {
  const path = (request.url ?? '').split('?', 1)[0] ?? ''
  const isProbe = (request.method === 'GET' || request.method === 'HEAD') && PROBES.has(path)
  const verdict = connections.began(request.socket, response, isProbe)
  if (verdict === 'refused') {
    const text = `${CONNECTIONS.workingMax} connections have requests under way here; what is left is for health and metrics`
    send(response, new MoonmeshError('LimitExceeded', text, { retryable: true }))
  }
  return verdict === 'taken'
}

/** In a time that says nothing about where they differ. */
function isSame(given: string, expected: string): boolean {
  const [one, other] = [given, expected].map((text) => createHash('sha256').update(text).digest()) as [Buffer, Buffer]
  return timingSafeEqual(one, other)
}

function refuse(response: ServerResponse, reason: string): void {
  send(response, new MoonmeshError('PermissionDenied', reason))
}

function send(response: ServerResponse, error: MoonmeshError): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.writeHead(httpStatus(error.kind), { 'content-type': 'application/json; charset=utf-8', connection: 'close' })
  response.end(JSON.stringify(errorBody(error)))
}

function invalid(text: string): MoonmeshError {
  return new MoonmeshError('Invalid', text, { retryable: false })
}

function asMoonmeshError(thrown: unknown): MoonmeshError {
  if (thrown instanceof MoonmeshError) return thrown
  const status = (thrown as { statusCode?: unknown }).statusCode
  if (status === 415) {
    return new MoonmeshError('Invalid', 'a body must be JSON, with the header "content-type: application/json"')
  }
  const isTheirs = typeof status === 'number' && status >= 400 && status < 500
  return new MoonmeshError(isTheirs ? 'Invalid' : 'Internal', messageOf(thrown), { cause: thrown })
}
