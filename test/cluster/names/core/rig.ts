// Eventual names of a few nodes, with a network that does what a test tells it: every message waits until it is delivered or lost.

import { createHash } from 'node:crypto'
import {
  Eventual,
  type EventualEffect,
  type EventualInput,
  type EventualSettings,
} from '../../../../cluster/names/core/eventual.ts'
import {
  changeFrames,
  decodeFrame,
  decodePullAnswer,
  encodePullAnswer,
} from '../../../../cluster/names/wire/eventual.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

export const pidOf = (node: string, epoch: number, n = 1): string => `{${node}@app:host|${epoch.toString(36)}.${n}00}`

interface Sent {
  readonly to: string
  readonly input: EventualInput
}

export class Rig {
  readonly env: FakeEnv
  readonly nodes = new Map<string, Eventual>()
  readonly revoked: { node: string; name: string; pid: string }[] = []
  readonly resolved: string[] = []
  /** Gossip on its way. */
  waiting: Sent[] = []
  /** Requests are answered at once, unless a test breaks them. */
  answers = true
  readonly #settings: Partial<EventualSettings>

  constructor(names: readonly string[], settings: Partial<EventualSettings> = {}, seed = 1) {
    this.env = new FakeEnv(seed)
    this.#settings = settings
    for (const name of names) this.start(name, 1)
  }

  start(name: string, epoch: number): Eventual {
    const node = new Eventual({ node: name, epoch, hash: sha256, settings: this.#settings }, this.env)
    this.nodes.set(name, node)
    for (const other of this.nodes.values()) {
      if (other === node) continue
      this.feed(other, { kind: 'live', node: name, epoch })
      this.feed(node, { kind: 'live', node: other.node, epoch: other.epoch })
    }
    return node
  }

  node(name: string): Eventual {
    return this.nodes.get(name) as Eventual
  }

  /** The verdict about `name`, of one node or of all. */
  gone(name: string, of?: string): void {
    const { epoch } = this.node(name)
    for (const other of this.nodes.values()) {
      if (other.node !== name && (of === undefined || other.node === of)) {
        this.feed(other, { kind: 'gone', node: name, epoch })
      }
    }
  }

  feed(node: Eventual, input: EventualInput): void {
    this.perform(node, node.step(input))
  }

  register(name: string, node: string, n = 1): ReturnType<Eventual['register']>['outcome'] {
    const eventual = this.node(node)
    const { outcome, effects } = eventual.register(name, pidOf(node, eventual.epoch, n))
    this.perform(eventual, effects)
    return outcome
  }

  unregister(name: string, node: string): boolean {
    const { removed, effects } = this.node(node).unregister(name)
    this.perform(this.node(node), effects)
    return removed
  }

  perform(node: Eventual, effects: readonly EventualEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'gossip') {
        for (const frame of changeFrames(effect.changes)) {
          const input = decodeFrame(frame)
          if (input.kind !== 'changes') continue
          for (const to of this.nodes.keys()) if (to !== node.node) this.waiting.push({ to, input })
        }
      } else if (effect.kind === 'pull') {
        const source = this.answers ? this.nodes.get(effect.node) : undefined
        const answer =
          source === undefined ? undefined : decodePullAnswer(encodePullAnswer(source.answerPull(effect.request)))
        this.feed(node, { kind: 'pulled', pull: effect.pull, answer })
      } else if (effect.kind === 'compare') {
        if (!this.answers) continue
        const other = this.node(effect.node)
        const beyond = other.beyond(node.digest())
        this.feed(other, { kind: 'digest', node: node.node, entries: node.digest() })
        this.feed(node, { kind: 'digest', node: other.node, entries: beyond })
      } else if (effect.kind === 'revoked') {
        this.revoked.push({ node: node.node, name: effect.name, pid: effect.pid })
      } else if (effect.kind === 'resolved') {
        this.resolved.push(`${node.node}: ${effect.name} = ${effect.pid ?? 'none'}`)
      }
    }
  }

  /** Delivers all gossip, in order, and what follows from it. */
  deliver(): void {
    for (let sent = this.waiting.shift(); sent !== undefined; sent = this.waiting.shift()) {
      const node = this.nodes.get(sent.to)
      if (node !== undefined) this.feed(node, sent.input)
    }
  }

  lose(): void {
    this.waiting = []
  }

  advance(ms: number): void {
    for (let left = ms; left > 0; left -= 50) {
      this.env.advance(Math.min(50, left))
      for (const node of this.nodes.values()) {
        if (node.nextDueMs <= this.env.nowMs()) this.feed(node, { kind: 'wake' })
      }
    }
  }

  /** What each node resolves the name to. */
  lookup(name: string): (string | undefined)[] {
    return [...this.nodes.values()].map((node) => node.lookup(name))
  }
}
