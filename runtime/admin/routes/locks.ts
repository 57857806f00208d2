// GET /v1/locks?prefix=&after=: locks of the cluster that are held.

import type { FastifyInstance } from 'fastify'
import { type AdminNode, type LockRow, lockRow } from '../shapes.ts'

export function locksRoute(app: FastifyInstance, node: AdminNode): void {
  app.get<{ Querystring: { prefix?: string; after?: string } }>('/v1/locks', async (request): Promise<LockRow[]> => {
    const { prefix = '', after = '' } = request.query
    const locks = await node.locks({ prefix, after })
    return locks.map((lock) => lockRow(lock, Date.now()))
  })
}
