import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { BackupHeader } from '../../../../cluster/backup/core/contents.ts'
import { BackupDamaged, type BackupPart, readBackup, writeBackup } from '../../../../cluster/backup/wire/file.ts'
import { fc } from '../../../tools/property.ts'

const header: BackupHeader = {
  clusterId: 'shop',
  formation: 'f00d'.repeat(8),
  index: 7,
  term: 2,
  clockMs: 5000,
  revision: 40,
  featureLevel: 0,
  settings: { max_voters: 5 },
  voters: ['a/1', 'b/2'],
  standbys: ['c/3'],
  takenAtMs: 1_700_000_000_000,
  node: 'a',
  version: '0.1.0',
  counts: { sessions: 1, names: 2, reservations: 0, locks: 1, keys: 3, valueBytes: 10 },
}

interface Row {
  readonly section: number
  readonly record: Uint8Array
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function partsOf(bytes: Uint8Array, size = 1000): Promise<BackupPart[]> {
  const parts: BackupPart[] = []
  for await (const part of readBackup(inPieces(bytes, size))) parts.push(part)
  return parts
}

function rowsOf(parts: readonly BackupPart[]): Row[] {
  return parts.flatMap((part) =>
    part.kind === 'records'
      ? part.records.map((record) => ({ section: part.section, record: Buffer.from(record) }))
      : [],
  )
}

async function failureOf(bytes: Uint8Array): Promise<BackupDamaged> {
  const failed = await partsOf(bytes).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(failed).toBeInstanceOf(BackupDamaged)
  return failed as BackupDamaged
}

const small = Buffer.concat([
  ...writeBackup(header, [
    { section: 1, record: Uint8Array.of(1) },
    { section: 6, record: Uint8Array.of(2, 3) },
    { section: 6, record: new Uint8Array(0) },
  ]),
])

test('what is written is read again, in whatever pieces it comes', async () => {
  const rows = fc.array(
    fc.record({ section: fc.integer({ min: 1, max: 6 }), record: fc.uint8Array({ maxLength: 80_000 }) }),
    {
      maxLength: 20,
    },
  )
  await fc.assert(
    fc.asyncProperty(rows, fc.integer({ min: 1, max: 100_000 }), async (given, size) => {
      const sorted = given.map(({ section, record }) => ({ section, record: Buffer.from(record) }))
      sorted.sort((a, b) => a.section - b.section)
      const bytes = Buffer.concat([...writeBackup(header, sorted)])
      const parts = await partsOf(bytes, size)
      expect(parts[0]).toEqual({ kind: 'header', header })
      expect(rowsOf(parts)).toEqual(sorted)
      expect(parts.at(-1)).toEqual({ kind: 'end', records: sorted.length, sizeBytes: bytes.length })
    }),
    { numRuns: 50 },
  )
})

test('a file that is cut off anywhere is not whole, and says where it ends', async () => {
  for (let length = 0; length < small.length; length++) {
    expect((await failureOf(small.subarray(0, length))).offset).toBe(length)
  }
})

test('a byte that is another one is found, and its frame named', async () => {
  for (let at = 0; at < small.length; at++) {
    const bytes = Buffer.from(small)
    bytes[at] = (bytes[at] as number) ^ 0x41
    expect((await failureOf(bytes)).offset).toBeLessThanOrEqual(Math.max(at, small.length))
  }
  const bytes = Buffer.from(small)
  bytes[small.length - 6] = 0
  expect((await failureOf(bytes)).offset).toBeGreaterThan(small.length / 2)
})

test('a frame that is missing, doubled or of another file is found', async () => {
  const [magic, head, first, second, end] = [
    ...writeBackup(header, [
      { section: 1, record: Uint8Array.of(1) },
      { section: 6, record: Uint8Array.of(2) },
    ]),
  ] as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  for (const parts of [
    [magic, head, second, end],
    [magic, head, first, first, second, end],
    [magic, head, second, first, end],
    [magic, first, second, end],
    [magic, head, head, first, second, end],
    [magic, head, first, second, end, end],
  ]) {
    await failureOf(Buffer.concat(parts))
  }
})

test('what a later version wrote is said to be that', async () => {
  const later = Buffer.from(small)
  later.write('MMBACK2\n', 'latin1')
  expect((await failureOf(later)).message).toContain('format 2 and this version reads 1')
  expect((await failureOf(Buffer.from('no backup at all'))).message).toContain('it is no backup')
})

test('no length in a file makes the reader reserve more than a frame may have', async () => {
  const huge = Buffer.concat([small.subarray(0, 8), Buffer.from('ffffffff01', 'hex'), Buffer.alloc(100)])
  expect((await failureOf(huge)).offset).toBe(8)
})

test('any bytes are refused or read, never anything else', async () => {
  const mutated = fc.tuple(
    fc.array(fc.nat(small.length - 1), { minLength: 1, maxLength: 4 }),
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
  )
  await fc.assert(
    fc.asyncProperty(mutated, async ([places, values]) => {
      const bytes = Buffer.from(small)
      for (const [i, place] of places.entries()) bytes[place] = values[i] as number
      await partsOf(bytes).catch((error: unknown) => expect(error).toBeInstanceOf(BackupDamaged))
    }),
    { numRuns: 300 },
  )
})

test('the file of format 1 is still read', async () => {
  const bytes = readFileSync(join(import.meta.dirname, '../testdata/format-1.backup'))
  const parts = await partsOf(bytes)
  expect(parts[0]).toMatchObject({ kind: 'header', header: { clusterId: 'shop' } })
  expect(parts.at(-1)).toMatchObject({ kind: 'end', sizeBytes: bytes.length })
})
