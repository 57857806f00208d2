// GET /livez, /readyz: 200 or 503, with the list of checks.

import type { FastifyInstance } from 'fastify'
import { checksOf, livenessOf } from '../health.ts'
import type { AdminNode } from '../shapes.ts'

export function healthRoutes(app: FastifyInstance, node: AdminNode): void {
  app.get('/livez', (_request, reply) => {
    const checks = livenessOf(node)
    return reply.code(checks.every((check) => check.ok) ? 200 : 503).send(checks)
  })
  app.get('/readyz', (_request, reply) => {
    const checks = checksOf(node)
    return reply.code(checks.every((check) => check.ok) ? 200 : 503).send(checks)
  })
}
