// Peers that hold the key and know the protocol, and mean ill: whatever they say, in whatever order, the core neither stops nor
// promises more than it may.

import { expect, test } from 'vitest'
import { CLASS_COUNT } from '../../../../cluster/mesh/core/classes.ts'
import { type Control, GOODBYE_REASONS } from '../../../../cluster/mesh/core/control.ts'
import { type Handshake, REFUSE_CODES } from '../../../../cluster/mesh/core/handshake.ts'
import { MeshCore, type MeshEffect, type MeshInput } from '../../../../cluster/mesh/core/mesh.ts'
import { defaultMeshSettings } from '../../../../cluster/mesh/core/settings.ts'
import { type Chance, World } from '../../../sim/world.ts'

const NAMES = ['a', 'b', 'n', 'z', 'no name']
const MIB = 1024 * 1024

class Hostile {
  readonly world: World
  readonly chance: Chance
  readonly core: MeshCore
  readonly open = new Set<number>()
  readonly sessions = ['', '00'.repeat(8)]
  readonly up = new Map<string, boolean>()
  readonly members = new Map<string, number>()
  deliveries = 0
  #dials = 0

  constructor(seed: number) {
    this.world = new World(seed)
    this.chance = this.world.chance.fork()
    const topology = seed % 2 === 0 ? 'full' : 'lazy'
    const settings = { ...defaultMeshSettings, queueBytesMax: MIB, totalQueueBytesMax: 2 * MIB, topology } as const
    this.core = new MeshCore({ name: 'n', epoch: 5, clusterId: 'c', features: ['resume'], settings }, this.world.env())
  }

  feed(input: MeshInput): void {
    for (const effect of this.core.step(input)) this.perform(effect)
  }

  perform(effect: MeshEffect): void {
    if (effect.kind === 'dial') this.open.add(effect.connection)
    if (effect.kind === 'close') this.open.delete(effect.connection)
    if (effect.kind === 'deliver') this.deliveries++
    if (effect.kind === 'handshake' && 'session' in effect.message) this.sessions.push(effect.message.session)
    if (effect.kind === 'node-up' || effect.kind === 'node-down') {
      const key = `${effect.peer}/${effect.epoch}`
      expect(this.up.get(key) ?? false).toBe(effect.kind === 'node-down')
      this.up.set(key, effect.kind === 'node-up')
    }
  }

  number(): number {
    const { chance } = this
    return chance.pick([0, 1, 2, 3, chance.int(10), chance.int(1e6), 2 ** 47, Number.MAX_SAFE_INTEGER])
  }

  received(): { system: number; app: number } {
    return this.chance.chance(0.7) ? { system: 0, app: 0 } : { system: this.number(), app: this.number() }
  }

  handshake(): Handshake {
    const { chance } = this
    const [known, knownEpoch] = this.members.size === 0 ? ['a', 1] : chance.pick([...this.members])
    const isLikely = chance.chance(0.8)
    const introduction = {
      features: chance.pick([[], ['resume'], ['resume', 'deflate', 'x']]),
      clusterId: chance.chance(0.95) ? 'c' : 'other',
      name: isLikely ? (known as string) : chance.pick(NAMES),
      epoch: isLikely ? (knownEpoch as number) : 1 + chance.int(3),
      storeId: '',
      formationId: '',
      nonce: '00'.repeat(16),
      session: chance.pick(this.sessions.slice(-6)),
      received: this.received(),
      limits: { frameBytesMax: chance.chance(0.95) ? 65_536 : 1, messageBytesMax: chance.pick([MIB, 16 * MIB, 0]) },
    }
    switch (chance.int(8)) {
      case 0:
        return {
          kind: 'refuse',
          code: chance.pick(REFUSE_CODES),
          text: 'no',
          epoch: this.number(),
          retryMs: chance.int(1000),
        }
      case 1:
      case 2:
      case 3:
        return { kind: 'welcome', version: chance.pick([1, 1, 1, 2]), ...introduction }
      default: {
        const to = chance.chance(0.95) ? 'n' : 'a'
        const toEpoch = chance.chance(0.9) ? 5 : chance.pick([0, 6])
        const dialCount = chance.chance(0.8) ? ++this.#dials : this.number()
        return {
          kind: 'hello',
          versions: [1, 1 + chance.int(2)],
          ...introduction,
          to,
          toEpoch,
          dialCount,
        }
      }
    }
  }

  control(): Control {
    const { chance } = this
    switch (chance.int(6)) {
      case 0:
        return { kind: 'ping', token: this.number() }
      case 1:
        return { kind: 'pong', token: this.number() }
      case 2:
        return { kind: 'ack', received: this.received(), bytes: chance.chance(0.7) ? 0 : this.number() }
      case 3:
        return { kind: 'credit', bulk: this.number(), rlog: this.number() }
      case 4:
        return chance.chance(0.2)
          ? { kind: 'goodbye', reason: chance.pick(GOODBYE_REASONS) }
          : { kind: 'ping', token: 1 }
      default:
        return { kind: 'pong', token: chance.int(5) }
    }
  }

  act(): void {
    const { chance, world } = this
    const connection = this.open.size === 0 ? 1 : chance.pick([...this.open])
    const name = chance.pick(['a', 'b', 'z'])
    const epoch = 1 + chance.int(3)
    switch (chance.int(16)) {
      case 0: {
        const id = this.core.newConnection()
        this.open.add(id)
        return this.feed({ kind: 'accepted', connection: id, security: { kind: 'psk' }, from: 'x:1' })
      }
      case 1:
        return this.feed({ kind: 'dialed', connection, security: { kind: 'psk' } })
      case 2:
        if (!chance.chance(0.2)) return
        return this.feed({ kind: 'closed', connection, reason: 'reset' })
      case 3:
        return this.feed({ kind: 'dial-failed', connection, reason: 'no' })
      case 4: {
        if (this.members.has(name) && chance.chance(0.8)) return
        this.members.set(name, epoch)
        const endpoints = chance.chance(0.1) ? [] : [{ host: 'h', port: 1 + chance.int(2) }]
        return this.feed({ kind: 'member', member: { name, epoch, endpoints, isRaftMember: chance.chance(0.2) } })
      }
      case 5:
        if (!chance.chance(0.2)) return
        if (this.members.get(name) === epoch) this.members.delete(name)
        return this.feed({ kind: 'gone', name, epoch, reason: 'dead' })
      case 6:
        this.core.send({ peer: name }, 1 + chance.int(6), Buffer.alloc(chance.int(200_000)), {
          isSignal: chance.chance(0.3),
          ...(chance.chance(0.2) ? { replaces: 'x' } : {}),
        })
        return this.feed({ kind: 'flush' })
      case 7:
        world.run(chance.pick([0, 1, 100, 2000, 20_000]))
        return this.feed({ kind: 'wake' })
      case 8:
        return this.feed({ kind: 'written', connection, bufferedBytes: chance.pick([0, 0, 300_000]) })
      case 9:
        return this.feed({
          kind: 'consumed',
          peer: name,
          connection,
          classId: chance.pick([5, 6]),
          bytes: chance.int(100_000),
        })
      case 10: {
        const messages = Array.from({ length: chance.int(4) }, (_, i) => {
          const bytes = Buffer.alloc(chance.int(1000))
          return { classId: 1 + chance.int(CLASS_COUNT - 1), seq: 1 + i, bytes, messageBytes: bytes.length }
        })
        const assemblingBytes = { bulk: chance.int(MIB), rlog: chance.int(MIB) }
        return this.feed({ kind: 'messages', connection, messages, windowBytes: chance.int(MIB), assemblingBytes })
      }
      case 11:
      case 12:
        return this.feed({ kind: 'control', connection, message: this.control() })
      default:
        return this.feed({ kind: 'handshake', connection, message: this.handshake() })
    }
  }
}

test('no order of inputs and no content stops the core, doubles a node-up or grows a queue beyond its bound', () => {
  let deliveries = 0
  let ups = 0
  for (let seed = 1; seed <= 150; seed++) {
    const hostile = new Hostile(seed)
    for (let i = 0; i < 600; i++) {
      hostile.act()
      expect(hostile.core.totalQueueBytes).toBeGreaterThanOrEqual(0)
      // Signals have room of their own, and each link one message more; see M3.
      expect(hostile.core.totalQueueBytes).toBeLessThan(12 * MIB)
    }
    deliveries += hostile.deliveries
    ups += hostile.up.size
    hostile.feed({ kind: 'drain' })
    expect([...hostile.up.values()].some((isUp) => isUp)).toBe(false)
    expect(hostile.core.totalQueueBytes).toBe(0)
  }
  // Enough of it got through the handshakes for the rest to be tried.
  expect(ups).toBeGreaterThan(100)
  expect(deliveries).toBeGreaterThan(100)
  // Much to do, on a machine that may be busy.
}, 60_000)
