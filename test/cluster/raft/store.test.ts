// A store is opened as a whole: identity, log and snapshots fit each other, or it says why they do not. cluster.md §5.1.

import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Entry } from '../../../cluster/raft/core/entry.ts'
import type { SnapshotMeta } from '../../../cluster/raft/core/messages.ts'
import { Store, wipeStore } from '../../../cluster/raft/store.ts'
import { failureReason } from '../../../cluster/storage/failure.ts'
import { CrashDrive } from '../../tools/crash-files.ts'
import { CrashDisk } from '../../tools/crash-storage.ts'

let place: string
let path: string

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'moonmesh-store-'))
  path = join(place, '_sys', 'raft')
})

afterEach(() => rmSync(place, { recursive: true, force: true }))

const open = (): Promise<Store> => Store.open({ path, retain: 2 })

function noop(index: number, term: number): Entry {
  return { index, term, clockMs: index, kind: 'noop' }
}

const configuration = { voters: ['a/1'], standbys: [] }

/** As a leader sends it. */
async function install(store: Store, index: number, term: number): Promise<SnapshotMeta> {
  const bytes = new Uint8Array(1000).fill(index)
  const checksum = createHash('sha256').update(bytes).digest('hex')
  const meta = { index, term, clockMs: index, configuration, sizeBytes: bytes.length, checksum }
  await store.snapshots.begin(meta)
  await store.snapshots.writeChunk(meta, 0, bytes)
  expect(await store.snapshots.finish(meta)).toBe(true)
  return meta
}

describe('a store', () => {
  test('is made once and known again', async () => {
    const first = await open()
    const { storeId } = first
    expect(storeId).toMatch(/^[0-9a-f]{32}$/)
    expect(first.recovered).toEqual({ hardState: { term: 0 }, base: { index: 0, term: 0 }, runs: [], entries: [] })
    await first.log.persist({
      hardState: { term: 1, vote: 'a/1' },
      log: { after: 0, entries: [noop(1, 1), noop(2, 1)] },
    })
    await first.changeMeta((meta) => {
      return { ...meta, formation: 'f0', released: ['e1'], releasedBefore: ['e0'], promise: 'cA==' }
    })
    await first.close()
    await first.close()
    expect(readdirSync(path).sort()).toEqual(['META', 'log', 'snap'])
    const again = await open()
    expect(again.meta).toMatchObject({
      storeId,
      formation: 'f0',
      released: ['e1'],
      releasedBefore: ['e0'],
      promise: 'cA==',
    })
    expect(again.recovered.hardState).toEqual({ term: 1, vote: 'a/1' })
    expect(again.recovered.entries).toEqual([noop(1, 1), noop(2, 1)])
    expect(again.torn).toEqual([])
    await again.close()
  })

  test('begins behind its snapshot, with what the log holds after it', async () => {
    const store = await open()
    const entries = [1, 2, 3, 4, 5].map((index) => noop(index, 1))
    await store.log.persist({ hardState: { term: 1 }, log: { after: 0, entries } })
    const writer = await store.snapshots.create({ index: 3, term: 1, clockMs: 3, configuration })
    await writer.write(Buffer.from('state'))
    const snapshot = await writer.finish()
    await store.log.compact({ index: 2, term: 1 })
    await store.close()
    const again = await open()
    expect(again.recovered).toMatchObject({ snapshot, base: { index: 2, term: 1 }, entries: [noop(4, 1), noop(5, 1)] })
    expect(await again.log.read(2, { entriesMax: 1, bytesMax: 100 })).toEqual([noop(3, 1)])
    await again.close()
  })

  test('goes on behind a snapshot that arrived before the log was cut to it, also the second time', async () => {
    const store = await open()
    await store.log.persist({
      hardState: { term: 1, vote: 'a/1' },
      log: { after: 0, entries: [noop(1, 1), noop(2, 1)] },
    })
    const snapshot = await install(store, 50, 4)
    await store.close()
    for (let time = 0; time < 3; time++) {
      const again = await open()
      expect(again.recovered).toMatchObject({
        snapshot,
        hardState: { term: 4 },
        base: { index: 50, term: 4 },
        entries: [],
      })
      await again.close()
    }
    const last = await open()
    await last.log.persist({ hardState: { term: 5 }, log: { after: 50, entries: [noop(51, 5)] } })
    await last.close()
    const again = await open()
    expect(again.recovered.entries).toEqual([noop(51, 5)])
    await again.close()
  })

  test('says who has it open', async () => {
    const store = await open()
    await expect(open()).rejects.toMatchObject({
      kind: 'Conflict',
      message: `data dir is in use by pid ${process.pid}: ${path}`,
    })
    await store.close()
    await (await open()).close()
  })

  test('without its identity it is not opened: it may have voted', async () => {
    const store = await open()
    await store.log.persist({ hardState: { term: 1, vote: 'a/1' } })
    await store.close()
    const meta = readFileSync(join(path, 'META'))
    rmSync(join(path, 'META'))
    await expect(open()).rejects.toSatisfy((error) => failureReason(error) === 'corrupt')
    await expect(open()).rejects.toThrow('runtime cluster reset-store')
    writeFileSync(join(path, 'META'), meta.subarray(5))
    await expect(open()).rejects.toSatisfy((error) => failureReason(error) === 'corrupt')
    writeFileSync(join(path, 'META'), meta)
    await (await open()).close()
  })

  test('with a log that needs a snapshot that is gone it is not opened', async () => {
    const store = await open()
    await store.log.persist({ hardState: { term: 1 }, log: { after: 0, entries: [noop(1, 1), noop(2, 1)] } })
    await store.log.compact({ index: 1, term: 1 })
    await store.close()
    await expect(open()).rejects.toThrow(/raft log corrupt at index 1 \(.*no snapshot holds them\).*reset-store/)
  })

  test('once wiped it is another one', async () => {
    const store = await open()
    await store.log.persist({ hardState: { term: 7 } })
    await store.close()
    await wipeStore(path)
    await wipeStore(path)
    const again = await open()
    expect(again.storeId).not.toBe(store.storeId)
    expect(again.recovered.hardState.term).toBe(0)
    await again.close()
    expect(readdirSync(join(place, '_sys'))).toEqual(['raft'])
  })

  test('in memory it is another one each time (D8)', async () => {
    const stores = await Promise.all([1, 2].map(() => Store.open({ path: 'memory', retain: 2 })))
    expect(new Set(stores.map(({ storeId }) => storeId)).size).toBe(2)
    for (const store of stores) {
      await store.log.persist({ hardState: { term: 1 }, log: { after: 0, entries: [noop(1, 1)] } })
      await install(store, 9, 1)
      await store.close()
    }
  })
})

describe('whatever the disk does', () => {
  test.each(['crash', 'full'] as const)(
    '%s while it is made leaves one identity, or none anybody was told',
    async (kind) => {
      const seeded = (seed: number) => {
        let state = seed
        return (bound: number): number => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0
          return (state >>> 8) % bound
        }
      }
      for (let operation = 0; operation < 60; operation++) {
        for (let seed = 1; seed <= 3; seed++) {
          const drive = new CrashDrive(seeded(seed * 100 + operation))
          const disk = new CrashDisk()
          let told: string | undefined
          let formation: string | undefined
          const run = async (files: ReturnType<CrashDrive['files']>): Promise<void> => {
            const store = await Store.open({
              path: '/node/raft',
              retain: 2,
              files,
              openStorage: async () => disk.open(),
            })
            if (told !== undefined) expect(store.storeId).toBe(told)
            if (formation !== undefined) expect(store.meta.formation).toBe(formation)
            told = store.storeId
            await store.log.persist({ hardState: { term: 1, vote: 'a/1' } })
            formation = (await store.changeMeta((meta) => ({ ...meta, formation: 'f1' }))).formation
            await store.close()
          }
          await run(drive.files({ operation, kind })).catch((error) => {
            expect(failureReason(error), String(error)).toBeDefined()
          })
          drive.crash()
          await run(drive.files())
        }
      }
    },
  )

  test('a failed write ends the store, and opening it anew brings it back (D6)', async () => {
    const drive = new CrashDrive(() => 0)
    const disk = new CrashDisk()
    let fault: { batch: number; isWritten: boolean } | undefined = { batch: 2, isWritten: true }
    const openStorage = async () => disk.open(fault)
    const store = await Store.open({ path: '/node/raft', retain: 2, files: drive.files(), openStorage })
    await store.log.persist({ hardState: { term: 1 } })
    await expect(store.log.persist({ log: { after: 0, entries: [noop(1, 1)] } })).rejects.toThrow('the power is gone')
    expect(store.failure).toBeDefined()
    await store.close()
    fault = undefined
    const again = await Store.open({ path: '/node/raft', retain: 2, files: drive.files(), openStorage })
    // It had reached the disk, which nobody knew.
    expect(again.recovered.entries).toEqual([noop(1, 1)])
    expect(again.failure).toBeUndefined()
    await again.close()
  })
})
