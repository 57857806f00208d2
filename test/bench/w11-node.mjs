// A member for W11: gossip alone, in a process of its own. Commands come in as lines of JSON, events go out as lines of text.
// usage: node w11-node.mjs NAME PORT SETTINGS-AS-JSON

import { createInterface } from 'node:readline'
import { defaultSwimSettings } from '../../dist/cluster/swim/core/settings.js'
import { Gossip } from '../../dist/cluster/swim/driver.js'
import { packetBudget } from '../../dist/cluster/swim/wire/packet.js'
import { systemEnv } from '../../dist/runtime/driver.js'

const [name, port, settings] = process.argv.slice(2)
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
    member: ({ kind, name: peer, reason }) => {
      if (kind !== 'updated') say(`${kind === 'joined' ? 'joined' : reason} ${peer}`)
    },
    frames: () => {},
    exchangeFrames: () => [],
    nameInUse: () => {},
    epochRaised: () => {},
    log: (level, event, fields) => process.stderr.write(`${name} ${level} ${event} ${JSON.stringify(fields)}\n`),
  },
  env: systemEnv,
})
gossip.start()
say('ready')

createInterface({ input: process.stdin })
  .on('line', (line) => void gossip.join([{ host: '127.0.0.1', port: JSON.parse(line).join }]))
  // Whoever started it is gone.
  .on('close', () => process.exit(0))
