// W10: cluster-wide names of three nodes: registrations in each scope, one after the other, by a Lua process on the leader; then lookups.
// usage: node w10.mjs

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { emitter, threeNodes } from './three-nodes.mjs'

const program = fileURLToPath(import.meta.url)
const source = readFileSync(join(dirname(program), 'w10.lua'), 'utf8')
const NAMES = 2000
const WARM = 100
const LOOKUPS = 200_000

await threeNodes({
  program,
  entries: ['idle', 'registrations', 'lookups', 'elsewhere', 'remote'].map((method) => ({
    id: `bench:${method}`,
    kind: 'process.lua',
    source,
    method,
    modules: ['time'],
  })),
  async work(run) {
    const emit = emitter('W10')
    const register = (scope) => run('bench:registrations', scope, WARM, NAMES)
    emit('registrations', NAMES / (await register('CONSISTENT')), '1/s', NAMES)
    emit('registrations_strong', NAMES / (await register('STRONG')), '1/s', NAMES)
    emit('registrations_eventual', NAMES / (await register('EVENTUAL')), '1/s', NAMES)
    const here = await run('bench:lookups', 'CONSISTENT', NAMES, LOOKUPS)
    emit('lookups_local', LOOKUPS / here, '1/s', LOOKUPS)
    const there = await run('bench:elsewhere', 'b', 'CONSISTENT', NAMES, LOOKUPS)
    emit('lookups_other_node', LOOKUPS / there, '1/s', LOOKUPS)
  },
})
