// GET /v1/members: every node that gossip knows. POST /v1/cluster/join, /v1/cluster/leave: what an operator does about this one.

import type { FastifyInstance } from 'fastify'
import { MoonmeshError } from '../../base/errors.ts'
import { packageInfo } from '../package.ts'
import { type AdminCluster, type AdminNode, aloneRow, type JoinBody, type MemberRow, memberRow } from '../shapes.ts'

const ADDRESSES_MAX = 32

export function memberRoutes(app: FastifyInstance, node: AdminNode): void {
  app.get('/v1/members', (_request, reply): void => {
    const rows: MemberRow[] = node.cluster?.members().map(memberRow) ?? [aloneRow(node.name, packageInfo().version)]
    reply.send(rows)
  })
  app.post('/v1/cluster/join', async (request): Promise<JoinBody> => {
    const cluster = clusterOf(node)
    return { joined: await cluster.join(addressesIn(request.body)) }
  })
  app.post('/v1/cluster/leave', async () => {
    clusterOf(node)
    await node.leave()
    return { leaving: true }
  })
}

function clusterOf({ name, cluster }: AdminNode): AdminCluster {
  if (cluster !== undefined) return cluster
  const text = `clustering is off on node ${name}; set cluster.enabled to true and start it again`
  throw new MoonmeshError('Unavailable', text, { retryable: false })
}

function addressesIn(body: unknown): string[] {
  const addresses = (body as { addresses?: unknown } | null | undefined)?.addresses
  const isList = Array.isArray(addresses) && addresses.every((each): each is string => typeof each === 'string')
  if (!isList || addresses.length === 0 || addresses.length > ADDRESSES_MAX) {
    throw new MoonmeshError('Invalid', `expected {"addresses": ["host:port", …]}, 1 to ${ADDRESSES_MAX} of them`)
  }
  return addresses
}
