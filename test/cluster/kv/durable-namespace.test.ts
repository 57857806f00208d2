// Snapshot and log of a durable namespace: whatever operation the disk fails at, what was synced is read back, the program's own end loses
// nothing that a turn ended with, and no file grows for ever. cluster.md §8.8.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Held } from '../../../cluster/kv/core/digest.ts'
import type { Entry } from '../../../cluster/kv/core/entry.ts'
import { SortedMap } from '../../../cluster/kv/core/sorted-map.ts'
import { DurableNamespace } from '../../../cluster/kv/durable-namespace.ts'
import type { Files } from '../../../cluster/storage/files.ts'
import { MemoryFiles } from '../../../cluster/storage/memory-files.ts'
import { CrashDrive } from '../../tools/crash-files.ts'
import { FakeEnv } from '../../tools/fake-env.ts'

const DIR = '/d'
const NS = 'a.1'

/** A namespace and what it is of: the latest of each key. */
class Rig {
  readonly held = new SortedMap<Held>()
  readonly told: string[] = []
  readonly files: Files
  durable: DurableNamespace | undefined
  #deferred: (() => void)[] = []
  #clock = 0

  constructor(files: Files) {
    this.files = files
  }

  async open(): Promise<this> {
    await this.files.makeDirectory(DIR)
    this.durable = await DurableNamespace.open({
      files: this.files,
      directory: DIR,
      namespace: NS,
      valueBytesMax: 1000,
      restore: (entry) => this.#put(entry),
      view: () => ({ entries: this.held.view(), latest: { ms: this.#clock, counter: 0 } }),
      defer: (run) => this.#deferred.push(run),
      log: (_level, event) => this.told.push(event),
    })
    return this
  }

  #put(entry: Entry): void {
    this.#clock = Math.max(this.#clock, entry.hlc.ms)
    const before = this.held.get(entry.key)
    if (before !== undefined && before.hlc.ms >= entry.hlc.ms) return
    this.held.set(entry.key, { entry, keyHash: '', hlc: entry.hlc, hash: '' })
  }

  write(key: string, value: string): void {
    const hlc = { ms: this.#clock + 1, counter: 0 }
    const entry = { namespace: NS, key, hlc, origin: 'n', isDelete: false, expiryMs: 0, value: Buffer.from(value) }
    this.#put(entry)
    this.durable?.append(entry)
  }

  /** The turn of the event loop ends, and the disk does what it was told. */
  async turn(): Promise<void> {
    for (const run of this.#deferred.splice(0)) run()
    for (let i = 0; i < 20; i++) await new Promise((done) => setImmediate(done))
  }

  get content(): Record<string, string> {
    return Object.fromEntries(
      [...this.held.range()].map(([key, { entry }]) => [key, Buffer.from(entry.value ?? []).toString()]),
    )
  }
}

const reopened = async (files: Files): Promise<Rig> => new Rig(files).open()

test('what a turn ended with is read back after the program was killed', async () => {
  const files = new MemoryFiles()
  const rig = await reopened(files)
  rig.write('a', '1')
  rig.write('b', '1')
  await rig.turn()
  rig.write('a', '2')
  await rig.turn()
  rig.write('lost', 'in the middle of a turn')
  expect((await reopened(files)).content).toEqual({ a: '2', b: '1' })
})

test('a change is written when `written` says so', async () => {
  const files = new MemoryFiles()
  const rig = await reopened(files)
  rig.write('a', '1')
  let isWritten = false
  const written = rig.durable?.written().then(() => {
    isWritten = true
  })
  await Promise.resolve()
  expect(isWritten).toBe(false)
  await rig.turn()
  await written
  expect((await reopened(files)).content).toEqual({ a: '1' })
  await rig.durable?.written()
})

test('a snapshot takes the place of the log, two are kept, and nothing is written when nothing changed', async () => {
  const files = new MemoryFiles()
  const rig = await reopened(files)
  for (let i = 1; i <= 5; i++) {
    rig.write('a', String(i))
    await rig.turn()
    await rig.durable?.save()
  }
  const names = await files.list(DIR)
  expect(names.filter((name) => name.endsWith('.snap'))).toHaveLength(2)
  expect(names.length).toBeLessThanOrEqual(4)
  await rig.durable?.save()
  await rig.durable?.close()
  expect(await files.list(DIR)).toEqual(names)
  expect((await reopened(files)).content).toEqual({ a: '5' })
})

test('runs that are killed one after the other use one log', async () => {
  const files = new MemoryFiles()
  for (let i = 0; i < 10; i++) {
    const rig = await reopened(files)
    rig.write(`k${i}`, 'x')
    await rig.turn()
  }
  expect(await files.list(DIR)).toHaveLength(1)
  expect(Object.keys((await reopened(files)).content)).toHaveLength(10)
})

test('a torn end of the log is cut, and the log goes on behind it', async () => {
  const files = new MemoryFiles()
  const rig = await reopened(files)
  rig.write('a', '1')
  await rig.turn()
  const [name = ''] = await files.list(DIR)
  const file = await files.open(join(DIR, name), 'update')
  await file.write(new Uint8Array([0, 0, 0, 99, 1, 2]), await file.size())
  const second = await reopened(files)
  expect(second.told).toEqual(['crdt_log_cut'])
  second.write('b', '2')
  await second.turn()
  const third = await reopened(files)
  expect([third.content, third.told]).toEqual([{ a: '1', b: '2' }, []])
})

test('a damaged snapshot is passed over for the one before, and nothing is lost', async () => {
  const files = new MemoryFiles()
  const rig = await reopened(files)
  for (const key of ['a', 'b', 'c']) {
    rig.write(key, key)
    await rig.turn()
    await rig.durable?.save()
  }
  rig.write('d', 'd')
  await rig.turn()
  const latest = (await files.list(DIR)).filter((name) => name.endsWith('.snap')).at(-1) as string
  const file = await files.open(join(DIR, latest), 'update')
  await file.write(new Uint8Array([255]), 20)
  const again = await reopened(files)
  expect([again.content, again.told]).toEqual([{ a: 'a', b: 'b', c: 'c', d: 'd' }, ['crdt_snapshot_damaged']])
  await again.durable?.close()
  expect((await reopened(files)).told).toEqual([])
})

test('a namespace whose name begins like another keeps its files to itself', async () => {
  const files = new MemoryFiles()
  const rig = await reopened(files)
  const other = await DurableNamespace.open({
    files,
    directory: DIR,
    namespace: 'a',
    valueBytesMax: 1000,
    restore: () => {},
    view: () => ({ entries: new SortedMap<Held>().view(), latest: { ms: 0, counter: 0 } }),
    defer: () => {},
    log: () => {},
  })
  rig.write('k', 'x')
  await rig.turn()
  other.changed()
  await other.close()
  await rig.durable?.close()
  expect((await reopened(files)).content).toEqual({ k: 'x' })
})

describe('at every operation of the disk', () => {
  /** Writes, snapshots and ends; `synced` is what the latest snapshot that was finished had. */
  async function run(files: Files): Promise<Record<string, string>> {
    let synced: Record<string, string> = {}
    try {
      const rig = await reopened(files)
      for (let i = 1; i <= 3; i++) {
        rig.write('a', String(i))
        rig.write(`k${i}`, 'x')
        await rig.turn()
        const before = rig.told.length
        const content = rig.content
        await rig.durable?.save()
        if (rig.told.length === before) synced = content
      }
      await rig.durable?.close()
    } catch {
      // The disk would not even open.
    }
    return synced
  }

  const seeded = (seed: number) => {
    const env = new FakeEnv(seed)
    return (bound: number): number => env.randomInt(bound)
  }

  test('a loss of power keeps what the last finished snapshot had', async () => {
    const whole = new CrashDrive(seeded(1))
    await run(whole.files())
    expect(whole.operationCount).toBeGreaterThan(20)
    for (let operation = 0; operation < whole.operationCount; operation++) {
      for (let seed = 1; seed <= 8; seed++) {
        const drive = new CrashDrive(seeded(seed))
        const synced = await run(drive.files({ operation, kind: 'crash' }))
        drive.crash()
        const { content } = await reopened(drive.files())
        for (const key of Object.keys(synced)) expect(content[key], `${operation}/${seed}`).toBeDefined()
        expect(Number(content['a'] ?? 0), `${operation}/${seed}`).toBeGreaterThanOrEqual(Number(synced['a'] ?? 0))
      }
    }
  })

  test('a disk that is full for a moment loses nothing in the end', async () => {
    const whole = new CrashDrive(seeded(1))
    await run(whole.files())
    for (let operation = 0; operation < whole.operationCount; operation++) {
      const drive = new CrashDrive(seeded(operation + 1))
      const files = drive.files({ operation, kind: 'full' })
      const rig = await reopened(files).catch(() => undefined)
      // Then the node does not start.
      if (rig === undefined) continue
      for (let i = 1; i <= 3; i++) {
        rig.write('a', String(i))
        rig.write(`k${i}`, 'x')
        await rig.turn()
        await rig.durable?.save()
      }
      await rig.durable?.save()
      await rig.durable?.close()
      drive.crash()
      expect((await reopened(drive.files())).content, String(operation)).toEqual({ a: '3', k1: 'x', k2: 'x', k3: 'x' })
    }
  })
})
