import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ClusterScope, Names } from '../../../cluster/names/names.ts'
import { encodeBindingFrame } from '../../../cluster/names/wire/bindings.ts'
import { Possessions } from '../../../cluster/state/possessions.ts'
import { ClusterState } from '../../../cluster/state/state.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { FabricNet, type FakeFabric } from '../../tools/fabric.ts'
import { OneServer } from '../../tools/one-server.ts'
import { pidOf } from './core/rig.ts'

const SESSION = { ttlMs: 15_000, renewIntervalMs: 3000, graceCount: 3 }

interface TestNode {
  readonly fabric: FakeFabric
  readonly state: ClusterState
  readonly names: Names
  readonly local: Map<string, string>
  readonly revoked: string[]
  readonly told: Map<string, string | undefined>
}

let net: FabricNet
let server: OneServer
let nodes: Map<string, TestNode>

/** `m` is the server; the others are clients. */
async function start(name: string, epoch = 1): Promise<TestNode> {
  const fabric = net.join(name, epoch)
  const consensus = name === 'm' ? new OneServer(fabric) : undefined
  if (consensus !== undefined) server = consensus
  const role = consensus === undefined ? 'client' : 'server'
  const state = new ClusterState({ fabric, consensus, session: SESSION, role })
  const local = new Map<string, string>()
  const revoked: string[] = []
  const told = new Map<string, string | undefined>()
  const names = new Names({
    fabric,
    host: {
      bear: (pid, done) =>
        net.after(1, () => done(dead.has(pid) ? new MoonmeshError('NotFound', 'no process') : undefined)),
      localHolder: (each) => local.get(each),
      localCount: () => local.size,
      releaseLocal: (each) => local.delete(each),
      changed: (changes) => {
        for (const { name: each, pid } of changes) told.set(each, pid)
      },
      revoked: (each, pid) => revoked.push(`${each} of ${pid}`),
    },
  })
  names.attach({ state, consensus, possessions: new Possessions(fabric, state), strongDeadlineMs: 3000 })
  state.start()
  const node = { fabric, state, names, local, revoked, told }
  nodes.set(name, node)
  await net.advance(2000)
  return node
}

const dead = new Set<string>()

/** This node hears of changes in the log no more, though requests reach it. */
function deafen(name: string): void {
  net.losesGossip = true
  const { fabric } = at('m')
  const send = fabric.send.bind(fabric)
  fabric.send = (to, lane, bytes) => (to.name === name ? undefined : send(to, lane, bytes))
}

/** What the server sends to this node on its own account waits. @returns lets the first of it through */
function delay(name: string): () => void {
  net.losesGossip = true
  const { fabric } = at('m')
  const send = fabric.send.bind(fabric)
  const held: (() => void)[] = []
  fabric.send = (to, lane, bytes) => {
    if (to.name !== name) return send(to, lane, bytes)
    held.push(() => send(to, lane, bytes))
    return undefined
  }
  return () => held[0]?.()
}

const at = (name: string): TestNode => nodes.get(name) as TestNode

/** Runs it while the clock moves. */
async function done<T>(work: Promise<T>, ms = 1000): Promise<T> {
  let isDone = false
  const settled = (): void => {
    isDone = true
  }
  work.then(settled, settled)
  for (let passed = 0; !isDone && passed < 60_000; passed += ms) await net.advance(ms)
  return work
}

function register(name: string, node: string, scope: ClusterScope, pid = pidOf(node, 1)): Promise<string> {
  return at(node)
    .names.register({ name, pid, scope, caller: pid, signal: new AbortController().signal })
    .then(
      () => 'ok',
      (error: MoonmeshError) => `${error.kind} ${JSON.stringify(error.details ?? {})}`,
    )
}

const unregister = (name: string, node: string, scope: ClusterScope): Promise<boolean> =>
  at(node).names.unregister({ name, scope, caller: pidOf(node, 1), signal: new AbortController().signal })

const lookups = (name: string): (string | undefined)[] => [...nodes.values()].map(({ names }) => names.lookup(name))

beforeEach(async () => {
  net = new FabricNet()
  nodes = new Map()
  dead.clear()
  await start('m')
  await start('a')
  await start('b')
})

afterEach(async () => {
  for (const { names, state } of nodes.values()) {
    names.close()
    void state.close()
  }
  await net.advance(5000)
})

describe('consistent names', () => {
  test('are there for who registered them at once, and for the others soon', async () => {
    expect(await done(register('x', 'a', 'consistent'), 1)).toBe('ok')
    expect(at('a').names.lookup('x')).toBe(pidOf('a', 1))
    await net.advance(50)
    expect(lookups('x')).toEqual([pidOf('a', 1), pidOf('a', 1), pidOf('a', 1)])
    expect(at('b').told.get('x')).toBe(pidOf('a', 1))
  })

  test('have one owner: the first, whose PID the others are told', async () => {
    await done(register('x', 'a', 'consistent'))
    expect(await done(register('x', 'b', 'consistent'))).toBe(
      `AlreadyExists ${JSON.stringify({ name: 'x', existing_pid: pidOf('a', 1) })}`,
    )
    expect(await done(register('x', 'a', 'consistent'))).toBe('ok')
    const both = Promise.all([register('y', 'a', 'consistent'), register('y', 'b', 'consistent')])
    expect((await done(both)).filter((each) => each === 'ok')).toHaveLength(1)
  })

  test('are not forgotten by who registered them before its first feed, which is behind', async () => {
    await done(register('x', 'm', 'consistent'))
    const feed = delay('c')
    await start('c')
    await done(unregister('x', 'm', 'consistent'))
    expect(await done(register('x', 'c', 'consistent'))).toBe('ok')
    feed()
    await net.advance(10)
    expect(at('c').names.lookup('x')).toBe(pidOf('c', 1))
  })

  test('are given up by their owner only', async () => {
    await done(register('x', 'a', 'consistent'))
    expect(await done(unregister('x', 'b', 'consistent'))).toBe(false)
    expect(await done(unregister('x', 'a', 'strong'))).toBe(false)
    expect(await done(unregister('x', 'a', 'consistent'))).toBe(true)
    await net.advance(50)
    expect(lookups('x')).toEqual([undefined, undefined, undefined])
  })

  test('go with their process, here at once and in the log in one command for all', async () => {
    await done(register('x', 'a', 'consistent'))
    await done(register('y', 'a', 'consistent', pidOf('a', 1, 2)))
    await net.advance(50)
    const before = server.machine.index
    at('a').names.exited(pidOf('a', 1))
    at('a').names.exited(pidOf('a', 1, 2))
    expect([at('a').names.lookup('x'), at('a').told.get('x')]).toEqual([undefined, undefined])
    await net.advance(500)
    expect(server.machine.index).toBe(before + 1)
    expect([...lookups('x'), ...lookups('y')].every((each) => each === undefined)).toBe(true)
    expect(await done(register('x', 'b', 'consistent'))).toBe('ok')
  })

  test('who follows a process of its node has its name at once', async () => {
    await done(register('x', 'a', 'consistent'))
    at('a').names.exited(pidOf('a', 1))
    expect(await done(register('x', 'a', 'consistent', pidOf('a', 1, 2)), 1)).toBe('ok')
    expect(server.machine.names.lookup('x')?.pid).toBe(pidOf('a', 1, 2))
  })

  test('a registration that commits after its process ended is undone', async () => {
    const registering = register('x', 'a', 'consistent')
    at('a').names.exited(pidOf('a', 1))
    await done(registering, 1)
    await net.advance(200)
    expect(server.machine.names.lookup('x')).toBeUndefined()
    expect([...lookups('x')]).toEqual([undefined, undefined, undefined])
  })

  test('go with their node, when the log ends its session', async () => {
    await done(register('x', 'a', 'consistent'))
    at('a').names.close()
    net.crash('a')
    await net.advance(30_000)
    expect(at('b').names.lookup('x')).toBeUndefined()
    expect(await done(register('x', 'b', 'consistent'))).toBe('ok')
  })

  test('of an earlier run resolve no more once the next one is seen', async () => {
    await done(register('x', 'a', 'consistent'))
    await net.advance(50)
    at('a').names.close()
    net.crash('a')
    net.join('a', 2)
    expect(at('b').names.lookup('x')).toBeUndefined()
    expect(at('b').told.get('x')).toBeUndefined()
  })

  test('a node that joins late is fed all, and what gossip does not bring', async () => {
    for (let i = 0; i < 800; i++) void register(`n${i}`, i % 2 === 0 ? 'a' : 'b', 'consistent').catch(() => {})
    await net.advance(20_000)
    net.losesGossip = true
    const late = await start('late')
    const count = server.machine.names.count
    expect(count).toBeGreaterThan(700)
    expect(late.names.entries()).toHaveLength(count)
    await done(register('more', 'a', 'consistent'))
    await net.advance(50)
    expect(late.names.lookup('more')).toBe(pidOf('a', 1))
    expect(late.names.statistics().cacheAgeMs).toBeLessThan(6000)
  })

  test('a feed that was lost begins anew', async () => {
    await done(register('x', 'a', 'consistent'))
    net.cut('m', 'b')
    await net.advance(1000)
    await done(register('x2', 'a', 'consistent'))
    await net.advance(1000)
    expect(at('b').names.lookup('x2')).toBeUndefined()
    net.heal('m', 'b')
    await net.advance(20_000)
    expect(at('b').names.lookup('x2')).toBe(pidOf('a', 1))
  })

  test('without a leader nothing is registered by the deadline', async () => {
    server.lead(false)
    expect(await done(register('x', 'a', 'consistent'))).toMatch(/^Unavailable/)
    server.lead(true)
  })

  test('a lookup may ask the log', async () => {
    net.losesGossip = true
    net.cut('m', 'b')
    await done(register('x', 'a', 'consistent'), 1)
    net.heal('m', 'b')
    expect(at('b').names.lookup('x')).toBeUndefined()
    expect(await done(at('b').names.find('x', { isLinearizable: true }), 1)).toBe(pidOf('a', 1))
    expect(at('b').names.lookup('x')).toBe(pidOf('a', 1))
    expect(await done(at('b').names.find('none', { isLinearizable: true }), 1)).toBeUndefined()
  })

  test('what the log has no more is forgotten by who asks it', async () => {
    await done(register('x', 'a', 'consistent'))
    await net.advance(100)
    deafen('b')
    await done(unregister('x', 'a', 'consistent'))
    expect(at('b').names.lookup('x')).toBe(pidOf('a', 1))
    expect(await done(at('b').names.find('x', { isLinearizable: true }))).toBeUndefined()
    expect([at('b').names.lookup('x'), at('b').told.get('x')]).toEqual([undefined, undefined])
  })

  test('shadow smaller scopes, and keep others out of them', async () => {
    at('b').local.set('x', pidOf('b', 1))
    await done(register('y', 'b', 'eventual'))
    expect(await done(register('x', 'a', 'consistent'))).toBe('ok')
    expect(await done(register('y', 'a', 'consistent'))).toBe('ok')
    expect([at('b').names.lookup('x'), at('b').names.lookup('y')]).toEqual([pidOf('a', 1), pidOf('a', 1)])
    expect(await done(register('x', 'b', 'eventual'))).toMatch(/^AlreadyExists/)
    expect(at('b').names.holder('x')).toBe(pidOf('a', 1))
  })

  test('owners are told when the session of their node ends', async () => {
    await done(register('x', 'a', 'consistent'))
    net.cut('m', 'a')
    // Gossip has given it up as well.
    at('m').fabric.saw('left', at('a').fabric)
    await net.advance(40_000)
    net.heal('m', 'a')
    at('m').fabric.saw('joined', at('a').fabric)
    await net.advance(10_000)
    expect(at('a').revoked).toEqual([`x of ${pidOf('a', 1)}`])
    expect(lookups('x')).toEqual([undefined, undefined, undefined])
    expect(await done(register('x', 'a', 'consistent'))).toBe('ok')
  })

  test('that a server knew when it started resolve there', async () => {
    await done(register('x', 'a', 'consistent'))
    at('m').names.close()
    const names = new Names({
      fabric: at('m').fabric,
      host: {
        bear: () => {},
        localHolder: () => undefined,
        localCount: () => 0,
        releaseLocal: () => {},
        changed: () => {},
        revoked: () => {},
      },
    })
    const { fabric } = at('m')
    const state = new ClusterState({ fabric: net.join('z'), consensus: undefined, session: SESSION, role: 'client' })
    names.attach({
      state,
      consensus: server,
      possessions: new Possessions(fabric, state),
      strongDeadlineMs: 3000,
    })
    expect(names.lookup('x')).toBe(pidOf('a', 1))
    names.close()
    void state.close()
  })

  test('a snapshot that was installed on a server is followed', async () => {
    await done(register('x', 'a', 'consistent'))
    server.restore()
    await net.advance(1000)
    expect(lookups('x')).toEqual([pidOf('a', 1), pidOf('a', 1), pidOf('a', 1)])
  })
})

describe('strong names', () => {
  test('are active once every session has agreed', async () => {
    expect(await done(register('x', 'a', 'strong'), 10)).toBe('ok')
    expect(server.machine.names.lookup('x')?.scope).toBe('strong')
    await net.advance(100)
    expect(lookups('x')).toEqual([pidOf('a', 1), pidOf('a', 1), pidOf('a', 1)])
    expect(at('b').names.statistics().pending).toBe(0)
  })

  test('one after the other wait for nothing but the answers', async () => {
    const fromMs = net.env.nowMs()
    for (const name of ['x', 'y', 'z']) expect(await done(register(name, 'a', 'strong'), 1)).toBe('ok')
    expect(net.env.nowMs() - fromMs).toBeLessThan(60)
  })

  test('a node that joins while one is reserved is asked at once', async () => {
    net.cut('m', 'b')
    const waiting = register('x', 'a', 'strong')
    await net.advance(300)
    const late = await start('late')
    expect([...(server.machine.names.reservation('x')?.acked ?? [])]).toContain(late.state.session().session)
    net.heal('m', 'b')
    expect(await done(waiting, 10)).toBe('ok')
  })

  test('are refused by a node where another process has the name in a smaller scope', async () => {
    at('b').local.set('x', pidOf('b', 1))
    expect(await done(register('x', 'a', 'strong'))).toBe(
      `AlreadyExists ${JSON.stringify({ name: 'x', existing_pid: pidOf('b', 1), rejected_by: 'b' })}`,
    )
    await done(register('y', 'b', 'eventual'))
    expect(await done(register('y', 'a', 'strong'))).toMatch(/^AlreadyExists .*rejected_by/)
    await net.advance(100)
    expect(at('m').names.statistics().pending).toBe(0)
  })

  test('that come to nothing leave the process the consistent name that it has', async () => {
    await done(register('x', 'a', 'consistent'))
    await net.advance(100)
    net.cut('m', 'b')
    expect(await done(register('x', 'a', 'strong'), 10)).toMatch(/^Timeout/)
    net.heal('m', 'b')
    await net.advance(10_000)
    expect(lookups('x')).toEqual([pidOf('a', 1), pidOf('a', 1), pidOf('a', 1)])
  })

  test('keep others out until the log has released them, though a later run of their node is seen', async () => {
    await done(register('x', 'a', 'strong'), 10)
    await net.advance(100)
    net.crash('a')
    nodes.delete('a')
    net.join('a', 2)
    expect(at('b').names.lookup('x')).toBeUndefined()
    expect(at('b').names.holder('x')).toBe(pidOf('a', 1))
    expect(await done(register('x', 'b', 'eventual'))).toMatch(/^AlreadyExists/)
  })

  test('who agreed while it was behind resolves to nobody else as it catches up', async () => {
    await done(register('x', 'a', 'consistent'))
    await net.advance(100)
    deafen('b')
    // Of this b hears late.
    await done(unregister('x', 'a', 'consistent'))
    await done(register('x', 'm', 'consistent'))
    const between = server.machine.names.lookup('x')?.revision ?? 0
    await done(unregister('x', 'm', 'consistent'))
    expect(await done(register('x', 'a', 'strong'), 10)).toBe('ok')
    const formation = server.status().formation ?? ''
    const late = { name: 'x', pid: pidOf('m', 1), scope: 'consistent', revision: between } as const
    at('b').fabric.hear('bindings', encodeBindingFrame(formation, late))
    expect(at('b').names.lookup('x')).not.toBe(pidOf('m', 1))
    await net.advance(8000)
    expect(at('b').names.lookup('x')).toBe(pidOf('a', 1))
  })

  test('who agreed before its first feed, which is behind, still keeps the others out', async () => {
    const feed = delay('c')
    await start('c')
    expect(await done(register('x', 'a', 'strong'), 10)).toBe('ok')
    feed()
    await net.advance(10)
    expect(at('c').names.holder('x')).toBe(pidOf('a', 1))
  })

  test('who agreed to one that came to nothing takes the next holder for what it is', async () => {
    await start('c')
    net.cut('m', 'c')
    expect(await done(register('x', 'a', 'strong'), 100)).toMatch(/^Timeout/)
    expect(await done(register('x', 'm', 'consistent'), 1)).toBe('ok')
    await net.advance(50)
    expect(at('b').names.lookup('x')).toBe(pidOf('m', 1))
    net.heal('m', 'c')
  })

  test('wait for a node that does not answer, and name it in the end', async () => {
    net.cut('m', 'b')
    expect(await done(register('x', 'a', 'strong'), 100)).toBe('Timeout {"name":"x","missing_nodes":["b"]}')
    await net.advance(6000)
    expect(at('a').names.statistics().pending).toBe(0)
  })

  test('keep everybody else out while they wait, in every scope', async () => {
    net.cut('m', 'b')
    const waiting = register('x', 'a', 'strong')
    await net.advance(1000)
    expect(await done(register('x', 'm', 'eventual'), 1)).toMatch(/^AlreadyExists/)
    expect(at('m').names.holder('x')).toBe(pidOf('a', 1))
    expect(await done(register('x', 'm', 'consistent'), 1)).toMatch(/reserved/)
    net.heal('m', 'b')
    expect(await done(waiting, 10)).toBe('ok')
  })

  test('go on under another leader: what is reserved is asked for again', async () => {
    net.cut('m', 'b')
    const waiting = register('x', 'a', 'strong')
    await net.advance(1000)
    server.lead(false)
    await net.advance(200)
    net.heal('m', 'b')
    server.lead(true)
    expect(await done(waiting, 10)).toBe('ok')
  })

  test('a process that ends while its name waits has none', async () => {
    net.cut('m', 'b')
    const waiting = register('x', 'a', 'strong')
    await net.advance(500)
    at('a').names.exited(pidOf('a', 1))
    expect(await done(waiting, 10)).toMatch(/^(Unavailable|Canceled)/)
    await net.advance(1000)
    expect(server.machine.names.reservations()).toEqual([])
  })

  test('a node that joins gives way to those that there are before it is ready', async () => {
    await done(register('x', 'a', 'strong'), 10)
    const late = net.join('late', 1)
    net.nodes.delete('late')
    for (const { fabric } of nodes.values()) fabric.saw('left', late)
    for (const other of nodes.keys()) net.cuts.add(`late ${other}`)
    const node = await start('late')
    node.local.set('x', pidOf('late', 1, 2))
    await done(register('y', 'late', 'eventual'))
    await done(register('y', 'a', 'strong'), 10)
    for (const other of ['m', 'a', 'b']) net.heal('late', other)
    for (const { fabric } of nodes.values()) {
      if (fabric !== node.fabric) node.fabric.saw('joined', fabric)
    }
    await net.advance(15_000)
    expect(node.revoked.sort()).toEqual([`x of ${pidOf('late', 1, 2)}`, `y of ${pidOf('late', 1)}`])
    expect([node.names.lookup('x'), node.names.lookup('y')]).toEqual([pidOf('a', 1), pidOf('a', 1)])
    expect(node.names.isReady('z')).toBe(true)
  })

  test('a node that was cut off before it knew them learns them when its session is resumed', async () => {
    await done(register('x', 'a', 'strong'), 10)
    const late = net.join('late', 1)
    net.nodes.delete('late')
    for (const { fabric } of nodes.values()) fabric.saw('left', late)
    for (const other of nodes.keys()) net.cuts.add(`late ${other}`)
    const node = await start('late')
    node.local.set('x', pidOf('late', 1, 2))
    const states: string[] = []
    node.state.onSession(({ kind }) => {
      states.push(kind)
      if (kind !== 'opened') return
      net.cut('late', 'm')
      net.after(1000, () => ready.push(node.names.check().ok))
    })
    const ready: boolean[] = []
    net.heal('late', 'm')
    node.fabric.saw('joined', at('m').fabric)
    at('m').fabric.saw('joined', node.fabric)
    await net.advance(30_000)
    expect([states.at(0), states.at(-1), node.revoked]).toEqual(['opened', 'suspended', []])
    expect([ready, node.state.check().ok]).toEqual([[false], false])
    net.heal('late', 'm')
    await net.advance(10_000)
    expect(states.at(-1)).toMatch(/resumed|leader-reached/)
    expect(node.revoked).toEqual([`x of ${pidOf('late', 1, 2)}`])
    expect(node.names.isReady('z')).toBe(true)
    expect([node.names.check().ok, node.state.check().ok]).toEqual([true, true])
    expect(node.state.figures()).toMatchObject({ state: 'open', suspensions: 1, downs: { dead: 0, silent: 0 } })
    expect(node.state.figures().renewals.count).toBeGreaterThan(1)
  })

  test('a question that cannot be read is refused', async () => {
    await expect(
      done(at('a').fabric.request({ name: 'b', epoch: 0 }, 'strong.check', Uint8Array.of(1)), 10),
    ).rejects.toMatchObject({ kind: 'Invalid' })
  })
})
