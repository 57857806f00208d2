// `Upgrade: moonmesh-console` on the Unix socket: a Lua prompt inside the node. Lines of JSON in both directions. Whoever can open the socket may
// do everything anyway; over TCP there is no such thing, with a token or without.

import type { Duplex } from 'node:stream'
import { messageOf } from '../base/errors.ts'
import type { Console, ConsoleNews } from '../consoles.ts'
import type { AdminNode } from './shapes.ts'

export const CONSOLE_PATH = '/v1/console'
export const CONSOLE_PROTOCOL = 'moonmesh-console'

export type ConsoleOrder = { readonly run: string } | { readonly complete: string } | { readonly interrupt: true }

/** What is typed at once, and what may wait to be read. Beyond the latter, prints are left out and counted. */
const LINE_CHARS_MAX = 4 * 1024 * 1024
const UNREAD_BYTES_MAX = 4 * 1024 * 1024

/** @param head what came behind the request */
export function serveConsole(node: AdminNode, socket: Duplex, head: Buffer): void {
  let missed = 0
  const send = (news: ConsoleNews): void => void socket.write(`${JSON.stringify(news)}\n`)
  const tell = (news: ConsoleNews): void => {
    if (socket.destroyed || socket.writableEnded) return
    if (news.kind === 'print' && socket.writableLength > UNREAD_BYTES_MAX) return void missed++
    if (missed > 0) send({ kind: 'print', text: `… ${missed} prints were left out` })
    missed = 0
    send(news)
    // Whoever does not hang up then, or goes on typing, must not hold the connection.
    if (news.kind === 'over') socket.end(() => socket.destroy())
  }
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${CONSOLE_PROTOCOL}\r\n\r\n`)
  let session: Console
  try {
    session = node.openConsole(tell)
  } catch (error) {
    tell({ kind: 'over', why: messageOf(error) })
    return
  }
  socket.on('error', () => {})
  socket.once('close', () => session.close())
  const obey = (line: string): void => {
    const order = orderIn(line)
    if (order === undefined) tell({ kind: 'over', why: 'that is no line of JSON that a console understands' })
    else if ('run' in order) session.run(order.run)
    else if ('complete' in order) session.complete(order.complete)
    else session.interrupt()
  }
  let rest = ''
  const decoder = new TextDecoder()
  const take = (chunk: Buffer): void => {
    if (socket.writableEnded) return
    const text = decoder.decode(chunk, { stream: true })
    rest += text
    // A long line comes in many chunks: it is looked through once.
    if (text.includes('\n')) {
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (!socket.writableEnded) obey(line)
    }
    if (rest.length > LINE_CHARS_MAX) tell({ kind: 'over', why: `a line of more than ${LINE_CHARS_MAX} characters` })
  }
  take(head)
  socket.on('data', take)
}

function orderIn(line: string): ConsoleOrder | undefined {
  try {
    const { run, complete, interrupt } = JSON.parse(line) as Record<string, unknown>
    if (typeof run === 'string' && run.length <= LINE_CHARS_MAX) return { run }
    if (typeof complete === 'string') return { complete }
    return interrupt === true ? { interrupt } : undefined
  } catch {
    return undefined
  }
}
