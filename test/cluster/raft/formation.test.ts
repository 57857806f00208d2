// The driver of founding on a fabric that the test moves: what gossip, the mesh, the disk and consensus tell it, and what it makes of that.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { groupSettingsOf, packGroupSettings } from '../../../cluster/raft/agreement.ts'
import { configurationOf } from '../../../cluster/raft/core/membership.ts'
import { nameOf } from '../../../cluster/raft/core/server.ts'
import type { RaftDriver } from '../../../cluster/raft/driver.ts'
import { Formation } from '../../../cluster/raft/formation.ts'
import { type Disk, DriverGroup, FORMATION, SETTINGS } from '../../tools/driver-group.ts'
import type { FakeFabric } from '../../tools/fabric.ts'
import { both, at as setting, settingsOf } from '../config/context.ts'

const STABLE_MS = 1000
const FOUNDED_MS = 8000

let servers: DriverGroup
let formations: Map<string, Formation>
beforeEach(() => {
  servers = new DriverGroup()
  formations = new Map()
})
afterEach(async () => {
  await Promise.all([...formations.values()].map((formation) => formation.close()))
  await Promise.all([...servers.drivers.values()].map((driver) => driver.close()))
})

interface Given {
  readonly expect: number
  readonly isEligible?: boolean
  readonly hasJoinAddresses?: boolean
}

/** A server as it starts, on the disk that it has. */
async function start(name: string, given: Given): Promise<Formation> {
  const consensus = await servers.start(name)
  const { isEligible = true, hasJoinAddresses = true } = given
  const raw = both(
    setting('raft.bootstrap_expect', given.expect),
    setting('raft.bootstrap_stability', `${STABLE_MS}ms`),
  )
  const { raft, sessionTtlMs } = settingsOf(raw)
  const formation = new Formation({
    fabric: fabricOf(name),
    consensus,
    settings: { ...raft, isEligible },
    clusterId: 'test',
    failureDomain: '',
    hasJoinAddresses,
    groupSettings: packGroupSettings(groupSettingsOf(raft, sessionTtlMs)),
  })
  formations.set(name, formation)
  return formation
}

async function startAll(names: readonly string[], count = names.length): Promise<void> {
  for (const name of names) await start(name, { expect: count })
}

/** Ends a run without a word. */
async function kill(name: string): Promise<void> {
  servers.net.crash(name)
  await formations.get(name)?.close()
  await servers.drivers.get(name)?.close()
  formations.delete(name)
  servers.drivers.delete(name)
}

const fabricOf = (name: string): FakeFabric => servers.net.nodes.get(name) as FakeFabric
const tag = (name: string, key: string): string | undefined => fabricOf(name).tags.get(key)
const statuses = (): string[] => [...formations.values()].map(({ status }) => status)
const formationIds = (): Set<string | undefined> =>
  new Set([...servers.drivers.values()].map((driver) => driver.status().formation))
const logged = (name: string, event: string): number =>
  fabricOf(name).logs.filter((line) => line.startsWith(event)).length

describe('who founds a group (cluster.md §5.4)', () => {
  test('as many servers as are expected, together, once', async () => {
    await startAll(['a', 'b', 'c'])
    expect(statuses()).toEqual(['pre', 'pre', 'pre'])
    expect(tag('a', 'bootstrap_expect')).toBe('3')
    await servers.net.advance(FOUNDED_MS)
    expect(formationIds().size).toBe(1)
    expect(statuses()).toEqual(['in', 'in', 'in'])
    expect(['a', 'b', 'c'].map((name) => tag(name, 'raft_role'))).toEqual(['voter', 'voter', 'voter'])
    expect(tag('a', 'bootstrap_expect')).toBeUndefined()
    expect(servers.leader().status().formation?.slice(0, 16)).toBe(tag('b', 'formation'))
    expect(servers.leader().machine.settings).toMatchObject({ max_voters: 5, session_ttl: 15_000 })
  })

  test('nobody before the same ones were there for the time that is set', async () => {
    await startAll(['a', 'b', 'c'])
    await servers.net.advance(STABLE_MS * 0.8)
    servers.net.crash('c')
    await servers.net.advance(STABLE_MS * 0.8)
    expect(formationIds()).toEqual(new Set([undefined]))
    expect(formations.get('a')?.waitingFor).toContain('there are 2: a, b')
  })

  test('nobody while there are more of them than expected, and that is said', async () => {
    await startAll(['a', 'b', 'c', 'd'], 3)
    await servers.net.advance(FOUNDED_MS)
    expect(formationIds()).toEqual(new Set([undefined]))
    expect(logged('a', 'raft_bootstrap_too_many')).toBe(1)
    await kill('d')
    await servers.net.advance(FOUNDED_MS)
    expect(statuses()).toEqual(['in', 'in', 'in'])
  })

  test('nobody while the mesh does not reach one of them', async () => {
    servers.net.cuts.add('a c')
    await startAll(['a', 'b', 'c'])
    await servers.net.advance(FOUNDED_MS)
    expect(formationIds()).toEqual(new Set([undefined]))
    expect(formations.get('a')?.waitingFor).toContain('c')
    servers.net.heal('a', 'c')
    await servers.net.advance(FOUNDED_MS)
    expect(formationIds().size).toBe(1)
    expect(statuses()).toEqual(['in', 'in', 'in'])
  })

  test('one that expects only itself, at once where nobody is to be joined', async () => {
    await start('a', { expect: 1, hasJoinAddresses: false })
    await servers.net.advance(STABLE_MS + 2000)
    expect(servers.leader().status().role).toBe('leader')
  })

  test('not one that expects only itself and has others to join who do not answer, or who have a group', async () => {
    const alone = await start('a', { expect: 1 })
    await servers.net.advance(FOUNDED_MS)
    expect(alone.waitingFor).toBe('an answer of an address to join by')
    const member = servers.net.join('x')
    member.setTag('raft_status', 'in')
    await servers.net.advance(FOUNDED_MS)
    expect(alone.waitingFor).toBe('the group of x to add it')
  })

  test('not one that expects none, or may not vote: they wait to be added', async () => {
    expect((await start('a', { expect: 0 })).status).toBe('out')
    await start('b', { expect: 1, isEligible: false, hasJoinAddresses: false })
    await servers.net.advance(FOUNDED_MS)
    expect(formations.get('a')?.waitingFor).toContain('raft.bootstrap_expect is 0')
    expect(formations.get('b')?.waitingFor).toContain('raft.eligible is false')
    expect(logged('a', 'raft_bootstrap_waiting')).toBe(0)
    await servers.net.advance(30_000)
    expect(logged('a', 'raft_bootstrap_waiting')).toBe(1)
  })

  test('nobody while a member of a group is dead, which may only be out of reach; it may once that one has left', async () => {
    const member = servers.net.join('x')
    member.setTag('raft_status', 'in')
    await startAll(['a', 'b', 'c'])
    servers.net.crash('x')
    for (const name of ['a', 'b', 'c']) fabricOf(name).saw('joined', member)
    for (const name of ['a', 'b', 'c']) fabricOf(name).saw('left', member, 'dead')
    await servers.net.advance(FOUNDED_MS)
    expect(formationIds()).toEqual(new Set([undefined]))
    expect(formations.get('a')?.waitingFor).toContain('x, which is in a group and out of reach')
    for (const name of ['a', 'b', 'c']) fabricOf(name).saw('left', member, 'left')
    await servers.net.advance(FOUNDED_MS)
    expect(statuses()).toEqual(['in', 'in', 'in'])
  })

  test('not a server that goes', async () => {
    await startAll(['a', 'b', 'c'])
    formations.get('c')?.leave()
    expect(tag('c', 'raft_status')).toBe('leaving')
    await servers.net.advance(FOUNDED_MS)
    expect(formationIds()).toEqual(new Set([undefined]))
  })
})

describe('what goes wrong while a group is founded', () => {
  test('a disk that refuses a promise makes none: it is tried again once it works', async () => {
    await startAll(['a', 'b', 'c'])
    const disk = servers.disks.get('b') as Disk
    disk.files.isFailing = true
    await servers.net.advance(FOUNDED_MS)
    expect(formationIds()).toEqual(new Set([undefined]))
    disk.files.isFailing = false
    await servers.net.advance(30_000)
    expect(formationIds().size).toBe(1)
    expect(statuses()).toEqual(['in', 'in', 'in'])
  })

  test.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16])(
    'whoever proposes dies %i ms after it has begun, comes back, and there is one group',
    async (afterMs) => {
      await startAll(['a', 'b', 'c'])
      await servers.net.advance(STABLE_MS + 5)
      for (let ms = 0; ms < 3000 && !hasBegun(); ms++) await servers.net.advance(1)
      await servers.net.advance(afterMs)
      await kill('a')
      await servers.net.advance(3000)
      await start('a', { expect: 3 })
      await servers.net.advance(40_000)
      expect(formationIds().size).toBe(1)
      expect(statuses()).toEqual(['in', 'in', 'in'])
      expect(servers.leader().status().configuration.configuration.voters.map(nameOf)).toEqual(['a', 'b', 'c'])
    },
  )

  /** Somebody has promised, or more. */
  function hasBegun(): boolean {
    return [...servers.drivers.values()].some(({ meta }) => meta.promise !== undefined || meta.formation !== undefined)
  }
})

describe('a server of a group', () => {
  test('says so from its disk, before there is a leader, and founds no other', async () => {
    await startAll(['a', 'b', 'c'])
    await servers.net.advance(FOUNDED_MS)
    const [id] = formationIds()
    for (const name of ['a', 'b', 'c']) await kill(name)
    const again = await start('a', { expect: 3 })
    expect(again.status).toBe('in')
    expect(tag('a', 'formation')).toBe(id?.slice(0, 16))
    // Two others without a past do not bring it to found another one.
    servers.disks.delete('b')
    servers.disks.delete('c')
    await startAll(['b', 'c'], 3)
    await servers.net.advance(FOUNDED_MS)
    expect(formations.get('b')?.waitingFor).toBe('the group of a to add it')
    expect(formationIds()).toEqual(new Set([id, undefined]))
  })

  test('that meets another group fails its check, and says who is in which once a minute', async () => {
    await startAll(['a', 'b', 'c'])
    await servers.net.advance(FOUNDED_MS)
    const other = servers.net.join('x')
    other.setTag('raft_status', 'in')
    other.setTag('formation', FORMATION.slice(0, 16))
    await servers.net.advance(90_000)
    expect(formations.get('a')?.health()).toMatchObject({ ok: false, detail: expect.stringContaining('(x)') })
    expect(logged('a', 'formation_conflict')).toBe(2)
  })

  test('that has left is no member when it starts again, until a leader adds it', async () => {
    const leader = await servers.form(['a', 'b', 'c', 'd'])
    for (const name of ['a', 'b', 'c', 'd']) await start(name, { expect: 4 })
    await servers.net.advance(5000)
    const led = servers.leader()
    const [gone] = servers.followers() as [RaftDriver]
    const name = nameOf(gone.self)
    expect(leader.status().formation).toBe(FORMATION)
    // Its own log never hears of it.
    for (const other of servers.drivers.keys()) if (other !== name) servers.net.cuts.add(`${name} ${other}`)
    await servers.settled(led.changeMembership({ op: 'remove', server: gone.self }))
    await formations.get(name)?.retired(led.status().configuration.index)
    await kill(name)
    const again = await start(name, { expect: 4 })
    const driver = servers.drivers.get(name)
    expect(again.isRetired).toBe(true)
    expect(again.waitingFor).toContain('it had left the group')
    expect(tag(name, 'raft_role')).toBe('client')
    const { term } = gone.status()
    await servers.net.advance(5000)
    expect(driver?.status().term).toBe(term)
    servers.net.cuts.clear()
    await servers.settled(led.changeMembership({ op: 'add-standby', server: gone.self }))
    await servers.net.advance(2000)
    expect(again.isRetired).toBe(false)
    expect(tag(name, 'raft_role')).toBe('standby')
    expect(again.waitingFor).toBeUndefined()
  })

  test('whose store is made anew begins as one without a group', async () => {
    const configuration = configurationOf(['a', 'b', 'c'].map((name) => `${name}/${'1'.repeat(32)}`))
    const formation = await start('d', { expect: 0 })
    const driver = servers.drivers.get('d') as RaftDriver
    await servers.settled(driver.form(FORMATION, configuration, SETTINGS))
    await servers.net.advance(100)
    expect(formation.status).toBe('in')
    await servers.settled(driver.reset())
    await servers.net.advance(100)
    expect(formation.status).toBe('out')
    expect(tag('d', 'formation')).toBeUndefined()
    expect(tag('d', 'store')).toBe(driver.meta.storeId.slice(0, 16))
  })
})
