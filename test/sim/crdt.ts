// The convergent store under faults: gossip that loses much, cut links, nodes that crash and come back with or without their disk, clocks
// that differ and jump. C2 and C3 hold after every step; when writes stop and all heals, C1 within a bound.

import { createHash } from 'node:crypto'
import { type CrdtSettings, CrdtStore } from '../../cluster/kv/core/crdt.ts'
import { type Entry, encodeEntry } from '../../cluster/kv/core/entry.ts'
import { Replica, type ReplicaEffect, type ReplicaInput } from '../../cluster/kv/core/replica.ts'
import {
  decodeExchange,
  decodeExchangeAnswer,
  decodeOne,
  encodeExchange,
  encodeExchangeAnswer,
} from '../../cluster/kv/wire/crdt.ts'
import { decodeRecords, decodeSnapshot, encodeRecord, encodeSnapshot } from '../../cluster/kv/wire/crdt-files.ts'
import type { Env } from '../../runtime/base/env.ts'
import { CrdtChecker } from './checkers/crdt.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { SessionNetwork, type SessionNode } from './sessions.ts'
import { type Chance, World } from './world.ts'

interface CrdtChaosOptions {
  readonly seed: number
  readonly nodes: number
  readonly minutes: number
  /** Of a frame of gossip, 0 to 1. */
  readonly loss?: number
  readonly settings?: Partial<CrdtSettings>
  /** Breaks something on purpose, to see that it is found. */
  readonly tamper?: (node: CrdtNode, input: ReplicaInput) => ReplicaInput | undefined
}

interface CrdtChaosReport {
  readonly steps: number
  readonly writes: number
  readonly entries: number
  readonly collected: number
  readonly convergedMs: number
}

const VALUE_BYTES_MAX = 4096
const DURABLE = 'd'
const NAMESPACES = ['s', DURABLE]
const PUSH = 0
const REQUEST = 1
const ANSWER = 2
const REQUEST_MS = 10_000
const GOSSIP_NODES = 3
/** For so long the same keys are written. */
const KEYS_MS = 240_000
/** 30 s of §8.8 and what a session takes to end and begin. */
const CONVERGE_MS = 30_000 + 62_000

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

/** What survives a crash. */
class Disk {
  savedMs: number | undefined
  snapshot = new Uint8Array(0)
  log: Uint8Array[] = []
}

class CrdtNode implements SessionNode {
  readonly name: string
  readonly epoch: number
  readonly disk: Disk
  isRunning = true
  readonly replica: Replica
  wallErrorMs: number
  readonly #world: World
  readonly #network: SessionNetwork
  readonly #checker: CrdtChecker<CrdtNode>
  readonly #options: CrdtChaosOptions
  readonly #env: Env
  readonly #gossip: (from: CrdtNode, entry: Entry) => void
  readonly #requests = new Map<number, number>()
  #nextRequest = 1

  constructor(
    world: World,
    network: SessionNetwork,
    checker: CrdtChecker<CrdtNode>,
    options: CrdtChaosOptions,
    self: { name: string; epoch: number; disk: Disk; wallErrorMs: number },
    gossip: (from: CrdtNode, entry: Entry) => void,
  ) {
    this.#world = world
    this.#network = network
    this.#checker = checker
    this.#options = options
    this.#gossip = gossip
    this.name = self.name
    this.epoch = self.epoch
    this.disk = self.disk
    this.wallErrorMs = self.wallErrorMs
    const env = world.env({ offsetMs: world.chance.int(1e9) })
    this.#env = { ...env, wallMs: () => world.wallMs + this.wallErrorMs }
    const store = new CrdtStore(
      {
        origin: this.name,
        hash: sha256,
        settings: { ...options.settings, valueBytesMax: VALUE_BYTES_MAX },
        savedMs: this.disk.savedMs,
      },
      this.#env,
    )
    this.#restore(store)
    this.replica = new Replica(store, { durable: new Set([DURABLE]) }, this.#env)
    checker.stepped(this)
    this.#wakeLater()
    this.#saveLater()
  }

  nodeUp(node: string): void {
    this.feed({ kind: 'node-up', node })
  }

  nodeDown(node: string): void {
    this.feed({ kind: 'node-down', node })
  }

  receive(node: string, _epoch: number, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const id = view.getUint32(1)
    const body = bytes.subarray(5)
    if (bytes[0] === PUSH) this.feed({ kind: 'delta', entry: decodeOne(body, VALUE_BYTES_MAX) })
    else if (bytes[0] === REQUEST) {
      const { answer, effects } = this.replica.serve(decodeExchange(body, VALUE_BYTES_MAX))
      this.#perform(effects)
      this.#send(node, ANSWER, id, encodeExchangeAnswer(answer))
    } else this.#answered(id, body)
  }

  feed(input: ReplicaInput): void {
    if (!this.isRunning) return
    const given = this.#options.tamper === undefined ? input : this.#options.tamper(this, input)
    if (given !== undefined) this.#perform(this.replica.step(given))
  }

  /** Something that a script does. */
  act(chance: Chance): void {
    const namespace = chance.pick(NAMESPACES)
    // Keys of earlier minutes are left alone, so that their deletes grow old.
    const key = `${Math.floor(this.#world.nowMs / KEYS_MS)}.${chance.int(20)}`
    if (chance.chance(0.25)) {
      const { outcome, effects } = this.replica.delete(namespace, key)
      if (outcome?.ok === true) this.#written(outcome.entry, effects)
      return
    }
    const value = new Uint8Array(chance.chance(0.1) ? 2000 : 8)
    for (let i = 0; i < 8; i++) value[i] = chance.int(256)
    const ttlMs = chance.chance(0.2) ? chance.between(100, 60_000) : 0
    const { outcome, effects } = this.replica.set(namespace, key, value, ttlMs)
    if (outcome.ok) this.#written(outcome.entry, effects)
  }

  #written(entry: Entry, effects: readonly ReplicaEffect[]): void {
    this.#checker.written(this, entry)
    this.#perform(effects)
  }

  #perform(effects: readonly ReplicaEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'save-clock':
          this.disk.savedMs = effect.ms
          break
        case 'append':
          this.disk.log.push(encodeRecord(effect.entry))
          break
        case 'gossip':
          this.#gossip(this, decodeOne(encodeEntry(effect.entry), VALUE_BYTES_MAX))
          break
        case 'push':
          for (const node of effect.nodes) this.#send(node, PUSH, 0, encodeEntry(effect.entry))
          break
        case 'request': {
          const id = this.#nextRequest++
          this.#requests.set(id, effect.exchange)
          this.#send(effect.node, REQUEST, id, encodeExchange(effect.request))
          this.#world.after(REQUEST_MS, () => this.#answered(id, undefined))
          break
        }
        case 'exchanged':
          break
      }
    }
    this.#checker.stepped(this)
  }

  #answered(id: number, body: Uint8Array | undefined): void {
    const exchange = this.#requests.get(id)
    if (exchange === undefined) return
    this.#requests.delete(id)
    const answer = body === undefined ? undefined : decodeExchangeAnswer(body, VALUE_BYTES_MAX)
    this.feed({ kind: 'answered', exchange, answer })
  }

  #send(to: string, kind: number, id: number, body: Uint8Array): void {
    const bytes = new Uint8Array(5 + body.length)
    bytes[0] = kind
    new DataView(bytes.buffer).setUint32(1, id)
    bytes.set(body, 5)
    this.#network.send(this, to, bytes)
  }

  #restore(store: CrdtStore): void {
    if (this.disk.snapshot.length > 0) {
      for (const entry of decodeSnapshot(this.disk.snapshot, VALUE_BYTES_MAX).entries) store.restore(entry)
    }
    const { entries } = decodeRecords(new Uint8Array(Buffer.concat(this.disk.log)), VALUE_BYTES_MAX)
    for (const entry of entries) store.restore(entry)
  }

  #saveLater(): void {
    this.#world.after(30_000, () => {
      if (!this.isRunning) return
      const { store } = this.replica
      const entries = [...store.view(DURABLE).range()].map(([, { entry }]) => entry)
      const header = { namespace: DURABLE, hlc: store.clock.latest, count: entries.length }
      this.disk.snapshot = new Uint8Array(Buffer.concat([...encodeSnapshot(header, entries)]))
      this.disk.log = []
      this.#saveLater()
    })
  }

  #wakeLater(): void {
    this.#world.after(200, () => {
      if (!this.isRunning) return
      if (this.replica.nextDueMs <= this.#env.nowMs()) this.feed({ kind: 'wake' })
      this.#wakeLater()
    })
  }
}

/** @throws InvariantError */
export function runCrdtChaos(options: CrdtChaosOptions): CrdtChaosReport {
  const world = new World(options.seed)
  const { chance } = world
  const network = new SessionNetwork(world)
  const checker = new CrdtChecker<CrdtNode>(options.seed)
  const nodes = new Map<string, CrdtNode>()
  const loss = options.loss ?? 0.2
  let epoch = 1
  const running = (): CrdtNode[] => [...nodes.values()].filter(({ isRunning }) => isRunning)
  /** A frame goes to some members at random, as it would with packets of gossip. */
  const gossip = (from: CrdtNode, entry: Entry): void => {
    const others = running().filter((node) => node !== from && !network.isCut(from.name, node.name))
    for (let i = 0; i < GOSSIP_NODES && others.length > 0; i++) {
      const [to] = others.splice(chance.int(others.length), 1)
      if (to === undefined || chance.chance(loss)) continue
      world.after(chance.between(1, 1000), () => to.feed({ kind: 'delta', entry }))
    }
  }
  const start = (name: string, disk: Disk): void => {
    const self = { name, epoch: epoch++, disk, wallErrorMs: chance.between(-5000, 5000) }
    const node = new CrdtNode(world, network, checker, options, self, gossip)
    nodes.set(name, node)
    network.join(node)
  }
  const names = Array.from({ length: options.nodes }, (_, i) => `n${i + 1}`)
  for (const name of names) start(name, new Disk())
  const disturb = (): void => {
    const name = chance.pick(names)
    const other = chance.pick(names)
    const node = nodes.get(name) as CrdtNode
    const dice = chance.fraction()
    if (dice < 0.15) {
      // One stays, so that not everything is lost that is in memory only.
      if (node.isRunning && running().length > 1) {
        node.isRunning = false
        checker.ended(node)
        network.crashed(name)
      } else if (!node.isRunning) start(name, node.disk)
    } else if (dice < 0.5) network.cut(name, other)
    else if (dice < 0.8) network.heal(name, other)
    else if (dice < 0.85) network.healAll()
    else if (dice < 0.95) network.breakSession(name, other)
    else node.wallErrorMs = chance.between(-30_000, 30_000)
  }
  const healAll = (): void => {
    network.healAll()
    for (const name of names) {
      const node = nodes.get(name) as CrdtNode
      if (!node.isRunning) start(name, node.disk)
    }
  }
  const awayMaxMs = (options.settings?.retentionMs ?? Number.POSITIVE_INFINITY) / 4
  let healsAtMs = awayMaxMs
  for (const endMs = options.minutes * 60_000; world.nowMs < endMs; world.run(chance.between(1, 3000))) {
    for (let i = chance.int(6); i > 0; i--) chance.pick(running()).act(chance)
    if (chance.chance(0.2)) disturb()
    if (world.nowMs < healsAtMs) continue
    // Whoever is away for longer than deletes are remembered may bring them back; nobody is.
    healsAtMs = world.nowMs + awayMaxMs
    healAll()
  }
  healAll()
  // Who is behind remembers deletes for longer: until they are old on every clock, stores differ by them, though no reader can tell.
  if (options.settings?.retentionMs !== undefined) for (const node of running()) node.wallErrorMs = 0
  const healedAtMs = world.nowMs
  if (!world.runUntil(() => checker.disagreement(running()) === undefined, CONVERGE_MS, 250)) {
    throw new InvariantError(
      `${checker.disagreement(running())} ${CONVERGE_MS} ms after all healed; seed ${options.seed}`,
    )
  }
  const [first] = running()
  return {
    steps: world.steps,
    writes: checker.writes,
    entries: first?.replica.store.entryCount ?? 0,
    collected: running().reduce((sum, { replica }) => sum + replica.store.counters.collected, 0),
    convergedMs: world.nowMs - healedAtMs,
  }
}
