// LevelDB on a real disk: what a crash may take, what it may not, and what is said when the disk is not as it should be.

import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { failureReason } from '../../../cluster/storage/failure.ts'
import { LevelStorage } from '../../../cluster/storage/level.ts'
import type { SyncReport } from '../../../cluster/storage/storage.ts'

/** Limits on a file's size can be set for a running process. */
const hasFileLimits = spawnSync('prlimit', ['--version']).status === 0
const canMount = mountWorks()
let place: string

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'moonmesh-level-'))
})

afterEach(() => rmSync(place, { recursive: true, force: true }))

const keyOf = (at: number): Uint8Array => Uint8Array.of(at >> 8, at & 255)
const everything = { from: Uint8Array.of(), to: Uint8Array.of(255, 255, 255) }

/** Bytes that hold no long run of zeros. */
function noise(seed: number, sizeBytes: number): Uint8Array {
  let state = seed + 1
  return Uint8Array.from({ length: sizeBytes }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return 1 + (state >>> 24) * 0.99
  })
}

function walOf(path: string): string {
  const name = readdirSync(path).find((each) => each.endsWith('.log'))
  return join(path, name as string)
}

async function keysOf(storage: LevelStorage): Promise<number[]> {
  const keys: number[] = []
  for await (const page of storage.keys(everything)) for (const key of page) keys.push(Buffer.from(key).readUInt16BE())
  return keys
}

/** Writes batch after batch; the file as it was after each of them. */
async function history(sizes: readonly number[]): Promise<{ path: string; ends: number[]; content: Buffer }> {
  const path = join(place, 'db')
  const storage = await LevelStorage.open({ path })
  const ends: number[] = []
  for (const [at, size] of sizes.entries()) {
    await storage.write([{ kind: 'put', key: keyOf(at), value: noise(at, size) }])
    ends.push(statSync(walOf(path)).size)
  }
  const image = join(place, 'image')
  cpSync(path, image, { recursive: true })
  await storage.close()
  return { path: image, ends, content: readFileSync(walOf(image)) }
}

/** Opens a copy of the database whose last writes look like `content`. */
async function reopen(image: string, content: Uint8Array): Promise<{ keys: number[]; torn: number } | string> {
  const path = join(place, 'copy')
  rmSync(path, { recursive: true, force: true })
  cpSync(image, path, { recursive: true })
  writeFileSync(walOf(path), content)
  try {
    const storage = await LevelStorage.open({ path })
    try {
      return { keys: await keysOf(storage), torn: storage.torn.length }
    } finally {
      await storage.close()
    }
  } catch (error) {
    return failureReason(error) ?? String(error)
  }
}

function mountWorks(): boolean {
  if (process.getuid?.() !== 0) return false
  const at = mkdtempSync(join(tmpdir(), 'moonmesh-mount-'))
  const works = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', at]).status === 0
  if (works) spawnSync('umount', [at])
  rmSync(at, { recursive: true })
  return works
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at)
/** Small ones, one that ends close to a block of 32 KiB, and one that spans several. */
const sizes = [10, 200, 32_000, 470, 70_000, 30, 600]

describe('a crash', () => {
  test('takes only the batch it tore, wherever it cut the file', async () => {
    const { path, ends, content } = await history(sizes)
    const cuts = ends.flatMap((end) => [end - 9, end - 1, end, end + 1, end + 5, end + 8, end + 20, end + 40_000])
    for (const cut of [0, 3, 7, ...cuts].filter((each) => each <= content.length)) {
      const whole = ends.filter((end) => end <= cut).length
      const found = await reopen(path, content.subarray(0, cut))
      const isTorn = cut !== (ends[whole - 1] ?? 0)
      expect(found, `cut at ${cut}`).toEqual({ keys: upTo(whole), torn: isTorn ? 1 : 0 })
    }
  })

  test('may leave zeros where the last batch was to be', async () => {
    const { path, ends, content } = await history(sizes)
    for (const [at, end] of ends.entries()) {
      const start = ends[at - 1] ?? 0
      const image = Buffer.from(content.subarray(0, end))
      image.fill(0, start)
      expect(await reopen(path, image), `batch ${at} is zeros`).toEqual({ keys: upTo(at), torn: 1 })
      const half = Buffer.from(content.subarray(0, end))
      const sector = Math.ceil((start + 1) / 512) * 512
      if (sector >= end) continue
      half.fill(0, sector)
      expect(await reopen(path, half), `batch ${at} ends in zeros`).toEqual({ keys: upTo(at), torn: 1 })
      const headless = Buffer.from(content.subarray(0, end))
      headless.fill(0, start, sector)
      expect(await reopen(path, headless), `batch ${at} begins with zeros`).toEqual({ keys: upTo(at), torn: 1 })
    }
  })
})

describe('damage', () => {
  test('of a batch that was durable is found, whatever byte it hit', async () => {
    const { path, ends, content } = await history(sizes)
    const places = ends.flatMap((end, at) => {
      const start = ends[at - 1] ?? 0
      return [start, start + 4, start + 5, start + 6, start + 7, start + 15, Math.floor((start + end) / 2), end - 1]
    })
    for (const at of places) {
      const image = Buffer.from(content)
      image[at] = (image[at] as number) ^ 0x41
      expect(await reopen(path, image), `byte ${at} of ${content.length}`).toBe('corrupt')
    }
  })

  test('of a table is found when it is read', async () => {
    const path = join(place, 'db')
    let storage = await LevelStorage.open({ path })
    for (const at of [1, 2, 3]) await storage.write([{ kind: 'put', key: keyOf(at), value: noise(at, 100) }])
    await storage.close()
    storage = await LevelStorage.open({ path })
    await storage.close()
    const table = readdirSync(path).find((each) => each.endsWith('.ldb')) as string
    writeFileSync(join(path, table), readFileSync(join(path, table)).subarray(0, 30))
    const found = LevelStorage.open({ path }).then(async (opened) => {
      try {
        return await keysOf(opened)
      } finally {
        await opened.close()
      }
    })
    await expect(found).rejects.toSatisfy((error) => ['corrupt', 'io'].includes(failureReason(error) ?? ''))
  })
})

describe('what is in the way is said', () => {
  test('a database in use', async () => {
    const storage = await LevelStorage.open({ path: join(place, 'db') })
    const second = LevelStorage.open({ path: join(place, 'db') })
    await expect(second).rejects.toSatisfy((error) => failureReason(error) === 'locked')
    await expect(second).rejects.toMatchObject({
      kind: 'Conflict',
      message: expect.stringContaining('another process'),
    })
    await storage.close()
  })

  test.skipIf(process.getuid?.() === 0)('no permission', async () => {
    mkdirSync(join(place, 'closed'))
    chmodSync(join(place, 'closed'), 0o500)
    const opening = LevelStorage.open({ path: join(place, 'closed', 'db') })
    await expect(opening).rejects.toSatisfy((error) => failureReason(error) === 'permission')
  })

  test('a file where a directory should be', async () => {
    writeFileSync(join(place, 'db'), 'a file')
    await expect(LevelStorage.open({ path: join(place, 'db') })).rejects.toMatchObject({
      details: { path: join(place, 'db') },
    })
  })

  test.runIf(hasFileLimits)('a file that may not grow, and nothing is written behind it', async () => {
    const path = join(place, 'db')
    const storage = await LevelStorage.open({ path })
    const written: number[] = []
    let refusal: unknown
    spawnSync('prlimit', ['--pid', String(process.pid), '--fsize=200000:'])
    try {
      for (let at = 0; at < 100 && refusal === undefined; at++) {
        const write = storage.write([{ kind: 'put', key: keyOf(at), value: noise(at, 10_000) }])
        await write.then(
          () => written.push(at),
          (error) => {
            refusal = error
          },
        )
      }
    } finally {
      spawnSync('prlimit', ['--pid', String(process.pid), '--fsize=unlimited:'])
    }
    expect(failureReason(refusal)).toBe('full')
    expect(written.length).toBeGreaterThan(5)
    // There is room again; but what the failed write left behind is not known until the database has been opened anew.
    await expect(storage.write([{ kind: 'delete', key: keyOf(0) }])).rejects.toBe(refusal)
    await storage.close()
    const again = await LevelStorage.open({ path })
    expect(await keysOf(again)).toEqual(written)
    expect(again.torn.length).toBe(1)
    await again.close()
  })

  test.runIf(canMount)('a disk that is full', async () => {
    const path = join(place, 'small')
    mkdirSync(path)
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', path])
    try {
      const storage = await LevelStorage.open({ path: join(path, 'db') })
      const refusal = (async () => {
        for (let at = 0; at < 100; at++) {
          await storage.write([{ kind: 'put', key: keyOf(at), value: noise(at, 10_000) }])
        }
      })()
      await expect(refusal).rejects.toSatisfy((error) => failureReason(error) === 'full')
      await expect(refusal).rejects.toThrow(/no space is left on the disk.*free some/)
      await storage.close()
      const again = LevelStorage.open({ path: join(path, 'db') })
      await expect(again).rejects.toSatisfy((error) => failureReason(error) === 'full')
    } finally {
      spawnSync('umount', [path])
    }
  })
})

test('syncs are measured', async () => {
  const reports: SyncReport[] = []
  let nowMs = 0
  const storage = await LevelStorage.open({
    path: join(place, 'db'),
    nowMs: () => nowMs++,
    onSync: (each) => reports.push(each),
  })
  await storage.write([{ kind: 'put', key: keyOf(1), value: new Uint8Array(10) }])
  await storage.close()
  expect(reports).toEqual([{ durationMs: 1, operationCount: 1, sizeBytes: 12 }])
})
