// GET /v1/raft: the group of the cluster as this node knows it. POST /v1/cluster/remove, /v1/cluster/transfer: what an operator does
// about it.

import type { FastifyInstance } from 'fastify'
import { MoonmeshError } from '../../base/errors.ts'
import { checksOf } from '../health.ts'
import { packageInfo } from '../package.ts'
import type { AdminGroup, AdminNode, ClusterStatusBody } from '../shapes.ts'

export function raftRoutes(app: FastifyInstance, node: AdminNode): void {
  app.get('/v1/raft', () => statusBody(node))
  app.post('/v1/cluster/remove', async (request) => {
    const { name, force } = (request.body ?? {}) as { name?: unknown; force?: unknown }
    if (typeof name !== 'string' || name === '') {
      throw new MoonmeshError('Invalid', 'expected {"name": "node", "force": false}')
    }
    await groupOf(node).membership.remove(name, { force: force === true })
    return { removed: name }
  })
  app.post('/v1/cluster/transfer', async (request) => {
    const { to } = (request.body ?? {}) as { to?: unknown }
    if (to !== undefined && typeof to !== 'string') throw new MoonmeshError('Invalid', 'expected {"to": "node"} or {}')
    return { leader: await groupOf(node).membership.transfer(to) }
  })
}

async function statusBody(node: AdminNode): Promise<ClusterStatusBody> {
  const { cluster } = node
  const checks = checksOf(node)
  const group = cluster?.group
  // A client asks a member; afterwards it knows.
  const leader = await group?.leader()
  const status = group?.status()
  const isLive = ({ state, role }: { state: string; role: string }): boolean =>
    (state === 'alive' || state === 'suspect') && role !== 'foreign'
  return {
    node: node.name,
    cluster_id: cluster?.settings.id ?? null,
    role: cluster === undefined ? 'none' : (status?.role ?? 'client'),
    leader: leader ?? null,
    term: status?.term ?? 0,
    commit_index: status?.commitIndex ?? 0,
    applied_index: status?.appliedIndex ?? 0,
    voters: status?.voters ?? [],
    standbys: status?.standbys ?? [],
    members: cluster?.members().filter(isLive).length ?? 1,
    quorum: status?.hasQuorum ?? false,
    formation: status?.formation ?? null,
    waiting_for: status?.waitingFor ?? null,
    healthy: checks.every((check) => check.ok),
    checks,
    version: packageInfo().version,
  }
}

function groupOf({ name, cluster }: AdminNode): AdminGroup {
  if (cluster === undefined) {
    const text = `clustering is off on node ${name}; set cluster.enabled to true and start it again`
    throw new MoonmeshError('Unavailable', text, { retryable: false })
  }
  if (cluster.group === undefined) {
    throw new MoonmeshError('Unavailable', 'the node is still starting', { retryable: true })
  }
  return cluster.group
}
