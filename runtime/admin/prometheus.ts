// A listener for Prometheus alone, apart from the admin interface: GET /metrics and /livez. lua-libraries.md §11.

import { createServer, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { messageOf } from '../base/errors.ts'
import { parseAddress } from './address.ts'
import { Connections, REQUEST_TIMES } from './connections.ts'
import { checksOf } from './health.ts'
import { explained, listen } from './listen.ts'
import type { AdminNode } from './shapes.ts'

const CONNECTIONS = { countMax: 64, workingMax: 0 }

export class PrometheusListener {
  readonly #node: AdminNode
  readonly #server: Server

  constructor(node: AdminNode, warn: (text: string) => void) {
    this.#node = node
    const connections = new Connections(CONNECTIONS)
    this.#server = createServer(REQUEST_TIMES, (request, response) => {
      if (connections.began(request.socket, response, true) !== 'taken') return
      this.#answer(request.method ?? '', request.url ?? '', response).catch((error: unknown) => {
        warn(`prometheus: ${messageOf(error)}`)
        response.destroy()
      })
    })
    this.#server.on('connection', (socket: Socket) => connections.add(socket))
    // Accepting fails when the program is out of file descriptors: that costs a client its connection, not the node its life.
    this.#server.on('error', (error) => warn(`prometheus: ${messageOf(error)}`))
  }

  /**
   * @param address `host:port`
   * @throws MoonmeshError when the address cannot be had
   */
  async start(address: string): Promise<void> {
    try {
      await listen(this.#server, parseAddress(address))
    } catch (error) {
      throw explained(error, address, 'prometheus.address', 'choose another port, or set prometheus.enabled to false')
    }
  }

  async #answer(method: string, url: string, response: ServerResponse): Promise<void> {
    const path = url.split('?', 1)[0]
    if (method !== 'GET' && method !== 'HEAD') return send(response, 405, 'only GET is answered here\n')
    switch (path) {
      case '/metrics': {
        const { contentType, text } = await this.#node.metrics()
        return send(response, 200, text, contentType)
      }
      case '/livez': {
        const checks = checksOf(this.#node)
        const lines = checks.map(({ name, ok, detail }) => `${name}\t${ok ? 'ok' : `fail: ${detail}`}\n`)
        return send(response, checks.every((check) => check.ok) ? 200 : 503, lines.join(''))
      }
      default:
        return send(response, 404, 'here are /metrics and /livez\n')
    }
  }

  close(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve()
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }
}

function send(response: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text)
}
