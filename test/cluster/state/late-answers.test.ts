// Answers that come when the session in which something was given is over. cluster.md §5.10, §13 K1.

import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Command } from '../../../cluster/state/core/commands.ts'
import { ClusterState } from '../../../cluster/state/state.ts'
import { decodeEnvelope, encodeEnvelope } from '../../../cluster/state/wire/commands.ts'
import { FabricNet } from '../../tools/fabric.ts'
import { OneServer } from '../../tools/one-server.ts'

const SESSION = { ttlMs: 15_000, renewIntervalMs: 3000, graceCount: 3 }
const PID = '{a@h|1.1}'

/** Commits at once, and answers what gives something a second later. */
class SlowToAnswer extends OneServer {
  readonly fabricNet: FabricNet

  constructor(net: FabricNet) {
    super(net.join('m'))
    this.fabricNet = net
  }

  override async propose(command: Uint8Array) {
    const outcome = await super.propose(command)
    const { kind } = decodeEnvelope(command).command
    const isGiving = kind === 'lock-acquire' || kind === 'register'
    if (isGiving) await new Promise<void>((done) => this.fabricNet.after(1000, done))
    return outcome
  }
}

let net: FabricNet
let server: SlowToAnswer
let states: ClusterState[]

beforeEach(async () => {
  net = new FabricNet()
  server = new SlowToAnswer(net)
  const m = net.nodes.get('m')
  if (m === undefined) throw new Error('m')
  states = [
    new ClusterState({ fabric: m, consensus: server, session: SESSION, role: 'server' }),
    new ClusterState({ fabric: net.join('a'), consensus: undefined, session: SESSION, role: 'client' }),
  ]
  for (const state of states) state.start()
  await net.advance(2000)
})

afterEach(async () => {
  for (const state of states) void state.close()
  await net.advance(3000)
})

test.each<Command>([
  { kind: 'lock-acquire', name: 'l', pid: PID, waitMs: 0, ttlMs: 0 },
  { kind: 'register', name: 'x', pid: PID },
])('of $kind: it is gone, and whoever asked does not think that it has it', async (command) => {
  const a = states[1] as ClusterState
  const { session } = a.session()
  const answer = a.submit(command).then(
    (outcome) => outcome.status,
    ({ kind, details }) => [kind, details.ambiguous],
  )
  await net.advance(100)
  const down = { kind: 'node-down', node: 'a', session, reason: 'silent' } as const
  void server.propose(encodeEnvelope({ session: 0, seq: 0, floor: 0, command: down }))
  await net.advance(500)
  expect(a.session().state).toBe('open')
  expect(a.session().session).toBeGreaterThan(session)
  await net.advance(2000)
  expect(server.machine.locks.holder('l')).toBeUndefined()
  expect(server.machine.names.lookup('x')).toBeUndefined()
  expect(await answer).toEqual(['Unavailable', true])
})
