// What leading costs in an idle cluster that has founded itself, by the number of its nodes: processor time, and bytes of consensus and of all
// else, of the leader and of a client or standby beside it.
// usage: node cluster-idle.mjs      CLUSTER_IDLE_S=30 CLUSTER_IDLE_SIZES=3,12,30

import { endMembers, startMember, until } from './members.mjs'

const SECONDS = Number(process.env.CLUSTER_IDLE_S ?? 30)
const SIZES = (process.env.CLUSTER_IDLE_SIZES ?? '3,12,30').split(',').map(Number)
const FOUNDERS = 3
const [VOTERS, STANDBYS] = [5, 4]
const READY_MS_MAX = 600_000
/** At a time: a small machine is busy enough with that. */
const STARTS = 3

async function usage({ ask }) {
  const { cpu, raftBytes, otherBytes } = await ask('traffic')
  return { cpuMs: (cpu.user + cpu.system) / 1000, raftBytes, otherBytes }
}

async function measure(size) {
  const seeds = []
  const nodes = []
  const begin = async (i) => {
    const raft = { bootstrap_expect: i < FOUNDERS ? FOUNDERS : 0, bootstrap_stability: '1s' }
    const membership = { join_addrs: seeds.join(',') }
    const node = await startMember(`n${size}-${i}`, { raft, membership })
    nodes.push(node)
    if (seeds.length < FOUNDERS) seeds.push(node.gossip)
  }
  await begin(0)
  for (let i = 1; i < size; i += STARTS) {
    await Promise.all(Array.from({ length: Math.min(STARTS, size - i) }, (_, k) => begin(i + k)))
  }
  const voters = Math.min(VOTERS, size)
  const standbys = Math.min(STANDBYS, size - voters)
  const settled = () =>
    until(
      `${voters} voters and ${standbys} standbys of ${size}`,
      async () => {
        // Asking costs as well.
        await new Promise((next) => setTimeout(next, 500))
        const statuses = await Promise.all(nodes.map(({ ask }) => ask('status')))
        const { configuration } = statuses.find(({ isReady }) => isReady)?.configuration ?? {}
        return configuration?.voters.length === voters && configuration.standbys.length === standbys
      },
      READY_MS_MAX,
    )
  let used
  while (used === undefined) {
    await settled()
    // Everybody has told everybody.
    await new Promise((next) => setTimeout(next, 10_000))
    used = await idle(nodes)
  }
  await endMembers(nodes)
  return { leader: used[0], other: used[1] }
}

/** What the leader and another used in a second; undefined when leadership changed meanwhile, as it does on a machine that is too busy. */
async function idle(nodes) {
  const statuses = await Promise.all(nodes.map(({ ask }) => ask('status')))
  const leader = nodes[statuses.findIndex(({ isReady }) => isReady)]
  if (leader === undefined) return undefined
  const { term } = await leader.ask('status')
  const rank = { leader: 3, voter: 2, standby: 1, none: 0 }
  const [other] = [...nodes].sort(
    (a, b) => rank[statuses[nodes.indexOf(a)].role] - rank[statuses[nodes.indexOf(b)].role],
  )
  const before = [await usage(leader), await usage(other), performance.now()]
  await new Promise((next) => setTimeout(next, SECONDS * 1000))
  const seconds = (performance.now() - before[2]) / 1000
  const used = []
  for (const [at, node] of [leader, other].entries()) {
    const now = await usage(node)
    used.push(Object.fromEntries(Object.entries(now).map(([key, value]) => [key, (value - before[at][key]) / seconds])))
  }
  const after = await leader.ask('status')
  return after.isReady && after.term === term ? used : undefined
}

const emit = (metric, value, unit, size) => {
  const row = { workload: 'cluster-idle', peer: 'moonmesh', metric, value: Number(value.toPrecision(3)), unit, n: size }
  process.stdout.write(`${JSON.stringify(row)}\n`)
}

for (const size of SIZES) {
  const { leader, other } = await measure(size)
  emit('leader_cpu', leader.cpuMs, 'ms/s', size)
  emit('other_cpu', other.cpuMs, 'ms/s', size)
  emit('leader_cpu_beyond', leader.cpuMs - other.cpuMs, 'ms/s', size)
  emit('leader_raft_bytes', leader.raftBytes, 'B/s', size)
  emit('leader_other_bytes', leader.otherBytes, 'B/s', size)
  emit('other_other_bytes', other.otherBytes, 'B/s', size)
}
process.exit(0)
