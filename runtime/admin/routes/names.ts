// GET /v1/names?scope=&prefix=: names of processes, as this node resolves them.

import type { FastifyInstance } from 'fastify'
import { type AdminNode, type NameRow, nameRow } from '../shapes.ts'

export function namesRoute(app: FastifyInstance, node: AdminNode): void {
  app.get<{ Querystring: { scope?: string; prefix?: string } }>('/v1/names', (request, reply): void => {
    const { scope, prefix = '' } = request.query
    const rows: NameRow[] = node
      .names()
      .filter((known) => (scope === undefined || known.scope === scope) && known.name.startsWith(prefix))
      .map((known) => nameRow(known, node.name))
    reply.send(rows)
  })
}
