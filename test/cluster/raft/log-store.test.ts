// The log on its disk: what was acknowledged is there after any crash, and what is damaged is never taken for a log.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { HardState, PersistEffect } from '../../../cluster/raft/core/effects.ts'
import type { Entry, LogPosition } from '../../../cluster/raft/core/entry.ts'
import { recover } from '../../../cluster/raft/core/recovery.ts'
import { LogStore, type StoredLog } from '../../../cluster/raft/log-store.ts'
import { LevelStorage } from '../../../cluster/storage/level.ts'
import { MemoryStorage } from '../../../cluster/storage/memory.ts'
import type { Storage } from '../../../cluster/storage/storage.ts'
import { CrashDisk } from '../../tools/crash-storage.ts'
import { fc } from '../../tools/property.ts'

const options = { path: 'here', coveredIndex: 0 }

function entry(index: number, term: number, size = 3): Entry {
  const data = new Uint8Array(size).fill(index)
  return { index, term, clockMs: index * 10, kind: 'commands', data }
}

const entries = (first: number, last: number, term: number): Entry[] =>
  Array.from({ length: last - first + 1 }, (_, at) => entry(first + at, term))

async function loaded(storage: Storage): Promise<StoredLog> {
  return (await LogStore.open(storage, options)).stored
}

describe('the log on disk', () => {
  test('holds every kind of entry as it was', async () => {
    const storage = new MemoryStorage()
    const { log, stored } = await LogStore.open(storage, options)
    expect(stored).toEqual({ base: { index: 0, term: 0 }, runs: [], lastIndex: 0, entries: [] })
    const at = (index: number) => ({ index, term: 1, clockMs: index })
    const written: Entry[] = [
      { ...at(1), kind: 'configuration', configuration: { voters: ['a/1', 'b/2'], standbys: ['c/3'] } },
      { ...at(2), kind: 'settings', data: Uint8Array.of(1, 2) },
      { ...at(3), kind: 'noop' },
      { ...at(4), kind: 'tick' },
      { ...at(5), kind: 'commands', data: new Uint8Array(70_000).fill(7) },
    ]
    const hardState: HardState = { term: 2, vote: 'b/2' }
    await log.persist({ hardState, log: { after: 0, entries: written } })
    const again = await loaded(storage)
    expect(again).toEqual({
      hardState,
      base: { index: 0, term: 0 },
      runs: [{ first: 1, term: 1 }],
      lastIndex: 5,
      entries: written,
    })
  })

  test('its size is that of the entries that count, however it changes and after it was opened anew', async () => {
    const storage = new MemoryStorage()
    const { log } = await LogStore.open(storage, options)
    const onDisk = async (): Promise<number> => {
      let bytes = 0
      for await (const page of storage.rows({ from: Uint8Array.of(0x65), to: Uint8Array.of(0x66) })) {
        for (const [key, value] of page) bytes += key.length + value.length
      }
      return bytes
    }
    const sizes: number[] = []
    const look = async (): Promise<void> => {
      await log.close()
      expect(log.sizeBytes).toBe(await onDisk())
      expect((await LogStore.open(storage, options)).log.sizeBytes).toBe(log.sizeBytes)
      sizes.push(log.sizeBytes)
    }
    await look()
    await log.persist({ hardState: { term: 1 }, log: { after: 0, entries: entries(1, 20, 1) } })
    await look()
    await log.persist({ hardState: { term: 2 }, log: { after: 15, entries: [entry(16, 2, 5000)] } })
    await look()
    await log.compact({ index: 10, term: 1 })
    await look()
    await log.persist({ reset: { index: 40, term: 2 }, log: { after: 40, entries: entries(41, 42, 2) } })
    await look()
    const [empty, full, cut, compacted, replaced] = sizes as [number, number, number, number, number]
    expect(empty).toBe(0)
    expect(cut).toBeGreaterThan(full)
    expect(compacted).toBeLessThan(cut)
    expect(replaced).toBeGreaterThan(0)
    expect(replaced).toBeLessThan(full)
  })

  test('entries that a snapshot covers are checked and not loaded', async () => {
    const storage = new MemoryStorage()
    const { log } = await LogStore.open(storage, options)
    await log.persist({
      hardState: { term: 4 },
      log: { after: 0, entries: [...entries(1, 5, 1), ...entries(6, 9, 4)] },
    })
    await log.compact({ index: 2, term: 1 })
    const { stored } = await LogStore.open(storage, { path: 'here', coveredIndex: 7 })
    expect(stored.base).toEqual({ index: 2, term: 1 })
    expect(stored.entries.map(({ index }) => index)).toEqual([8, 9])
    const runs = [
      { first: 3, term: 1 },
      { first: 6, term: 4 },
    ]
    expect(stored.runs).toEqual(runs)
  })

  test('reading keeps to its limits, begins after an index, and ends where the log does', async () => {
    const storage = new MemoryStorage()
    const { log } = await LogStore.open(storage, options)
    await log.persist({ hardState: { term: 1 }, log: { after: 0, entries: entries(1, 20, 1) } })
    const indexes = async (after: number, entriesMax = 100, bytesMax = 1e6) =>
      (await log.read(after, { entriesMax, bytesMax })).map(({ index }) => index)
    expect(await indexes(17)).toEqual([18, 19, 20])
    expect(await indexes(20)).toEqual([])
    expect(await indexes(3, 2)).toEqual([4, 5])
    expect(await indexes(3, 10, 1)).toEqual([4])
    expect(await indexes(3, 10, 80)).toEqual([4, 5])
    await log.compact({ index: 5, term: 1 })
    expect(await indexes(4)).toEqual([])
    expect(await indexes(5, 1)).toEqual([6])
  })

  test('compaction removes what it says, also more than one batch of it', async () => {
    const storage = new MemoryStorage()
    const { log } = await LogStore.open(storage, options)
    await log.persist({ hardState: { term: 1 }, log: { after: 0, entries: entries(1, 5000, 1) } })
    const compacting = log.compact({ index: 4990, term: 1 })
    const appending = log.persist({ log: { after: 5000, entries: entries(5001, 5001, 1) } })
    await Promise.all([compacting, appending])
    let count = 0
    for await (const page of storage.keys({ from: Uint8Array.of(0x65), to: Uint8Array.of(0x66) })) count += page.length
    expect(count).toBe(11)
    expect((await loaded(storage)).lastIndex).toBe(5001)
  })

  test('a term never falls and a vote is cast once a term (Raft §5.2)', async () => {
    const { log } = await LogStore.open(new MemoryStorage(), options)
    await log.persist({ hardState: { term: 3, vote: 'a/1' } })
    await log.persist({ hardState: { term: 3, vote: 'a/1' } })
    expect(() => log.persist({ hardState: { term: 2 } })).toThrow('term 2 is not below 3')
    expect(() => log.persist({ hardState: { term: 3, vote: 'b/1' } })).toThrow('the vote of term 3 stands')
    await log.persist({ hardState: { term: 4, vote: 'b/1' } })
  })
})

describe('damage', () => {
  /** A log of 1 to 9, after something has been done to the rows of it. */
  async function damaged(act: (storage: MemoryStorage) => Promise<void>): Promise<unknown> {
    const storage = new MemoryStorage()
    const { log } = await LogStore.open(storage, options)
    await log.persist({ hardState: { term: 2, vote: 'a/1' }, log: { after: 0, entries: entries(1, 9, 2) } })
    await act(storage)
    return loaded(storage).then(
      () => 'opened',
      (error) => error,
    )
  }

  const keyOf = (index: number): Uint8Array => Uint8Array.of(0x65, 0, 0, 0, 0, 0, 0, 0, index)

  test('every byte of every record counts', async () => {
    for (const key of [Uint8Array.of(0x68), Uint8Array.of(0x73), keyOf(1), keyOf(5), keyOf(9)]) {
      const size = (await rowOf(key)).length
      for (let at = 0; at < size; at++) {
        const error = await damaged(async (storage) => {
          const value = Uint8Array.from((await storage.get(key)) as Uint8Array)
          value[at] = (value[at] as number) ^ 0x10
          await storage.write([{ kind: 'put', key, value }])
        })
        expect(error, `byte ${at} of ${Buffer.from(key).toString('hex')}`).toMatchObject({
          details: { reason: 'corrupt' },
        })
      }
    }
  })

  async function rowOf(key: Uint8Array): Promise<Uint8Array> {
    let row = new Uint8Array()
    await damaged(async (storage) => {
      row = Uint8Array.from((await storage.get(key)) as Uint8Array)
    })
    return row
  }

  test('says which entry, why and what to do', async () => {
    const error = await damaged(async (storage) =>
      storage.write([{ kind: 'put', key: keyOf(4), value: Uint8Array.of(1, 2, 3) }]),
    )
    expect((error as Error).message).toBe(
      'raft log corrupt at index 4 (it is cut off) in here; to rejoin as a new store: runtime cluster reset-store',
    )
  })

  test('a lost entry is missed, in the middle and at the end', async () => {
    const lose = (key: Uint8Array) => damaged((storage) => storage.write([{ kind: 'delete', key }]))
    expect(await lose(keyOf(5))).toMatchObject({
      details: { index: 5 },
      message: expect.stringContaining('the next one is 6'),
    })
    expect(await lose(keyOf(9))).toMatchObject({
      details: { index: 9 },
      message: expect.stringContaining('the log reached 9'),
    })
    expect(await lose(Uint8Array.of(0x73))).toMatchObject({ details: { index: 1 } })
  })

  test('an entry does not pass for another', async () => {
    const error = await damaged(async (storage) => {
      await storage.write([{ kind: 'put', key: keyOf(3), value: (await storage.get(keyOf(2))) as Uint8Array }])
    })
    expect(error).toMatchObject({ details: { index: 3 } })
  })

  test('a lost vote is missed: the log knows of its term (D7)', async () => {
    const storage = new MemoryStorage()
    const { log } = await LogStore.open(storage, options)
    await log.persist({ hardState: { term: 2 }, log: { after: 0, entries: entries(1, 2, 2) } })
    await storage.write([{ kind: 'delete', key: Uint8Array.of(0x68) }])
    expect(recover(await loaded(storage))).toMatchObject({ ok: false })
  })
})

// ── Crashes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

type Change = { persist: Pick<PersistEffect, 'hardState' | 'reset' | 'log'> } | { compact: LogPosition }

/** What a disk would hold. */
interface Image {
  readonly hardState: HardState
  readonly base: LogPosition
  readonly entries: readonly Entry[]
}

interface Step {
  readonly kind: 'append' | 'replace' | 'vote' | 'compact' | 'reset'
  readonly amount: number
  /** Whether the next step waits for this one. */
  readonly isAwaited: boolean
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('append', 'append', 'replace', 'vote', 'compact', 'reset'),
  amount: fc.integer({ min: 1, max: 6 }),
  isAwaited: fc.boolean(),
})

/** The change that a step makes of an image, as a core would ask for it, and the image after it. */
function changeOf({ kind, amount }: Step, image: Image): { change: Change; next: Image } {
  const { hardState, base } = image
  const last = base.index + image.entries.length
  const lastTerm = image.entries[image.entries.length - 1]?.term ?? base.term
  switch (kind) {
    case 'append': {
      const added = entries(last + 1, last + amount, hardState.term)
      const next = { ...image, entries: [...image.entries, ...added] }
      return { change: { persist: { log: { after: last, entries: added } } }, next }
    }
    case 'replace': {
      const kept = image.entries.slice(0, Math.max(0, image.entries.length - amount))
      const after = base.index + kept.length
      const term = Math.max(hardState.term, lastTerm) + 1
      const added = entries(after + 1, after + (amount % 4), term)
      const change = { persist: { hardState: { term }, log: { after, entries: added } } }
      return { change, next: { hardState: { term }, base, entries: [...kept, ...added] } }
    }
    case 'vote': {
      const voted = { term: hardState.term + 1, vote: `n${amount}/1` }
      return { change: { persist: { hardState: voted } }, next: { ...image, hardState: voted } }
    }
    case 'compact': {
      const count = Math.min(amount, image.entries.length)
      const position = count === 0 ? base : (image.entries[count - 1] as Entry)
      const moved = { index: position.index, term: position.term }
      return { change: { compact: moved }, next: { ...image, base: moved, entries: image.entries.slice(count) } }
    }
    case 'reset': {
      const position = { index: base.index + amount + 1, term: hardState.term }
      const added = entries(position.index + 1, position.index + (amount % 3), hardState.term)
      const change = { persist: { reset: position, log: { after: position.index, entries: added } } }
      return { change, next: { hardState, base: position, entries: added } }
    }
  }
}

const EMPTY: Image = { hardState: { term: 1 }, base: { index: 0, term: 0 }, entries: [] }

function imageOf({ hardState, base, entries: found }: StoredLog): Image {
  return { hardState: hardState ?? { term: 0 }, base, entries: found }
}

/** Runs the steps until the disk fails; the images that the disk may now hold. */
async function run(steps: readonly Step[], storage: Storage): Promise<Image[]> {
  const { log } = await LogStore.open(storage, options)
  const images: Image[] = [{ ...EMPTY, hardState: { term: 0 } }]
  let acknowledged = 0
  const waits: Promise<void>[] = []
  const issue = (change: Change, next: Image): Promise<void> => {
    images.push(next)
    const number = images.length - 1
    const done = 'persist' in change ? log.persist(change.persist) : log.compact(change.compact)
    const heard = done.then(
      () => {
        // A compaction is answered when the rest has been removed, which may be after later ones.
        acknowledged = Math.max(acknowledged, number)
      },
      () => {},
    )
    waits.push(heard)
    return heard
  }
  await issue({ persist: { hardState: EMPTY.hardState } }, EMPTY)
  for (const each of steps) {
    if (log.failure !== undefined) break
    const before = images[images.length - 1] as Image
    const { change, next } = changeOf(each, before)
    // Where the base stands already nothing is written, and the answer says nothing about what was asked before.
    if ('compact' in change && change.compact.index === before.base.index) continue
    const heard = issue(change, next)
    if (each.isAwaited) await heard
  }
  await Promise.all(waits)
  await log.close()
  return images.slice(acknowledged)
}

describe('a crash at any batch', () => {
  test('leaves what was acknowledged, and nothing that was not asked for (R6, R7)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), fc.boolean(), async (steps, isWritten) => {
        const whole = new CrashDisk()
        const [, ...beyond] = await run(steps, whole.open())
        expect(beyond).toEqual([])
        for (let batch = 0; batch < whole.batchCount; batch++) {
          const disk = new CrashDisk()
          const possible = await run(steps, disk.open({ batch, isWritten }))
          const found = imageOf(await loaded(disk.open()))
          expect(possible, `after batch ${batch}`).toContainEqual(found)
          // What was found goes on as before, through a second crash while leftovers are removed.
          expect(imageOf(await loaded(disk.open()))).toEqual(found)
        }
      }),
      { numRuns: 150 },
    )
  })

  test('a failed write fails all that follow, and is never tried again (D6)', async () => {
    const disk = new CrashDisk()
    const storage = disk.open({ batch: 1, isWritten: false })
    const { log } = await LogStore.open(storage, options)
    await log.persist({ hardState: { term: 1 } })
    const lost = log.persist({ log: { after: 0, entries: entries(1, 1, 1) } })
    await expect(lost).rejects.toThrow('the power is gone')
    await expect(log.persist({ log: { after: 1, entries: entries(2, 2, 1) } })).rejects.toThrow('the power is gone')
    await expect(log.probe()).rejects.toThrow('the power is gone')
    await expect(log.compact({ index: 1, term: 1 })).rejects.toThrow('the power is gone')
    expect(disk.batchCount).toBe(2)
    expect(log.failure).toBeDefined()
    await log.close()
  })
})

describe('on a real disk', () => {
  test('a log is there again, and a second opening is refused while the first is in use', async () => {
    const place = mkdtempSync(join(tmpdir(), 'moonmesh-log-'))
    try {
      const path = join(place, 'log')
      const storage = await LevelStorage.open({ path })
      const { log } = await LogStore.open(storage, { path, coveredIndex: 0 })
      await log.persist({ hardState: { term: 1, vote: 'a/1' } })
      const writes = Array.from({ length: 300 }, (_, at) =>
        log.persist({ log: { after: at, entries: entries(at + 1, at + 1, 1) } }),
      )
      await Promise.all(writes)
      await log.compact({ index: 100, term: 1 })
      await log.persist({ log: { after: 250, entries: [entry(251, 1, 300_000)] } })
      await expect(LevelStorage.open({ path })).rejects.toMatchObject({ kind: 'Conflict' })
      await log.close()
      await storage.close()
      const again = await LevelStorage.open({ path })
      const { stored, log: second } = await LogStore.open(again, { path, coveredIndex: 0 })
      expect([stored.base.index, stored.lastIndex, stored.entries.length]).toEqual([100, 251, 151])
      expect(stored.hardState).toEqual({ term: 1, vote: 'a/1' })
      const read = await second.read(249, { entriesMax: 10, bytesMax: 1e6 })
      expect(read.map((each) => each.index)).toEqual([250, 251])
      await again.close()
    } finally {
      rmSync(place, { recursive: true, force: true })
    }
  })
})
