// W7: three members, three processes, every write on the disks of a majority before it is answered; the load runs in the leader's process.
// usage: node w7.mjs      BENCH_TMP=DIR (a real disk), W7_FLAGS="--cpu-prof …" (of the members' Node.js)

import { readFileSync } from 'node:fs'
import { formGroup, startMember } from './members.mjs'

const FORMATION = '00112233445566778899aabbccddeeff'
const rssMib = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

const flags = (process.env.W7_FLAGS ?? '').split(' ').filter((flag) => flag !== '')
const members = await Promise.all(['a', 'b', 'c'].map((name) => startMember(name, {}, flags)))
const leader = await formGroup(members, FORMATION)
await new Promise((next) => setTimeout(next, 1000))
await leader.ask('bench', { peer: 'moonmesh' })
const followers = members.filter((each) => each !== leader)
const rss = followers.map(({ child }) => rssMib(child.pid))
process.stdout.write(
  `${JSON.stringify({ workload: 'W7', peer: 'moonmesh', metric: 'rss_per_member', value: Number(((rss[0] + rss[1]) / 2).toPrecision(6)), unit: 'MiB', n: 2 })}\n`,
)
await Promise.all(
  members.map(({ child }) => {
    const ended = new Promise((resolve) => child.on('exit', resolve))
    child.stdin.end()
    return ended
  }),
)
process.exit(0)
