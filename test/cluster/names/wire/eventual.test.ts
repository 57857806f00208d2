import { describe, expect, test } from 'vitest'
import type { Change, Dot } from '../../../../cluster/names/core/change.ts'
import {
  changeFrames,
  decodeDigest,
  decodeFrame,
  decodePull,
  decodePullAnswer,
  digestFrames,
  encodeDigest,
  encodePull,
  encodePullAnswer,
  FRAME_BYTES_MAX,
} from '../../../../cluster/names/wire/eventual.ts'
import { UnpackError } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const byteString = (max: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: 1, maxLength: max }).map((bytes) => String.fromCharCode(...bytes))
const count = fc.integer({ min: 1, max: 2 ** 48 - 1 })
const hlc = fc.record({ ms: fc.integer({ min: 0, max: 2 ** 48 - 1 }), counter: fc.nat(0xffff) })
const bound = fc.record({ pid: byteString(512), hlc, priority: fc.nat(0xffff) })
const dot: fc.Arbitrary<Dot> = fc.record({
  origin: byteString(128),
  epoch: count,
  seq: count,
  name: byteString(255),
  bound,
})
const change: fc.Arbitrary<Change> = fc.oneof(
  dot,
  dot.map((each): Change => ({ ...each, bound: undefined })),
)
const entry = fc.record({
  origin: byteString(128),
  epoch: count,
  seq: count,
  hash: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => String.fromCharCode(...bytes)),
})

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')

describe('frames of kind E1', () => {
  test('begin with their type and hold records as §6.5 lays them out', () => {
    const first: Change = {
      origin: 'a',
      epoch: 258,
      seq: 3,
      name: 'x',
      bound: { pid: '{p}', hlc: { ms: 0x0102, counter: 4 }, priority: 5 },
    }
    const frames = changeFrames([first, { ...first, seq: 4, bound: undefined }])
    const head = (seq: string, op: string): string => `000161000000000102${seq}${op}000178`
    expect(frames.map(hex)).toEqual([
      `00${head('000000000003', '01')}00037b707d00000000010200040005${head('000000000004', '00')}`,
    ])
    const digest = digestFrames([{ origin: 'a', epoch: 258, seq: 3, hash: '12345678' }])
    expect(digest.map(hex)).toEqual(['010001610000000001020000000000033132333435363738'])
  })

  test('are read as they were written, in order, and none is longer than gossip takes', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const frames = changeFrames(changes)
        for (const frame of frames) expect(frame.length).toBeLessThanOrEqual(FRAME_BYTES_MAX)
        const read = frames.flatMap((frame) => {
          const decoded = decodeFrame(frame)
          return decoded.kind === 'changes' ? decoded.changes : []
        })
        const fitting = changes.filter((each) => read.some(({ seq, name }) => seq === each.seq && name === each.name))
        expect(read).toEqual(fitting)
      }),
    )
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 40 }), (entries) => {
        const read = digestFrames(entries).flatMap((frame) => {
          const decoded = decodeFrame(frame)
          return decoded.kind === 'digest' ? decoded.entries : []
        })
        expect(read).toEqual(entries)
        expect(decodeDigest(encodeDigest(entries))).toEqual(entries)
      }),
    )
  })

  test('a change too long for gossip is left to comparing', () => {
    const long = { origin: 'o'.repeat(128), epoch: 1, seq: 1, name: 'n'.repeat(255) }
    const pid = 'p'.repeat(512)
    expect(changeFrames([{ ...long, bound: { pid, hlc: { ms: 1, counter: 0 }, priority: 0 } }])).toEqual([])
  })
})

describe('requests', () => {
  test('are read as they were written', () => {
    const pull = { origin: 'a', epoch: 5, have: 7 }
    expect(decodePull(encodePull(pull))).toEqual(pull)
    fc.assert(
      fc.property(fc.array(change, { maxLength: 5 }), fc.array(dot, { maxLength: 5 }), (changes, dots) => {
        expect(decodePullAnswer(encodePullAnswer({ kind: 'changes', changes }))).toEqual({ kind: 'changes', changes })
        const state = { kind: 'state', seq: 9, dots } as const
        expect(decodePullAnswer(encodePullAnswer(state))).toEqual(state)
      }),
    )
    expect(decodePullAnswer(encodePullAnswer({ kind: 'unknown' }))).toEqual({ kind: 'unknown' })
  })
})

describe('hostile bytes', () => {
  const readers = [decodeFrame, decodePull, decodePullAnswer, decodeDigest]
  const refuses = (read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void => {
    try {
      read(bytes)
    } catch (error) {
      expect(error).toBeInstanceOf(UnpackError)
    }
  }

  test('give an UnpackError or a value, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const read of readers) refuses(read, bytes)
      }),
    )
  })

  test('so do messages with one byte changed, or cut short', () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), fc.nat(), fc.nat(255), (changes, at, byte) => {
        const frames = [...changeFrames(changes), encodePullAnswer({ kind: 'changes', changes })]
        for (const frame of frames) {
          const mutated = frame.slice()
          mutated[at % frame.length] = byte
          for (const read of readers) {
            refuses(read, mutated)
            refuses(read, frame.subarray(0, at % frame.length))
          }
        }
      }),
    )
  })

  test('a frame that ends within a record is refused whole', () => {
    const [frame = new Uint8Array()] = changeFrames([
      { origin: 'a', epoch: 1, seq: 1, name: 'x', bound: undefined },
      { origin: 'a', epoch: 1, seq: 2, name: 'y', bound: undefined },
    ])
    expect(() => decodeFrame(frame.subarray(0, frame.length - 1))).toThrow(UnpackError)
  })
})
