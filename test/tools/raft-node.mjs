// A member of a group in a process of its own: a cluster as in every node, without actors. Commands come in as lines of
// JSON `{id, do, …}`, answers go out as lines `{id, …}`; the first line says where it listens and which store it has.
// usage: node raft-node.mjs NAME DATA-DIR|memory SETTINGS-AS-JSON

import { createInterface } from 'node:readline'
import { clusterSettings } from '../../.modules/cluster/config.js'
import { Cluster } from '../../.modules/cluster/index.js'
import { CHANNEL_CLASSES } from '../../.modules/cluster/mesh/core/classes.js'
import { systemEnv } from '../../.modules/runtime/driver.js'

const [name, dataDir, settingsText = '{}'] = process.argv.slice(2)
const { raft = {}, membership = {}, ...rest } = JSON.parse(settingsText)
const NAMESPACE = 'test'
const PACKAGE_VERSION = '0.1.0'

const reading = clusterSettings(
  {
    enabled: true,
    id: 'test',
    name,
    membership: { bind_addr: '127.0.0.1', bind_port: 0, ...membership },
    internode: { bind_addr: '127.0.0.1', bind_port: 0 },
    raft: { data_dir: dataDir, bootstrap_expect: 0, ...raft },
    ...rest,
  },
  {
    hostName: name,
    nodeName: name,
    dataDir,
    interfaces: [{ name: 'lo', address: '127.0.0.1' }],
    packageVersion: PACKAGE_VERSION,
    nowMs: Date.now(),
    resolvePath: (_path, text) => text,
    readFile: () => ({ ok: false, why: 'there are no files' }),
  },
)
if (reading.settings === undefined) throw new Error(JSON.stringify(reading.problems))

const log = (level, fields, text) => {
  if (process.env.RAFT_NODE_LOG)
    process.stderr.write(`${Date.now()} ${name} ${level} ${text} ${JSON.stringify(fields)}\n`)
}
const cluster = await Cluster.start({
  settings: reading.settings,
  epoch: Date.now(),
  packageVersion: PACKAGE_VERSION,
  env: systemEnv,
  handlers: {
    member: () => {},
    epochRaised: () => {},
    failed: (error) => {
      throw error
    },
    log,
  },
})
await cluster.connect({ up: () => {}, down: () => {}, message: () => {} })
const { consensus, state } = cluster

async function put(key, value) {
  const what = { key, value, ttlMs: 0, keepsExpiry: false }
  const command = { kind: 'put', namespace: NAMESPACE, put: what, condition: 'none', fence: undefined }
  return state.submit({ kind: 'kv', command })
}

async function get(key) {
  await state.barrier()
  return consensus.machine.store.get(NAMESPACE, key)
}

const commands = {
  join: async ({ to }) => ({ joined: await cluster.join([to]) }),
  form: async ({ formation, voters, standbys = [] }) => {
    await consensus.form(formation, { voters, standbys }, Uint8Array.of(0x80))
    return {}
  },
  status: async () => {
    const { leader, role, term, commit, applied, configuration, failure, isReady, followers } = consensus.status()
    const linked = cluster.fabric.linked().map((node) => node.name)
    return { leader, role, term, commit, applied, configuration, failure, isReady, followers, linked }
  },
  put: async ({ key, value }) => ({ outcome: await put(key, Buffer.from(value)) }),
  get: async ({ key }) => {
    const entry = await get(key)
    return { value: entry === undefined ? null : Buffer.from(entry.value).toString(), version: entry?.version ?? 0 }
  },
  change: async ({ change }) => {
    await consensus.changeMembership(change)
    return {}
  },
  transfer: async ({ to }) => ({ leader: await consensus.transfer(to) }),
  digest: async () => ({ index: consensus.machine.index, digest: consensus.machine.digest() }),
  cpu: async () => ({ cpu: process.cpuUsage() }),
  traffic: async () => {
    let [raftBytes, otherBytes] = [0, 0]
    for (const { sent, received } of cluster.meshStatistics().bytes.values()) {
      for (const [at, name] of CHANNEL_CLASSES.entries()) {
        const bytes = sent[at] + received[at]
        if (name === 'raft' || name === 'rlog') raftBytes += bytes
        else otherBytes += bytes
      }
    }
    const { bytesIn, bytesOut } = cluster.statistics()
    return { cpu: process.cpuUsage(), raftBytes, otherBytes: otherBytes + bytesIn + bytesOut }
  },
  bench: async ({ peer }) => {
    const { bench } = await import('../bench/w7-load.mjs')
    const write = async (key, value) => {
      const outcome = await put(key, value)
      if (outcome.status !== 'kv' || !outcome.result.ok) throw new Error(JSON.stringify(outcome))
    }
    await bench({ peer, write, read: get })
    return {}
  },
  close: async () => {
    await cluster.close()
    return {}
  },
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`)
say({ gossip: cluster.gossipAddress, self: consensus.self, formation: consensus.status().formation })
createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, do: what, ...args } = JSON.parse(line)
    try {
      say({ id, ok: true, ...(await commands[what](args)) })
    } catch (error) {
      say({ id, ok: false, kind: error.kind ?? 'Error', message: error.message, details: error.details })
    }
  })
  // Whoever started it is gone.
  .on('close', () => process.exit(0))
