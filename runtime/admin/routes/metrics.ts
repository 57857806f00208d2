// GET /metrics: what was recorded, as Prometheus reads it.

import type { FastifyInstance } from 'fastify'
import type { AdminNode } from '../shapes.ts'

export function metricsRoute(app: FastifyInstance, node: AdminNode): void {
  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await node.metrics()
    return reply.header('content-type', contentType).send(text)
  })
}
