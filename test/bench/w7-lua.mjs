// W7 through the Lua module and over the admin interface: three members in three processes, every write on the disks of a majority. The load
// is one Lua process on the leader, then a process that is no node.
// usage: node w7-lua.mjs

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { emitter, threeNodes } from './three-nodes.mjs'

const program = fileURLToPath(import.meta.url)
const here = dirname(program)
const source = readFileSync(join(here, 'w7.lua'), 'utf8')

await threeNodes({
  program,
  entries: [
    { id: 'bench:store', kind: 'store.kv.raft', namespace: 'bench', lifecycle: { auto_start: true } },
    { id: 'bench:load', kind: 'process.lua', source, method: 'load', modules: ['time', 'store'] },
  ],
  async work(run, { adminSocket }) {
    const emit = emitter('W7')
    await run('bench:load', 'put', 1, 200)
    const alone = await run('bench:load', 'put', 1, 2000)
    emit('lua_put_1_client', 2000 / alone.seconds, '1/s', 2000)
    emit('lua_put_1_client_p50', alone.p50, 'ms', 2000)
    emit('lua_put_1_client_p99', alone.p99, 'ms', 2000)
    await run('bench:load', 'put', 64, 12_000)
    const many = await run('bench:load', 'put', 64, 20_000)
    emit('lua_put_64_clients', 20_000 / many.seconds, '1/s', 20_000)
    emit('lua_put_64_clients_p99', many.p99, 'ms', 20_000)
    const reads = await run('bench:load', 'get', 64, 20_000)
    emit('lua_linearizable_read_64_clients', 20_000 / reads.seconds, '1/s', 20_000)
    const load = [join(here, 'w7-admin.mjs'), adminSocket, 'bench:store']
    const overAdmin = spawn(process.execPath, load, { stdio: 'inherit' })
    const code = await new Promise((resolve) => overAdmin.on('exit', resolve))
    if (code !== 0) throw new Error(`the load over the admin interface ended with ${code}`)
  },
})
