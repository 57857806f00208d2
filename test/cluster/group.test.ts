import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Group } from '../../cluster/group.ts'
import { nameOf } from '../../cluster/raft/core/server.ts'
import type { RaftDriver } from '../../cluster/raft/driver.ts'
import { type Disk, DriverGroup, FORMATION, SETTLED_MS } from '../tools/driver-group.ts'
import { both, at as setting, settingsOf } from './config/context.ts'

const HEARTBEAT_MS = 300
const WARN_AFTER_MS = 31_000

let servers: DriverGroup
let groups: Map<string, Group>
/** Kinds of events of all groups. */
let told: string[]
beforeEach(() => {
  servers = new DriverGroup()
  groups = new Map()
  told = []
})
afterEach(async () => {
  await Promise.all([...groups.values()].map((group) => group.close()))
  await Promise.all([...servers.drivers.values()].map((driver) => driver.close()))
})

const checksOf = (group: Group | undefined): Record<string, boolean> =>
  Object.fromEntries((group as Group).checks().map(({ name, ok }) => [name, ok]))
const detailOf = (group: Group | undefined, check: string): string | undefined =>
  group?.checks().find(({ name }) => name === check)?.detail

/** The part that a server has in its group. */
function partOf(name: string): Group {
  const fabric = servers.net.nodes.get(name)
  const consensus = servers.drivers.get(name)
  if (fabric === undefined || consensus === undefined) throw new Error(`${name} is not there`)
  const raw = both(setting('raft.heartbeat_timeout', '300ms'), setting('raft.election_timeout', '300ms'))
  const settings = settingsOf(both(raw, setting('raft.bootstrap_expect', 3)))
  const group = new Group({ fabric, consensus, settings, onEvent: ({ kind }) => told.push(kind) })
  groups.set(name, group)
  return group
}

/** @returns the part of the leader */
async function form(names: readonly string[]): Promise<Group> {
  const leader = await servers.form(names, { heartbeatTimeoutMs: HEARTBEAT_MS })
  for (const name of names) partOf(name)
  return groups.get(nameOf(leader.self)) as Group
}

describe('contact and quorum (cluster.md §11)', () => {
  test('a leader that has only just been elected, and whom nobody has answered yet, has a quorum and contact', async () => {
    await form(['a', 'b', 'c'])
    const before = servers.leader()
    const seen: { quorum: boolean; contact: boolean | undefined; answered: number }[] = []
    for (const [name, group] of groups) {
      servers.drivers.get(name)?.onStatus(() => {
        const status = servers.drivers.get(name)?.status()
        if (status?.role !== 'leader' || status.self === before.self) return
        const answered = status.followers.filter(({ silentMs }) => Number.isFinite(silentMs)).length
        seen.push({ quorum: group.status().hasQuorum, contact: checksOf(group)['raft_last_contact'], answered })
      })
    }
    await servers.settled(before.transfer())
    expect(seen[0]).toEqual({ quorum: true, contact: true, answered: 0 })
    expect(seen.every(({ quorum, contact }) => quorum && contact === true)).toBe(true)
  })

  test('a leader whose event loop stood still does not doubt itself before it has looked', async () => {
    const leader = await form(['a', 'b', 'c'])
    servers.net.env.advance(HEARTBEAT_MS + 50)
    expect(leader.status()).toMatchObject({ role: 'leader', hasQuorum: true })
    expect(checksOf(leader)['raft_last_contact']).toBe(true)
  })

  test('a leader that is cut off has no quorum once check-quorum has ended its leadership, and no contact after half a minute', async () => {
    const leader = await form(['a', 'b', 'c'])
    const name = nameOf(servers.leader().self)
    for (const other of groups.keys()) if (other !== name) servers.net.cut(name, other)
    await servers.net.advance(HEARTBEAT_MS * 1.2)
    expect(leader.status()).toMatchObject({ role: 'voter', leader: undefined, hasQuorum: false })
    expect(checksOf(leader)['raft_last_contact']).toBe(true)
    await servers.net.advance(60_000)
    expect(checksOf(leader)['raft_last_contact']).toBe(false)
    const others = [...groups].filter(([other]) => other !== name).map(([, group]) => group)
    expect(others.map((group) => group.status().hasQuorum)).toEqual([true, true])
  })
})

test('who is left without a majority names the voters that are missing', async () => {
  await form(['a', 'b', 'c'])
  const [one, other] = servers.followers().map(({ self }) => nameOf(self)) as [string, string]
  const leader = nameOf(servers.leader().self)
  for (const name of [leader, other]) {
    servers.net.crash(name)
    await servers.drivers.get(name)?.close()
  }
  await servers.net.advance(90_000)
  const group = groups.get(one)
  expect(group?.status()).toMatchObject({ role: 'voter', leader: undefined, hasQuorum: false })
  expect(checksOf(group)).toMatchObject({ raft_last_contact: false, disk: true, fsm: true })
  expect(detailOf(group, 'raft_last_contact')).toContain(
    `2 of 3 voters are not seen: ${[leader, other].sort().join(', ')}`,
  )
})

test('a voter whose node lost its store is missing, though the node is there', async () => {
  await form(['a', 'b', 'c'])
  const [one, other] = servers.followers().map(({ self }) => nameOf(self)) as [string, string]
  const leader = nameOf(servers.leader().self)
  for (const name of [leader, other]) {
    servers.net.crash(name)
    await groups.get(name)?.close()
    await servers.drivers.get(name)?.close()
  }
  servers.disks.delete(other)
  await servers.start(other)
  partOf(other)
  await servers.net.advance(90_000)
  const told = [leader, `${other} with the store that it had before`].sort().join(', ')
  expect(detailOf(groups.get(one), 'raft_last_contact')).toContain(`2 of 3 voters are not seen: ${told}`)
})

test('a node whose store is replaced by another is a voter before and after, and nobody is told that it is none', async () => {
  await form(['a', 'b', 'c'])
  const leader = servers.leader()
  const [one] = servers.followers().map(({ self }) => nameOf(self)) as [string]
  const old = servers.drivers.get(one)?.self as string
  servers.net.crash(one)
  await groups.get(one)?.close()
  await servers.drivers.get(one)?.close()
  servers.disks.delete(one)
  const { self: anew } = await servers.start(one)
  told.length = 0
  await servers.settled(leader.changeMembership({ op: 'add-standby', server: anew }))
  const isSynced = (): boolean => leader.status().followers.some((each) => each.server === anew && each.isSynced)
  for (let ms = 0; ms < SETTLED_MS && !isSynced(); ms += 100) await servers.net.advance(100)
  await servers.settled(leader.changeMembership({ op: 'promote', server: anew }))
  await servers.settled(leader.changeMembership({ op: 'remove', server: old }))
  await servers.net.advance(1000)
  expect(leader.status().configuration.configuration.voters).toContain(anew)
  expect(told.filter((kind) => kind !== 'leader.changed')).toEqual([])
})

describe('what keeps a server silent (cluster.md §11)', () => {
  test('the check `disk` fails from the failure of a write until the store was opened anew', async () => {
    const leader = await form(['a', 'b', 'c'])
    const driver = servers.leader()
    const disk = servers.disks.get(nameOf(driver.self)) as Disk
    const others = { raft_formation: true, raft_settings: true, raft_last_contact: true }
    expect(checksOf(leader)).toEqual({ ...others, disk: true, fsm: true })
    disk.isFailing = true
    await expect(servers.settled(driver.propose(servers.up('x')))).rejects.toMatchObject({ kind: 'LeadershipLost' })
    expect(checksOf(leader)).toEqual({ ...others, disk: false, fsm: true })
    expect(detailOf(leader, 'disk')).toContain('the disk is full')
    disk.isFailing = false
    await servers.net.advance(12_000)
    expect(checksOf(leader)['disk']).toBe(true)
  })

  test('the check `fsm` fails when the replica has halted, and goes on failing', async () => {
    const leader = await form(['a', 'b', 'c'])
    const halted = servers.leader()
    servers.hosts.get(nameOf(halted.self))?.onHalt(new Error('entry 7 makes no sense'))
    expect(checksOf(leader)).toMatchObject({ disk: true, fsm: false })
    expect(detailOf(leader, 'fsm')).toContain('entry 7 makes no sense')
    await servers.net.advance(SETTLED_MS)
    expect(checksOf(leader)).toMatchObject({ disk: true, fsm: false })
    // Another store does not make it go again.
    await expect(servers.settled(halted.reset())).rejects.toMatchObject({ kind: 'Unavailable' })
    expect(checksOf(leader)).toMatchObject({ disk: true, fsm: false })
  })

  test('a node that stops has no check that fails for it', async () => {
    const leader = await form(['a', 'b', 'c'])
    await servers.leader().close()
    expect(checksOf(leader)).toMatchObject({ disk: true, fsm: true, raft_last_contact: true })
  })

  test('a client passes', () => {
    const fabric = servers.net.join('client')
    const settings = settingsOf(setting('raft.role', 'client'))
    const client = new Group({ fabric, consensus: undefined, settings, onEvent: () => {} })
    groups.set('client', client)
    expect(Object.values(checksOf(client))).toEqual([true, true, true, true, true])
  })
})

describe('the members of a group (cluster.md §5.8)', () => {
  test('are kept right by every leader, also when nothing happens after its election', async () => {
    await form(['a', 'b', 'c'])
    const before = servers.leader()
    const [, victim] = servers.followers() as [RaftDriver, RaftDriver]
    const [successor] = servers.followers() as [RaftDriver]
    await servers.settled(before.transfer(successor.self))
    await servers.net.advance(SETTLED_MS)
    await servers.settled(victim.reset())
    await servers.net.advance(60_000)
    const { voters } = successor.status().configuration.configuration
    expect(voters).toEqual([before, successor, victim].map(({ self }) => self).sort())
  })
  test('a store that gave up a group and is made anew remembers that, however long it takes', async () => {
    await form(['a', 'b', 'c'])
    const late = await servers.start('d')
    await late.changeMeta((meta) => ({ ...meta, released: [FORMATION] }))
    const before = late.self
    const disk = servers.disks.get('d') as Disk
    disk.isWipeFailing = true
    partOf('d')
    await servers.net.advance(7000)
    expect(late.self).toBe(before)
    disk.isWipeFailing = false
    await servers.net.advance(30_000)
    expect(late.self).not.toBe(before)
    expect(late.meta).toMatchObject({ released: [], releasedBefore: [FORMATION], formation: FORMATION })
  })
})

describe('leadership leaves a slow disk (cluster.md §5.6)', () => {
  test('to the voter whose disk is fast, though another has as much of the log', async () => {
    await form(['a', 'b', 'c'])
    const leader = servers.leader()
    const [fast, slow] = servers.followers().map(({ self }) => nameOf(self)) as [string, string]
    const diskOf = (name: string): Disk => servers.disks.get(name) as Disk
    diskOf(nameOf(leader.self)).syncMs = HEARTBEAT_MS / 2
    diskOf(slow).syncMs = HEARTBEAT_MS / 4
    diskOf(fast).syncMs = 1
    await servers.settled(leader.propose(servers.up('x')))
    await servers.net.advance(9000)
    expect(servers.leader()).toBe(leader)
    await servers.net.advance(6000)
    expect(nameOf(servers.leader().self)).toBe(fast)
  })

  test('not when all are slow', async () => {
    await form(['a', 'b', 'c'])
    const leader = servers.leader()
    for (const disk of servers.disks.values()) disk.syncMs = HEARTBEAT_MS / 2
    await servers.settled(leader.propose(servers.up('x')))
    await servers.net.advance(60_000)
    expect(servers.leader()).toBe(leader)
  })
})

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
