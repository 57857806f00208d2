// A peer's bytes are never a bug: decoders answer with a value or one DecodeError, whatever they are fed. cluster.md §13.

import { describe, expect, test } from 'vitest'
import type { Message, NodeState } from '../../../../cluster/swim/core/messages.ts'
import { DecodeError } from '../../../../cluster/swim/wire/decode-error.ts'
import { Keyring } from '../../../../cluster/swim/wire/keyring.ts'
import { LzwDecoder, lzwDecode, lzwEncode } from '../../../../cluster/swim/wire/lzw.ts'
import { encodeMessage, MessageType } from '../../../../cluster/swim/wire/messages.ts'
import { Reader, Writer } from '../../../../cluster/swim/wire/msgpack.ts'
import { compound, compress, type Envelope, openPacket, sealPackets } from '../../../../cluster/swim/wire/packet.ts'
import { StreamDecoder, type StreamMessage, sealStream } from '../../../../cluster/swim/wire/stream.ts'
import { decodeTags } from '../../../../cluster/swim/wire/tags.ts'
import { fc } from '../../../tools/property.ts'

const plain: Envelope = {
  label: Buffer.alloc(0),
  encryptionVersion: 1,
  verifyIncoming: true,
  verifyOutgoing: true,
  compression: true,
}
const keyring = new Keyring(Buffer.alloc(32, 7))
const envelopes: Envelope[] = [
  plain,
  { ...plain, compression: false, label: Buffer.from('lab') },
  { ...plain, keyring },
  { ...plain, keyring, verifyIncoming: false, encryptionVersion: 0, label: Buffer.from('lab') },
]
const address = { host: 'fd00::1', port: 7946 }
const messages: Message[] = [
  { kind: 'ping', seqNo: 70000, node: 'n1', source: address, sourceNode: 'n2' },
  { kind: 'indirect-ping', seqNo: 1, target: address, node: 'n', wantsNack: true },
  { kind: 'ack', seqNo: 1 },
  { kind: 'suspect', incarnation: 1, node: 'a', from: 'b' },
  { kind: 'alive', incarnation: 300, node: 'n1', address, meta: '\xff\x81\xa1a\xa1b', versions: [1, 5, 2, 2, 5, 4] },
  { kind: 'frame', frameKind: 0xc1, payload: new Uint8Array(100) },
  { kind: 'serf-leave', lTime: 4, node: 'n1' },
]
const node: NodeState = {
  name: 'n1',
  address,
  meta: 'm',
  incarnation: 4,
  state: 'suspect',
  versions: [1, 5, 2, 0, 0, 0],
}
const exchange: StreamMessage = {
  kind: 'push-pull',
  exchange: {
    join: true,
    nodes: [node, { ...node, name: 'n2' }],
    lTime: 9,
    sender: 'n1',
    frames: [{ frameKind: 0xd2, payload: new Uint8Array(3) }],
  },
}

/** Runs a decoder on a stream that arrives in pieces; undefined when it wants more. */
function readStream(envelope: Envelope, pieces: Iterable<Uint8Array>): StreamMessage | undefined {
  const decoder = new StreamDecoder(envelope, 7946)
  for (const piece of pieces) {
    decoder.push(piece)
    for (;;) {
      const got = decoder.advance()
      if (got === 'bytes') break
      if (got !== 'turn') return got
    }
  }
  return undefined
}

/** Runs `decode`; anything thrown but a DecodeError fails the test. */
function onlyDecodeError(decode: () => unknown): void {
  try {
    decode()
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
  }
}

const mutations = fc.record({
  flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
  cut: fc.option(fc.nat()),
  tail: fc.uint8Array({ maxLength: 8 }),
})
function mutate(
  bytes: Buffer,
  { flips, cut, tail }: { flips: [number, number][]; cut: number | null; tail: Uint8Array },
) {
  const out = Buffer.concat([cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1)), tail])
  for (const [at, value] of flips) if (out.length > 0) out[at % out.length] = value
  return out
}

describe('packets', () => {
  test('random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(3), (bytes, which) => {
        onlyDecodeError(() => openPacket(Buffer.from(bytes), envelopes[which] as Envelope, 7946))
      }),
      { numRuns: 2000 },
    )
  })

  test('mutated packets', () => {
    fc.assert(
      fc.property(mutations, fc.nat(1), (mutation, which) => {
        const envelope = envelopes[which] as Envelope
        for (const packet of sealPackets(messages.map(encodeMessage), envelope, false)) {
          onlyDecodeError(() => openPacket(mutate(packet, mutation), envelope, 7946))
        }
        for (const message of messages) {
          onlyDecodeError(() => openPacket(mutate(encodeMessage(message), mutation), plain, 7946))
        }
      }),
      { numRuns: 1000 },
    )
  })

  test.each([0, 1, 2, 3])('what was sealed opens (%i)', (which) => {
    const envelope = envelopes[which] as Envelope
    const [packet] = sealPackets(messages.map(encodeMessage), envelope, true)
    expect(openPacket(packet as Buffer, envelope, 7946)).toEqual({ messages, refused: [] })
  })

  test('one bad part does not spoil the others', () => {
    const packet = compound([encodeMessage({ kind: 'ack', seqNo: 1 }), Buffer.of(99), Buffer.alloc(0)])
    const opened = openPacket(packet, plain, 7946)
    expect(opened.messages).toEqual([{ kind: 'ack', seqNo: 1 }])
    expect(opened.refused).toHaveLength(2)
  })

  test('parts that are cut off are dropped, the earlier ones kept', () => {
    const ack = encodeMessage({ kind: 'ack', seqNo: 1 })
    const opened = openPacket(compound([ack, ack]).subarray(0, -1), plain, 7946)
    expect(opened.messages).toHaveLength(1)
    expect(opened.refused[0]?.message).toBe('1 of 2 parts are cut off')
  })

  test('nesting deeper than four levels is refused', () => {
    let packet = encodeMessage({ kind: 'ack', seqNo: 1 })
    for (let i = 0; i < 3; i++) packet = compress(packet)
    expect(openPacket(packet, plain, 7946).messages).toHaveLength(1)
    const opened = openPacket(compress(packet), plain, 7946)
    expect(opened.messages).toHaveLength(0)
    expect(opened.refused[0]?.message).toBe('packed deeper than 4 levels')
  })

  test('a packet cannot hold more than 255 messages however it is nested', () => {
    const ack = encodeMessage({ kind: 'ack', seqNo: 1 })
    const inner = compound(new Array<Buffer>(200).fill(ack))
    expect(openPacket(compound([inner, inner]), plain, 7946).messages).toHaveLength(255)
  })

  test('an expansion bomb ends at the limit', () => {
    const bomb = compress(Buffer.alloc(8 << 20))
    expect(bomb.length).toBeLessThan(65_536)
    const started = performance.now()
    const many = compound(new Array<Buffer>(8).fill(bomb.subarray(0, 8000)).concat(bomb))
    const opened = openPacket(many, plain, 7946)
    expect(opened.messages).toEqual([])
    expect(performance.now() - started).toBeLessThan(200)
  })

  test('a label must be the expected one, and must be there', () => {
    const labelled = envelopes[1] as Envelope
    const packet = encodeMessage({ kind: 'ack', seqNo: 1 })
    expect(() => openPacket(packet, labelled, 7946)).toThrow('the label is missing')
    expect(() => openPacket(Buffer.concat([Buffer.of(244, 1, 65), packet]), labelled, 7946)).toThrow('another one')
    expect(() => openPacket(Buffer.concat([Buffer.of(244, 0), packet]), labelled, 7946)).toThrow('empty')
  })

  test('plain text is taken only while a key is being introduced', () => {
    const packet = encodeMessage({ kind: 'ack', seqNo: 1 })
    expect(() => openPacket(packet, { ...plain, keyring }, 7946)).toThrow(DecodeError)
    expect(openPacket(packet, { ...plain, keyring, verifyIncoming: false }, 7946).messages).toHaveLength(1)
  })
})

describe('streams', () => {
  test.each([0, 1, 2, 3])('an exchange arrives byte by byte (%i)', (which) => {
    const envelope = envelopes[which] as Envelope
    const bytes = sealStream(exchange, envelope)
    expect(
      readStream(
        envelope,
        Array.from(bytes, (byte) => Buffer.of(byte)),
      ),
    ).toEqual(exchange)
    expect(readStream(envelope, [bytes.subarray(0, -1)])).toBeUndefined()
  })

  test('random and mutated bytes', () => {
    fc.assert(
      fc.property(mutations, fc.nat(3), fc.nat(3), (mutation, sealed, opened) => {
        const bytes = mutate(sealStream(exchange, envelopes[sealed] as Envelope), mutation)
        onlyDecodeError(() => readStream(envelopes[opened] as Envelope, [bytes]))
      }),
      { numRuns: 2000 },
    )
  })

  test('a header that promises too much is refused before anything is allocated', () => {
    const huge = new Writer().u8(MessageType.pushPull).mapHeader(1).raw('Nodes').uint(1e9).finish()
    expect(() => readStream(plain, [huge])).toThrow(DecodeError)
    const long = Buffer.of(MessageType.encrypt, 0xff, 0xff, 0xff, 0xff)
    expect(() => readStream({ ...plain, keyring }, [long])).toThrow('longer than')
  })

  test('a stream without encryption is refused where encryption is required', () => {
    expect(() => readStream({ ...plain, keyring }, [sealStream(exchange, plain)])).toThrow('not encrypted')
    expect(() => readStream(plain, [sealStream(exchange, { ...plain, keyring })])).toThrow('no key is configured')
  })

  test('a user state of another application is no error', () => {
    const { nodes } = exchange.exchange
    const out = new Writer().u8(MessageType.pushPull).mapHeader(2).raw('Nodes').uint(0).raw('UserStateLen').uint(3)
    expect(readStream(plain, [out.bytes(Buffer.from('abc')).finish()])).toMatchObject({ exchange: { frames: [] } })
    expect(nodes).toHaveLength(2)
  })
})

describe('msgpack', () => {
  test('skips any value, and fails on anything else with a DecodeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) =>
        onlyDecodeError(() => new Reader(Buffer.from(bytes)).skip()),
      ),
      { numRuns: 5000 },
    )
  })

  test('nesting is bounded', () => {
    expect(() => new Reader(Buffer.alloc(100_000, 0x91)).skip()).toThrow('nested deeper')
    expect(() => new Reader(Buffer.alloc(100_000, 0x81)).skip()).toThrow('nested deeper')
  })

  test('byte strings are read in every form (§3.2)', () => {
    const forms = [
      'a26162',
      'd9026162',
      'da00026162',
      'db000000026162',
      'c4026162',
      'c500026162',
      'c6000000026162',
      '926162',
      'dc0002cc61d10062',
    ]
    for (const form of forms) expect(new Reader(Buffer.from(form, 'hex')).raw(2), form).toBe('ab')
    expect(new Reader(Buffer.from('c0', 'hex')).raw(2)).toBeUndefined()
    expect(() => new Reader(Buffer.from('a3616263', 'hex')).raw(2)).toThrow('longer than 2')
  })

  test('numbers must fit their field', () => {
    expect(() => new Reader(Buffer.of(0xff)).uint(255)).toThrow(DecodeError)
    expect(() => new Reader(Buffer.of(0xcd, 1, 0)).uint(255)).toThrow(DecodeError)
    expect(() => new Reader(Buffer.from('cb3ff0000000000000', 'hex')).uint(255)).toThrow('whole number')
  })

  test('undecodable meta is told from a bare role', () => {
    expect(decodeTags('web')).toEqual(new Map([['role', 'web']]))
    expect(decodeTags('')).toEqual(new Map())
    expect(decodeTags('\xff\x82\xa1a')).toBeUndefined()
    expect(decodeTags('\xff\xa1a')).toBeUndefined()
  })
})

describe('LZW', () => {
  test('expands what it compressed, in slices too', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 6000 }), fc.integer({ min: 1, max: 500 }), (values, slice) => {
        const input = Buffer.from(values)
        const packed = lzwEncode(input)
        const decoder = new LzwDecoder(packed, 1 << 20)
        while (!decoder.run(slice)) {}
        return decoder.output().equals(input)
      }),
      { numRuns: 300 },
    )
  })

  test('random codes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => onlyDecodeError(() => lzwDecode(bytes, 100_000))),
      { numRuns: 2000 },
    )
  })

  test('input without an end mark is an error', () => {
    expect(() => lzwDecode(Buffer.from('00c308', 'hex'), 100)).toThrow('end mark')
    expect(() => lzwDecode(lzwEncode(Buffer.alloc(1000)), 999)).toThrow('expands to more')
    expect(lzwDecode(lzwEncode(Buffer.alloc(1000)), 1000)).toHaveLength(1000)
  })
})

describe('key ring (§3.5)', () => {
  const [first, second] = [Buffer.alloc(16, 1), Buffer.alloc(24, 2)]

  test('rotates: add, use, remove', () => {
    const old = new Keyring(first)
    const sealed = (ring: Keyring): Buffer =>
      sealPackets([encodeMessage({ kind: 'ack', seqNo: 1 })], { ...plain, keyring: ring }, false)[0] as Buffer
    const packet = sealed(old)
    const ring = new Keyring(first)
    ring.add(second)
    expect(openPacket(packet, { ...plain, keyring: ring }, 7946).messages).toHaveLength(1)
    ring.use(second)
    expect(() => openPacket(sealed(ring), { ...plain, keyring: old }, 7946)).toThrow('no key')
    expect(openPacket(packet, { ...plain, keyring: ring }, 7946).messages).toHaveLength(1)
    expect(() => ring.remove(second)).toThrow('primary')
    ring.remove(first)
    expect(() => openPacket(packet, { ...plain, keyring: ring }, 7946)).toThrow('no key')
  })

  test('says the length of a key that has the wrong one', () => {
    expect(() => new Keyring(Buffer.alloc(15))).toThrow('not 15')
    expect(() => new Keyring(first).use(second)).toThrow('not in the ring')
  })
})
