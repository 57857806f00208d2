// GET /: the dashboard, a page that reads what the other routes tell. Three files that never change, which may load nothing from elsewhere.

import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { dashboardFile } from '../../places.ts'

const FILES = [
  { path: '/', file: 'index.html', type: 'text/html; charset=utf-8' },
  { path: '/dashboard.css', file: 'dashboard.css', type: 'text/css; charset=utf-8' },
  { path: '/dashboard.js', file: 'dashboard.js', type: 'text/javascript; charset=utf-8' },
]
/** Nothing inline, nothing from other places, in no frame. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export async function dashboardRoutes(app: FastifyInstance): Promise<void> {
  for (const { path, file, type } of FILES) {
    const text = await readFile(dashboardFile(file))
    app.get(path, (_request, reply) =>
      reply
        .header('content-security-policy', POLICY)
        .header('x-frame-options', 'DENY')
        .header('referrer-policy', 'no-referrer')
        .type(type)
        .send(text),
    )
  }
}
