// What gossip wants to know when a mesh connection breaks: whether the ports of a node refuse connections, and what another member found.
// The question goes over the mesh: there it is authenticated, has a deadline, and foreign nodes never see it. cluster.md §1.5, §4.7.

import { isPackedMap, pack, UnpackError, unpack } from '../runtime/base/msgpack.ts'
import { meshMember } from './mesh/core/members.ts'
import { dial } from './mesh/dialer.ts'
import type { Mesh } from './mesh/mesh.ts'
import type { Finding } from './swim/core/inquiries.ts'
import type { Member } from './swim/core/members.ts'
import type { Gossip, RunOfNode } from './swim/driver.ts'

const METHOD = 'gossip.finding'
const FINDINGS: readonly string[] = ['closed', 'open', 'unknown'] satisfies Finding[]

/**
 * Whether the machine of a node refuses connections at its gossip port and at every port of its mesh. One connection that succeeds, fails
 * otherwise or is not answered in time is a no.
 */
export function areClosed({ name, epoch = 0, address, tags }: Member, timeoutMs: number): Promise<boolean> {
  const { endpoints } = meshMember({ name, epoch, address, tags })
  if (endpoints.length === 0) return Promise.resolve(false)
  return new Promise((resolve) => {
    // Gossip first: a node that runs hears nothing else of it.
    dial([address, ...endpoints], timeoutMs, (result) => {
      if (result.ok) {
        result.socket.on('error', () => {})
        result.socket.destroy()
      }
      resolve(!result.ok && result.isRefused)
    })
  })
}

/** Asks a member what it found about a run of another one; `unknown` when it does not say. */
export async function askWitness(
  mesh: Mesh | undefined,
  { name, epoch }: RunOfNode,
  about: RunOfNode,
  timeoutMs: number,
): Promise<Finding> {
  if (mesh?.link(name)?.state !== 'connected') return 'unknown'
  try {
    const body = pack({ n: about.name, e: about.epoch })
    const finding = unpack(await mesh.request(name, METHOD, body, { deadlineMs: timeoutMs, epoch }))
    return typeof finding === 'string' && FINDINGS.includes(finding) ? (finding as Finding) : 'unknown'
  } catch {
    // It is gone too, is late, or is of a version that does not know the question.
    return 'unknown'
  }
}

/** Tells gossip of connections that broke, and members that ask what it found. */
export function tellEvidence(mesh: Mesh, gossip: Gossip): void {
  mesh.on('connection-lost', ({ peer, epoch }) => gossip.linkLost({ name: peer, epoch }))
  mesh.onRequest(METHOD, async (body) => {
    const about = aboutOf(body)
    if (about === undefined) return pack('unknown')
    return pack(await gossip.finding(about, mesh.link(about.name)?.state === 'connected'))
  })
}

function aboutOf(body: Uint8Array): RunOfNode | undefined {
  try {
    const value = unpack(body)
    if (!isPackedMap(value)) return undefined
    const { n: name, e: epoch } = value
    return typeof name === 'string' && Number.isSafeInteger(epoch) ? { name, epoch: epoch as number } : undefined
  } catch (error) {
    if (error instanceof UnpackError) return undefined
    throw error
  }
}
