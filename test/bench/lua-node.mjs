// A node with actors in Lua, for benchmarks. Its data ends with this program.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode } from '../../dist/runtime/index.js'

export const HOST = 'bench:host'

/** Settings of a node on loopback. @param address where gossip reaches another one of the cluster; undefined: there is none yet */
export const onLoopback = (address) => [
  'cluster.enabled=true',
  'cluster.membership.bind_addr=127.0.0.1',
  'cluster.membership.bind_port=0',
  ...(address === undefined ? [] : [`cluster.membership.join_addrs=${address}`]),
]

/** An entry `NAMESPACE:METHOD` for each method of a chunk. */
export const processEntries = (namespace, { source, methods, modules }) =>
  methods.map((method) => ({ id: `${namespace}:${method}`, kind: 'process.lua', source, method, modules }))

/** @param host of `HOST`; undefined: as by default   @returns the node, which has started, and where its data lies */
export async function startNode(name, { entries, settings, host, ...options }) {
  const dataDir = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'moonmesh-bench-'))
  process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }))
  const hosts = {
    id: HOST,
    kind: 'process.host',
    lifecycle: { auto_start: true },
    ...(host === undefined ? {} : { host }),
  }
  const set = [`node.data_dir=${dataDir}`, `node.name=${name}`, 'admin.http=off', ...settings]
  const node = await createNode({ entries: [hosts, ...entries], set, log: false, ...options })
  await node.start()
  return { node, dataDir }
}
