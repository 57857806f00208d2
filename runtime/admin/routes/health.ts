// GET /livez, /readyz: 200 or 503, with the list of checks.

import type { FastifyInstance } from 'fastify'
import { checksOf } from '../health.ts'
import type { AdminNode, Check } from '../shapes.ts'

export function healthRoutes(app: FastifyInstance, node: AdminNode): void {
  app.get('/livez', (_request, reply) => {
    // That the event loop came round to answer is what there is to know.
    const checks: Check[] = [{ name: 'event_loop', ok: true, detail: 'turning' }]
    if (node.cluster !== undefined) checks.push({ name: 'gossip', ...node.cluster.health() })
    return reply.code(checks.every((check) => check.ok) ? 200 : 503).send(checks)
  })
  app.get('/readyz', (_request, reply) => {
    const checks = checksOf(node)
    return reply.code(checks.every((check) => check.ok) ? 200 : 503).send(checks)
  })
}
