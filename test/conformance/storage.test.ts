// What every storage does: durable batches in order, reads in the order of the keys.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { failureReason } from '../../cluster/storage/failure.ts'
import { LevelStorage } from '../../cluster/storage/level.ts'
import { MemoryStorage } from '../../cluster/storage/memory.ts'
import type { Operation, Storage } from '../../cluster/storage/storage.ts'
import { fc } from '../tools/property.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const put = (key: Uint8Array, value: Uint8Array): Operation => ({ kind: 'put', key, value })
const drop = (key: Uint8Array): Operation => ({ kind: 'delete', key })
const everything = { from: bytes(), to: bytes(255, 255, 255, 255) }

async function contentOf(storage: Storage, range = everything): Promise<[string, string][]> {
  const content: [string, string][] = []
  for await (const page of storage.rows(range)) {
    expect(page.length).toBeGreaterThan(0)
    for (const [key, value] of page)
      content.push([Buffer.from(key).toString('hex'), Buffer.from(value).toString('hex')])
  }
  return content
}

let place: string

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'moonmesh-storage-'))
})

afterEach(() => rmSync(place, { recursive: true, force: true }))

describe.each<[string, () => Promise<Storage>]>([
  ['memory', async () => new MemoryStorage()],
  ['level', () => LevelStorage.open({ path: join(place, 'db') })],
])('storage in %s', (_name, open) => {
  let storage: Storage

  beforeEach(async () => {
    storage = await open()
  })

  afterEach(() => storage.close())

  test('what was written is there, what was not is not', async () => {
    await storage.write([put(bytes(1), bytes(10)), put(bytes(2), bytes())])
    expect([...((await storage.get(bytes(1))) ?? [])]).toEqual([10])
    expect((await storage.get(bytes(2)))?.length).toBe(0)
    expect(await storage.get(bytes(3))).toBeUndefined()
  })

  test('operations of a batch count in their order', async () => {
    await storage.write([put(bytes(1), bytes(1)), drop(bytes(1)), put(bytes(2), bytes(1)), put(bytes(2), bytes(2))])
    expect(await contentOf(storage)).toEqual([['02', '02']])
  })

  test('batches that share a sync count in their order, and are answered in it', async () => {
    const answered: number[] = []
    const writes = Array.from({ length: 50 }, (_, at) =>
      storage.write([put(bytes(7), bytes(at))]).then(() => answered.push(at)),
    )
    await Promise.all(writes)
    expect(answered).toEqual(answered.toSorted((a, b) => a - b))
    expect([...((await storage.get(bytes(7))) ?? [])]).toEqual([49])
    expect(storage.waitingBytes).toBe(0)
  })

  test('a range begins with its first key and ends before its last', async () => {
    await storage.write([0, 1, 2, 3, 127, 128, 255].map((key) => put(bytes(key), bytes(key))))
    const keys = (await contentOf(storage, { from: bytes(1), to: bytes(128) })).map(([key]) => key)
    expect(keys).toEqual(['01', '02', '03', '7f'])
    const pages: string[] = []
    for await (const page of storage.keys({ from: bytes(128), to: bytes(255, 0) })) {
      for (const key of page) pages.push(Buffer.from(key).toString('hex'))
    }
    expect(pages).toEqual(['80', 'ff'])
  })

  test('pages of large rows stay small', async () => {
    await storage.write(Array.from({ length: 20 }, (_, at) => put(bytes(at), new Uint8Array(100_000).fill(at))))
    let count = 0
    for await (const page of storage.rows(everything)) {
      expect(page.length).toBeLessThanOrEqual(4)
      count += page.length
    }
    expect(count).toBe(20)
  })

  test('behaves as a sorted map does', async () => {
    const key = fc.uint8Array({ minLength: 1, maxLength: 2 })
    const operation = fc.oneof(
      fc.tuple(key, fc.uint8Array({ maxLength: 3 })).map(([at, value]) => put(at, value)),
      key.map(drop),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(operation, { maxLength: 6 }), { maxLength: 8 }), async (batches) => {
        const naive = new Map<string, string>()
        await storage.write((await contentOf(storage)).map(([at]) => drop(Buffer.from(at, 'hex'))))
        for (const batch of batches) {
          for (const each of batch) {
            const at = Buffer.from(each.key).toString('hex')
            if (each.kind === 'put') naive.set(at, Buffer.from(each.value).toString('hex'))
            else naive.delete(at)
          }
        }
        await Promise.all(batches.map((batch) => storage.write(batch)))
        expect(await contentOf(storage)).toEqual([...naive].sort(([a], [b]) => (a < b ? -1 : 1)))
      }),
      { numRuns: 50 },
    )
  })

  test('closing waits for what is under way, happens once, and ends writing', async () => {
    const write = storage.write([put(bytes(1), bytes(1))])
    const closing = storage.close()
    await write
    await Promise.all([closing, storage.close()])
    const late = storage.write([put(bytes(2), bytes(2))])
    await expect(late).rejects.toSatisfy((error) => failureReason(error) === 'closed')
  })
})
