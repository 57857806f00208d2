// Opens a connection to the first of a peer's endpoints that answers, within a time for all of them.

import { connect, type Socket } from 'node:net'
import type { Endpoint } from './core/members.ts'

export type DialResult =
  | { readonly ok: true; readonly socket: Socket }
  | { readonly ok: false; readonly reason: string }

/** @returns gives up; `done` is not called afterwards */
export function dial(
  endpoints: readonly Endpoint[],
  timeoutMs: number,
  done: (result: DialResult) => void,
): () => void {
  const reasons: string[] = []
  let socket: Socket | undefined
  let timer: NodeJS.Timeout | undefined
  let isOver = false

  const attempt = (index: number): void => {
    const endpoint = endpoints[index]
    if (endpoint === undefined) {
      isOver = true
      return done({ ok: false, reason: reasons.join('; ') })
    }
    const { host, port } = endpoint
    const current = connect({ host, port, noDelay: true, keepAlive: true })
    socket = current
    const fail = (why: string): void => {
      clearTimeout(timer)
      current.removeAllListeners()
      current.on('error', () => {})
      current.destroy()
      if (isOver) return
      reasons.push(`${host}:${port} ${why}`)
      attempt(index + 1)
    }
    timer = setTimeout(() => fail('no answer'), timeoutMs / endpoints.length)
    current.once('error', (error: Error & { code?: string }) => fail(error.code ?? error.message))
    current.once('connect', () => {
      clearTimeout(timer)
      current.removeAllListeners('error')
      if (isOver) return void current.destroy()
      isOver = true
      done({ ok: true, socket: current })
    })
  }
  attempt(0)
  return () => {
    isOver = true
    clearTimeout(timer)
    socket?.destroy()
  }
}
