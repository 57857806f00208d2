// Gossip on real sockets of the loopback: what only sockets, timers and the resolver can get wrong.

import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { Message } from '../../../cluster/swim/core/messages.ts'
import { Keyring } from '../../../cluster/swim/wire/keyring.ts'
import { encodeMessage } from '../../../cluster/swim/wire/messages.ts'
import { compress, sealPackets } from '../../../cluster/swim/wire/packet.ts'
import { StreamDecoder } from '../../../cluster/swim/wire/stream.ts'
import { systemEnv } from '../../../runtime/driver.ts'
import { eventually } from '../../tools/eventually.ts'
import { openGossip, type TestGossip, type TestGossipOptions } from './gossip-node.ts'

const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})

async function start(name: string, options: TestGossipOptions = {}): Promise<TestGossip> {
  const node = await openGossip(name, options)
  opened.push(node.gossip)
  node.gossip.start()
  return node
}

const reaches = (node: TestGossip, ...names: string[]): Promise<unknown> =>
  eventually(() => expect(node.live()).toEqual(names))

describe.each([
  ['plain', {}],
  ['with a key of 16 bytes', { key: Buffer.alloc(16, 7) }],
  [
    'with a key of 32 bytes, a label and no compression',
    {
      key: Buffer.alloc(32, 9),
      label: 'blue',
      envelope: { compression: false },
    },
  ],
] as [string, TestGossipOptions][])('%s', (_, options) => {
  test('nodes find each other, hear of a departure, and take the dead for dead', async () => {
    const one = await start('n1', options)
    const two = await start('n2', { ...options, seeds: [one.seed], tags: { zone: 'b' } })
    const three = await start('n3', { ...options, seeds: [one.seed] })
    for (const node of [one, two, three]) await reaches(node, 'n1', 'n2', 'n3')
    expect(
      one.gossip
        .members()
        .find(({ name }) => name === 'n2')
        ?.tags.get('zone'),
    ).toBe('b')
    await two.gossip.leave()
    await two.gossip.close()
    await reaches(one, 'n1', 'n3')
    await three.gossip.close()
    await reaches(one, 'n1')
    await eventually(() => {
      const states = one.gossip.members().map(({ name, state }) => `${name} ${state}`)
      expect(states).toEqual(['n1 alive', 'n2 left', 'n3 dead'])
    })
    const left = one.events.filter((event) => event.kind === 'left').map(({ name, reason }) => `${name} ${reason}`)
    expect(left).toEqual(['n2 left', 'n3 dead'])
  })
})

test('over IPv6', async () => {
  const bind = { host: '::1', port: 0 }
  const one = await start('n1', { bind })
  const two = await start('n2', { bind, seeds: [one.seed] })
  for (const node of [one, two]) await reaches(node, 'n1', 'n2')
})

test('names of seeds are resolved again at each attempt', async () => {
  const one = await start('n1')
  let attempts = 0
  const resolve = (host: string): Promise<string[]> => {
    expect(host).toBe('seed.example')
    attempts++
    if (attempts === 1) return Promise.reject(new Error('no such name'))
    return Promise.resolve(attempts === 2 ? [] : ['127.0.0.1'])
  }
  const two = await start('n2', { seeds: [{ host: 'seed.example', port: one.seed.port }], resolve })
  await reaches(two, 'n1', 'n2')
  expect(attempts).toBeGreaterThanOrEqual(3)
  expect(two.logs).toContainEqual({
    level: 'warn',
    event: 'gossip_resolve_failed',
    fields: { address: 'seed.example', reason: 'no such name' },
  })
})

test('a join that is asked for says how many answered', async () => {
  const one = await start('n1')
  const two = await start('n2')
  const gone = await openGossip('n3')
  await gone.gossip.close()
  expect(await two.gossip.join([one.seed, gone.seed])).toBe(1)
  expect(await two.gossip.join([gone.seed])).toBe(0)
  // Whoever names a node means that one.
  const { name } = one.gossip.self
  expect(await two.gossip.join([{ ...one.seed, name: 'somebody-else' }])).toBe(0)
  expect(await two.gossip.join([{ ...one.seed, name }])).toBe(1)
  await reaches(one, 'n1', 'n2')
})

test('a wrong key keeps nodes apart, with one line for each side', async () => {
  const one = await start('n1', { key: Buffer.alloc(16, 1) })
  const two = await start('n2', { key: Buffer.alloc(16, 2), seeds: [one.seed] })
  const plain = await start('n3', { seeds: [one.seed] })
  await eventually(() => expect(one.gossip.statistics().streams.refused).toBeGreaterThan(2))
  expect(one.live()).toEqual(['n1'])
  expect(two.live()).toEqual(['n2'])
  expect(plain.live()).toEqual(['n3'])
  expect(one.logs.filter(({ event }) => event === 'gossip_decrypt_failed')).toHaveLength(1)
  expect(two.logs.filter(({ event }) => event === 'gossip_decrypt_failed')).toHaveLength(1)
})

test('another label keeps nodes apart', async () => {
  const one = await start('n1', { label: 'blue' })
  const two = await start('n2', { label: 'green', seeds: [one.seed] })
  await eventually(() =>
    expect(one.logs).toContainEqual({
      level: 'warn',
      event: 'gossip_unreadable',
      fields: { from: '127.0.0.1', reason: 'the label is another one' },
    }),
  )
  expect(two.live()).toEqual(['n2'])
})

test('keys are exchanged while all run', async () => {
  const [old, next] = [Buffer.alloc(16, 1), Buffer.alloc(32, 2)]
  const one = await start('n1', { key: old })
  const two = await start('n2', { key: old, seeds: [one.seed] })
  for (const node of [one, two]) await reaches(node, 'n1', 'n2')
  for (const { gossip } of [one, two]) gossip.addKey(next)
  for (const { gossip } of [one, two]) gossip.useKey(next)
  for (const { gossip } of [one, two]) gossip.removeKey(old)
  expect(one.gossip.keys()).toEqual([next])
  expect(() => one.gossip.removeKey(next)).toThrow('the primary key cannot be removed')
  expect(() => one.gossip.useKey(old)).toThrow('not in the ring')
  expect(() => one.gossip.addKey(Buffer.alloc(15))).toThrow('16, 24 or 32 bytes, not 15')
  const three = await start('n3', { key: next, seeds: [one.seed] })
  for (const node of [one, two, three]) await reaches(node, 'n1', 'n2', 'n3')
  const plain = await start('n4')
  expect(plain.gossip.keys()).toEqual([])
  expect(() => plain.gossip.addKey(next)).toThrow('gossip is plain text')
})

test('a key is introduced to a running cluster in two steps', async () => {
  const key = Buffer.alloc(16, 1)
  const plain = await start('n1')
  const half = await start('n2', {
    key,
    envelope: { verifyIncoming: false, verifyOutgoing: false },
    seeds: [plain.seed],
  })
  const sealed = await start('n3', { key, envelope: { verifyIncoming: false }, seeds: [half.seed] })
  await reaches(half, 'n1', 'n2', 'n3')
  await reaches(plain, 'n1', 'n2', 'n3')
  await eventually(() => expect(sealed.live()).toContain('n2'))
})

test('tags change for all; those that are too long are refused with their sizes', async () => {
  const one = await start('n1')
  const two = await start('n2', { seeds: [one.seed] })
  await reaches(one, 'n1', 'n2')
  two.gossip.setTags(new Map([['zone', 'c']]))
  await eventually(() => expect(one.events.at(-1)?.tags.get('zone')).toBe('c'))
  expect(() => two.gossip.setTags(new Map([['long', 'x'.repeat(600)]]))).toThrow(
    /the tags of this node have 6\d\d bytes, 512 are allowed: long 608/,
  )
  await expect(openGossip('n3', { tags: { long: 'x'.repeat(600) } })).rejects.toThrow('512 are allowed')
})

test('leaving twice is leaving once', async () => {
  const one = await start('n1')
  const two = await start('n2', { seeds: [one.seed] })
  await reaches(one, 'n1', 'n2')
  await Promise.all([two.gossip.leave(), two.gossip.leave()])
  await two.gossip.leave()
  await reaches(one, 'n1')
  expect(one.events.at(-1)).toMatchObject({ kind: 'left', reason: 'left' })
})

test('what handlers ask for during a step is done after it', async () => {
  const one = await start('n1')
  const two = await start('n2', {
    seeds: [one.seed],
    member: (gossip, { kind }) => kind === 'joined' && gossip.setTags(new Map([['saw', 'yes']])),
  })
  await reaches(two, 'n1', 'n2')
  await eventually(() => expect(one.events.at(-1)?.tags.get('saw')).toBe('yes'))
})

test('a standstill is noticed, and nobody is blamed for it', async () => {
  const skewed = { ms: 0 }
  const env = { ...systemEnv, nowMs: () => performance.now() + skewed.ms }
  const one = await start('n1', { env })
  const two = await start('n2', { seeds: [one.seed] })
  await reaches(one, 'n1', 'n2')
  skewed.ms = 3000
  await eventually(() => expect(one.logs.map(({ event }) => event)).toContain('local_pause'))
  expect(one.gossip.statistics()).toMatchObject({ pauses: 1 })
  expect(one.gossip.statistics().healthScore).toBeGreaterThan(0)
  expect(one.events.filter(({ kind }) => kind === 'left')).toEqual([])
  await two.gossip.close()
})

test('what happens is counted by kind', async () => {
  const one = await start('n1')
  const two = await start('n2', { seeds: [one.seed] })
  await reaches(one, 'n1', 'n2')
  await eventually(() => {
    const { messagesIn, messagesOut, packetsIn, bytesOut, streams } = two.gossip.statistics()
    for (const count of [
      messagesIn.ack,
      messagesIn.ping,
      messagesOut.ping,
      messagesIn['push-pull'],
      packetsIn,
      bytesOut,
      streams.opened,
    ])
      expect(count).toBeGreaterThan(0)
  })
  expect(two.gossip.statistics()).toMatchObject({ undecodable: 0, undecryptable: 0, incomingDropped: 0, unsent: 0 })
})

test('a port that is in use is named, and its owner where the system says', async () => {
  const one = await start('n1')
  const { port } = one.seed
  await expect(openGossip('n2', { bind: { host: '127.0.0.1', port } })).rejects.toThrow(
    `127.0.0.1:${port} (TCP): the port is in use`,
  )
  if (process.platform === 'linux') {
    const again = openGossip('n2', { bind: { host: '127.0.0.1', port } })
    await expect(again).rejects.toThrow(`(process ${process.pid}); choose another cluster.membership.bind_port`)
  }
  const taken = createSocket('udp4')
  opened.push(taken)
  await new Promise<void>((resolve) => taken.bind(0, '127.0.0.1', resolve))
  await expect(openGossip('n2', { bind: { host: '127.0.0.1', port: taken.address().port } })).rejects.toThrow('(UDP)')
})

test('an address that nobody can reach this node at is not advertised', async () => {
  await expect(openGossip('n1', { bind: { host: '0.0.0.0', port: 0 } })).rejects.toThrow(
    'gossip cannot advertise 0.0.0.0: nobody can be reached there; set cluster.membership.advertise_addr',
  )
  const resolve = (): Promise<string[]> => Promise.reject(new Error('no such name'))
  await expect(openGossip('n1', { advertise: 'me.example', resolve })).rejects.toThrow('me.example: no such name')
  const v6 = (): Promise<string[]> => Promise.resolve(['fd00::1'])
  await expect(openGossip('n1', { advertise: 'me.example', resolve: v6 })).rejects.toThrow('no address of the family')
})

test('an address of another machine is refused', async () => {
  await expect(openGossip('n1', { bind: { host: '192.0.2.1', port: 0 } })).rejects.toThrow(
    'not an address of this machine',
  )
})

test('a running name is found out by the one that starts, and neither harms the other', async () => {
  const one = await start('n1')
  const two = await start('n2', { seeds: [one.seed] })
  await reaches(one, 'n1', 'n2')
  const again = await start('n2', { seeds: [one.seed] })
  await eventually(() => expect(again.namesInUse).toEqual([`127.0.0.1:${two.seed.port}`]))
  expect(one.live()).toEqual(['n1', 'n2'])
})

test('a node that crashed comes back at another port at once', async () => {
  const one = await start('n1', { settings: { deadNodeReclaimMs: 0 } })
  const two = await start('n2', { seeds: [one.seed], epoch: 5 })
  await reaches(one, 'n1', 'n2')
  await two.gossip.close()
  const back = await start('n2', { seeds: [one.seed], epoch: 6 })
  await eventually(() => {
    const known = one.gossip.members().find(({ name }) => name === 'n2')
    expect(known?.address.port).toBe(back.seed.port)
    expect(known?.state).toBe('alive')
  })
  const told = one.events.filter(({ name }) => name === 'n2').map(({ kind, epoch }) => `${kind} ${epoch}`)
  expect(told).toEqual(['joined 5', 'left 5', 'joined 6'])
})

test('data of the services reaches all members', async () => {
  const one = await start('n1')
  const two = await start('n2', { seeds: [one.seed] })
  await reaches(one, 'n1', 'n2')
  one.gossip.broadcast({ frameKind: 0xe1, payload: Buffer.from('hello') }, 'key')
  await eventually(() => expect(two.frames.map(({ payload }) => Buffer.from(payload).toString())).toContain('hello'))
})

test('the time of a round trip is measured', async () => {
  const one = await start('n1')
  await start('n2', { seeds: [one.seed] })
  await eventually(() => expect(one.gossip.rttMs('n2')).toBeGreaterThan(0))
  expect(one.gossip.rttMs('nobody')).toBeUndefined()
})

test('a timer that Node fires early does not act early, and is not lost', async () => {
  // A clock slower than that of the timers: each of them comes too early.
  const env = { ...systemEnv, nowMs: () => performance.now() * 0.98 }
  const node = await start('n1', { env })
  const other = await start('n2', { seeds: [node.seed] })
  await reaches(node, 'n1', 'n2')
  await other.gossip.close()
  await reaches(node, 'n1')
})

describe('hostile connections', () => {
  const dial = async (node: TestGossip): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port: node.seed.port })
    opened.push({ close: () => socket.destroy() })
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    return socket
  }
  const closed = (socket: Socket): Promise<unknown> =>
    socket.destroyed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve))

  test('one that says nothing, and one that says little, are ended when their time is up', async () => {
    const node = await start('n1', { settings: { tcpTimeoutMs: 100 } })
    const silent = await dial(node)
    const slow = await dial(node)
    slow.write(Buffer.from([6, 0x83]))
    await Promise.all([closed(silent), closed(slow)])
  })

  test('one that drips on and on is ended, before its message is whole and after its answer', async () => {
    const node = await start('n1', { settings: { tcpTimeoutMs: 200 } })
    const drip = async (first: Buffer): Promise<void> => {
      const socket = await dial(node)
      socket.write(first)
      const tap = setInterval(() => socket.write(Buffer.from([0])), 20)
      opened.push({ close: () => clearInterval(tap) })
      await closed(socket)
      clearInterval(tap)
    }
    const nobody: Message = { kind: 'ping', seqNo: 1, node: '' }
    // A push/pull that promises a state of 20 MiB; a ping; garbage.
    const promise = Buffer.from('0683a44a6f696ec2a54e6f64657300ac5573657253746174654c656ece01400000', 'hex')
    await Promise.all([drip(promise), drip(encodeMessage(nobody)), drip(Buffer.from([6, 0xc1]))])
    await eventually(() => expect(node.gossip.statistics().streams.timedOut).toBe(1))
  })

  test('one that keeps its end open after the answer holds its place for one leg only', async () => {
    // Long enough to fill all places before the first of them is free again, on a busy machine, too.
    const node = await start('n1', { settings: { tcpTimeoutMs: 3000 } })
    const sockets = await Promise.all(
      Array.from({ length: 128 }, async () => {
        const socket = connect({ host: '127.0.0.1', port: node.seed.port, allowHalfOpen: true })
        opened.push({ close: () => socket.destroy() })
        socket.on('error', () => {})
        await new Promise((resolve) => socket.once('connect', resolve))
        socket.write(encodeMessage({ kind: 'ping', seqNo: 1, node: '' }))
        socket.resume()
        await new Promise((resolve) => socket.once('end', resolve))
        return socket
      }),
    )
    await dial(node)
    await eventually(() => expect(node.gossip.statistics().streams.refused).toBe(1))
    await start('n2', { seeds: [node.seed] })
    await reaches(node, 'n1', 'n2')
    for (const socket of sockets) socket.destroy()
  }, 30_000)

  test('one without the key gets an encrypted refusal', async () => {
    const key = Buffer.alloc(16, 5)
    const node = await start('n1', { key })
    const socket = await dial(node)
    const envelope = {
      label: Buffer.alloc(0),
      keyring: new Keyring(key),
      encryptionVersion: 1,
      verifyIncoming: true,
      verifyOutgoing: true,
      compression: false,
    } as const
    const decoder = new StreamDecoder(envelope, 1)
    socket.on('data', (piece) => decoder.push(piece))
    socket.write(encodeMessage({ kind: 'ping', seqNo: 1, node: '' }))
    await closed(socket)
    expect(decoder.advance()).toEqual({
      kind: 'error',
      text: 'encryption is configured, and the stream is not encrypted',
    })
    expect(node.gossip.statistics().undecryptable).toBe(1)
  })

  test('ones that expand to a multiple are read in turns, and a probe is answered meanwhile', async () => {
    const node = await start('n1', { settings: { tcpTimeoutMs: 3000 } })
    // A push/pull with a user state of 16 MiB of zeros, as some 30 KiB.
    const header = Buffer.from('0683a44a6f696ec2a54e6f64657300ac5573657253746174654c656ece01000000', 'hex')
    const bomb = compress(Buffer.concat([header, Buffer.alloc(1 << 24)]))
    const sockets = await Promise.all(Array.from({ length: 12 }, () => dial(node)))
    const all = Promise.all(sockets.map(closed))
    for (const socket of sockets) socket.resume().end(bomb)
    const other = await start('n2', { seeds: [node.seed], settings: { tcpTimeoutMs: 3000 } })
    await reaches(other, 'n1', 'n2')
    await all
    await reaches(node, 'n1', 'n2')
    expect(node.events.filter(({ kind }) => kind === 'left')).toEqual([])
  })

  test('more claims than can be acted on are dropped and counted; pings are answered', async () => {
    const node = await start('n1')
    const sender = createSocket('udp4')
    opened.push(sender)
    const answers: Buffer[] = []
    sender.on('message', (bytes) => answers.push(bytes))
    const envelope = {
      label: Buffer.alloc(0),
      encryptionVersion: 1,
      verifyIncoming: true,
      verifyOutgoing: true,
      compression: false,
    } as const
    const claim = (i: number): Message => ({ kind: 'suspect', incarnation: 1, node: `x${i}`, from: 'y' })
    const [flood] = sealPackets(
      Array.from({ length: 255 }, (_, i) => encodeMessage(claim(i))),
      envelope,
      false,
    )
    for (let i = 0; i < 100; i++) sender.send(flood as Buffer, node.seed.port, '127.0.0.1')
    sender.send(encodeMessage({ kind: 'ping', seqNo: 77, node: 'n1' }), node.seed.port, '127.0.0.1')
    await eventually(() => expect(answers).toHaveLength(1))
    expect(node.gossip.statistics().incomingDropped).toBeGreaterThan(0)
    await eventually(() => expect(node.gossip.statistics().incomingDepth).toBe(0))
  })

  test('garbage is answered with an error and ended', async () => {
    const node = await start('n1')
    const socket = await dial(node)
    const answer: Buffer[] = []
    socket.on('data', (piece) => answer.push(piece))
    socket.write(Buffer.from([6, 0xc1, 0xc1, 0xc1]))
    await closed(socket)
    // An error message: its type byte.
    expect(Buffer.concat(answer)[0] === 9 || Buffer.concat(answer)[0] === 13).toBe(true)
    expect(node.gossip.statistics().streams.refused).toBe(1)
  })

  test('more than are served at once are closed, and the others served', async () => {
    const node = await start('n1', { settings: { tcpTimeoutMs: 60_000 } })
    const sockets = await Promise.all(Array.from({ length: 140 }, () => dial(node)))
    await eventually(() => expect(node.gossip.statistics().streams.refused).toBe(12))
    for (const socket of sockets) socket.destroy()
    const other = await start('n2', { seeds: [node.seed] })
    await reaches(other, 'n1', 'n2')
  })

  test('random datagrams are counted, told once, and harm nobody', async () => {
    const node = await start('n1')
    const sender = createSocket('udp4')
    opened.push(sender)
    for (let i = 0; i < 50; i++) sender.send(Buffer.from([i * 5, 0xff, i]), node.seed.port, '127.0.0.1')
    await eventually(() => expect(node.gossip.statistics().undecodable).toBeGreaterThan(20))
    expect(node.logs.filter(({ event }) => event === 'gossip_unreadable')).toHaveLength(1)
    const other = await start('n2', { seeds: [node.seed] })
    await reaches(other, 'n1', 'n2')
  })
})

test('everything that was opened closes, also in the middle of things', async () => {
  const one = await start('n1')
  const two = await start('n2', { seeds: [one.seed] })
  const joining = two.gossip.join([one.seed])
  await two.gossip.close()
  await two.gossip.close()
  expect(await joining).toBe(0)
  await two.gossip.leave()
  const free = await openGossip('n3', { bind: { host: '127.0.0.1', port: two.seed.port } })
  await free.gossip.close()
})
