// All routes of the admin interface. operations.md §3.

import type { FastifyInstance } from 'fastify'
import type { Log } from '../../log.ts'
import type { AdminNode } from '../shapes.ts'
import { dashboardRoutes } from './dashboard.ts'
import { entriesRoute } from './entries.ts'
import { eventsRoute } from './events.ts'
import { groupsRoute } from './groups.ts'
import { healthRoutes } from './health.ts'
import { kvRoutes } from './kv.ts'
import { locksRoute } from './locks.ts'
import { logsRoute } from './logs.ts'
import { memberRoutes } from './members.ts'
import { metricsRoute } from './metrics.ts'
import { namesRoute } from './names.ts'
import { processesRoute } from './processes.ts'
import { raftRoutes } from './raft.ts'
import { servicesRoute } from './services.ts'
import { snapshotRoute } from './snapshot.ts'
import { statusRoute } from './status.ts'

export async function addRoutes(app: FastifyInstance, node: AdminNode, log: Pick<Log, 'write'>): Promise<void> {
  statusRoute(app, node)
  servicesRoute(app, node)
  processesRoute(app, node)
  entriesRoute(app, node)
  eventsRoute(app, node)
  logsRoute(app, node)
  healthRoutes(app, node)
  metricsRoute(app, node)
  memberRoutes(app, node)
  raftRoutes(app, node)
  snapshotRoute(app, node, log)
  namesRoute(app, node)
  locksRoute(app, node)
  kvRoutes(app, node)
  groupsRoute(app, node)
  await dashboardRoutes(app)
}
