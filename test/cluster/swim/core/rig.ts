// One core of gossip on a bench: time stands still until it is advanced, and everything it wants to do is kept.

import type { Address } from '../../../../cluster/swim/core/address.ts'
import type { MemberEvent } from '../../../../cluster/swim/core/events.ts'
import type { Member } from '../../../../cluster/swim/core/members.ts'
import type { Alive, Exchange, Message, NodeState, Versions } from '../../../../cluster/swim/core/messages.ts'
import { defaultSwimSettings, type SwimSettings } from '../../../../cluster/swim/core/settings.ts'
import { Swim, type SwimEffect, type SwimInput, type SwimTimer } from '../../../../cluster/swim/core/swim.ts'
import { MessageCodec } from '../../../../cluster/swim/wire/codec.ts'
import { Heap } from '../../../../runtime/base/heap.ts'
import { Chance } from '../../../sim/world.ts'

const wire = new MessageCodec()

export interface RigOptions {
  readonly name?: string
  readonly address?: Address
  readonly epoch?: number
  readonly hasSeeds?: boolean
  readonly settings?: Partial<SwimSettings>
  readonly seed?: number
}

/** 10.0.0.`host` */
export function at(host: number, port = 7946): Address {
  return { host: `10.0.0.${host}`, port }
}

/** Meta of a member of the rig's cluster; without an epoch that of a foreign node. */
export function metaOf(epoch?: number, clusterId = 'c', x = ''): string {
  const tags = new Map([
    ['role', epoch === undefined ? 'web' : 'moonmesh'],
    ['x', x],
  ])
  if (epoch !== undefined) tags.set('cluster_id', clusterId).set('epoch', epoch.toString(36))
  return wire.encodeTags(tags)
}

const VERSIONS_NOW: Versions = [1, 5, 2, 2, 5, 4]

export class Rig {
  nowMs = 1000
  readonly swim: Swim
  /** Everything since `take`. */
  effects: SwimEffect[] = []
  readonly events: MemberEvent[] = []
  readonly #timers = new Heap<SwimTimer>()
  #nextId = 1

  constructor(options: RigOptions = {}) {
    const chance = new Chance(options.seed ?? 1)
    const { name = 'a', address = at(1), epoch = 100, hasSeeds = false } = options
    const settings = { ...defaultSwimSettings, ...options.settings }
    const tags = new Map([['role', 'moonmesh']])
    this.swim = new Swim(
      { name, address, clusterId: 'c', epoch, tags, hasSeeds, settings, wire },
      { nowMs: () => this.nowMs, wallMs: () => 0, randomInt: (bound) => chance.int(bound) },
    )
  }

  feed(input: SwimInput): SwimEffect[] {
    const effects = this.swim.step(input)
    for (const effect of effects) {
      if (effect.kind === 'timer') this.#timers.push(this.nowMs + effect.afterMs, effect.then)
      if (effect.kind === 'member') this.events.push(effect.event)
    }
    this.effects.push(...effects)
    return effects
  }

  hear(message: Message, from: Address = at(250)): SwimEffect[] {
    return this.feed({ kind: 'message', from, message })
  }

  /** Claims that a node is alive; epoch 1 unless told otherwise. */
  alive(
    node: string,
    claim: {
      inc?: number
      address?: Address
      epoch?: number | 'foreign'
      x?: string
      meta?: string
      versions?: Versions
    } = {},
  ): SwimEffect[] {
    return this.hear(aliveClaim(node, claim))
  }

  suspect(node: string, incarnation: number, from = 'z'): SwimEffect[] {
    return this.hear({ kind: 'suspect', node, incarnation, from })
  }

  dead(node: string, incarnation: number, from = 'z'): SwimEffect[] {
    return this.hear({ kind: 'dead', node, incarnation, from })
  }

  /** A peer's states, as if it had asked for ours; returns our answer. */
  exchange(sender: string | undefined, nodes: readonly NodeState[]): Exchange {
    const exchange: Exchange = { join: false, nodes, lTime: 1, frames: [], ...(sender === undefined ? {} : { sender }) }
    const effects = this.feed({ kind: 'exchange-request', id: this.#nextId++, from: at(250), exchange })
    const reply = effects.find((effect) => effect.kind === 'exchange-reply')
    if (reply?.kind !== 'exchange-reply') throw new Error('no answer')
    return reply.exchange
  }

  /** Lets time pass; what comes due is fed in order. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms
    for (let due = this.#timers.nextKey; due !== undefined && due <= endMs; due = this.#timers.nextKey) {
      this.nowMs = due
      this.feed(this.#timers.pop() as SwimTimer)
    }
    this.nowMs = endMs
  }

  /** `alive 3`: state and incarnation; undefined for an unknown node. */
  view(name: string): string | undefined {
    const member = this.swim.member(name)
    return member === undefined ? undefined : `${member.state} ${member.incarnation}`
  }

  record(name: string): Member {
    const member = this.swim.member(name)
    if (member === undefined) throw new Error(`${name} is not known`)
    return member
  }

  /** Parts of one kind that were sent since `take`. */
  sent<K extends Message['kind']>(kind: K): Extract<Message, { kind: K }>[] {
    return this.effects
      .flatMap((effect) => (effect.kind === 'send' ? effect.parts : []))
      .filter((part): part is Extract<Message, { kind: K }> => part.kind === kind)
  }

  /** Effects of one kind since `take`. */
  all<K extends SwimEffect['kind']>(kind: K): Extract<SwimEffect, { kind: K }>[] {
    return this.effects.filter((effect): effect is Extract<SwimEffect, { kind: K }> => effect.kind === kind)
  }

  /** What was logged since `take`. */
  logged(): string[] {
    return this.all('log').map((effect) => effect.event)
  }

  /** `joined b 1`, in order, since the start. */
  heard(): string[] {
    return this.events.map(({ kind, name, epoch, reason }) =>
      [kind, name, epoch, ...(reason ? [reason] : [])].join(' '),
    )
  }

  /** Forgets the effects so far. */
  take(): void {
    this.effects = []
  }

  /** What the next packets say about nodes: `suspect b 2 from z`. */
  told(): string[] {
    this.take()
    this.feed({ kind: 'message', from: at(250), message: { kind: 'ping', seqNo: 1, node: '' } })
    return this.effects
      .flatMap((effect) => (effect.kind === 'send' ? effect.parts : []))
      .flatMap((part) => {
        if (part.kind === 'alive') return [`alive ${part.node} ${part.incarnation}`]
        if (part.kind === 'suspect' || part.kind === 'dead') {
          return [`${part.kind} ${part.node} ${part.incarnation} from ${part.from}`]
        }
        return []
      })
  }
}

export function aliveClaim(
  node: string,
  claim: {
    inc?: number
    address?: Address
    epoch?: number | 'foreign'
    x?: string
    meta?: string
    versions?: Versions
  } = {},
): Alive {
  const { inc = 1, address = at(node.charCodeAt(0) - 96), epoch = 1, x = '', versions = VERSIONS_NOW } = claim
  const meta = claim.meta ?? metaOf(epoch === 'foreign' ? undefined : epoch, 'c', x)
  return { kind: 'alive', node, incarnation: inc, address, meta, versions }
}

export function stateOf(
  name: string,
  state: NodeState['state'],
  claim: Parameters<typeof aliveClaim>[1] = {},
): NodeState {
  const { address, incarnation, meta = '', versions = VERSIONS_NOW } = aliveClaim(name, claim)
  return { name, address, incarnation, meta, state, versions }
}
