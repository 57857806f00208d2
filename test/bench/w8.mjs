// W8: cycles of one lock by one Lua process, never contended, on the leader of three members with disks; from a follower too; and two writes
// after each other to the store, which is the least that a cycle takes.
// usage: node w8.mjs

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { emitter, threeNodes } from './three-nodes.mjs'

const program = fileURLToPath(import.meta.url)
const source = readFileSync(join(dirname(program), 'w8.lua'), 'utf8')
const CYCLES = 2000
const ELSEWHERE = 500

await threeNodes({
  program,
  entries: [
    { id: 'bench:store', kind: 'store.kv.raft', namespace: 'bench', lifecycle: { auto_start: true } },
    ...['cycles', 'writes', 'elsewhere', 'remote'].map((method) => ({
      id: `bench:${method}`,
      kind: 'process.lua',
      source,
      method,
      modules: ['time', 'store', 'system'],
    })),
  ],
  async work(run) {
    const emit = emitter('W8')
    await run('bench:writes', CYCLES / 10)
    const floor = await run('bench:writes', CYCLES)
    await run('bench:cycles', CYCLES / 10)
    const here = await run('bench:cycles', CYCLES)
    const there = await run('bench:elsewhere', 'b', ELSEWHERE)
    emit('cycles', CYCLES / here.seconds, '1/s', CYCLES)
    emit('cycle_p50', here.p50, 'ms', CYCLES)
    emit('cycles_on_follower', ELSEWHERE / there.seconds, '1/s', ELSEWHERE)
    emit('two_writes', CYCLES / floor.seconds, '1/s', CYCLES)
    emit('two_writes_p50', floor.p50, 'ms', CYCLES)
  },
})
