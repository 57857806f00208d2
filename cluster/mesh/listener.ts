// Finds the port that the mesh listens on, and keeps the socket that was found: probing and opening again would lose the port to
// somebody else. cluster.md §2.1 `internode.*`.

import { createServer, type Server, type Socket } from 'node:net'
import { MoonmeshError } from '../../runtime/base/errors.ts'

const FIRST_PORT = 7950
const LAST_PORT = 7959

export interface Listener {
  readonly server: Server
  readonly port: number
}

/**
 * Listens at `host`; port 0: one of 7950 to 7959, else any free one.
 * @throws MoonmeshError `Unavailable` when the given port is in use, `Invalid` when the address is none of this machine
 */
export async function listen(
  options: { host: string; port: number },
  onConnection: (socket: Socket) => void,
): Promise<Listener> {
  const { host, port } = options
  const ports: number[] = []
  if (port !== 0) ports.push(port)
  else {
    for (let each = FIRST_PORT; each <= LAST_PORT; each++) ports.push(each)
    ports.push(0)
  }
  for (const each of ports) {
    const server = createServer({ noDelay: true, keepAlive: true }, onConnection)
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host, port: each, exclusive: true }, () => {
          server.off('error', reject)
          resolve()
        })
      })
      const address = server.address()
      return { server, port: typeof address === 'object' && address !== null ? address.port : each }
    } catch (error) {
      const code = (error as { code?: string }).code
      if (port === 0 && (code === 'EADDRINUSE' || code === 'EACCES') && each !== 0) continue
      throw failure(error, { host, port, code })
    }
  }
  throw new MoonmeshError('Unavailable', `no port is free at ${host}`)
}

function failure(
  cause: unknown,
  { host, port, code }: { host: string; port: number; code: string | undefined },
): Error {
  if (code === 'EADDRINUSE') {
    const text = `port ${port} at ${host} is in use; set cluster.internode.bind_port to another one, or to 0 for a free one`
    return new MoonmeshError('Unavailable', text, { retryable: false, details: { port }, cause })
  }
  if (code === 'EADDRNOTAVAIL') {
    const text = `${host} is no address of this machine; see cluster.internode.bind_addr`
    return new MoonmeshError('Invalid', text, { retryable: false, cause })
  }
  return new MoonmeshError('Unavailable', `cannot listen at ${host}, port ${port}: ${code ?? 'unknown'}`, { cause })
}
