// The sockets of gossip: datagrams and connections on one port. cluster.md §3.1.

import { createSocket, type Socket as DatagramSocket, type RemoteInfo } from 'node:dgram'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { codeOf, MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { portOwner } from '../port-owner.ts'
import { type Address, formatAddress, parseHost } from './core/address.ts'

interface SocketHandlers {
  /** One datagram; the bytes are the receiver's. */
  packet(bytes: Buffer, from: Address): void
  /** A peer connected. */
  connection(socket: Socket, from: Address): void
  /** Sockets go on working after this. */
  trouble(text: string): void
}

/** Asked of the kernel, which may give less: bursts arrive while the event loop is busy. */
const RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
/** Datagrams that wait for the kernel to take them; beyond that the network is gone. */
const UNSENT_MAX = 1024
const ANY_PORT_TRIES = 10
/** More than are ever answered at once: a peer in the backlog is better refused than left to wait. */
const CONNECTIONS_MAX = 256

export class GossipSockets {
  readonly #datagrams: DatagramSocket
  readonly #server: Server
  readonly #isV6: boolean
  /** Where both listen. */
  readonly address: Address
  /** Datagrams that were given up before the kernel had them. */
  unsentCount = 0

  private constructor(datagrams: DatagramSocket, server: Server, address: Address) {
    this.#datagrams = datagrams
    this.#server = server
    this.#isV6 = address.host.includes(':')
    this.address = address
  }

  /**
   * @param bind `port` 0: any that is free for both
   * @throws MoonmeshError `Unavailable` when the port is in use, `Invalid` when the address is not of this machine
   */
  static async open(bind: { host: string; port: number }, handlers: SocketHandlers): Promise<GossipSockets> {
    for (let attempt = 1; ; attempt++) {
      const server = await listenStream(bind, handlers)
      const { port } = server.address() as { port: number }
      try {
        const datagrams = await listenDatagrams({ host: bind.host, port }, handlers)
        return new GossipSockets(datagrams, server, { host: bind.host, port })
      } catch (error) {
        await new Promise((done) => server.close(done))
        const mayTryAnother = bind.port === 0 && codeOf(error) === 'EADDRINUSE' && attempt < ANY_PORT_TRIES
        if (!mayTryAnother) throw await explained(error, { host: bind.host, port }, 'UDP')
      }
    }
  }

  /** @param bytes not to be written to any more  @param failed the network stack refused it; nobody says when it is merely lost */
  send(bytes: Buffer, to: Address, failed?: () => void): void {
    const isV6 = to.host.includes(':')
    if ((isV6 && !this.#isV6) || this.#datagrams.getSendQueueCount() >= UNSENT_MAX) {
      this.unsentCount++
      failed?.()
      return
    }
    const host = this.#isV6 && !isV6 ? `::ffff:${to.host}` : to.host
    // A send without a callback would raise its failure as an error of the socket.
    const done = failed === undefined ? ignore : (error: Error | null) => error !== null && failed()
    this.#datagrams.send(bytes, to.port, host, done)
  }

  /** A connection of our own. */
  connect(to: Address): Socket {
    return connect({ host: to.host, port: to.port, noDelay: true })
  }

  /** Idempotent. Connections that are open are their owners' to end. */
  async close(): Promise<void> {
    const closed = (close: (done: () => void) => void): Promise<void> => new Promise((done) => close(done))
    await Promise.all([
      this.#server.listening ? closed((done) => this.#server.close(done)) : undefined,
      closed((done) => {
        try {
          this.#datagrams.close(done)
        } catch {
          // Closed before.
          done()
        }
      }),
    ])
  }
}

function ignore(): void {}

function listenStream(bind: { host: string; port: number }, handlers: SocketHandlers): Promise<Server> {
  const server = createServer({ noDelay: true }, (socket) => {
    const host = parseHost(socket.remoteAddress ?? '')
    if (host === undefined) socket.destroy()
    else handlers.connection(socket, { host, port: socket.remotePort ?? 0 })
  })
  server.maxConnections = CONNECTIONS_MAX
  return new Promise((resolve, reject) => {
    const refused = (error: Error): void => void explained(error, bind, 'TCP').then(reject)
    server.once('error', refused)
    server.listen(bind, () => {
      server.off('error', refused)
      // Accepting fails when the program is out of file descriptors.
      server.on('error', (error) => handlers.trouble(`gossip listener: ${messageOf(error)}`))
      resolve(server)
    })
  })
}

function listenDatagrams(bind: Address, handlers: SocketHandlers): Promise<DatagramSocket> {
  const socket = createSocket({
    type: bind.host.includes(':') ? 'udp6' : 'udp4',
    // Addresses are literals; the usual way would ask the resolver for each datagram.
    lookup: (host, _options, done) => done(null, host, host.includes(':') ? 6 : 4),
  })
  return new Promise((resolve, reject) => {
    const refused = (error: Error): void => {
      socket.close()
      reject(error)
    }
    socket.once('error', refused)
    socket.bind({ address: bind.host, port: bind.port, exclusive: true }, () => {
      socket.off('error', refused)
      try {
        socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
      } catch {
        // Where the system refuses a size instead of giving less, its default has to do.
      }
      socket.on('error', (error) => handlers.trouble(`gossip socket: ${messageOf(error)}`))
      socket.on('message', (bytes: Buffer, { address, port }: RemoteInfo) => {
        const host = parseHost(address)
        if (host !== undefined && port !== 0) handlers.packet(bytes, { host, port })
      })
      resolve(socket)
    })
  })
}

async function explained(error: unknown, address: Address, protocol: 'TCP' | 'UDP'): Promise<MoonmeshError> {
  if (error instanceof MoonmeshError) return error
  const options = { retryable: false, cause: error }
  const where = `${formatAddress(address)} (${protocol})`
  switch (codeOf(error)) {
    case 'EADDRINUSE': {
      const owner = await portOwner(protocol, address.port)
      const by = owner === undefined ? '' : ` by ${owner}`
      const text = `gossip cannot listen on ${where}: the port is in use${by}; choose another cluster.membership.bind_port, or 0 for any`
      return new MoonmeshError('Unavailable', text, options)
    }
    case 'EACCES':
      return new MoonmeshError('PermissionDenied', `gossip may not listen on ${where}`, options)
    case 'EADDRNOTAVAIL':
    case 'EINVAL': {
      const text = `gossip cannot listen on ${where}: not an address of this machine; see cluster.membership.bind_addr`
      return new MoonmeshError('Invalid', text, options)
    }
    default:
      return new MoonmeshError('Unavailable', `gossip cannot listen on ${where}: ${messageOf(error)}`, options)
  }
}
