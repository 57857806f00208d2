// What an idle leader costs by the number of followers: processor time of its process in groups of 3 and of 9, and for each follower.
// usage: node raft-idle.mjs      RAFT_IDLE_S=30 RAFT_IDLE_SIZES=3,9

import { endMembers, formGroup, startMember } from './members.mjs'

const SECONDS = Number(process.env.RAFT_IDLE_S ?? 30)
const SIZES = (process.env.RAFT_IDLE_SIZES ?? '3,9').split(',').map(Number)
const SETTLE_MS = 5000

const cpuMs = async ({ ask }) => {
  const { cpu } = await ask('cpu')
  return (cpu.user + cpu.system) / 1000
}

/** @returns milliseconds of processor time a second, of the leader and of a follower */
async function measure(size) {
  const members = []
  for (let i = 0; i < size; i++) members.push(await startMember(`s${size}-${i}`, { raft: { max_voters: size } }))
  const leader = await formGroup(members, Buffer.alloc(16, size).toString('hex'))
  await new Promise((next) => setTimeout(next, SETTLE_MS))
  const follower = members.find((each) => each !== leader)
  const before = [await cpuMs(leader), await cpuMs(follower), performance.now()]
  await new Promise((next) => setTimeout(next, SECONDS * 1000))
  const seconds = (performance.now() - before[2]) / 1000
  const used = [(await cpuMs(leader)) - before[0], (await cpuMs(follower)) - before[1]].map((ms) => ms / seconds)
  await endMembers(members)
  return { leader: used[0], follower: used[1] }
}

const emit = (metric, value, size) =>
  process.stdout.write(
    `${JSON.stringify({ workload: 'raft-idle', peer: 'moonmesh', metric, value: Number(value.toPrecision(4)), unit: 'ms/s', n: size })}\n`,
  )

for (const size of SIZES) {
  const { leader, follower } = await measure(size)
  emit('leader_cpu', leader, size)
  emit('follower_cpu', follower, size)
  // What it costs beyond being a member, which grows with gossip and links as in any node.
  emit('leader_cpu_per_follower', (leader - follower) / (size - 1), size)
}
process.exit(0)
