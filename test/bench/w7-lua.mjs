// W7 through the Lua module and over the admin interface: three members in three processes, every write on the disks of a majority. The load
// is one Lua process on the leader, then a process that is no node.
// usage: node w7-lua.mjs      node w7-lua.mjs --partner NAME ADDRESS: another member, which joins through that gossip address

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createNode } from '../../dist/runtime/index.js'

const self = fileURLToPath(import.meta.url)
const HOST = 'bench:host'
const READY_MS_MAX = 60_000

async function startNode(name, address) {
  const dataDir = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'moonmesh-w7-lua-'))
  process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }))
  const source = readFileSync(join(dirname(self), 'w7.lua'), 'utf8')
  const node = await createNode({
    entries: [
      { id: HOST, kind: 'process.host', lifecycle: { auto_start: true } },
      { id: 'bench:store', kind: 'store.kv.raft', namespace: 'bench', lifecycle: { auto_start: true } },
      { id: 'bench:load', kind: 'process.lua', source, method: 'load', modules: ['time', 'store'] },
    ],
    set: [
      `node.data_dir=${dataDir}`,
      `node.name=${name}`,
      'admin.http=off',
      'cluster.enabled=true',
      'cluster.membership.bind_addr=127.0.0.1',
      'cluster.membership.bind_port=0',
      'cluster.membership.gossip_interval=50ms',
      'cluster.raft.bootstrap_expect=3',
      'cluster.raft.bootstrap_stability=1s',
      ...(address === undefined ? [] : [`cluster.membership.join_addrs=${address}`]),
    ],
    log: false,
    admin: true,
  })
  await node.start()
  return { node, adminSocket: join(dataDir, name, 'admin.sock') }
}

async function until(what, isSo) {
  const deadlineMs = performance.now() + READY_MS_MAX
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${READY_MS_MAX} ms: ${what}`)
    await new Promise((next) => setTimeout(next, 100))
  }
}

const consensusOf = (node) => node.cluster.consensus

async function partner(name, address) {
  const { node } = await startNode(name, address)
  // What it is told is the server that is to lead.
  createInterface({ input: process.stdin })
    .on('line', (to) =>
      consensusOf(node)
        .transfer(to)
        .catch(() => {}),
    )
    .on('close', () => process.exit(0))
  process.stdout.write('ready\n')
}

async function main() {
  const { node, adminSocket } = await startNode('a')
  const partners = []
  for (const name of ['b', 'c']) {
    const child = spawn(process.execPath, [self, '--partner', name, node.cluster.gossipAddress], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    process.on('exit', () => child.kill('SIGKILL'))
    await new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve))
    partners.push(child)
  }
  const consensus = consensusOf(node)
  await until('a group of three', () => consensus.status().configuration.configuration.voters.length === 3)
  await until('the leader is here', () => {
    if (consensus.status().isReady) return true
    for (const { stdin } of partners) stdin.write(`${consensus.self}\n`)
    return false
  })
  const emit = (metric, value, unit, n) =>
    process.stdout.write(
      `${JSON.stringify({ workload: 'W7', peer: 'moonmesh', metric, value: Number(value.toPrecision(6)), unit, n })}\n`,
    )
  const run = (kind, clients, total) => node.exec('bench:load', { host: HOST, args: [kind, clients, total] })
  await run('put', 1, 200)
  const alone = await run('put', 1, 2000)
  emit('lua_put_1_client', 2000 / alone.seconds, '1/s', 2000)
  emit('lua_put_1_client_p50', alone.p50, 'ms', 2000)
  emit('lua_put_1_client_p99', alone.p99, 'ms', 2000)
  await run('put', 64, 12_000)
  const many = await run('put', 64, 20_000)
  emit('lua_put_64_clients', 20_000 / many.seconds, '1/s', 20_000)
  emit('lua_put_64_clients_p99', many.p99, 'ms', 20_000)
  const reads = await run('get', 64, 20_000)
  emit('lua_linearizable_read_64_clients', 20_000 / reads.seconds, '1/s', 20_000)
  const overAdmin = spawn(process.execPath, [join(dirname(self), 'w7-admin.mjs'), adminSocket, 'bench:store'], {
    stdio: 'inherit',
  })
  const code = await new Promise((resolve) => overAdmin.on('exit', resolve))
  process.exit(code)
}

if (process.argv[2] === '--partner') await partner(process.argv[3], process.argv[4])
else await main()
