// GET /v1/status: this node at a glance.

import type { FastifyInstance } from 'fastify'
import { checksOf } from '../health.ts'
import { packageInfo } from '../package.ts'
import { type AdminNode, answerOf, hostRow, type StatusBody } from '../shapes.ts'

export function statusRoute(app: FastifyInstance, node: AdminNode): void {
  app.get('/v1/status', async (): Promise<StatusBody> => {
    const checks = checksOf(node)
    const services: StatusBody['services'] = {}
    for (const { state } of node.services()) services[state] = (services[state] ?? 0) + 1
    return {
      node: node.name,
      os_pid: process.pid,
      version: packageInfo().version,
      node_js: process.version,
      started_at_ms: Math.round(performance.timeOrigin),
      uptime_ms: Math.round(performance.now()),
      healthy: checks.every((check) => check.ok),
      checks,
      services,
      hosts: (await answerOf(node.figures())).map(hostRow),
      entries: node.entries().length,
    }
  })
}
