// The convergent store over a fabric and a disk: what leaves, what is kept, and in which order. cluster.md §8.6 to §8.8.

import { expect, test } from 'vitest'
import { CrdtService } from '../../../cluster/kv/crdt-store.ts'
import { failure } from '../../../cluster/storage/failure.ts'
import type { Files } from '../../../cluster/storage/files.ts'
import { MemoryFiles } from '../../../cluster/storage/memory-files.ts'
import { FakeNetwork } from './fake-fabric.ts'

const NS = 'sessions'
const DIRECTORY = '/data/_sys/kvcrdt'
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (item: { value: Uint8Array } | undefined): string | undefined =>
  item === undefined ? undefined : new TextDecoder().decode(item.value)

const network = (): FakeNetwork => new FakeNetwork()

async function start(net: FakeNetwork, name: string, files?: Files, isAttached = true): Promise<CrdtService> {
  const fabric = net.add(name)
  const service = await CrdtService.open({
    name,
    env: net.env,
    settings: { retentionMs: 3_600_000 },
    files: files ?? new MemoryFiles(),
    directory: files === undefined ? undefined : DIRECTORY,
    after: fabric.after,
    defer: (run) => net.post(run),
    log: fabric.log,
  })
  if (isAttached) service.attach(fabric)
  return service
}

const set = (service: CrdtService, key: string, value: string, ttlMs = 0) => service.set(NS, key, bytes(value), ttlMs)
const get = (service: CrdtService, key: string): string | undefined => text(service.get(NS, key))

test('a small write is told by gossip, a large one over the mesh (§8.7)', async () => {
  const net = network()
  const [a, b] = [await start(net, 'a'), await start(net, 'b')]
  net.link('a', 'b')
  await net.settle()
  set(a, 'small', 'x')
  set(a, 'large', 'y'.repeat(5000))
  await net.settle()
  expect(get(b, 'small')).toBe('x')
  expect(get(b, 'large')).toBe('y'.repeat(5000))
  net.losesGossip = true
  set(a, 'lost', 'x')
  set(a, 'pushed', 'y'.repeat(5000))
  await net.settle()
  expect([get(b, 'lost'), get(b, 'pushed')?.length]).toEqual([undefined, 5000])
})

test('what gossip lost is found within an interval of comparing, deletes too (§8.7)', async () => {
  const net = network()
  const [a, b] = [await start(net, 'a'), await start(net, 'b')]
  net.link('a', 'b')
  set(a, 'k', 'old')
  await net.settle()
  net.losesGossip = true
  a.delete(NS, 'k')
  set(b, 'other', 'x')
  await net.settle()
  expect(get(b, 'k')).toBe('old')
  await net.pass(11_000)
  expect([get(a, 'k'), get(b, 'k'), get(a, 'other')]).toEqual([undefined, undefined, 'x'])
})

test('nodes that meet compare at once, and a hint of another state makes them compare', async () => {
  const net = network()
  net.losesGossip = true
  const [a, b] = [await start(net, 'a'), await start(net, 'b')]
  set(a, 'k', 'x')
  net.link('a', 'b')
  await net.settle()
  expect(get(b, 'k')).toBe('x')
  set(b, 'k2', 'y')
  const [hint] = net.nodes.get('b')?.exchangeFrames() ?? []
  net.nodes.get('a')?.heard(hint as Uint8Array, 'b')
  await net.settle()
  expect(get(a, 'k2')).toBe('y')
})

test('a comparison that a cut link interrupts is taken up when the link is back', async () => {
  const net = network()
  net.losesGossip = true
  const [a, b] = [await start(net, 'a'), await start(net, 'b')]
  for (let i = 0; i < 3000; i++) set(a, `k${i}`, 'x')
  net.link('a', 'b')
  net.cut('a', 'b')
  await net.settle()
  expect(get(b, 'k1')).toBe(undefined)
  net.link('a', 'b')
  await net.settle()
  expect(b.usageOf(NS).keys).toBe(3000)
  expect(b.statistics().entries).toBe(3000)
})

test('messages that the mesh has no room for wait, and go when it has', async () => {
  const net = network()
  net.losesGossip = true
  const [a, b] = [await start(net, 'a'), await start(net, 'b')]
  set(a, 'k', 'x')
  net.nodes.get('a')?.refusing.set('crdt', 'queue_full')
  net.link('a', 'b')
  await net.settle()
  expect(get(b, 'k')).toBe(undefined)
  net.nodes.get('a')?.refusing.clear()
  net.nodes.get('a')?.room('b', 'crdt')
  await net.settle()
  expect(get(b, 'k')).toBe('x')
})

test('a stamp leaves after the clock is on disk, and a later run begins above it (§8.6)', async () => {
  const net = network()
  const inner = new MemoryFiles()
  let letGo: () => void = () => {}
  const files: Files = {
    makeDirectory: (path) => inner.makeDirectory(path),
    list: (path) => inner.list(path),
    open: (path, mode) => inner.open(path, mode),
    rename: async (from, to) => {
      await new Promise<void>((done) => {
        letGo = done
      })
      return inner.rename(from, to)
    },
    remove: (path) => inner.remove(path),
    syncDirectory: () => inner.syncDirectory(),
  }
  const [a, b] = [await start(net, 'a', files), await start(net, 'b')]
  net.link('a', 'b')
  await net.settle()
  const first = set(a, 'k', 'x')
  await net.settle()
  expect(get(a, 'k')).toBe('x')
  // Neither by gossip nor by an answer.
  await net.pass(25_000)
  expect(get(b, 'k')).toBe(undefined)
  letGo()
  await net.settle()
  expect(get(b, 'k')).toBe('x')
  await a.close()
  net.env.wall -= 60_000
  const again = await start(net, 'a', inner)
  expect(BigInt(set(again, 'k', 'y').version)).toBeGreaterThan(BigInt(first.version))
})

test('while the clock cannot be saved nothing leaves; then everything does', async () => {
  const net = network()
  const inner = new MemoryFiles()
  let isFull = true
  const files: Files = {
    ...inner,
    makeDirectory: (path) => inner.makeDirectory(path),
    list: (path) => inner.list(path),
    open: (path, mode) =>
      isFull && mode === 'create' ? Promise.reject(failure('full', path)) : inner.open(path, mode),
    rename: (from, to) => inner.rename(from, to),
    remove: (path) => inner.remove(path),
    syncDirectory: () => inner.syncDirectory(),
  }
  const [a, b] = [await start(net, 'a', files), await start(net, 'b')]
  net.link('a', 'b')
  await net.settle()
  set(a, 'k', 'x')
  await net.pass(3000)
  expect(get(b, 'k')).toBe(undefined)
  expect(net.nodes.get('a')?.told.map(({ event }) => event)).toContain('crdt_storage_failed')
  isFull = false
  await net.pass(3000)
  expect(get(b, 'k')).toBe('x')
})

test('a durable namespace is there after a start, one that is not comes from others only', async () => {
  const net = network()
  const files = new MemoryFiles()
  const first = await start(net, 'a', files)
  expect(await first.declare(NS, { durable: true })).toBe(true)
  expect(await first.declare('passing', { durable: false })).toBe(false)
  set(first, 'k', 'x')
  set(first, 'gone', 'x')
  first.delete(NS, 'gone')
  first.set('passing', 'k', bytes('y'), 0)
  await first.close()
  const second = await start(net, 'a', files)
  await second.declare(NS, { durable: true })
  expect([get(second, 'k'), get(second, 'gone'), second.get('passing', 'k')]).toEqual(['x', undefined, undefined])
  expect(second.statistics().tombstones).toBe(1)
  await second.close()
})

test('what others wrote while a durable namespace was read is kept, too', async () => {
  const net = network()
  const files = new MemoryFiles()
  const a = await start(net, 'a', files)
  set(a, 'early', 'x')
  const declared = a.declare(NS, { durable: true })
  set(a, 'meanwhile', 'y')
  await declared
  await a.close()
  const again = await start(net, 'a', files)
  await again.declare(NS, { durable: true })
  expect([get(again, 'early'), get(again, 'meanwhile')]).toEqual(['x', 'y'])
})

test('a key expires everywhere by its own deadline, whoever is gone (§8.8)', async () => {
  const net = network()
  const [a, b] = [await start(net, 'a'), await start(net, 'b')]
  net.link('a', 'b')
  set(a, 'k', 'x', 5000)
  await net.settle()
  expect(b.get(NS, 'k')?.expiryMs).toBe(a.get(NS, 'k')?.expiryMs)
  await a.close()
  await net.pass(4000)
  expect(get(b, 'k')).toBe('x')
  await net.pass(1001)
  expect(get(b, 'k')).toBe(undefined)
})

test('garbage from other nodes is counted, told once and harmless', async () => {
  const net = network()
  const a = await start(net, 'a')
  await start(net, 'b')
  net.link('a', 'b')
  await net.settle()
  const fabric = net.nodes.get('a')
  const from = { name: 'b', epoch: 1 }
  for (const garbage of [new Uint8Array(0), new Uint8Array([9]), new Uint8Array([1, 0, 0, 0, 1, 0xc1])]) {
    fabric?.heard(garbage, undefined)
    fabric?.heard(garbage, 'b')
    fabric?.received(from, 'crdt', garbage)
  }
  expect(a.statistics().unreadable).toBe(9)
  expect(fabric?.told.filter(({ event }) => event === 'crdt_unreadable')).toHaveLength(1)
  set(a, 'k', 'x')
  expect(get(a, 'k')).toBe('x')
})

test('a node that leaves hands over what gossip has not told yet', async () => {
  const net = network()
  const [a, b] = [await start(net, 'a'), await start(net, 'b')]
  net.link('a', 'b')
  await net.settle()
  net.losesGossip = true
  set(a, 'k', 'last words')
  const handedOver = a.handOver(2000)
  await net.settle()
  await handedOver
  expect(get(b, 'k')).toBe('last words')
  net.cut('a', 'b')
  await a.handOver(2000)
  net.link('a', 'b')
  net.nodes.get('a')?.refusing.set('crdt', 'queue_full')
  const late = a.handOver(2000)
  await net.pass(2000)
  await late
  const toNobody = a.handOver(2000)
  net.cut('a', 'b')
  await net.settle()
  await toNobody
  expect(net.env.now).toBe(2000)
})

test('a node without others has the same store', async () => {
  const net = network()
  const alone = await start(net, 'alone', undefined, false)
  set(alone, 'k', 'x')
  set(alone, 'large', 'y'.repeat(2000))
  expect(alone.delete(NS, 'k')).toBe(true)
  expect(alone.delete(NS, 'k')).toBe(false)
  await net.pass(60_000)
  expect(alone.list(NS, { prefix: '', after: '', limit: 10 }).items.map(({ key }) => key)).toEqual(['large'])
})

test('bounds are told, and a closed store says so', async () => {
  const net = network()
  const a = await start(net, 'a')
  expect(() => set(a, '', 'x')).toThrow('1 to 1024 bytes')
  expect(() => set(a, 'k', 'x'.repeat(600_000))).toThrow('at most 524288 bytes')
  expect(() => set(a, 'k', 'x', 1e15)).toThrow('10 years')
  await a.close()
  await a.close()
  expect(() => set(a, 'k', 'x')).toThrow(expect.objectContaining({ kind: 'Unavailable', message: 'store is closed' }))
  expect(net.timerCount).toBe(0)
})
