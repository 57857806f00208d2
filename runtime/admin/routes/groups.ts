// GET /v1/groups?scope=: process groups and who is in them, as this node sees them.

import type { FastifyInstance } from 'fastify'
import { notRunning } from '../not-running.ts'
import type { AdminNode, GroupRow } from '../shapes.ts'

export function groupsRoute(app: FastifyInstance, { groups }: AdminNode): void {
  app.get<{ Querystring: { scope?: string } }>('/v1/groups', (request): GroupRow[] => {
    const { scope } = request.query
    const scopes = groups.scopes()
    if (scope !== undefined && !scopes.includes(scope)) throw notRunning('scope', scope, scopes)
    return groups.rows(scope)
  })
}
