import { expect, test } from 'vitest'
import { readSnapshot, type SnapshotRecord, writeSnapshot } from '../../../../cluster/state/wire/snapshot.ts'
import { UnpackError } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const header = {
  formation: '000102030405060708090a0b0c0d0e0f',
  index: 9,
  term: 3,
  clockMs: 77,
  configuration: [[['a', '1']], []],
  featureLevel: 2,
}
const record = (section: number, length: number): SnapshotRecord => ({
  section,
  record: new Uint8Array(length).fill(section),
})
const RECORDS = [record(1, 10), record(2, 1), record(2, 100_000), record(6, 3), record(6, 70_000), record(6, 1)]

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function read(bytes: Uint8Array, size = 4096): Promise<{ header: unknown; records: SnapshotRecord[] }> {
  const records: SnapshotRecord[] = []
  const found = await readSnapshot(cut(bytes, size), (section, bytes) =>
    records.push({ section, record: bytes.slice() }),
  )
  return { header: found, records }
}

const file = (records: readonly SnapshotRecord[] = RECORDS): Uint8Array =>
  Buffer.concat([...writeSnapshot(header, records)])

test.each([1, 7, 4096, 10_000_000])(
  'a file is read as it was written, in pieces of %d bytes (cluster.md §5.12)',
  async (size) => {
    const small = size === 1 ? RECORDS.filter((each) => each.record.length < 1000) : RECORDS
    const { header: found, records } = await read(file(small), size)
    expect(found).toEqual(header)
    expect(records.map(({ section, record }) => [section, record.length])).toEqual(
      small.map(({ section, record }) => [section, record.length]),
    )
  },
)

test('equal states give equal bytes, and a state without records has a file', async () => {
  expect(Buffer.compare(file(), file())).toBe(0)
  expect((await read(file([]))).records).toEqual([])
})

test('large states are written in small pieces', () => {
  const sizes = [
    ...writeSnapshot(
      header,
      Array.from({ length: 1000 }, () => record(6, 1000)),
    ),
  ].map(({ length }) => length)
  expect(Math.max(...sizes)).toBeLessThan(70_000)
  expect(sizes.length).toBeGreaterThan(10)
})

test('what is cut off, changed or longer is refused', async () => {
  const whole = file(RECORDS.filter((each) => each.record.length < 1000))
  await expect(read(whole.subarray(0, whole.length - 1))).rejects.toThrow(UnpackError)
  await expect(read(Buffer.concat([whole, Uint8Array.of(0)]))).rejects.toThrow(UnpackError)
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const changed = whole.slice()
      changed[at] = (changed[at] as number) ^ change
      await expect(read(changed)).rejects.toThrow(UnpackError)
    }),
    { numRuns: 300 },
  )
})
