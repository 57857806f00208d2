// The replicated state through its facade: three servers with the real driver of consensus, and a client. cluster.md §5.7, §5.10, §5.11.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { configurationOf } from '../../../cluster/raft/core/membership.ts'
import { RAFT_DEFAULTS } from '../../../cluster/raft/core/raft.ts'
import { nameOf } from '../../../cluster/raft/core/server.ts'
import { RaftDriver } from '../../../cluster/raft/driver.ts'
import { Store } from '../../../cluster/raft/store.ts'
import type { Outcome } from '../../../cluster/state/core/outcomes.ts'
import { StateHost } from '../../../cluster/state/host.ts'
import { ClusterState } from '../../../cluster/state/state.ts'
import { MemoryStorage } from '../../../cluster/storage/memory.ts'
import { MemoryFiles } from '../../../cluster/storage/memory-files.ts'
import type { MoonmeshError } from '../../../runtime/base/errors.ts'
import { pack, unpack } from '../../../runtime/base/msgpack.ts'
import { FabricNet, type FakeFabric } from '../../tools/fabric.ts'

const SESSION = { ttlMs: 3000, renewIntervalMs: 500, graceCount: 3 }
const SERVERS = ['a', 'b', 'c']

class Group {
  readonly net = new FabricNet()
  readonly drivers = new Map<string, RaftDriver>()
  readonly states = new Map<string, ClusterState>()

  async start(): Promise<void> {
    const { net } = this
    for (const name of SERVERS) {
      const fabric = net.join(name)
      fabric.setTag('raft_role', 'voter')
      const defer = (run: () => void): void => {
        net.after(0, run)
      }
      const failed = (error: unknown): void => {
        throw error
      }
      const driver = await RaftDriver.open({
        fabric,
        state: new StateHost({ nowMs: () => net.env.nowMs(), defer, failed }),
        raft: { ...RAFT_DEFAULTS, heartbeatTimeoutMs: 300, electionTimeoutMs: 300, commitTimeoutMs: 50 },
        isEligible: true,
        openStore: () =>
          Store.open({
            path: '/raft',
            retain: 2,
            files: new MemoryFiles(),
            openStorage: async () => new MemoryStorage(),
            wallMs: () => 1,
          }),
        wipeStore: async () => {},
        onPause: () => () => {},
        defer,
        soon: defer,
      })
      this.drivers.set(name, driver)
      this.#state(name, driver)
    }
    const configuration = configurationOf([...this.drivers.values()].map(({ self }) => self))
    for (const driver of this.drivers.values()) {
      await driver.form('000102030405060708090a0b0c0d0e0f', configuration, Uint8Array.of(0x80))
    }
    net.join('far')
    this.#state('far', undefined)
    for (const state of this.states.values()) state.start()
    await net.advance(4000)
  }

  #state(name: string, consensus: RaftDriver | undefined): void {
    const fabric = this.net.nodes.get(name)
    if (fabric === undefined) throw new Error(name)
    const state = new ClusterState({ fabric, consensus, session: SESSION, role: 'server' })
    state.addQuery('name', ({ names }, args) => pack(names.lookup(args as string)?.pid ?? null))
    this.states.set(name, state)
  }

  of(name: string): ClusterState {
    return this.states.get(name) as ClusterState
  }

  get leader(): string {
    const leader = [...this.drivers.values()].find((driver) => driver.status().isReady)
    return nameOf(leader?.self ?? 'nobody/0')
  }

  /** What takes its time on the clock of the group. */
  async settled<T>(promise: Promise<T>, withinMs = 15_000): Promise<T> {
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    promise.then(over, over)
    for (let ms = 0; ms < withinMs && !isOver; ms += 10) await this.net.advance(10)
    expect(isOver).toBe(true)
    return promise
  }

  isolate(name: string): void {
    for (const other of [...this.net.nodes.keys()]) if (other !== name) this.net.cut(name, other)
  }

  async close(): Promise<void> {
    const closing = Promise.all([...this.states.values()].map((state) => state.close()))
    await this.settled(closing)
    await Promise.all([...this.drivers.values()].map((driver) => driver.close()))
  }
}

const pid = (node: string): string => `{${node}@h|1.1}`

let group: Group
beforeEach(async () => {
  group = new Group()
  await group.start()
})
afterEach(() => group.close())

test('every node has a session, servers and clients', () => {
  for (const state of group.states.values()) {
    expect([state.session().state, state.isTrusted]).toEqual(['open', true])
  }
  expect(new Set([...group.states.values()].map((state) => state.session().session)).size).toBe(4)
})

test('sessions go on when a transfer came to nothing', async () => {
  const { leader } = group
  const driver = group.drivers.get(leader) as RaftDriver
  const { term } = driver.status()
  const target = [...group.drivers.values()].find(({ self }) => self !== driver.self) as RaftDriver
  group.net.cut(leader, nameOf(target.self))
  await expect(group.settled(driver.transfer(target.self))).rejects.toMatchObject({ kind: 'Conflict' })
  // The successor may still wake up to it, in all of this term.
  expect(driver.holdsQuorum()).toBe(false)
  await group.net.advance(10_000)
  expect(driver.status()).toMatchObject({ term, isReady: true })
  for (const state of group.states.values()) {
    expect([state.session().state, state.isTrusted]).toEqual(['open', true])
  }
})

describe('a command', () => {
  test('that finds a lock held is told for how long, on servers and clients alike', async () => {
    const acquire = (node: string) =>
      group.settled(group.of(node).submit({ kind: 'lock-acquire', name: 'l', pid: pid(node), waitMs: 0, ttlMs: 0 }))
    expect(await acquire('far')).toMatchObject({ status: 'granted' })
    await group.net.advance(2000)
    for (const node of group.states.keys()) {
      const answer = (await acquire(node)) as Extract<Outcome, { status: 'held' }>
      expect(answer).toMatchObject({ status: 'held', pid: pid('far') })
      expect(answer.heldMs).toBeGreaterThanOrEqual(1900)
      expect(answer.heldMs).toBeLessThan(3000)
    }
  })

  test('from a client is in the log once, and reads everywhere see it', async () => {
    const outcome = await group.settled(group.of('far').submit({ kind: 'register', name: 'x', pid: pid('far') }))
    expect(outcome).toMatchObject({ status: 'ok', changed: true })
    for (const state of group.states.values()) {
      expect(unpack(await group.settled(state.read('name', 'x')))).toBe(pid('far'))
    }
  })

  test('from a client that has no link to the leader goes over a member', async () => {
    group.net.cut('far', group.leader)
    const outcome = await group.settled(group.of('far').submit({ kind: 'register', name: 'x', pid: pid('far') }))
    expect(outcome).toMatchObject({ status: 'ok' })
  })

  test('survives the loss of the leader', async () => {
    const leader = group.leader
    const submitted = group.of('far').submit({ kind: 'register', name: 'x', pid: pid('far') })
    group.isolate(leader)
    expect(await group.settled(submitted)).toMatchObject({ status: 'ok', changed: true })
    expect(group.leader).not.toBe('nobody')
  })

  test('without a majority fails at its deadline and says whether it may have happened', async () => {
    for (const name of SERVERS) group.isolate(name)
    const submitted = group.of('a').submit({ kind: 'register', name: 'x', pid: pid('a') }, { deadlineMs: 1000 })
    await expect(group.settled(submitted)).rejects.toMatchObject({
      kind: 'Unavailable',
      retryable: true,
      details: { ambiguous: expect.any(Boolean) },
    })
  })

  test('of another node is refused', async () => {
    const { session } = group.of('a').session()
    const { encodeEnvelope } = await import('../../../cluster/state/wire/commands.ts')
    const { encodeForLeader } = await import('../../../cluster/state/wire/requests.ts')
    const command = { kind: 'register', name: 'x', pid: pid('a') } as const
    const body = encodeForLeader({
      hops: 0,
      relay: false,
      body: encodeEnvelope({ session, seq: 900, floor: 1, command }),
    })
    const fabric = group.net.nodes.get('far')
    if (group.leader === 'a') return
    const asked = fabric?.request({ name: group.leader, epoch: 0 }, 'raft.propose', body)
    await expect(group.settled(asked as Promise<Uint8Array>)).rejects.toMatchObject({ kind: 'Invalid' })
  })

  test('that opens the session of a later run keeps the earlier one, opened meanwhile, from being renewed', async () => {
    const { encodeEnvelope } = await import('../../../cluster/state/wire/commands.ts')
    const { decodeOutcome, encodeForLeader } = await import('../../../cluster/state/wire/requests.ts')
    const leader = group.net.nodes.get(group.leader) as FakeFabric
    const asker = [...group.net.nodes.values()].find((node) => node !== leader) as FakeFabric
    const rise = async (epoch: number): Promise<number> => {
      const command = { kind: 'node-up', node: 'z', epoch, role: 'client' } as const
      const envelope = encodeEnvelope({ session: 0, seq: 0, floor: 0, command })
      const body = encodeForLeader({ hops: 0, relay: false, body: envelope })
      const outcome = decodeOutcome(await asker.request({ name: leader.name, epoch: 0 }, 'raft.propose', body))
      return outcome.status === 'session' ? outcome.session : 0
    }
    // Both are with the leader before either is in the log.
    const both = Promise.all([rise(1), rise(2)])
    const renewals: Promise<string>[] = []
    const watched = group.drivers.get(leader.name)?.onApplied((_index, events) => {
      for (const event of events) {
        if (event.kind !== 'session-opened' || event.epoch !== 1) continue
        const body = encodeForLeader({ hops: 0, relay: false, body: event.session })
        const asked = asker.request({ name: leader.name, epoch: 0 }, 'session.renew', body)
        renewals.push(asked.then(String, (error: MoonmeshError) => error.kind))
      }
    })
    const [first, second] = await group.settled(both)
    watched?.()
    expect([first > 0, second > first]).toEqual([true, true])
    expect(renewals).toHaveLength(1)
    // Over, or about to be: not renewed.
    expect(await group.settled(renewals[0] as Promise<string>)).toMatch(/^(1|Transferring)$/)
  })

  test('that cannot be read is refused before it is proposed', async () => {
    const fabric = group.net.nodes.get('far')
    const asked = fabric?.request({ name: group.leader, epoch: 0 }, 'raft.propose', Uint8Array.of(1, 2, 3))
    await expect(group.settled(asked as Promise<Uint8Array>)).rejects.toMatchObject({ kind: 'Invalid' })
  })
})

describe('a lock', () => {
  const acquire = (node: string, waitMs: number, signal?: AbortSignal) =>
    group
      .of(node)
      .submit(
        { kind: 'lock-acquire', name: 'l', pid: pid(node), waitMs, ttlMs: 0 },
        { deadlineMs: waitMs + 5000, ...(signal === undefined ? {} : { signal }) },
      )

  test('is granted to a waiting client as soon as it is free, and to one that gave up never', async () => {
    const held = await group.settled(acquire('a', 0))
    const giver = new AbortController()
    const given = acquire('b', 60_000, giver.signal)
    const waited = acquire('far', 60_000)
    given.catch(() => {})
    await group.net.advance(500)
    giver.abort()
    await expect(given).rejects.toMatchObject({ kind: 'Canceled', details: { ambiguous: true } })
    await group.net.advance(500)
    const token = held.status === 'granted' ? held.token : 0
    await group.settled(group.of('a').submit({ kind: 'lock-release', name: 'l', pid: pid('a'), token }))
    expect(await group.settled(waited, 300)).toMatchObject({ status: 'granted' })
  })

  test('of a node that is cut off is trusted for 0.8 of its session, and given on after all of it', async () => {
    const node = SERVERS.find((name) => name !== group.leader) ?? ''
    await group.settled(acquire(node, 0))
    const waited = acquire(group.leader, 60_000)
    group.isolate(node)
    for (const other of group.net.nodes.keys())
      if (other !== node) group.net.nodes.get(other)?.saw('left', group.net.nodes.get(node) as never)
    const cutMs = group.net.env.nowMs()
    let distrustedMs = 0
    let isGranted = false
    void waited.then(() => {
      isGranted = true
    })
    while (!isGranted) {
      await group.net.advance(20)
      if (distrustedMs === 0 && !group.of(node).isTrusted) distrustedMs = group.net.env.nowMs()
      expect(isGranted && distrustedMs === 0).toBe(false)
      expect(group.net.env.nowMs() - cutMs).toBeLessThan(10_000)
    }
    expect(distrustedMs - cutMs).toBeLessThanOrEqual(0.8 * SESSION.ttlMs)
  })
})

test('a node that stops ends its session at once, and nobody has lost it', async () => {
  await group.settled(group.of('far').submit({ kind: 'register', name: 'x', pid: pid('far') }))
  await group.settled(group.of('far').leave(), 1000)
  expect(group.net.nodes.get('far')?.logs.join()).not.toContain('session_lost')
  expect(unpack(await group.settled(group.of('a').read('name', 'x')))).toBeNull()
})
