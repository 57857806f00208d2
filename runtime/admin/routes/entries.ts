// GET /v1/entries?kind=: what the app declares.

import type { FastifyInstance } from 'fastify'
import type { AdminNode, EntryRow } from '../shapes.ts'

export function entriesRoute(app: FastifyInstance, node: AdminNode): void {
  app.get<{ Querystring: { kind?: string } }>('/v1/entries', (request, reply) => {
    const { kind } = request.query
    const entries = node.entries().filter((entry) => kind === undefined || entry.kind === kind)
    return reply.send(entries.map((entry): EntryRow => ({ id: entry.id, kind: entry.kind })))
  })
}
