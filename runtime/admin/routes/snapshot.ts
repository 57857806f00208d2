// POST /v1/cluster/snapshot: a backup of the replicated state, as the bytes of its file. What ends before its last bytes is no backup, and
// whoever reads it finds that out. operations.md §2, §3.

import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { MoonmeshError, messageOf } from '../../base/errors.ts'
import type { Log } from '../../log.ts'
import type { AdminBackup, AdminBackups, AdminNode } from '../shapes.ts'

export function snapshotRoute(app: FastifyInstance, node: AdminNode, log: Pick<Log, 'write'>): void {
  app.post('/v1/cluster/snapshot', async (_request, reply) => {
    const backup = await backupsOf(node).take()
    reply.hijack()
    await send(backup, reply.raw, (error) =>
      log.write('warn', { event: 'backup_failed', reason: messageOf(error) }, 'a backup was not taken to its end'),
    )
  })
}

async function send(backup: AdminBackup, response: ServerResponse, failed: (error: unknown) => void): Promise<void> {
  response.on('close', () => backup.close())
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' })
  try {
    for (let piece = await backup.next(); piece !== undefined; piece = await backup.next()) {
      if (!response.write(piece) && !response.destroyed) await room(response)
    }
    response.end()
  } catch (error) {
    // A connection that breaks off says what no status can any more.
    response.destroy()
    failed(error)
  }
}

/** Resolves when more can be written, or nothing ever again. */
function room(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}

function backupsOf({ name, cluster }: AdminNode): AdminBackups {
  if (cluster === undefined) {
    const text = `clustering is off on node ${name}: there is no replicated state to back up`
    throw new MoonmeshError('Unavailable', text, { retryable: false })
  }
  if (cluster.backups === undefined) {
    throw new MoonmeshError('Unavailable', 'the node is still starting', { retryable: true })
  }
  return cluster.backups
}
