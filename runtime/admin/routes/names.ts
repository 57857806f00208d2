// GET /v1/names?scope=&prefix=: names of processes, as this node resolves them.

import type { FastifyInstance } from 'fastify'
import { MoonmeshError } from '../../base/errors.ts'
import { type AdminNode, type NameRow, nameRow } from '../shapes.ts'

const SCOPES: readonly string[] = ['local', 'eventual', 'consistent', 'strong']

export function namesRoute(app: FastifyInstance, node: AdminNode): void {
  app.get<{ Querystring: { scope?: string; prefix?: string } }>('/v1/names', (request, reply): void => {
    const { scope, prefix = '' } = request.query
    if (scope !== undefined && !SCOPES.includes(scope)) {
      const text = `there is no scope ${JSON.stringify(scope)}; scopes: ${SCOPES.join(', ')}`
      throw new MoonmeshError('Invalid', text, { retryable: false })
    }
    const rows: NameRow[] = node
      .names()
      .filter((known) => (scope === undefined || known.scope === scope) && known.name.startsWith(prefix))
      .map((known) => nameRow(known, node.name))
    reply.send(rows)
  })
}
