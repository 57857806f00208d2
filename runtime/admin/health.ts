// The checks behind /livez, /readyz and /v1/status. operations.md §5.

import type { ServiceStatus } from '../supervisor/supervisor.ts'
import type { AdminNode, Check } from './shapes.ts'

export function checksOf(node: AdminNode): Check[] {
  const { cluster } = node
  const gossip = cluster === undefined ? [] : [{ name: 'gossip', ...cluster.health() }]
  const group = cluster?.group?.checks() ?? []
  return [servicesCheck(node.services()), ...gossip, ...group, ...node.readiness(), ...node.groups.checks()]
}

/**
 * What may be mended by another start of the node: a store that has failed, a replica that has halted. That a group has no quorum is
 * not, and that goes into readiness alone. cluster.md §11.
 */
export function livenessOf({ cluster }: AdminNode): Check[] {
  // That the event loop came round to answer is the first thing to know.
  const turning: Check = { name: 'event_loop', ok: true, detail: 'turning' }
  if (cluster === undefined) return [turning]
  const ofStart = (cluster.group?.checks() ?? []).filter(({ name }) => name === 'disk' || name === 'fsm')
  return [turning, { name: 'gossip', ...cluster.health() }, ...ofStart]
}

/** Holds when every service that was asked to run does, or has ended as it should. */
function servicesCheck(services: readonly ServiceStatus[]): Check {
  const troubles: string[] = []
  for (const { id, state, error, waitsFor } of services) {
    if (state === 'failed') troubles.push(`${id} failed${error === undefined ? '' : `: ${error.message}`}`)
    else if (waitsFor !== undefined && waitsFor.length > 0) troubles.push(`${id} waits for ${waitsFor.join(', ')}`)
    else if (state === 'starting' || state === 'stopping') troubles.push(`${id} is ${state}`)
  }
  const runningCount = services.filter((service) => service.state === 'running').length
  const detail = troubles.length === 0 ? `${runningCount} running` : troubles.join('; ')
  return { name: 'services', ok: troubles.length === 0, detail }
}
