// GET /v1/services: everything with a lifecycle, and how it is doing.

import type { FastifyInstance } from 'fastify'
import { type AdminNode, type ServiceRow, serviceRow } from '../shapes.ts'

export function servicesRoute(app: FastifyInstance, node: AdminNode): void {
  app.get('/v1/services', (_request, reply) => {
    const rows: ServiceRow[] = node.services().map(serviceRow)
    return reply.send(rows)
  })
}
