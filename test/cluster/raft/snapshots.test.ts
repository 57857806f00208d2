// Snapshots on disk: what has a name is complete, what was acknowledged survives, whatever operation the disk fails at.

import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SnapshotMeta } from '../../../cluster/raft/core/messages.ts'
import { Snapshots } from '../../../cluster/raft/snapshots.ts'
import { failureReason } from '../../../cluster/storage/failure.ts'
import { diskFiles, type Files } from '../../../cluster/storage/files.ts'
import { MemoryFiles } from '../../../cluster/storage/memory-files.ts'
import { CrashDrive } from '../../tools/crash-files.ts'

const configuration = { voters: ['a/1', 'b/2'], standbys: ['c/3'] }

function contentOf(index: number, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, at) => (at * 31 + index * 7 + (at >> 8)) & 255)
}

function metaOf(index: number, bytes: Uint8Array, term = 1): SnapshotMeta {
  const checksum = createHash('sha256').update(bytes).digest('hex')
  return { index, term, clockMs: index * 10, configuration, sizeBytes: bytes.length, checksum }
}

async function save(snapshots: Snapshots, index: number, sizeBytes = 1000): Promise<SnapshotMeta> {
  const writer = await snapshots.create({ index, term: 1, clockMs: index * 10, configuration })
  const bytes = contentOf(index, sizeBytes)
  for (let at = 0; at < bytes.length; at += 300) await writer.write(bytes.subarray(at, at + 300))
  return writer.finish()
}

async function readAll(snapshots: Snapshots, checksum: string): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of snapshots.read(checksum)) parts.push(part)
  return Buffer.concat(parts)
}

/** Numbers that look like chance and are the same each time. */
function seeded(seed: number): (bound: number) => number {
  let state = seed * 2654435761 + 1
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) % bound
  }
}

let place: string

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'moonmesh-snapshots-'))
})

afterEach(() => rmSync(place, { recursive: true, force: true }))

describe.each<[string, () => Files]>([
  ['on a real disk', () => diskFiles],
  ['in memory', () => new MemoryFiles()],
])('snapshots %s', (_name, make) => {
  let files: Files
  let path: string
  let nowMs: number
  const open = (retain = 2): Promise<Snapshots> => Snapshots.open({ files, path, retain, nowMs: () => nowMs })

  beforeEach(() => {
    files = make()
    path = join(place, 'deep', 'snap')
    nowMs = 1_000_000
  })

  test('what was written is read, whole and in chunks, also after opening again', async () => {
    const first = await open()
    const meta = await save(first, 7, 700_000)
    expect(meta).toEqual(metaOf(7, contentOf(7, 700_000)))
    await first.close()
    const snapshots = await open()
    expect(snapshots.newest).toEqual(meta)
    expect((await readAll(snapshots, meta.checksum)).equals(contentOf(7, 700_000))).toBe(true)
    const reader = await snapshots.reader(meta.checksum)
    const chunk = await reader?.read(699_990, 32_768)
    expect([...(chunk ?? [])]).toEqual([...contentOf(7, 700_000).subarray(699_990)])
    expect(await reader?.read(700_000, 32_768)).toHaveLength(0)
    await reader?.close()
    await reader?.close()
    expect(await snapshots.reader('another')).toBeUndefined()
    await expect(readAll(snapshots, 'another')).rejects.toMatchObject({ kind: 'NotFound' })
    await snapshots.close()
  })

  test('chunks of any length and order are those of the file', async () => {
    const bytes = contentOf(9, 2_500_000)
    const snapshots = await open()
    const { checksum } = await save(snapshots, 9, bytes.length)
    const reader = await snapshots.reader(checksum)
    for (const [offset, lengthBytes] of [
      [0, 32_768],
      [32_768, 1_048_576],
      [1_048_570, 20],
      [2_490_000, 32_768],
      [100, 5],
      [99, 5],
    ] as const) {
      const read = await reader?.read(offset, lengthBytes)
      expect(Buffer.from(read ?? []).equals(bytes.subarray(offset, offset + lengthBytes)), `from ${offset}`).toBe(true)
    }
    await reader?.close()
    await snapshots.close()
  })

  test('an empty snapshot is one', async () => {
    const snapshots = await open()
    const meta = await save(snapshots, 1, 0)
    expect((await readAll(snapshots, meta.checksum)).length).toBe(0)
    await snapshots.close()
    expect((await open()).newest).toEqual(meta)
  })

  test('the newest are kept, and one that is being sent', async () => {
    const snapshots = await open(2)
    const first = await save(snapshots, 1)
    await save(snapshots, 2)
    const reader = await snapshots.reader(first.checksum)
    await reader?.read(0, 10)
    await reader?.close()
    nowMs += 30_000
    await save(snapshots, 3)
    expect(snapshots.list.map(({ index }) => index)).toEqual([3, 2, 1])
    nowMs += 60_000
    await save(snapshots, 4)
    expect(snapshots.list.map(({ index }) => index)).toEqual([4, 3])
    expect(await files.list(path)).toEqual(['3-1', '4-1'])
    await snapshots.close()
  })

  test('one that was given up leaves nothing', async () => {
    const snapshots = await open()
    const writer = await snapshots.create({ index: 1, term: 1, clockMs: 1, configuration })
    await writer.write(contentOf(1, 500_000))
    await writer.abort()
    expect(await files.list(path)).toEqual([])
    expect(snapshots.newest).toBeUndefined()
    await snapshots.close()
  })

  test('arrives in chunks, over a restart, and counts when it is complete', async () => {
    const bytes = contentOf(9, 200_000)
    const meta = metaOf(9, bytes)
    const first = await open()
    await first.begin(meta)
    const writes = [0, 1, 2].map((at) =>
      first.writeChunk(meta, at * 32_768, bytes.subarray(at * 32_768, (at + 1) * 32_768)),
    )
    expect(await Promise.all(writes)).toEqual([true, true, true])
    expect(first.partial).toEqual({ snapshot: meta, offset: 98_304 })
    expect(first.newest).toBeUndefined()
    await first.close()

    const snapshots = await open()
    expect(snapshots.partial).toEqual({ snapshot: meta, offset: 98_304 })
    await snapshots.begin(meta)
    expect(snapshots.partial?.offset).toBe(98_304)
    // Some of it comes a second time.
    expect(await snapshots.writeChunk(meta, 65_536, bytes.subarray(65_536, 150_000))).toBe(true)
    expect(await snapshots.writeChunk(meta, 150_000, bytes.subarray(150_000))).toBe(true)
    expect(await snapshots.finish(meta)).toBe(true)
    expect(await snapshots.finish(meta)).toBe(true)
    expect(snapshots.partial).toBeUndefined()
    expect(snapshots.newest).toEqual(meta)
    expect((await readAll(snapshots, meta.checksum)).equals(bytes)).toBe(true)
    expect(await files.list(join(path, '9-1'))).toEqual(['DATA', 'META'])
    await snapshots.close()
  })

  test('what is not what was announced does not become a snapshot', async () => {
    const bytes = contentOf(9, 5000)
    const meta = metaOf(9, bytes)
    const snapshots = await open()
    await snapshots.begin(meta)
    await snapshots.writeChunk(meta, 0, contentOf(8, 5000))
    expect(await snapshots.finish(meta)).toBe(false)
    expect(snapshots.partial).toBeUndefined()
    expect(await files.list(path)).toEqual([])
    await snapshots.close()
  })

  test('another one takes the place of what was arriving', async () => {
    const snapshots = await open()
    const one = metaOf(5, contentOf(5, 3000))
    const two = metaOf(6, contentOf(6, 3000))
    await snapshots.begin(one)
    await snapshots.writeChunk(one, 0, contentOf(5, 1000))
    await snapshots.begin(two)
    expect(await snapshots.writeChunk(one, 1000, new Uint8Array(10))).toBe(false)
    expect(await snapshots.finish(one)).toBe(false)
    await snapshots.writeChunk(two, 0, contentOf(6, 3000))
    expect(await snapshots.finish(two)).toBe(true)
    await snapshots.close()
  })

  test('two of one position do not mix', async () => {
    const snapshots = await open(3)
    const own = await save(snapshots, 5)
    const bytes = contentOf(99, 2000)
    const other = metaOf(5, bytes)
    await snapshots.begin(other)
    await snapshots.writeChunk(other, 0, bytes)
    expect(await snapshots.finish(other)).toBe(true)
    for (const meta of [own, other]) expect((await readAll(snapshots, meta.checksum)).length).toBe(meta.sizeBytes)
    await snapshots.close()
    expect((await open(3)).list.length).toBe(2)
  })

  test('closing ends everything, once', async () => {
    const snapshots = await open()
    await Promise.all([snapshots.close(), snapshots.close()])
    await expect(snapshots.begin(metaOf(1, new Uint8Array()))).rejects.toMatchObject({ kind: 'Canceled' })
  })
})

describe('damage', () => {
  test('an older snapshot serves when the newest is not what was written', async () => {
    const options = { files: diskFiles, path: place, retain: 2 }
    let snapshots = await Snapshots.open(options)
    const old = await save(snapshots, 1)
    const newest = await save(snapshots, 2)
    await snapshots.close()
    const data = join(place, '2-1', 'DATA')
    const bytes = readFileSync(data)
    bytes[500] = (bytes[500] as number) ^ 1
    writeFileSync(data, bytes)
    snapshots = await Snapshots.open(options)
    expect(snapshots.damaged).toEqual([newest])
    expect(snapshots.newest).toEqual(old)
    // It goes when enough newer ones are there.
    await save(snapshots, 2)
    await save(snapshots, 3)
    await save(snapshots, 4)
    expect(readdirSync(place).sort()).toEqual(['3-1', '4-1'])
    await snapshots.close()
  })

  test('a directory without a valid META is garbage', async () => {
    const options = { files: diskFiles, path: place, retain: 2 }
    let snapshots = await Snapshots.open(options)
    await save(snapshots, 1)
    await save(snapshots, 2)
    await snapshots.close()
    writeFileSync(join(place, '2-1', 'META'), readFileSync(join(place, '2-1', 'META')).subarray(0, 90))
    await diskFiles.makeDirectory(join(place, 'new-3'))
    snapshots = await Snapshots.open(options)
    expect(snapshots.list.map(({ index }) => index)).toEqual([1])
    expect(readdirSync(place)).toEqual(['1-1'])
    await snapshots.close()
  })

  test('bytes that rot later are noticed when they are restored', async () => {
    const snapshots = await Snapshots.open({ files: diskFiles, path: place, retain: 2 })
    const meta = await save(snapshots, 1)
    writeFileSync(join(place, '1-1', 'DATA'), contentOf(3, 1000))
    await expect(readAll(snapshots, meta.checksum)).rejects.toSatisfy((error) => failureReason(error) === 'corrupt')
    await snapshots.close()
  })
})

// ── Crashes and failures at every operation ───────────────────────────────────────────────────────────────────────────────

interface Acknowledged {
  newest: number
  arrivedBytes: number
  isFinished: boolean
}

const SENT = contentOf(50, 4000)
const SENT_META = metaOf(50, SENT)

/** A life of snapshots; what was acknowledged before it ended. */
async function live(files: Files): Promise<Acknowledged> {
  const told: Acknowledged = { newest: 0, arrivedBytes: 0, isFinished: false }
  let snapshots: Snapshots | undefined
  try {
    snapshots = await Snapshots.open({ files, path: '/node/snap', retain: 2, nowMs: () => 0 })
    for (const index of [10, 20, 30]) told.newest = (await save(snapshots, index)).index
    await snapshots.begin(SENT_META)
    for (let at = 0; at < SENT.length; at += 1000) {
      await snapshots.writeChunk(SENT_META, at, SENT.subarray(at, at + 1000))
      told.arrivedBytes = at + 1000
    }
    told.newest = (await save(snapshots, 40)).index
    told.isFinished = await snapshots.finish(SENT_META)
    if (told.isFinished) told.newest = 50
    told.newest = (await save(snapshots, 60)).index
  } catch (error) {
    expect(failureReason(error), String(error)).toBeDefined()
  }
  await snapshots?.close().catch(() => {})
  return told
}

async function verify(files: Files, told: Acknowledged, label: string): Promise<void> {
  const snapshots = await Snapshots.open({ files, path: '/node/snap', retain: 2, nowMs: () => 0 })
  expect(snapshots.damaged, label).toEqual([])
  expect(snapshots.newest?.index ?? 0, label).toBeGreaterThanOrEqual(told.newest)
  for (const meta of snapshots.list) {
    const expected = meta.index === 50 ? SENT : contentOf(meta.index, 1000)
    expect((await readAll(snapshots, meta.checksum)).equals(expected), `${label}: content of ${meta.index}`).toBe(true)
  }
  const names = (await files.list('/node/snap')).filter((name) => name !== 'arriving')
  expect(names.length, `${label}: ${names}`).toBe(snapshots.list.length)
  if ((snapshots.newest?.index ?? 0) < 50 && told.arrivedBytes > 0) {
    expect(snapshots.partial?.offset, label).toBeGreaterThanOrEqual(told.arrivedBytes)
  }
  if ((snapshots.newest?.index ?? 0) < 50) {
    await snapshots.begin(SENT_META)
    const from = snapshots.partial?.offset ?? 0
    await snapshots.writeChunk(SENT_META, from, SENT.subarray(from))
    expect(await snapshots.finish(SENT_META), `${label}: goes on from ${from}`).toBe(true)
  }
  await snapshots.close()
}

describe('whatever the disk does', () => {
  test.each(['crash', 'full'] as const)(
    '%s at any operation leaves what was acknowledged and nothing else',
    async (kind) => {
      const whole = new CrashDrive(seeded(0))
      expect(await live(whole.files())).toEqual({ newest: 60, arrivedBytes: 4000, isFinished: true })
      const operations = whole.operationCount
      expect(operations).toBeGreaterThan(100)
      for (let operation = 0; operation < operations; operation++) {
        for (let seed = 1; seed <= 6; seed++) {
          const drive = new CrashDrive(seeded(seed * 1000 + operation))
          const told = await live(drive.files({ operation, kind }))
          drive.crash()
          await verify(drive.files(), told, `operation ${operation}, seed ${seed}`)
        }
      }
    },
  )

  test('a crash while what another has left behind is removed does no harm', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const drive = new CrashDrive(seeded(seed))
      const told = await live(drive.files({ operation: 20 + seed * 3, kind: 'crash' }))
      for (let operation = 0; operation < 40; operation += 3) {
        drive.crash()
        const files = drive.files({ operation, kind: 'crash' })
        const opened = Snapshots.open({ files, path: '/node/snap', retain: 2, nowMs: () => 0 })
        await opened.then((snapshots) => snapshots.close()).catch((error) => expect(failureReason(error)).toBe('io'))
      }
      drive.crash()
      await verify(drive.files(), told, `seed ${seed}`)
    }
  })
})
