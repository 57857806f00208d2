// GET /v1/processes?host=: the processes of this node.

import type { FastifyInstance } from 'fastify'
import { type AdminNode, answerOf, type ProcessRow, processRow } from '../shapes.ts'

export function processesRoute(app: FastifyInstance, node: AdminNode): void {
  app.get<{ Querystring: { host?: string } }>('/v1/processes', async (request): Promise<ProcessRow[]> => {
    const { host } = request.query
    const processes = await answerOf(node.processes({ countsMemory: true }))
    return processes.filter((info) => host === undefined || info.host === host).map(processRow)
  })
}
