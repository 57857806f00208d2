// The client's end of a console (admin/attach.ts): one connection, one thing typed at a time.

import { type IncomingMessage, request } from 'node:http'
import type { Socket } from 'node:net'
import { CONSOLE_PATH, CONSOLE_PROTOCOL, type ConsoleOrder } from '../admin/attach.ts'
import type { ConsoleNews } from '../consoles.ts'
import { explained } from './client.ts'
import { CommandFailure, EXIT_FAILED } from './exit.ts'

const CONNECT_MS_MAX = 10_000

export class ConsoleClient {
  readonly #socket: Socket
  #rest = ''
  #listener: (news: ConsoleNews) => void = () => {}
  /** What came before anybody listened. */
  #early: ConsoleNews[] = []
  #hasListener = false
  /** Resolves when the connection is over. */
  readonly closed: Promise<void>

  private constructor(socket: Socket, head: Buffer) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
    this.#take(head.toString('utf8'))
    socket.on('data', (text: string) => this.#take(text))
  }

  /** @throws CommandFailure when nobody answers, or what answers knows no consoles */
  static open(socketPath: string): Promise<ConsoleClient> {
    return new Promise((done, fail) => {
      const headers = { connection: 'upgrade', upgrade: CONSOLE_PROTOCOL }
      const sent = request({ socketPath, path: CONSOLE_PATH, headers, agent: false, timeout: CONNECT_MS_MAX })
      sent.once('upgrade', (_response, socket, head) => done(new ConsoleClient(socket, head)))
      sent.once('response', (response: IncomingMessage) => {
        response.resume()
        fail(
          new CommandFailure(EXIT_FAILED, `the node at ${socketPath} has no consoles; does it run an older version?`),
        )
      })
      sent.once('timeout', () => sent.destroy(new Error(`no answer within ${CONNECT_MS_MAX / 1000} s`)))
      sent.once('error', (error) => fail(explained(error, socketPath, CONNECT_MS_MAX)))
      sent.end()
    })
  }

  onNews(listener: (news: ConsoleNews) => void): void {
    this.#listener = listener
    this.#hasListener = true
    for (const news of this.#early.splice(0)) listener(news)
  }

  send(order: ConsoleOrder): void {
    this.#socket.write(`${JSON.stringify(order)}\n`)
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const news = JSON.parse(line) as ConsoleNews
      if (this.#hasListener) this.#listener(news)
      else this.#early.push(news)
    }
  }
}
