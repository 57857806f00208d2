// The driver of membership on a fabric that the test moves: whose orders a leader follows, and whom it adds and removes by itself.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agreement, groupSettingsOf, packGroupSettings } from '../../../cluster/raft/agreement.ts'
import { nameOf } from '../../../cluster/raft/core/server.ts'
import type { RaftDriver } from '../../../cluster/raft/driver.ts'
import { Formation } from '../../../cluster/raft/formation.ts'
import { Membership } from '../../../cluster/raft/membership.ts'
import { pack } from '../../../runtime/base/msgpack.ts'
import { DriverGroup } from '../../tools/driver-group.ts'
import type { FakeFabric } from '../../tools/fabric.ts'
import { both, at as setting, settingsOf } from '../config/context.ts'

const GRACE_MS = 15_000
const SETTLED_MS = 3000

interface Part {
  readonly formation: Formation
  readonly membership: Membership
  readonly agreement: Agreement
  close(): Promise<void>
}

let servers: DriverGroup
let parts: Map<string, Part>
beforeEach(() => {
  servers = new DriverGroup()
  parts = new Map()
})
afterEach(async () => {
  await Promise.all([...parts.values()].map((part) => part.close()))
  await Promise.all([...servers.drivers.values()].map((driver) => driver.close()))
})

const SECTION = [
  setting('raft.evict_grace', `${GRACE_MS}ms`),
  setting('raft.reconcile_debounce', '100ms'),
  setting('raft.heartbeat_timeout', '300ms'),
  setting('raft.election_timeout', '300ms'),
].reduce((all, each) => both(all, each))

function settingsWith(...more: Record<string, unknown>[]): ReturnType<typeof settingsOf> {
  return settingsOf(more.reduce((all, each) => both(all, each), SECTION))
}

/** What a node does beside its consensus. */
function attend(name: string, settings = settingsWith()): Part {
  const fabric = fabricOf(name)
  const consensus = servers.drivers.get(name) as RaftDriver
  const { raft, sessionTtlMs } = settings
  const own = groupSettingsOf(raft, sessionTtlMs)
  const agreement = new Agreement({ fabric, consensus, own })
  const formation = new Formation({
    ...{ fabric, consensus, settings: raft, clusterId: 'test', failureDomain: '', hasJoinAddresses: true },
    groupSettings: packGroupSettings(own),
  })
  const membership = new Membership({ fabric, consensus, agreement, settings: raft, failureDomain: '' })
  const close = async (): Promise<void> => {
    membership.close()
    agreement.close()
    await formation.close()
  }
  const part = { formation, membership, agreement, close }
  parts.set(name, part)
  return part
}

/** @returns the leader of a group in which everybody is looked after */
async function form(names: readonly string[]): Promise<RaftDriver> {
  await servers.form(names)
  for (const name of names) attend(name)
  await servers.net.advance(SETTLED_MS)
  return servers.leader()
}

const fabricOf = (name: string): FakeFabric => servers.net.nodes.get(name) as FakeFabric
const part = (name: string): Part => parts.get(name) as Part
const others = (): [string, string] => servers.followers().map(({ self }) => nameOf(self)) as [string, string]
const refusal = (promise: Promise<unknown>): Promise<{ kind?: string; message?: string }> =>
  promise.then(
    () => ({}),
    (error) => error,
  )

function members(): { voters: string[]; standbys: string[] } {
  const { voters, standbys } = servers.leader().status().configuration.configuration
  return { voters: voters.map(nameOf), standbys: standbys.map(nameOf) }
}

async function kill(name: string): Promise<void> {
  servers.net.crash(name)
  await parts.get(name)?.close()
  await servers.drivers.get(name)?.close()
  parts.delete(name)
  servers.drivers.delete(name)
}

describe('who is taken out of the group at whose word (cluster.md §5.9)', () => {
  test('a node that leaves, at its own', async () => {
    await form(['a', 'b', 'c'])
    const [one] = others()
    part(one).formation.leave()
    const index = await servers.settled(part(one).membership.retire(5000))
    expect(index).toBeGreaterThan(1)
    expect(index).toBeLessThanOrEqual(servers.leader().status().configuration.index)
    expect(members().voters).not.toContain(one)
    expect(part(nameOf(servers.leader().self)).membership.statistics.evictions.left).toBe(1)
  })

  test('not one for which another asks, as long as it does not say itself that it leaves', async () => {
    const leader = await form(['a', 'b', 'c'])
    const [one, other] = others()
    const server = servers.drivers.get(other)?.self as string
    const ask = (): Promise<unknown> =>
      fabricOf(one).request({ name: nameOf(leader.self), epoch: 0 }, 'raft.leave', pack({ server, hop: true }))
    const refused = await servers.settled(refusal(ask()))
    expect(refused).toMatchObject({ kind: 'Unavailable' })
    expect(refused.message).toContain(`${one} asks that ${other} be taken out`)
    expect(members().voters).toContain(other)
    part(other).formation.leave()
    await servers.settled(ask())
    expect(members().voters).not.toContain(other)
  })

  test('a leader not before it has handed over', async () => {
    const leader = await form(['a', 'b', 'c'])
    const name = nameOf(leader.self)
    expect(await servers.settled(refusal(part(name).membership.retire(5000)))).toMatchObject({ kind: 'Conflict' })
    const [next] = others()
    expect(await servers.settled(part(name).membership.transfer(next))).toBe(next)
    part(name).formation.leave()
    await servers.settled(part(name).membership.retire(5000))
    expect(members().voters).not.toContain(name)
  })

  test('one that is gone, at that of an operator on any node; not one that is there', async () => {
    await form(['a', 'b', 'c'])
    const [one, other] = others()
    const { membership } = part(one)
    expect(await servers.settled(refusal(membership.remove(other)))).toMatchObject({ kind: 'Conflict' })
    expect(await servers.settled(refusal(membership.remove('nobody')))).toMatchObject({ kind: 'NotFound' })
    await kill(other)
    await servers.settled(membership.remove(other))
    expect(members().voters).not.toContain(other)
  })

  describe('of a node that lost its store, while both of its servers are members,', () => {
    let one: string
    let other: string
    let old: string
    let anew: string
    beforeEach(async () => {
      const leader = await servers.form(['a', 'b', 'c'])
      ;[one, other] = others()
      // Nobody tidies up before the test has looked.
      const patient = settingsWith(setting('raft.reconcile_debounce', '60s'))
      for (const name of [nameOf(leader.self), other]) attend(name, patient)
      old = servers.drivers.get(one)?.self as string
      await kill(one)
      servers.disks.delete(one)
      anew = (await servers.start(one)).self
      attend(one, patient)
      await servers.settled(leader.changeMembership({ op: 'add-standby', server: anew }))
      const isSynced = (): boolean => leader.status().followers.some((each) => each.server === anew && each.isSynced)
      for (let ms = 0; ms < SETTLED_MS && !isSynced(); ms += 100) await servers.net.advance(100)
      await servers.settled(leader.changeMembership({ op: 'promote', server: anew }))
      const { voters } = leader.status().configuration.configuration
      expect(voters.filter((server) => nameOf(server) === one)).toEqual([old, anew].sort())
    })

    test('the one that is gone', async () => {
      await servers.settled(part(other).membership.remove(one))
      const { voters } = servers.leader().status().configuration.configuration
      expect(voters.filter((server) => nameOf(server) === one)).toEqual([anew])
    })

    test('and leadership goes to the one that is there', async () => {
      expect(await servers.settled(part(other).membership.transfer(one))).toBe(one)
      expect(servers.leader().self).toBe(anew)
    })
  })

  test('nobody while there is no leader: who asks is told so at its deadline', async () => {
    const leader = await form(['a', 'b', 'c'])
    const [one, other] = others()
    await kill(nameOf(leader.self))
    await kill(other)
    await servers.net.advance(SETTLED_MS)
    const refused = await servers.settled(refusal(part(one).membership.retire(4000)), 20_000)
    expect(refused).toMatchObject({ kind: 'Unavailable' })
  })
})

describe('what a leader does by itself (cluster.md §5.8)', () => {
  test('it asks a new server for its whole id, adds it, and lets it vote when there are two of them', async () => {
    await form(['a', 'b', 'c'])
    await servers.start('d')
    attend('d')
    await servers.net.advance(SETTLED_MS)
    expect(members()).toEqual({ voters: ['a', 'b', 'c'], standbys: ['d'] })
    await servers.start('e')
    attend('e')
    await servers.net.advance(10_000)
    expect(members()).toEqual({ voters: ['a', 'b', 'c', 'd', 'e'], standbys: [] })
  })

  test('it replaces a voter that is dead for longer than the grace, and not before', async () => {
    await form(['a', 'b', 'c'])
    await servers.start('d')
    attend('d')
    await servers.net.advance(SETTLED_MS)
    const [victim] = others()
    await kill(victim)
    await servers.net.advance(GRACE_MS - 2000)
    expect(members().voters).toContain(victim)
    await servers.net.advance(20_000)
    expect(members().voters).toHaveLength(3)
    expect(members().voters).not.toContain(victim)
    expect(members().voters).toContain('d')
    expect(part(nameOf(servers.leader().self)).membership.statistics.evictions.dead).toBe(1)
  })

  test('it leaves a dead voter where it is that nobody can replace', async () => {
    await form(['a', 'b', 'c'])
    const [victim] = others()
    await kill(victim)
    await servers.net.advance(60_000)
    expect(members().voters).toContain(victim)
  })

  test('it goes by the numbers that the group has agreed on, whatever its own file says', async () => {
    const leader = await form(['a', 'b', 'c', 'd', 'e'])
    expect(members().voters).toHaveLength(5)
    const own = settingsWith(setting('raft.max_voters', 3))
    const { agreement } = part(nameOf(leader.self))
    await servers.settled(agreement.reload(groupSettingsOf(own.raft, own.sessionTtlMs)))
    await servers.net.advance(60_000)
    expect(members().voters).toHaveLength(3)
    expect(members().standbys).toHaveLength(2)
  })
})

describe('what the group has agreed on (cluster.md §2.2)', () => {
  test('comes from the file of the leader when that is read anew, and is what all others go by', async () => {
    const leader = await form(['a', 'b', 'c'])
    const name = nameOf(leader.self)
    const changed = settingsWith({ session_ttl: '10s' })
    const own = groupSettingsOf(changed.raft, changed.sessionTtlMs)
    const [one] = others()
    // Read anew elsewhere it changes nothing.
    await servers.settled(part(one).agreement.reload(own))
    expect(part(name).agreement.sessionTtlMs).toBe(15_000)
    await servers.settled(part(name).agreement.reload(own))
    await servers.net.advance(500)
    for (const { agreement } of parts.values()) expect(agreement.current.sessionTtlMs).toBe(10_000)
    expect(part(one).agreement.differences).toEqual([])
    const [, other] = others()
    expect(part(other).agreement.differences).toEqual([{ setting: 'session_ttl', own: 15_000, agreed: 10_000 }])
    expect(part(other).agreement.health()).toEqual({
      ok: true,
      detail: 'the file of this node differs: session_ttl is 15000 here and 10000 in the group',
    })
    const said = fabricOf(other).logs.filter((line) => line.startsWith('raft_settings_differ'))
    expect(said).toEqual(['raft_settings_differ session_ttl is 15000 here and 10000 in the group'])
  })

  test('for sessions: who has a longer time of before is waited for, and a shorter one is granted at once', async () => {
    const leader = await form(['a', 'b', 'c'])
    const { agreement } = part(nameOf(leader.self))
    const set = (sessionTtlMs: number): Promise<void> =>
      servers.settled(agreement.reload({ ...agreement.current, sessionTtlMs }))
    await set(40_000)
    expect([agreement.sessionTtlMs, agreement.sessionWaitMs]).toEqual([40_000, 40_000])
    await set(5000)
    expect([agreement.sessionTtlMs, agreement.sessionWaitMs]).toEqual([5000, 40_000])
    await servers.net.advance(40_000)
    expect(agreement.sessionWaitMs).toBe(5000)
  })

  test('is known at the next start, before there is a leader', async () => {
    const leader = await form(['a', 'b', 'c'])
    const changed = settingsWith(setting('raft.heartbeat_timeout', '600ms'))
    const reload = part(nameOf(leader.self)).agreement.reload(groupSettingsOf(changed.raft, changed.sessionTtlMs))
    await servers.settled(reload)
    await servers.net.advance(500)
    for (const name of ['a', 'b', 'c']) await kill(name)
    await servers.start('a')
    expect(attend('a').agreement.current.heartbeatTimeoutMs).toBe(600)
  })

  test('as a later version may write it is read as far as it is understood', async () => {
    const leader = await form(['a', 'b', 'c'])
    const odd = { max_voters: 4, session_ttl: 'long', max_standbys: 2, something: [1] }
    await servers.settled(leader.proposeSettings(pack(odd)))
    const { agreement } = part(nameOf(leader.self))
    expect(agreement.current).toMatchObject({ votersMax: 5, sessionTtlMs: 15_000, standbysMax: 2 })
    await servers.settled(agreement.reload(agreement.current))
  })
})
