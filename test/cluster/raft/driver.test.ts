import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Consensus } from '../../../cluster/raft/consensus.ts'
import { configurationOf } from '../../../cluster/raft/core/membership.ts'
import { nameOf, type ServerId } from '../../../cluster/raft/core/server.ts'
import type { RaftDriver } from '../../../cluster/raft/driver.ts'
import type { StateHost } from '../../../cluster/state/host.ts'
import { encodeEnvelope } from '../../../cluster/state/wire/commands.ts'
import { MemoryStorage } from '../../../cluster/storage/memory.ts'
import { MemoryFiles } from '../../../cluster/storage/memory-files.ts'
import { Disk, DriverGroup, FORMATION, SETTINGS, SETTLED_MS } from '../../tools/driver-group.ts'

let group: DriverGroup
beforeEach(() => {
  group = new DriverGroup()
})
afterEach(async () => {
  await Promise.all([...group.drivers.values()].map((driver) => driver.close()))
})

const kindOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'ok',
    (error) => error.kind,
  )

describe('a group (cluster.md §5)', () => {
  test('begins, elects a leader, and builds the same state everywhere', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const outcome = await group.settled(leader.propose(group.up('x')))
    expect(outcome.status).toBe('session')
    await group.net.advance(500)
    expect(new Set(group.digests()).size).toBe(1)
    expect(group.followers().map((driver) => driver.status().leader)).toEqual([leader.self, leader.self])
    expect(leader.status().formation).toBe(FORMATION)
  })

  test('what is proposed in one turn is one entry', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const before = leader.status().last.index
    const outcomes = await group.settled(Promise.all(['x', 'y', 'z'].map((node) => leader.propose(group.up(node)))))
    expect(outcomes.map(({ status }) => status)).toEqual(['session', 'session', 'session'])
    expect(leader.status().last.index).toBe(before + 1)
  })

  test('a leader measures how long its members take to have what it sends, and forgets who is no member any more', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    await group.settled(leader.propose(group.up('x')))
    await group.net.advance(200)
    const others = group.followers().map(({ self }) => nameOf(self))
    expect([...leader.statistics.appends.keys()].sort()).toEqual(others.sort())
    for (const { count, sum } of leader.statistics.appends.values()) {
      expect(count).toBeGreaterThan(0)
      // A millisecond each way.
      expect(sum / count).toBeCloseTo(0.002, 3)
    }
    for (const follower of group.followers()) expect(follower.statistics.appends.size).toBe(0)
    const [gone] = group.followers() as [RaftDriver]
    await group.settled(leader.changeMembership({ op: 'remove', server: gone.self }))
    await group.net.advance(200)
    expect([...leader.statistics.appends.keys()]).not.toContain(nameOf(gone.self))
    expect(leader.status().logBytes).toBeGreaterThan(0)
  })

  test('what no machine could apply never enters the log', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const before = leader.status().last.index
    expect(await kindOf(leader.propose(Uint8Array.of(1, 2, 3)))).toBe('Invalid')
    expect(await kindOf(leader.propose(new Uint8Array(2 * 1024 * 1024)))).toBe('Invalid')
    await group.net.advance(200)
    expect(leader.status().last.index).toBe(before)
  })

  test('a follower names the leader', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const [follower] = group.followers() as [RaftDriver]
    await expect(follower.propose(group.up('x'))).rejects.toMatchObject({
      kind: 'NotLeader',
      details: { hint: leader.self },
    })
    expect(await kindOf(follower.transfer())).toBe('NotLeader')
    expect(follower.holdsQuorum()).toBe(false)
    expect(leader.holdsQuorum()).toBe(true)
  })

  test('a read on any member sees what was acknowledged before it began', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    await group.settled(leader.propose(group.up('x')))
    const { index } = leader.machine
    for (const driver of group.drivers.values()) {
      expect(await group.settled(driver.barrier(1000))).toBeGreaterThanOrEqual(index)
      expect(driver.machine.sessions.ofNode('x')?.epoch).toBe(1)
    }
  })

  test('without a majority proposals have an unknown outcome, reads none, and the leader gives up', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const others = group.followers()
    for (const other of others) group.net.cuts.add(`${nameOf(leader.self)} ${nameOf(other.self)}`)
    const proposal = kindOf(leader.propose(group.up('x')))
    const read = kindOf(leader.barrier(1500))
    expect(await group.settled(proposal)).toBe('LeadershipLost')
    expect(await group.settled(read)).toBe('Timeout')
    expect(leader.holdsQuorum()).toBe(false)
    await group.net.advance(SETTLED_MS)
    expect(others.filter((other) => other.status().isReady).length).toBe(1)
    group.net.cuts.clear()
    await group.net.advance(SETTLED_MS)
    expect(new Set(group.digests()).size).toBe(1)
    expect(leader.statistics.stepDowns).toBe(1)
  })

  test('everything that is proposed is answered, however much of it waits when leadership ends', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    for (const other of group.followers()) group.net.cuts.add(`${nameOf(leader.self)} ${nameOf(other.self)}`)
    const kinds: Promise<unknown>[] = []
    for (let i = 0; i < 40; i++) {
      kinds.push(kindOf(leader.propose(group.up(`n${i}`))))
      await group.net.advance(2)
    }
    const found = new Set(await group.settled(Promise.all(kinds)))
    expect([...found].sort()).toEqual(['LeadershipLost', 'NotLeader'])
  })

  test('what waits when the server is closed is told so', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    for (const other of group.followers()) group.net.cuts.add(`${nameOf(leader.self)} ${nameOf(other.self)}`)
    const kinds: Promise<unknown>[] = []
    for (let i = 0; i < 10; i++) {
      kinds.push(kindOf(leader.propose(group.up(`n${i}`))))
      await group.net.advance(2)
    }
    const read = kindOf(leader.barrier(60_000))
    await leader.close()
    const found = new Set(await group.settled(Promise.all(kinds)))
    expect([...found].sort()).toEqual(['LeadershipLost', 'NotLeader'])
    expect(await read).toBe('Canceled')
  })

  test('leadership is handed over, and the successor leads', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const [target] = group.followers() as [RaftDriver]
    expect(await group.settled(leader.transfer(target.self))).toBe(target.self)
    await group.net.advance(500)
    expect(group.leader()).toBe(target)
  })

  test('who listens hears when a leader may decide about others', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const [target] = group.followers() as [RaftDriver]
    const heard: boolean[] = []
    target.onStatus(() => heard.push(target.status().isReady))
    await group.settled(leader.transfer(target.self))
    await group.net.advance(500)
    expect(heard[0]).toBe(false)
    expect(heard.at(-1)).toBe(true)
  })

  test('a group of one decides alone', async () => {
    const leader = await group.form(['a'])
    expect((await group.settled(leader.propose(group.up('x')))).status).toBe('session')
    expect(await group.settled(leader.barrier(100))).toBe(leader.machine.index)
  })
})

describe('members (cluster.md §5.4, §5.5)', () => {
  const small = { snapshotThreshold: 20, snapshotIntervalMs: 200, trailingEntries: 5, syncedForMs: 50 }

  test('a server in no group takes part in the first that wants it, from a snapshot', async () => {
    const leader = await group.form(['a', 'b', 'c'], small)
    for (let i = 0; i < 60; i++) await group.settled(leader.propose(group.up(`n${i}`)))
    await group.net.advance(1000)
    expect(leader.status().base.index).toBeGreaterThan(2)
    const late = await group.start('d', small)
    expect(late.status()).toMatchObject({ isEmpty: true, role: 'none', formation: undefined })
    let restored = 0
    late.onRestored(() => restored++)
    await group.settled(leader.changeMembership({ op: 'add-standby', server: late.self }))
    await group.net.advance(SETTLED_MS)
    expect(restored).toBe(1)
    expect(late.status()).toMatchObject({ isEmpty: false, role: 'standby', formation: FORMATION })
    expect(new Set(group.digests()).size).toBe(1)
    await group.settled(leader.changeMembership({ op: 'promote', server: late.self }))
    expect(leader.status().configuration.configuration.voters).toContain(late.self)
    expect(await kindOf(group.settled(leader.changeMembership({ op: 'promote', server: late.self })))).toBe('Conflict')
  })

  test('what was released is never joined', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const late = await group.start('d')
    await late.changeMeta((meta) => ({ ...meta, released: [FORMATION] }))
    await group.settled(leader.changeMembership({ op: 'add-standby', server: late.self }))
    await group.net.advance(1000)
    expect(late.status().formation).toBeUndefined()
    expect(late.statistics.drops.get('formation')).toBeGreaterThan(0)
    expect(leader.statistics.drops.get('refused_formation')).toBeGreaterThan(0)
  })

  test('a wiped store is another server, and answers for nobody else', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const [victim] = group.followers() as [RaftDriver]
    const before: ServerId = victim.self
    await group.settled(victim.reset())
    expect(victim.self).not.toBe(before)
    expect(victim.status()).toMatchObject({ isEmpty: true, role: 'none' })
    await group.net.advance(1000)
    expect(victim.statistics.drops.get('store_mismatch')).toBeGreaterThan(0)
    expect(victim.machine.index).toBe(0)
    expect(leader.status().followers.find(({ server }) => server === before)?.silentMs).toBeGreaterThan(500)
  })

  test('a write that ends after its store is gone says nothing about the writes of the next one', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const [victim] = group.followers() as [RaftDriver]
    const { rows } = group.disks.get(nameOf(victim.self)) as Disk
    let release: () => void = () => {}
    const write = rows.write.bind(rows)
    rows.write = async (operations) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return write(operations)
    }
    await group.settled(leader.propose(group.up('x')))
    const resetting = victim.reset()
    // After the end of the store, before there is another one.
    release()
    await group.settled(resetting)
    await group.settled(leader.changeMembership({ op: 'add-standby', server: victim.self }))
    await group.net.advance(SETTLED_MS)
    expect(victim.status()).toMatchObject({ failure: undefined, role: 'standby' })
    expect(new Set(group.digests()).size).toBe(1)
  })

  test('a promise that is on its way to the disk keeps a leader of another group out (cluster.md §13 R10)', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const late = await group.start('d')
    const { files } = group.disks.get('d') as Disk
    const rename = files.rename.bind(files)
    let release: () => void = () => {}
    files.rename = async (from, to) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return rename(from, to)
    }
    const saving = late.changeMeta((meta) => ({ ...meta, promise: 'cA==' }))
    await group.settled(leader.changeMembership({ op: 'add-standby', server: late.self }))
    await group.net.advance(500)
    files.rename = rename
    release()
    await group.settled(saving)
    await group.net.advance(1000)
    expect(late.meta).toMatchObject({ promise: 'cA==' })
    expect(late.meta.formation).toBeUndefined()
    expect(late.status()).toMatchObject({ failure: undefined, formation: undefined })
  })

  test('a store that cannot be made anew is made anew later, and the old one is not used again', async () => {
    await group.form(['a', 'b', 'c'])
    const [victim] = group.followers() as [RaftDriver]
    const before = victim.self
    const disk = group.disks.get(nameOf(before)) as Disk
    disk.isWipeFailing = true
    expect(await kindOf(group.settled(victim.reset()))).not.toBe('ok')
    await group.net.advance(12_000)
    expect(victim.status().failure).toContain('wiped')
    disk.isWipeFailing = false
    await group.net.advance(6000)
    expect(victim.status()).toMatchObject({ failure: undefined, isEmpty: true })
    expect(victim.self).not.toBe(before)
  })

  test('what was proposed to a server that has another store by then is answered', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const proposal = kindOf(leader.propose(group.up('x')))
    const resetting = leader.reset()
    // The new store is there before the turn in which the proposal would have been appended.
    for (let i = 0; i < 1000; i++) await Promise.resolve()
    expect(leader.status().isEmpty).toBe(true)
    expect(await group.settled(proposal)).toBe('NotLeader')
    await resetting
  })

  test('a store that is made anew while the failed one waits to be opened is not opened twice', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const [victim] = group.followers() as [RaftDriver]
    const disk = group.disks.get(nameOf(victim.self)) as Disk
    disk.isFailing = true
    await group.settled(leader.propose(group.up('x')))
    await group.net.advance(500)
    expect(victim.status().failure).toContain('full')
    disk.isFailing = false
    await group.settled(victim.reset())
    await group.settled(leader.changeMembership({ op: 'add-standby', server: victim.self }))
    const opens = disk.opens
    await group.net.advance(6000)
    expect(disk.opens).toBe(opens)
    expect(victim.status()).toMatchObject({ failure: undefined, role: 'standby' })
  })

  test('a store of a group begins no other', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const { configuration } = leader.status().configuration
    await leader.form(FORMATION, configuration, SETTINGS)
    expect(await kindOf(leader.form('ff'.repeat(16), configuration, SETTINGS))).toBe('Conflict')
  })
})

describe('crashes and disks (cluster.md §5.1)', () => {
  test('a restart finds what was acknowledged', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    await group.settled(leader.propose(group.up('x')))
    await group.net.advance(500)
    const digests = new Set(group.digests().map((text) => text.split(' ')[1]))
    for (const name of ['a', 'b', 'c']) await group.drivers.get(name)?.close()
    for (const name of ['a', 'b', 'c']) await group.start(name)
    await group.net.advance(SETTLED_MS)
    expect(group.leader().machine.sessions.ofNode('x')?.epoch).toBe(1)
    expect(new Set(group.digests()).size).toBe(1)
    expect(digests.size).toBe(1)
  })

  test('a crash between the decision to begin and its first entries is made up for', async () => {
    const disk = new Disk()
    group.disks.set('a', disk)
    const first = await group.start('a')
    const voters = [first.self]
    // The row of the log never gets there.
    const write = disk.rows.write.bind(disk.rows)
    disk.rows.write = () => new Promise(() => {})
    void first.form(FORMATION, configurationOf(voters), SETTINGS).catch(() => {})
    await group.net.advance(100)
    expect(first.meta.formation).toBe(FORMATION)
    disk.rows.write = write
    group.net.nodes.delete('a')
    const again = await group.start('a')
    await group.net.advance(SETTLED_MS)
    expect(again.status()).toMatchObject({ role: 'leader', formation: FORMATION })
  })

  test('a disk that fails silences its server, until it was opened anew and works', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const name = nameOf(leader.self)
    const disk = group.disks.get(name) as Disk
    disk.isFailing = true
    const proposal = kindOf(leader.propose(group.up('x')))
    expect(await group.settled(proposal)).toBe('LeadershipLost')
    expect(leader.status().failure).toContain('full')
    await group.net.advance(SETTLED_MS)
    const successor = group.leader()
    expect(successor).not.toBe(leader)
    await group.settled(successor.propose(group.up('y')))
    await group.net.advance(10_000)
    expect(leader.status().failure).toContain('full')
    expect(leader.machine.index).toBeLessThan(successor.machine.index)
    disk.isFailing = false
    await group.net.advance(12_000)
    expect(leader.status()).toMatchObject({ failure: undefined, role: 'voter', leader: successor.self })
    expect(new Set(group.digests()).size).toBe(1)
  })

  test('a replica that halts ends the leadership of its server, which says so', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const name = nameOf(leader.self)
    const applying = leader.machine.applying.bind(leader.machine)
    leader.machine.applying = () => {
      throw new Error('an unknown command')
    }
    expect(await kindOf(group.settled(leader.propose(group.up('x'))))).toBe('LeadershipLost')
    expect(leader.status().failure).toContain('an unknown command')
    expect(leader.status()).toMatchObject({ role: 'voter', raftRole: 'follower', isReady: false, leader: undefined })
    expect(leader.holdsQuorum()).toBe(false)
    leader.machine.applying = applying
    await group.net.advance(SETTLED_MS)
    expect(nameOf(group.leader().self)).not.toBe(name)
  })

  test('a disk that fails while a snapshot is being restored does not halt the replica', async () => {
    const small = { snapshotThreshold: 20, snapshotIntervalMs: 200, trailingEntries: 5, syncedForMs: 50 }
    const leader = await group.form(['a', 'b', 'c'], small)
    for (let i = 0; i < 60; i++) await group.settled(leader.propose(group.up(`n${i}`)))
    await group.net.advance(1000)
    const late = await group.start('d', small)
    const disk = group.disks.get('d') as Disk
    const host = group.hosts.get('d') as StateHost
    const restore = host.restore.bind(host)
    let release: () => void = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    let restores = 0
    host.restore = (index, read, done) => {
      restores++
      const slowly = async function* (): AsyncGenerator<Uint8Array> {
        await released
        yield* read()
      }
      restore(index, slowly, done)
    }
    await group.settled(leader.changeMembership({ op: 'add-standby', server: late.self }))
    await group.net.advance(1000)
    expect(restores).toBe(1)
    disk.isFailing = true
    await group.settled(leader.propose(group.up('x')))
    await group.net.advance(1000)
    expect(late.status().failure).toContain('full')
    disk.isFailing = false
    await group.net.advance(6000)
    release()
    await group.net.advance(12_000)
    expect(late.status()).toMatchObject({ failure: undefined, role: 'standby' })
    expect(new Set(group.digests()).size).toBe(1)
  })

  test('a disk that was exchanged while it failed brings an empty replica with it', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const [victim] = group.followers() as [RaftDriver]
    const before = victim.self
    const disk = group.disks.get(nameOf(before)) as Disk
    disk.isFailing = true
    await group.settled(leader.propose(group.up('x')))
    await group.net.advance(500)
    expect(victim.machine.index).toBeGreaterThan(0)
    Object.assign(disk, { isFailing: false, files: new MemoryFiles(), rows: new MemoryStorage() })
    await group.net.advance(6000)
    expect(victim.self).not.toBe(before)
    expect(victim.status()).toMatchObject({ failure: undefined, isEmpty: true, applied: 0 })
  })

  test('bytes that no server sends are dropped and counted', async () => {
    await group.form(['a', 'b', 'c'])
    const [a] = group.net.nodes.values()
    for (const bytes of [new Uint8Array(), Uint8Array.of(0xc1), new Uint8Array(500).fill(0x91)]) {
      a?.send({ name: 'b', epoch: 1 }, 'raft', bytes)
      a?.send({ name: 'b', epoch: 1 }, 'rlog', bytes)
      a?.send({ name: 'b', epoch: 1 }, 'snapshot', bytes)
    }
    await group.net.advance(100)
    expect(group.drivers.get('b')?.statistics.drops.get('malformed')).toBe(9)
    expect(group.leader().holdsQuorum()).toBe(true)
  })
})

describe('the log clock (cluster.md §5.12)', () => {
  test('what falls due does so while nothing is written, soon and not early', async () => {
    const leader = await group.form(['a', 'b', 'c'])
    const opened = await group.settled(leader.propose(group.up('x')))
    if (opened.status !== 'session') throw new Error(opened.status)
    const acquire = { kind: 'lock-acquire', name: 'l', pid: '{x@h|1.1}', waitMs: 0, ttlMs: 2000 } as const
    const command = encodeEnvelope({ session: opened.session, seq: 1, floor: 1, command: acquire })
    expect((await group.settled(leader.propose(command))).status).toBe('granted')
    const held = (driver: Consensus): boolean => driver.machine.locks.holder('l') !== undefined
    await group.net.advance(1900)
    expect([...group.drivers.values()].every(held)).toBe(true)
    await group.net.advance(1500)
    expect([...group.drivers.values()].some(held)).toBe(false)
  })
})
