// What leading costs in the simulated world, by the size of the cluster: messages to and from the leader while nobody asks for anything.

import { RAFT_DEFAULTS } from '../../cluster/raft/core/raft.ts'
import { StateWorld } from './state.ts'

const VOTERS = 5
const WARM_MS = 60_000
const MEASURED_MS = 60_000

interface Counts {
  readonly renewals: number
  readonly received: number
  readonly sent: number
  readonly consensus: number
}

function countsOf(owner: StateWorld): { leader: string; counts: Counts } {
  const leader = owner.leader()
  if (leader?.consensus === undefined) throw new Error('nobody leads')
  const { fabric, consensus } = leader
  const { network, raftNetwork } = owner
  return {
    leader: fabric.name,
    counts: {
      renewals: fabric.received.get('session.renew') ?? 0,
      received: [...fabric.received.values()].reduce((sum, count) => sum + count, 0),
      sent: network.traffic.get(fabric.name)?.streams ?? 0,
      consensus: raftNetwork.traffic.get(consensus.self)?.packets ?? 0,
    },
  }
}

/** @param nodes servers up to the most that vote, then clients, each with the session that it renews */
export async function stateFigures(nodes: number, seed: number): Promise<string> {
  const servers = Math.min(nodes, VOTERS)
  const owner = new StateWorld({ seed, servers, clients: nodes - servers, seconds: 0, raft: RAFT_DEFAULTS })
  owner.isBusy = false
  await owner.run(WARM_MS)
  const before = countsOf(owner)
  await owner.run(MEASURED_MS)
  const after = countsOf(owner)
  if (after.leader !== before.leader) throw new Error('another node leads now')
  const open = owner.running().filter(({ state }) => state.session().state === 'open').length
  const rate = (key: keyof Counts): string =>
    (((after.counts[key] - before.counts[key]) * 1000) / MEASURED_MS).toFixed(2)
  return [
    `${nodes} nodes, seed ${seed}, ${open} with a session, at rest`,
    `the leader, each second: ${rate('renewals')} sessions renewed, ${rate('received')} messages of nodes received, ${rate('sent')} sent to them, ${rate('consensus')} of consensus sent`,
  ].join('\n')
}
