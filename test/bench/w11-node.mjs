// A member for W11: gossip alone, or with the mesh beside it as in every node, in a process of its own. Commands come in as lines of JSON, events go out as lines of text.
// usage: node w11-node.mjs NAME PORT gossip|mesh SETTINGS-AS-JSON

import { createInterface } from 'node:readline'
import { Cluster } from '../../.modules/cluster/cluster.js'
import { clusterSettings } from '../../.modules/cluster/config.js'
import { defaultSwimSettings } from '../../.modules/cluster/swim/core/settings.js'
import { Gossip } from '../../.modules/cluster/swim/driver.js'
import { packetBudget } from '../../.modules/cluster/swim/wire/packet.js'
import { systemEnv } from '../../.modules/runtime/driver.js'

const [name, port, parts, settings] = process.argv.slice(2)
const envelope = {
  label: Buffer.alloc(0),
  encryptionVersion: 1,
  verifyIncoming: true,
  verifyOutgoing: true,
  compression: true,
}
const say = (line) => process.stdout.write(`${line}\n`)

// What a node of a real cluster tells of itself.
const tags = {
  role: 'moonmesh',
  version: '0.1.0',
  internode_port: '7950',
  mesh: '1-1',
  raft_eligible: 'true',
  raft_priority: '100',
  raft_status: 'in',
  raft_role: 'standby',
  store: '0123456789abcdef',
  formation: 'fedcba9876543210',
}

const log = (level, event, fields) => process.stderr.write(`${name} ${level} ${event} ${JSON.stringify(fields)}\n`)
const member = ({ kind, name: peer, reason }) => {
  if (kind !== 'updated') say(`${kind === 'joined' ? 'joined' : reason} ${peer}`)
}

/** @returns joins through a port of this machine */
async function openGossip() {
  const gossip = await Gossip.open({
    name,
    clusterId: 'bench',
    epoch: Date.now(),
    tags: new Map(Object.entries(tags)),
    bind: { host: '127.0.0.1', port: Number(port) },
    advertise: { host: '127.0.0.1' },
    seeds: [],
    settings: {
      ...defaultSwimSettings,
      packetBudgetBytes: packetBudget(1400, envelope),
      ...JSON.parse(settings ?? '{}'),
    },
    envelope,
    handlers: {
      member,
      frames: () => {},
      exchangeFrames: () => [],
      nameInUse: () => {},
      epochRaised: () => {},
      log,
    },
    env: systemEnv,
  })
  gossip.start()
  return (to) => gossip.join([{ host: '127.0.0.1', port: to }])
}

/** Links between all, nothing said over them. @returns as openGossip */
async function openCluster() {
  const raw = {
    enabled: true,
    id: 'bench',
    name,
    membership: { bind_addr: '127.0.0.1', bind_port: Number(port), ...JSON.parse(settings ?? '{}') },
    internode: { bind_addr: '127.0.0.1', bind_port: 0 },
  }
  const reading = clusterSettings(raw, {
    hostName: name,
    nodeName: name,
    dataDir: '/tmp',
    interfaces: [{ name: 'lo', address: '127.0.0.1' }],
    packageVersion: tags.version,
    nowMs: Date.now(),
    resolvePath: (_path, text) => text,
    readFile: () => ({ ok: false, why: 'there are no files' }),
  })
  if (reading.settings === undefined) throw new Error(JSON.stringify(reading.problems))
  const cluster = await Cluster.start({
    settings: reading.settings,
    epoch: Date.now(),
    packageVersion: tags.version,
    env: systemEnv,
    handlers: {
      member,
      epochRaised: () => {},
      failed: (error) => {
        throw error
      },
      log: (level, { event, ...fields }) => {
        if (level !== 'info' && !QUIET.includes(event)) log(level, event, fields)
      },
    },
  })
  await cluster.connect({ up: () => {}, down: () => {}, message: () => {} })
  return (to) => cluster.join([`127.0.0.1:${to}`])
}

/** What is expected when somebody is killed. */
const QUIET = ['mesh_dial_failed']

const join = parts === 'mesh' ? await openCluster() : await openGossip()
say('ready')

createInterface({ input: process.stdin })
  .on('line', (line) => void join(JSON.parse(line).join))
  // Whoever started it is gone.
  .on('close', () => process.exit(0))
