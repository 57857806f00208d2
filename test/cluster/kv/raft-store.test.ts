// The versioned store over replicas that lag, lose their links and restore snapshots: reads are fresh, writes tell what became of them, and a
// watch gives every change once and in order, or says that some are lost. cluster.md §8.2 to §8.4, V2.

import { expect, test } from 'vitest'
import type { WatchBatch } from '../../../cluster/kv/core/changes.ts'
import type { KvCommand } from '../../../cluster/kv/core/commands.ts'
import { type StoreWatch, VersionedStores } from '../../../cluster/kv/raft-store.ts'
import { Machine } from '../../../cluster/state/core/machine.ts'
import type { Query } from '../../../cluster/state/member.ts'
import { decodeCommands } from '../../../cluster/state/wire/commands.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import type { Packed } from '../../../runtime/base/msgpack.ts'
import { encodeCommands } from '../../tools/state-commands.ts'
import { type FakeFabric, FakeNetwork } from './fake-fabric.ts'

const NS = 'orders'
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

type Committed = Parameters<Machine['apply']>[0]

/** A log that all members apply, each as far as it was let. */
class Group {
  readonly net = new FakeNetwork()
  readonly log: Committed[] = []
  readonly members: Member[] = []
  clockMs = 0
  #seq = 0

  constructor() {
    const command = { kind: 'node-up', node: 'a', epoch: 1, role: 'voter' } as const
    this.append({ kind: 'commands', data: encodeCommands([{ session: 0, seq: 0, floor: 0, command }]) })
  }

  /** In the session that the first entry opened. */
  submit(command: { kind: 'kv'; command: KvCommand }): void {
    const seq = ++this.#seq
    this.append({ kind: 'commands', data: encodeCommands([{ session: 1, seq, floor: seq, command }]) })
  }

  member(name: string): Member {
    this.net.tags.set(name, new Map([['raft_role', 'voter']]))
    const member = new Member(this, this.net.add(name), true)
    this.members.push(member)
    return member
  }

  client(name: string): Member {
    return new Member(this, this.net.add(name), false)
  }

  append(entry: Pick<Committed, 'kind' | 'data'>): void {
    this.log.push({ index: this.log.length + 1, clockMs: this.clockMs, ...entry })
    for (const member of this.members) member.catchUp()
  }

  tick(clockMs: number): void {
    this.clockMs = clockMs
    this.append({ kind: 'tick' })
  }
}

class Member {
  readonly stores: VersionedStores
  readonly machine = new Machine(decodeCommands)
  /** Applies nothing, and hears of nobody. */
  isLagging = false
  readonly #group: Group
  readonly #isServer: boolean
  readonly #queries = new Map<string, Query>()
  readonly #applied = new Set<(index: number, events: readonly never[]) => void>()
  readonly #restored = new Set<(index: number) => void>()

  constructor(group: Group, fabric: FakeFabric, isServer: boolean) {
    this.#group = group
    this.#isServer = isServer
    const replica = (): Machine | undefined => (isServer ? this.machine : undefined)
    const state = {
      submit: async (command: { kind: 'kv'; command: KvCommand }) => {
        group.submit(command)
        const { outcomes } = this.#last
        return outcomes[0]
      },
      read: async (query: string, args: Packed, { stale }: { stale: boolean }) => {
        const member = isServer ? this : (group.members.find(({ isLagging }) => !isLagging) as Member)
        if (!stale) await member.barrier()
        return (member.#queries.get(query) as Query)(member.machine, args)
      },
      addQuery: (name: string, query: Query) => void this.#queries.set(name, query),
      get replica() {
        return replica()
      },
      barrier: () => this.barrier(),
    }
    this.stores = new VersionedStores({
      fabric,
      state: state as never,
      consensus: isServer
        ? {
            onApplied: (listener) => added(this.#applied, listener as never),
            onRestored: (listener) => added(this.#restored, listener),
          }
        : undefined,
    })
    this.catchUp()
  }

  get #last(): { outcomes: readonly unknown[] } {
    return (this.#group.members[0] as Member).lastApplied
  }

  lastApplied: { outcomes: readonly unknown[] } = { outcomes: [] }

  async barrier(): Promise<void> {
    if (this.isLagging) throw new MoonmeshError('Timeout', 'cut off', { retryable: true })
  }

  catchUp(): void {
    while (!this.isLagging && this.#isServer && this.machine.index < this.#group.log.length) {
      this.lastApplied = this.machine.apply(this.#group.log[this.machine.index] as Committed)
      for (const listener of this.#applied) listener(this.machine.index, [])
    }
  }

  /** Takes over the state of another at once. */
  restore(other: Member): void {
    this.machine.replaceBy(Machine.restored(other.machine.snapshot(), decodeCommands))
    for (const listener of this.#restored) listener(this.machine.index)
  }
}

function added<T>(set: Set<T>, value: T): () => void {
  set.add(value)
  return () => set.delete(value)
}

const put = (key: string, value: string, more: Partial<Extract<KvCommand, { kind: 'put' }>> = {}): KvCommand => ({
  kind: 'put',
  namespace: NS,
  put: { key, value: bytes(value), ttlMs: 0, keepsExpiry: false },
  condition: 'none',
  fence: undefined,
  ...more,
})

const remove = (key: string): KvCommand => ({
  kind: 'delete',
  namespace: NS,
  key,
  ifVersion: undefined,
  fence: undefined,
})

/** Reads a watch to its end, as a list of lines. */
function follow(watch: StoreWatch): string[] {
  const lines: string[] = []
  const read = async (): Promise<void> => {
    for (let batch = await watch.next(); batch !== undefined; batch = await watch.next()) lines.push(...linesOf(batch))
    lines.push('end')
  }
  void read().catch((error: unknown) => lines.push(String(error)))
  return lines
}

function linesOf(batch: WatchBatch): string[] {
  if (batch.kind === 'resync') return [`resync ${batch.version}`]
  return batch.changes.map(({ kind, key, value, prevVersion }) => {
    const text = value === undefined ? '' : `=${new TextDecoder().decode(value)}`
    return `${kind} ${key}${text}${prevVersion === undefined ? '' : ' again'}`
  })
}

test('reads are fresh unless they may be stale, on members and clients', async () => {
  const group = new Group()
  const [a, b, c] = [group.member('a'), group.member('b'), group.client('c')]
  const { version } = await a.stores.write(put('k', '1'))
  for (const { stores } of [a, b, c]) {
    expect(await stores.get(NS, 'k', { stale: false })).toEqual({
      key: 'k',
      value: bytes('1'),
      version,
      ttlLeftMs: undefined,
    })
  }
  b.isLagging = true
  await a.stores.write(put('k', '2'))
  expect((await b.stores.get(NS, 'k', { stale: true }))?.value).toEqual(bytes('1'))
  await expect(b.stores.get(NS, 'k', { stale: false })).rejects.toMatchObject({ kind: 'Timeout' })
  expect((await c.stores.get(NS, 'k', { stale: false }))?.value).toEqual(bytes('2'))
  expect(await c.stores.get(NS, 'none', { stale: false })).toBe(undefined)
})

test('pages are in order, with the time that keys have left', async () => {
  const group = new Group()
  const [a, c] = [group.member('a'), group.client('c')]
  for (const key of ['x:2', 'x:1', 'y:1']) await a.stores.write(put(key, key))
  await a.stores.write(put('x:3', 'x:3', { put: { key: 'x:3', value: bytes('x:3'), ttlMs: 5000, keepsExpiry: false } }))
  const page = await c.stores.list({ namespace: NS, prefix: 'x:', after: '', limit: 2 }, { stale: false })
  expect([page.items.map(({ key }) => key), page.cursor, page.hasMore]).toEqual([['x:1', 'x:2'], 'x:2', true])
  group.tick(2000)
  const rest = await c.stores.list({ namespace: NS, prefix: 'x:', after: page.cursor, limit: 2 }, { stale: false })
  expect(rest).toMatchObject({ items: [{ key: 'x:3', ttlLeftMs: 3000 }], cursor: 'x:3', hasMore: false })
})

test('a condition that does not hold says which version there is', async () => {
  const group = new Group()
  const { stores } = group.member('a')
  const { version } = await stores.write(put('k', '1'))
  const details = { key: 'k', version: String(version) }
  await expect(stores.write(put('k', '2', { condition: 'absent' }))).rejects.toMatchObject({
    kind: 'AlreadyExists',
    details,
  })
  await expect(stores.write(put('k', '2', { condition: { version: 999 } }))).rejects.toMatchObject({
    kind: 'Conflict',
    retryable: true,
    details,
  })
  await expect(stores.write(put('k', '2', { fence: { lock: 'l', token: 1 } }))).rejects.toMatchObject({
    kind: 'Conflict',
  })
  expect(await stores.write(put('k', '2', { condition: { version: version as number } }))).toMatchObject({ existed: 1 })
})

test.each(['member', 'client'] as const)('a watch of a %s gives each change once, in order', async (kind) => {
  const group = new Group()
  const [a, b] = [group.member('a'), group.member('b')]
  const w = kind === 'member' ? b : group.client('w')
  if (kind === 'client') group.net.link('w', 'b')
  await a.stores.write(put('k:0', 'before'))
  const watching = w.stores.watch(NS, 'k:')
  await group.net.settle()
  const lines = follow(await watching)
  await a.stores.write(put('k:1', '1'))
  await a.stores.write(put('other', '1'))
  await a.stores.write(put('k:1', '2'))
  await group.net.settle()
  await a.stores.write(remove('k:1'))
  await a.stores.write(put('k:2', 'x', { put: { key: 'k:2', value: bytes('x'), ttlMs: 100, keepsExpiry: false } }))
  group.tick(100)
  await group.net.settle()
  expect(lines).toEqual(['put k:1=1', 'put k:1=2 again', 'delete k:1 again', 'put k:2=x', 'expired k:2 again'])
})

test('a watch from an earlier version begins behind it, and one from too far back is told to list again', async () => {
  const group = new Group()
  const { stores } = group.member('a')
  const first = await stores.write(put('k', '1'))
  await stores.write(put('k', '2'))
  const lines = follow(await stores.watch(NS, '', { from: first.version as number }))
  await group.net.settle()
  expect(lines).toEqual(['put k=2 again'])
  for (let i = 0; i < 10_050; i++) await stores.write(put(`k${i % 7}`, 'x'))
  const old = follow(await stores.watch(NS, '', { from: first.version as number }))
  await group.net.settle()
  expect(old).toEqual([expect.stringMatching(/^resync \d+$/)])
  expect(stores.resyncCount).toBe(1)
})

test('a watch goes on at another member when its own is lost, and misses nothing', async () => {
  const group = new Group()
  const [a, b, w] = [group.member('a'), group.member('b'), group.client('w')]
  group.net.link('w', 'b')
  const watching = w.stores.watch(NS, '')
  await group.net.settle()
  const lines = follow(await watching)
  await group.net.settle()
  await a.stores.write(put('k', '1'))
  await group.net.settle()
  group.net.cut('w', 'b')
  group.net.nodes.get('w')?.liveChanged({ kind: 'left', node: { name: 'b', epoch: 1, tags: new Map() } })
  await a.stores.write(put('k', '2'))
  group.net.link('w', 'a')
  await group.net.pass(5000)
  expect(lines).toEqual(['put k=1', 'put k=2 again'])
  expect(b.stores.watchCount).toBe(0)
})

test('a member that is cut off is left for another one', async () => {
  const group = new Group()
  const [a, b] = [group.member('a'), group.member('b')]
  group.net.link('a', 'b')
  const watching = b.stores.watch(NS, '')
  await group.net.settle()
  const lines = follow(await watching)
  b.isLagging = true
  await a.stores.write(put('k', '1'))
  await group.net.settle()
  expect(lines).toEqual([])
  await group.net.pass(20_000)
  expect(lines).toEqual(['put k=1'])
})

test('a member that restores a snapshot tells its watches to list again, once', async () => {
  const group = new Group()
  const [a, b] = [group.member('a'), group.member('b')]
  const watching = b.stores.watch(NS, '')
  await group.net.settle()
  const lines = follow(await watching)
  await group.net.settle()
  b.isLagging = true
  for (let i = 0; i < 3; i++) await a.stores.write(put('k', String(i)))
  b.restore(a)
  await group.net.settle()
  b.isLagging = false
  await a.stores.write(put('k', 'after'))
  await group.net.settle()
  expect(lines).toEqual([expect.stringMatching(/^resync \d+$/), 'put k=after again'])
})

test('watches end with their reader, their caller and their store', async () => {
  const group = new Group()
  const { stores } = group.member('a')
  const caller = new AbortController()
  const [one, two, three] = [
    await stores.watch(NS, ''),
    await stores.watch(NS, '', { signal: caller.signal }),
    await stores.watch(NS, ''),
  ]
  const ends = [one, two, three].map(follow)
  await group.net.settle()
  expect(stores.watchCount).toBe(3)
  one.close()
  caller.abort()
  await group.net.settle()
  expect([ends[0], ends[1], ends[2], stores.watchCount]).toEqual([['end'], ['end'], [], 1])
  stores.close()
  await group.net.settle()
  expect([ends[2], stores.watchCount]).toEqual([['end'], 0])
  expect(group.net.timerCount).toBe(0)
})

test('what cannot be read is refused, and no member is no answer', async () => {
  const group = new Group()
  group.member('a')
  const w = group.client('w')
  const serve = group.net.nodes.get('a')?.methods.get('kv.watch')
  const context = { peer: 'w', epoch: 1, deadlineMs: 0, signal: new AbortController().signal }
  await expect(Promise.resolve().then(() => serve?.(new Uint8Array([0xc1]), context))).rejects.toMatchObject({
    kind: 'Invalid',
  })
  const watching = w.stores.watch(NS, '')
  const failed = expect(watching).rejects.toMatchObject({ kind: 'Unavailable' })
  await group.net.pass(20_000)
  await failed
})
