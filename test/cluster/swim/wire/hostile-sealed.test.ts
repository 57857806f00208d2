// What only somebody with the key can send: malformed padding, malformed content behind a good seal, streams that expand
// without end. cluster.md §3.4, §3.5, §13.

import { createCipheriv } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { DecodeError, DecryptError } from '../../../../cluster/swim/wire/decode-error.ts'
import { decrypt, encrypt, Keyring } from '../../../../cluster/swim/wire/keyring.ts'
import { lzwEncode } from '../../../../cluster/swim/wire/lzw.ts'
import { encodeMessage, MessageType } from '../../../../cluster/swim/wire/messages.ts'
import { Writer } from '../../../../cluster/swim/wire/msgpack.ts'
import { compress, type Envelope, openPacket, sealPackets } from '../../../../cluster/swim/wire/packet.ts'
import {
  encodeStreamMessage,
  readUserState,
  STREAM_BYTES_MAX,
  StreamDecoder,
  type StreamMessage,
} from '../../../../cluster/swim/wire/stream.ts'
import { fc } from '../../../tools/property.ts'

const key = Buffer.alloc(16, 3)
const keyring = new Keyring(key)
const label = Buffer.from('lab')
const base = { encryptionVersion: 1, verifyIncoming: true, verifyOutgoing: true, compression: true } as const
const sealed: Envelope = { ...base, label, keyring }
const padded: Envelope = { ...sealed, encryptionVersion: 0 }
const lenient: Envelope = { ...sealed, verifyIncoming: false }

function onlyDecodeError(decode: () => unknown): void {
  try {
    decode()
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
  }
}

/** Seals any bytes as version 0 as they are, whatever their last byte says about padding. */
function sealUnpadded(plain: Uint8Array, additionalData: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12, 9)
  const cipher = createCipheriv('aes-128-gcm', key, nonce)
  cipher.setAAD(additionalData)
  return Buffer.concat([Buffer.of(0), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** A stream of any content behind a good seal. */
function sealStreamBytes(content: Uint8Array, envelope: Envelope): Buffer {
  const header = Buffer.alloc(5)
  header[0] = MessageType.encrypt
  const version = envelope.encryptionVersion
  const body = (aad: Buffer): Buffer => encrypt(keyring, content, { version, additionalData: aad })
  header.writeUInt32BE(body(header).length, 1)
  const marker = Buffer.concat([Buffer.of(MessageType.label, label.length), label])
  return Buffer.concat([marker, header, body(Buffer.concat([header, label]))])
}

/** Feeds a stream whole; undefined when it wants more. @returns what it held, and its turns */
function readStream(envelope: Envelope, bytes: Uint8Array): { message: StreamMessage | undefined; turns: number } {
  const decoder = new StreamDecoder(envelope, 7946)
  decoder.push(bytes)
  for (let turns = 0; ; turns++) {
    const got = decoder.advance()
    if (got === 'bytes') return { message: undefined, turns }
    if (got !== 'turn') return { message: got, turns }
  }
}

const mutations = fc.record({
  flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
  cut: fc.option(fc.nat()),
})
function mutate(bytes: Buffer, { flips, cut }: { flips: [number, number][]; cut: number | null }): Buffer {
  const out = Buffer.from(cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1)))
  for (const [at, value] of flips) if (out.length > 0) out[at % out.length] = value
  return out
}

const address = { host: '10.0.0.1', port: 7946 }
const parts = [
  encodeMessage({ kind: 'alive', incarnation: 3, node: 'n1', address, meta: '\xff\x80', versions: [1, 5, 2, 2, 5, 4] }),
  encodeMessage({ kind: 'ping', seqNo: 1, node: 'n1', source: address, sourceNode: 'n2' }),
  encodeMessage({ kind: 'frame', frameKind: 0xc1, payload: new Uint8Array(9) }),
]
const node = { name: 'n1', address, meta: 'm', incarnation: 4, state: 'alive', versions: [1, 5, 2, 2, 5, 4] } as const
const frames = [{ frameKind: 0xd2, payload: new Uint8Array(5) }]
const exchange = encodeStreamMessage({
  kind: 'push-pull',
  exchange: { join: true, nodes: [node, { ...node, name: 'n2' }], lTime: 5, sender: 'n1', frames },
})

describe('padding (PKCS#7)', () => {
  test.each([0, 17, 255])('of %i is refused, not sliced', (pad) => {
    const plain = Uint8Array.of(...new Array<number>(15).fill(1), pad)
    expect(() => decrypt(keyring, sealUnpadded(plain, label), label)).toThrow('the padding is malformed')
  })

  test('what is shorter than a block cannot be padded', () => {
    expect(() => decrypt(keyring, sealUnpadded(Uint8Array.of(3, 3), label), label)).toThrow('too short')
  })

  test('any content under the right key is read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (plain) => {
        const marker = Buffer.concat([Buffer.of(MessageType.label, label.length), label])
        const packet = Buffer.concat([marker, sealUnpadded(plain, label)])
        for (const envelope of [padded, lenient]) onlyDecodeError(() => openPacket(packet, envelope, 7946))
      }),
      { numRuns: 1000 },
    )
  })

  test.each([0, 1, 15, 16, 17, 31, 32, 33])('%i bytes survive, padded or not', (length) => {
    const plain = Buffer.alloc(length, 7)
    for (const version of [0, 1] as const) {
      const bytes = encrypt(keyring, plain, { version, additionalData: label })
      expect(decrypt(keyring, bytes, label)).toEqual(plain)
      expect(() => decrypt(keyring, bytes, Buffer.from('other'))).toThrow(DecryptError)
      for (let cut = 0; cut < bytes.length; cut++) {
        expect(() => decrypt(keyring, bytes.subarray(0, cut), label)).toThrow(DecodeError)
      }
    }
  })
})

describe('packets behind a seal', () => {
  test('a changed byte anywhere is noticed', () => {
    for (const envelope of [sealed, padded]) {
      const [packet] = sealPackets(parts, envelope, true)
      for (let at = 0; at < (packet as Buffer).length; at++) {
        const changed = Buffer.from(packet as Buffer)
        changed[at] = (changed[at] as number) ^ 1
        expect(() => openPacket(changed, envelope, 7946), `byte ${at}`).toThrow(DecodeError)
      }
    }
  })

  test('mutated content under the right key is read or refused', () => {
    fc.assert(
      fc.property(mutations, fc.boolean(), fc.nat(2), (mutation, isCompressed, which) => {
        const content = mutate(parts[which] as Buffer, mutation)
        const packet = sealPackets([isCompressed ? mutate(compress(content), mutation) : content], sealed, true)
        onlyDecodeError(() => openPacket(packet[0] as Buffer, sealed, 7946))
      }),
      { numRuns: 1500 },
    )
  })

  test('mutated packets where plain text is taken, too', () => {
    fc.assert(
      fc.property(mutations, (mutation) => {
        const [packet] = sealPackets(parts, sealed, true)
        onlyDecodeError(() => openPacket(mutate(packet as Buffer, mutation), lenient, 7946))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('streams behind a seal', () => {
  test('any content is read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (content, isPadded) => {
        const envelope = isPadded ? padded : sealed
        onlyDecodeError(() => readStream(envelope, sealStreamBytes(content, envelope)))
      }),
      { numRuns: 1000 },
    )
  })

  test('mutated exchanges, compressed or not', () => {
    fc.assert(
      fc.property(mutations, fc.boolean(), (mutation, isCompressed) => {
        const content = mutate(exchange, mutation)
        onlyDecodeError(() => readStream(sealed, sealStreamBytes(isCompressed ? compress(content) : content, sealed)))
      }),
      { numRuns: 1500 },
    )
  })

  test('content that ends early is refused, for no more will come', () => {
    for (let cut = 0; cut < exchange.length; cut++) {
      expect(() => readStream(sealed, sealStreamBytes(exchange.subarray(0, cut), sealed)), `cut at ${cut}`).toThrow(
        DecodeError,
      )
    }
  })

  test('a length below that of a seal', () => {
    for (let length = 0; length < 29; length++) {
      const bytes = Buffer.alloc(3 + label.length + 5 + length, 1)
      bytes.set([MessageType.label, label.length, ...label, MessageType.encrypt, 0, 0, 0, length])
      onlyDecodeError(() => expect(readStream(sealed, bytes).message).toBeUndefined())
    }
  })
})

describe('memory', () => {
  test('a stream that expands beyond its limit ends there, in turns, and holds no more than that', () => {
    const bomb = compress(Buffer.alloc(48 << 20))
    expect(bomb.length).toBeLessThan(100_000)
    const before = process.memoryUsage().external
    const decoder = new StreamDecoder({ ...sealed, keyring: new Keyring(key) }, 7946)
    decoder.push(sealStreamBytes(bomb, sealed))
    let turns = 0
    let peak = 0
    let slowestMs = 0
    const run = (): void => {
      for (;;) {
        const startedAtMs = performance.now()
        const got = decoder.advance()
        slowestMs = Math.max(slowestMs, performance.now() - startedAtMs)
        peak = Math.max(peak, process.memoryUsage().external - before)
        if (got !== 'turn') return
        turns++
      }
    }
    expect(run).toThrow('expands to more than')
    expect(turns).toBeGreaterThan(100)
    // While it grows, the buffer and its successor exist at once.
    expect(peak).toBeLessThan(3 * (40 << 20))
    expect(slowestMs).toBeLessThan(500)
  })

  test('compression inside of compression is not unpacked on streams', () => {
    const bomb = compress(compress(Buffer.alloc(1 << 20)))
    expect(() => readStream(sealed, sealStreamBytes(bomb, sealed))).toThrow('not for streams')
  })

  test('lengths that promise more than there is allocate nothing', () => {
    const before = process.memoryUsage().external
    for (const [nodes, userState] of [
      [65_536, 0],
      [0, STREAM_BYTES_MAX],
    ] as const) {
      const header = new Writer().u8(MessageType.pushPull).mapHeader(2)
      const bytes = header.raw('Nodes').uint(nodes).raw('UserStateLen').uint(userState).finish()
      expect(readStream({ ...sealed, verifyIncoming: false, label: Buffer.alloc(0) }, bytes).message).toBeUndefined()
    }
    expect(process.memoryUsage().external - before).toBeLessThan(1 << 20)
  })

  test('a stream that never ends is cut off', () => {
    const decoder = new StreamDecoder({ ...base, label: Buffer.alloc(0) }, 7946)
    const piece = Buffer.alloc(1 << 20)
    piece[0] = MessageType.pushPull
    expect(() => {
      for (let i = 0; i < 22; i++) decoder.push(piece)
    }).toThrow('longer than')
    expect(decoder.bytesHeld).toBeLessThanOrEqual(STREAM_BYTES_MAX + 1024)
  })
})

describe('user states', () => {
  test('of anybody are read as far as they can be', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isSerf) => {
        const read = readUserState(Buffer.concat([Buffer.of(isSerf ? 2 : 0xc1), bytes]))
        expect(read.frames.every(({ payload }) => payload.length <= 200)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })
})

test('LZW of any bytes ends, and within its limit', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), mutations, (bytes, mutation) => {
      const packed = mutate(lzwEncode(bytes), mutation)
      const body = new Writer().u8(MessageType.compress).mapHeader(2).raw('Algo').uint(0).raw('Buf').rawBytes(packed)
      onlyDecodeError(() => openPacket(body.finish(), { ...base, label: Buffer.alloc(0) }, 7946))
    }),
    { numRuns: 1000 },
  )
})
