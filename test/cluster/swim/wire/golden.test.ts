// The vectors of cluster.md, appendix A: what memberlist and serf write is what we write, and we read it back.

import { describe, expect, test } from 'vitest'
import type { Message, NodeState, Versions } from '../../../../cluster/swim/core/messages.ts'
import { crc32 } from '../../../../cluster/swim/wire/crc32.ts'
import { encrypt, Keyring } from '../../../../cluster/swim/wire/keyring.ts'
import { lzwDecode, lzwEncode } from '../../../../cluster/swim/wire/lzw.ts'
import { decodeMessage, encodeMessage, readNodeState, writeNodeState } from '../../../../cluster/swim/wire/messages.ts'
import { Reader, Writer } from '../../../../cluster/swim/wire/msgpack.ts'
import { compound, compress, type Envelope, openPacket, sealPackets } from '../../../../cluster/swim/wire/packet.ts'
import { encodeSerfState, readSerfState } from '../../../../cluster/swim/wire/serf.ts'
import { encodeStreamMessage, StreamDecoder } from '../../../../cluster/swim/wire/stream.ts'
import { decodeTags, encodeTags } from '../../../../cluster/swim/wire/tags.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const A = { host: '127.0.0.1', port: 7946 }
const serfVersions: Versions = [1, 5, 2, 2, 5, 4]
const key = Buffer.from('0123456789abcdef')
const nonce = hex('000102030405060708090a0b')
const plainEnvelope: Envelope = {
  label: Buffer.alloc(0),
  encryptionVersion: 1,
  verifyIncoming: true,
  verifyOutgoing: true,
  compression: false,
}

const ping: Message = { kind: 'ping', seqNo: 7, node: 'b', source: A, sourceNode: 'a' }
const pingBytes = hex(`0085a44e6f6465a162a55365714e6f07aa536f7572636541646472a47f000001aa536f757263654e6f6465a161
  aa536f75726365506f7274cd1f0a`)
const suspect: Message = { kind: 'suspect', incarnation: 3, node: 'b', from: 'a' }
const suspectBytes = hex('0383a446726f6da161ab496e6361726e6174696f6e03a44e6f6465a162')

const messages: [string, Message, Buffer][] = [
  ['ping', ping, pingBytes],
  ['ping without source', { kind: 'ping', seqNo: 200, node: 'b' }, hex('0082a44e6f6465a162a55365714e6fccc8')],
  [
    'indirect ping',
    {
      kind: 'indirect-ping',
      seqNo: 70000,
      target: { host: '10.0.0.2', port: 7946 },
      node: 'b',
      wantsNack: true,
      source: { host: '10.0.0.1', port: 7946 },
      sourceNode: 'a',
    },
    hex(`0188a44e61636bc3a44e6f6465a162a4506f7274cd1f0aa55365714e6fce00011170aa536f7572636541646472a40a000001
      aa536f757263654e6f6465a161aa536f75726365506f7274cd1f0aa6546172676574a40a000002`),
  ],
  ['ack', { kind: 'ack', seqNo: 7 }, hex('0282a75061796c6f6164c0a55365714e6f07')],
  ['nack', { kind: 'nack', seqNo: 7 }, hex('0b81a55365714e6f07')],
  ['suspect', suspect, suspectBytes],
  [
    'suspect with a name of 40 bytes (raw16, not str8)',
    { kind: 'suspect', incarnation: 300, node: 'x'.repeat(40), from: 'a' },
    hex(`0383a446726f6da161ab496e6361726e6174696f6ecd012ca44e6f6465da0028${'78'.repeat(40)}`),
  ],
  [
    'dead that is a leave',
    { kind: 'dead', incarnation: 3, node: 'b', from: 'b' },
    hex('0583a446726f6da162ab496e6361726e6174696f6e03a44e6f6465a162'),
  ],
  [
    'alive',
    {
      kind: 'alive',
      incarnation: 1,
      node: 'a',
      address: A,
      meta: encodeTags(new Map([['role', 'mm']])),
      versions: serfVersions,
    },
    hex(`0486a441646472a47f000001ab496e6361726e6174696f6e01a44d657461aaff81a4726f6c65a26d6da44e6f6465a161
      a4506f7274cd1f0aa356736ea6010502020504`),
  ],
  [
    'alive without meta',
    { kind: 'alive', incarnation: 1, node: 'a', address: A, versions: [1, 5, 2, 0, 0, 0] },
    hex(`0486a441646472a47f000001ab496e6361726e6174696f6e01a44d657461c0a44e6f6465a161a4506f7274cd1f0a
      a356736ea6010502000000`),
  ],
  [
    'leave intent of serf',
    { kind: 'serf-leave', lTime: 5, node: 'a' },
    hex('080083a54c54696d6505a44e6f6465a161a55072756e65c2'),
  ],
]

describe('messages (appendix A)', () => {
  test.each(messages)('%s', (_what, message, bytes) => {
    expect(encodeMessage(message).toString('hex')).toBe(bytes.toString('hex'))
    expect(decodeMessage(bytes, 7946)).toEqual(message)
  })

  test('err', () => {
    const bytes = hex('0d81a54572726f72a4626f6f6d')
    expect(encodeStreamMessage({ kind: 'error', text: 'boom' }).equals(bytes)).toBe(true)
    const decoder = new StreamDecoder(plainEnvelope, 7946)
    decoder.push(bytes)
    expect(decoder.advance()).toEqual({ kind: 'error', text: 'boom' })
  })

  test('push/pull header of a current peer, with a signed length', () => {
    const decoder = new StreamDecoder(plainEnvelope, 7946)
    const node =
      '87a441646472a47f000001ab496e6361726e6174696f6e01a44d657461a0a44e616d65a161a4506f7274cd1f0aa5537461746500a356736ea6010502020504'
    decoder.push(hex(`0683a44a6f696ec3a54e6f64657302ac5573657253746174654c656ed1012c${node}${node}`))
    decoder.push(Buffer.alloc(300))
    const message = decoder.advance()
    expect(message).toMatchObject({
      kind: 'push-pull',
      exchange: { join: true, nodes: [{ name: 'a' }, { name: 'a' }] },
    })
    const ours = encodeStreamMessage({
      kind: 'push-pull',
      exchange: { join: true, nodes: [], lTime: 0, frames: [{ frameKind: 0xc1, payload: new Uint8Array(295) }] },
    })
    expect(ours.subarray(0, 31).toString('hex')).toBe('0683a44a6f696ec3a54e6f64657300ac5573657253746174654c656ecd012c')
  })

  test('node state', () => {
    const bytes = hex(`87a441646472a47f000001ab496e6361726e6174696f6e01a44d657461a0a44e616d65a161a4506f7274cd1f0a
      a5537461746500a356736ea6010502020504`)
    const node: NodeState = { name: 'a', address: A, meta: '', incarnation: 1, state: 'alive', versions: serfVersions }
    const out = new Writer()
    writeNodeState(out, node)
    expect(out.finish().equals(bytes)).toBe(true)
    expect(readNodeState(new Reader(bytes), 7946)).toEqual(node)
  })

  test('tags', () => {
    const meta = encodeTags(
      new Map([
        ['role', 'moonmesh'],
        ['empty', ''],
      ]),
    )
    expect(Buffer.from(meta, 'latin1').toString('hex')).toBe('ff81a4726f6c65a86d6f6f6e6d657368')
    expect(decodeTags(meta)).toEqual(new Map([['role', 'moonmesh']]))
  })

  test('push/pull state of serf', () => {
    const bytes = hex(`0286aa4576656e744c54696d6501a64576656e7473c0a54c54696d6501ab4c6566744d656d6265727390
      aa51756572794c54696d6501ac5374617475734c54696d657381a16101`)
    const out = new Writer()
    encodeSerfState(out, { lTime: 1, node: 'a' })
    expect(out.finish().toString('hex')).toBe(bytes.toString('hex'))
    expect(readSerfState(new Reader(bytes))).toEqual({ lTime: 1, sender: 'a' })
  })

  test('whole numbers: signed forms are read, unsigned ones written', () => {
    for (const [bytes, value] of [
      ['7f', 127],
      ['d10080', 128],
      ['d1012c', 300],
      ['d200011170', 70000],
    ] as const) {
      expect(new Reader(hex(bytes)).uint(1 << 30)).toBe(value)
    }
    for (const [bytes, value] of [
      ['7f', 127],
      ['cc80', 128],
      ['cd012c', 300],
      ['ce00011170', 70000],
    ] as const) {
      expect(new Writer().uint(value).finish().toString('hex')).toBe(bytes)
    }
  })
})

describe('packets (appendix A)', () => {
  test('compound, crc and label', () => {
    const both = hex(`0702003b001d${pingBytes.toString('hex')}${suspectBytes.toString('hex')}`)
    expect(compound([pingBytes, suspectBytes]).equals(both)).toBe(true)
    expect(openPacket(both, plainEnvelope, 7946)).toEqual({ messages: [ping, suspect], refused: [] })
    const [crc] = sealPackets([pingBytes], plainEnvelope, true)
    expect(crc?.toString('hex')).toBe(`0c2289f118${pingBytes.toString('hex')}`)
    const labelled = { ...plainEnvelope, label: Buffer.from('lab') }
    const [label] = sealPackets([pingBytes], labelled, false)
    expect(label?.toString('hex')).toBe(`f4036c6162${pingBytes.toString('hex')}`)
    expect(openPacket(label as Buffer, labelled, 7946).messages).toEqual([ping])
  })

  const ciphertext = `fdba605371105e978a83547fb1d5df2aaa84388f75d02f0a130d985790abab6df444f09b828dfd890543c23f1fc70e4e16106a4b
    641e3102cfb682`
  test.each([
    ['1', '', `01000102030405060708090a0b${ciphertext}8c44a920bd9d45b62ae81f34e65c7811`],
    ['1', 'lab', `01000102030405060708090a0b${ciphertext}ff0cf438389a0dd8903024da397256f9`],
    ['0', '', `00000102030405060708090a0b${ciphertext}614277da4f49290438ad757707434776e415df0827`],
  ])('encryption version %s, label "%s"', (version, label, expected) => {
    const keyring = new Keyring(key)
    const encryptionVersion = version === '0' ? 0 : 1
    const additionalData = Buffer.from(label)
    const sealed = encrypt(keyring, pingBytes, { version: encryptionVersion, additionalData, nonce })
    expect(sealed.toString('hex')).toBe(hex(expected).toString('hex'))
    const envelope: Envelope = { ...plainEnvelope, keyring, label: additionalData, encryptionVersion }
    const packet = label === '' ? sealed : Buffer.concat([Buffer.of(0xf4, label.length), additionalData, sealed])
    expect(openPacket(packet, envelope, 7946).messages).toEqual([ping])
  })

  test.each([
    ['', '026dca1926147f6ba67fb47a3a11510a'],
    ['lab', 'ed0f088b4949b9903717b3a8d4de2b9b'],
  ])('stream encryption, label "%s"', (label, tag) => {
    const stream = hex(`0a0000002d01000102030405060708090a0bfdbd605371105e978a83547fb1d5df2a${tag}`)
    const envelope: Envelope = { ...plainEnvelope, keyring: new Keyring(key), label: Buffer.from(label) }
    const decoder = new StreamDecoder(envelope, 7946)
    if (label !== '') decoder.push(Buffer.concat([Buffer.of(0xf4, label.length), Buffer.from(label)]))
    decoder.push(stream)
    expect(decoder.advance()).toEqual({ kind: 'ping', seqNo: 7, node: 'b' })
  })
})

describe('LZW (appendix A)', () => {
  test.each([
    ['', '000302'],
    ['aaaaaaaaaa', '00c3081c483020'],
    ['moonmesh'.repeat(8), '00dbbc79e3a64d993968041234885061c18309073e6c289161c485101d5ad4083120'],
    [
      compound([pingBytes, suspectBytes]).toString('latin1'),
      `000f0800b0034007008548397943a64c2831a5a69489b3f080aa296feac81953260819327248fd010020c0c58c1bcb2c6c182acc498d1ca1bc9143a7d907050306
       913222e74d9b96ab92b81913468e9b3074d2bc713340214387620202`,
    ],
  ])('%j', (text, expected) => {
    const input = Buffer.from(text, 'latin1')
    expect(lzwEncode(input).toString('hex')).toBe(hex(expected).toString('hex'))
    expect(lzwDecode(hex(expected), 1 << 20).equals(input)).toBe(true)
  })

  test('compress message', () => {
    expect(compress(Buffer.from('moonmesh'.repeat(8))).toString('hex')).toBe(
      '0982a4416c676f00a3427566da002200dbbc79e3a64d993968041234885061c18309073e6c289161c485101d5ad4083120',
    )
  })

  test('20 000 bytes of noise cross table resets', () => {
    const input = Buffer.alloc(20_000)
    let x = 1
    for (let i = 0; i < input.length; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0
      input[i] = x >>> 24
    }
    expect(crc32(input).toString(16)).toBe('c714dd18')
    const packed = lzwEncode(input)
    expect([packed.length, crc32(packed).toString(16)]).toEqual([27_301, '855d1260'])
    expect(lzwDecode(packed, 1 << 20).equals(input)).toBe(true)
  })

  test('90 000 bytes of text cross table resets', () => {
    const input = Buffer.from('the quick brown fox jumps over the lazy dog; '.repeat(2000))
    const packed = lzwEncode(input)
    expect([packed.length, crc32(packed).toString(16)]).toEqual([3872, '74102958'])
    expect(lzwDecode(packed, 1 << 20).equals(input)).toBe(true)
  })
})
