import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { APP, BULK, CHUNK_BYTES, LINK, PG, RAFT, RLOG, SYSTEM } from '../../../../cluster/mesh/core/classes.ts'
import { COMPRESSED, FIRST, type Frame, frameBytes, LAST } from '../../../../cluster/mesh/core/frames.ts'
import { deflate } from '../../../../cluster/mesh/wire/deflate.ts'
import { type DecodedMessage, encodeFrames, FrameDecoder, linkFrame } from '../../../../cluster/mesh/wire/frame.ts'
import { ProtocolError } from '../../../../cluster/mesh/wire/protocol-error.ts'
import { fc } from '../../../tools/property.ts'

const MESSAGE_BYTES_MAX = 1024 * 1024
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

function chunks(classId: number, seq: number, bytes: Uint8Array, chunkBytes = CHUNK_BYTES): Frame[] {
  const out: Frame[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += chunkBytes) {
    const flags = (at === 0 ? FIRST : 0) | (at + chunkBytes >= bytes.length ? LAST : 0)
    const payload = bytes.subarray(at, at + chunkBytes)
    out.push({ classId, flags, seq: at === 0 ? seq : 0, messageBytes: bytes.length, payload })
  }
  return out
}

function open(): FrameDecoder {
  const decoder = new FrameDecoder({ messageBytesMax: MESSAGE_BYTES_MAX })
  decoder.isHandshaking = false
  return decoder
}

function drain(decoder: FrameDecoder): DecodedMessage[] {
  const out: DecodedMessage[] = []
  for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
    out.push({ ...message, bytes: Buffer.from(message.bytes) })
  }
  return out
}

function decode(bytes: Uint8Array, decoder = open()): DecodedMessage[] {
  decoder.push(bytes)
  return drain(decoder)
}

test('a frame has the form of cluster.md §4.4', () => {
  const frames = [...chunks(APP, 7, hex('aabb')), ...chunks(RAFT, 0, hex('cc'))]
  const bytes = Buffer.concat(encodeFrames(frames))
  expect(bytes.toString('hex')).toBe(
    hex('01 03 03 00 0000000c 000000000007 00000002 aabb  01 01 03 00 00000005 00000001 cc').toString('hex'),
  )
  expect(bytes.length).toBe(frames.reduce((sum, frame) => sum + frameBytes(frame), 0))
})

test('large payloads are handed on, small ones lie next to each other', () => {
  const large = randomBytes(CHUNK_BYTES)
  const small = randomBytes(10)
  const out = encodeFrames([
    ...chunks(PG, 0, small),
    ...chunks(PG, 0, small),
    ...chunks(PG, 0, large),
    ...chunks(PG, 0, small),
  ])
  expect(out).toHaveLength(3)
  expect(out[1]?.buffer).toBe(large.buffer)
  expect(decode(Buffer.concat(out)).map(({ bytes }) => bytes.length)).toEqual([10, 10, CHUNK_BYTES, 10])
})

test('messages of several classes, interleaved and cut anywhere, arrive whole and in order', () => {
  const message = fc.record({
    classId: fc.constantFrom(RAFT, SYSTEM, APP, PG, BULK, RLOG),
    size: fc.nat(5000),
    chunkBytes: fc.integer({ min: 1, max: 2000 }),
  })
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), fc.array(fc.integer({ min: 1, max: 3000 })), (messages, cuts) => {
      let seq = 1
      const byClass = new Map<number, Frame[]>()
      const sent = new Map<number, Buffer[]>()
      for (const { classId, size, chunkBytes } of messages) {
        const bytes = randomBytes(size)
        const frames = chunks(classId, seq++, bytes, chunkBytes)
        byClass.set(classId, [...(byClass.get(classId) ?? []), ...frames])
        sent.set(classId, [...(sent.get(classId) ?? []), bytes])
      }
      const interleaved: Frame[] = []
      while ([...byClass.values()].some((frames) => frames.length > 0)) {
        for (const frames of byClass.values()) interleaved.push(...frames.splice(0, 1))
      }
      const stream = Buffer.concat(encodeFrames(interleaved))
      const decoder = open()
      const got = new Map<number, Buffer[]>()
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = cuts[i % Math.max(1, cuts.length)] ?? 100
        decoder.push(stream.subarray(at, at + size))
        at += size
        for (const { classId, bytes } of drain(decoder)) {
          got.set(classId, [...(got.get(classId) ?? []), bytes as Buffer])
        }
      }
      for (const [classId, list] of sent) expect(Buffer.concat(got.get(classId) ?? [])).toEqual(Buffer.concat(list))
      expect(decoder.takenBytes.reduce((a, b) => a + b)).toBe(stream.length)
    }),
    { numRuns: 100 },
  )
})

test('what breaks a rule of the protocol is an error', () => {
  const first = (flags: number, length: number, rest: string): Buffer =>
    Buffer.concat([hex(`0104 0${flags} 00`), hex(length.toString(16).padStart(8, '0')), hex(rest)])
  const started = first(1, 6, '00000010 aabb')
  for (const [bytes, why] of [
    [hex('0204 03 00 00000004 00000000'), 'version'],
    [hex('0104 03 01 00000004 00000000'), 'version'],
    [hex('0107 03 00 00000004 00000000'), 'unknown class'],
    [hex('0104 0b 00 00000004 00000000'), 'unknown flag'],
    [hex('0104 03 00 80000000'), 'longer than 64 KiB'],
    [hex('0104 03 00 00010001'), 'longer than 64 KiB'],
    [first(3, 3, '000000'), 'too short'],
    [first(3, 4, '00100001'), 'over the limit'],
    [first(3, 5, '00000002 aa'), 'add up'],
    [first(1, 5, '00000001 aa'), 'add up'],
    [first(1, 4, '00000001'), 'add up'],
    [first(2, 1, 'aa'), 'without its first'],
    [Buffer.concat([started, started]), 'within another'],
    [Buffer.concat([started, hex('0104 00 00 00000000')]), 'add up'],
    [Buffer.concat([started, hex('0104 02 00 00000001 aa')]), 'add up'],
    [first(7, 4, '00000000'), 'without agreement'],
    [hex('0103 03 00 0000000a 000000000000 00000000'), 'number 0'],
    [hex('0100 03 00 00000004 00004001'), 'over the limit'],
  ] as const) {
    expect(() => decode(bytes), bytes.toString('hex')).toThrow(why)
    expect(() => decode(bytes)).toThrow(ProtocolError)
  }
})

test('before the handshake is done nothing but class link is read', () => {
  const decoder = new FrameDecoder({ messageBytesMax: MESSAGE_BYTES_MAX })
  expect(decode(Buffer.concat(encodeFrames([linkFrame(hex('80'))])), decoder)).toEqual([
    { classId: LINK, seq: 0, bytes: hex('80'), messageBytes: 1 },
  ])
  expect(() => decode(Buffer.concat(encodeFrames(chunks(APP, 1, hex('00')))), decoder)).toThrow('before the handshake')
})

test('a compressed message is inflated where that was agreed, within bounds', () => {
  const text = Buffer.from('all the same '.repeat(10_000))
  const compressed = deflate(text) as Uint8Array
  expect(compressed.length).toBeLessThan(5000)
  const frames = (bytes: Uint8Array): Uint8Array =>
    Buffer.concat(encodeFrames(chunks(PG, 0, bytes).map((frame) => ({ ...frame, flags: frame.flags | COMPRESSED }))))
  const decoder = open()
  decoder.isDeflateNegotiated = true
  expect(decode(frames(compressed), decoder)[0]?.bytes).toEqual(text)
  expect(() => decode(frames(text.subarray(0, 100)), decoder)).toThrow('damaged')
  const bomb = deflate(Buffer.alloc(1024 * 1024)) as Uint8Array
  const other = open()
  other.isDeflateNegotiated = true
  expect(decode(frames(bomb), other)[0]?.bytes.length).toBe(1024 * 1024)
  expect(deflate(Buffer.alloc(1024 * 1024 + 1))).toBeUndefined()
  expect(deflate(Buffer.alloc(10))).toBeUndefined()
})

test('damaged streams give messages or a ProtocolError, and hold no more than arrived and one message a class', () => {
  const stream = Buffer.concat(
    encodeFrames([
      ...chunks(SYSTEM, 1, randomBytes(700), 100),
      ...chunks(BULK, 0, randomBytes(50)),
      ...chunks(APP, 1, randomBytes(300), 64),
    ]),
  )
  const damage = fc.array(fc.tuple(fc.nat(stream.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(damage, fc.integer({ min: 1, max: 400 }), (places, size) => {
      const bytes = Buffer.from(stream)
      for (const [at, value] of places) bytes[at] = value
      const decoder = open()
      try {
        for (let at = 0; at < bytes.length; at += size) {
          decoder.push(bytes.subarray(at, at + size))
          drain(decoder)
          const held = decoder.takenBytes.reduce((sum, _, id) => sum + decoder.assemblingBytes(id), 0)
          if (held > at + size) throw new Error(`${held} bytes held of ${at + size}`)
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError)
      }
    }),
    { numRuns: 500 },
  )
})

test('a length that is announced reserves nothing', () => {
  const decoder = open()
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 200; i++) {
    const each = open()
    each.push(hex('0104 01 00 00000005 00100000 aa'))
    expect(each.next()).toBeUndefined()
    expect(each.assemblingBytes(PG)).toBe(1)
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200 * 128 * 1024)
  expect(decoder.next()).toBeUndefined()
})
