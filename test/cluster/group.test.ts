import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Group } from '../../cluster/group.ts'
import { nameOf } from '../../cluster/raft/core/server.ts'
import { DriverGroup } from '../tools/driver-group.ts'
import { both, at as setting, settingsOf } from './config/context.ts'

const HEARTBEAT_MS = 300
const WARN_AFTER_MS = 31_000

let servers: DriverGroup
let groups: Map<string, Group>
beforeEach(() => {
  servers = new DriverGroup()
  groups = new Map()
})
afterEach(async () => {
  await Promise.all([...groups.values()].map((group) => group.close()))
  await Promise.all([...servers.drivers.values()].map((driver) => driver.close()))
})

/** The part that a server has in its group. */
function partOf(name: string): Group {
  const fabric = servers.net.nodes.get(name)
  const consensus = servers.drivers.get(name)
  if (fabric === undefined || consensus === undefined) throw new Error(`${name} is not there`)
  const raw = both(setting('raft.heartbeat_timeout', '300ms'), setting('raft.election_timeout', '300ms'))
  const settings = settingsOf(both(raw, setting('raft.bootstrap_expect', 3)))
  const group = new Group({ fabric, consensus, settings, onEvent: () => {} })
  groups.set(name, group)
  return group
}

/** @returns the part of the leader */
async function form(names: readonly string[]): Promise<Group> {
  const leader = await servers.form(names, { heartbeatTimeoutMs: HEARTBEAT_MS })
  for (const name of names) partOf(name)
  return groups.get(nameOf(leader.self)) as Group
}

describe('a graceful stop (cluster.md §5.9)', () => {
  const waiting = (name: string): number =>
    (servers.net.nodes.get(name)?.logs ?? []).filter((line) => line.startsWith('raft_bootstrap_waiting')).length

  test('of a member warns of no group that it waits for', async () => {
    await form(['a', 'b', 'c'])
    await servers.net.advance(WARN_AFTER_MS)
    const group = groups.get('a') as Group
    await servers.settled(group.stepAside({ isForGood: false }))
    await servers.net.advance(WARN_AFTER_MS)
    expect(waiting('a')).toBe(0)
    expect(group.status().waitingFor).toBeUndefined()
  })

  test('of a server that is in no group yet warns no more', async () => {
    await servers.start('a')
    const group = partOf('a')
    await servers.net.advance(WARN_AFTER_MS)
    expect(waiting('a')).toBe(1)
    await servers.settled(group.stepAside({ isForGood: false }))
    await servers.net.advance(2 * WARN_AFTER_MS)
    expect(waiting('a')).toBe(1)
  })
})
