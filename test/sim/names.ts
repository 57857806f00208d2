// Eventual names under faults: processes take names, give them up and end; packets are lost, doubled and overtaken; nodes are cut off, wrongly
// thought dead, crash and start again. Every event of a node is held against what it may be; when all heals, N8 within a bound.

import { createHash } from 'node:crypto'
import { Eventual, type EventualEffect, type EventualInput } from '../../cluster/names/core/eventual.ts'
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
} from '../../cluster/names/wire/eventual.ts'
import type { Env } from '../../runtime/base/env.ts'
import { PidMaker } from '../../runtime/base/pid.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { type Chance, World } from './world.ts'

export interface NamesChaosOptions {
  readonly seed: number
  readonly nodes: number
  readonly minutes: number
  /** Share of packets that get lost; different from seed to seed unless told. */
  readonly loss?: number
  /** Nothing but loss: no cuts, verdicts or crashes. */
  readonly isConnected?: boolean
  /** Breaks something on purpose, to see that it is found. */
  readonly tamper?: (node: string, input: EventualInput) => EventualInput | undefined
  /** The same for what a node does. */
  readonly tamperEffect?: (node: string, effect: EventualEffect) => EventualEffect | undefined
}

interface NamesChaosReport {
  readonly steps: number
  readonly registrations: number
  readonly revocations: number
  readonly pulls: number
  readonly states: number
  /** Until all nodes agreed, after everything healed. */
  readonly convergedMs: number
}

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']
const GOSSIP_MS = 200
const FANOUT = 3
const FRAMES_A_PACKET = 4
const PUSH_PULL_MS = 5000
const CONVERGE_MS = 15_000
/** A verdict of gossip takes so long at most. */
const VERDICT_MS = 18_000

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

interface Told {
  readonly frame: Uint8Array
  transmits: number
}

class NamesNode {
  readonly name: string
  readonly epoch: number
  readonly eventual: Eventual
  isRunning = true
  readonly processes: string[] = []
  readonly queue: Told[] = []
  /** Who has which name here, by what was answered and told. */
  readonly held = new Map<string, string>()
  /** What the effects say that names stand for. */
  readonly resolved = new Map<string, string>()
  readonly live = new Map<string, number>()
  readonly env: Env
  readonly #pids: PidMaker

  constructor(world: World, name: string, epoch: number) {
    this.name = name
    this.epoch = epoch
    this.env = world.env({ offsetMs: world.chance.int(1e9), wallErrorMs: world.chance.between(-2000, 2000) })
    this.eventual = new Eventual({ node: name, epoch, hash: sha256 }, this.env)
    this.#pids = new PidMaker({ node: name, host: 'h', epoch, slot: 0, generation: 0 })
  }

  newProcess(): string {
    const pid = this.#pids.next()
    this.processes.push(pid)
    return pid
  }
}

class NamesWorld {
  readonly world: World
  readonly nodes = new Map<string, NamesNode>()
  readonly names: readonly string[]
  readonly #options: NamesChaosOptions
  readonly #loss: number
  readonly #cuts = new Set<string>()
  #epoch = 1
  registrations = 0
  revocations = 0

  constructor(options: NamesChaosOptions) {
    this.#options = options
    this.world = new World(options.seed)
    this.#loss = options.loss ?? (options.seed % 4) / 10
    this.names = Array.from({ length: options.nodes }, (_, i) => `n${i + 1}`)
    for (const name of this.names) this.start(name)
    this.#tick()
    this.#pushPull()
  }

  get chance(): Chance {
    return this.world.chance
  }

  running(): NamesNode[] {
    return this.names.flatMap((name) => this.nodes.get(name) ?? []).filter(({ isRunning }) => isRunning)
  }

  start(name: string): void {
    const node = new NamesNode(this.world, name, this.#epoch++)
    this.nodes.set(name, node)
    for (const other of this.running()) {
      if (other === node || this.#isCut(name, other.name)) continue
      this.#soon(3000, () => this.#sees(other, node))
      this.#soon(3000, () => this.#sees(node, other))
    }
  }

  crash(name: string): void {
    const node = this.nodes.get(name) as NamesNode
    node.isRunning = false
    for (const other of this.running()) this.#soon(VERDICT_MS, () => this.#gives(other, node))
  }

  cut(a: string, b: string): void {
    if (a === b) return
    this.#cuts.add(pairOf(a, b))
    for (const [one, two] of [
      [a, b],
      [b, a],
    ] as const) {
      this.#soon(VERDICT_MS, () => {
        if (this.#isCut(a, b)) this.#gives(this.nodes.get(one) as NamesNode, this.nodes.get(two) as NamesNode)
      })
    }
  }

  healAll(): void {
    this.#cuts.clear()
    for (const a of this.running()) {
      for (const b of this.running()) if (a !== b) this.#soon(3000, () => this.#sees(a, b))
    }
  }

  /** Gossip is wrong for a moment. */
  flap(): void {
    const [a, b] = [this.chance.pick(this.running()), this.chance.pick(this.running())]
    if (a === b) return
    this.#gives(a, b)
    this.#soon(4000, () => this.#sees(a, b))
  }

  act(node: NamesNode): void {
    const { chance } = this
    const dice = chance.fraction()
    const name = chance.pick(NAMES)
    if (dice < 0.6) {
      const pid = node.processes.length === 0 || chance.chance(0.3) ? node.newProcess() : chance.pick(node.processes)
      const { outcome, effects } = node.eventual.register(name, pid)
      if (outcome.ok && outcome.changed) {
        this.registrations++
        if (node.held.has(name)) throw this.#broken(node, `${name} was given to two processes`)
        node.held.set(name, pid)
      }
      this.perform(node, effects)
    } else if (dice < 0.8) {
      const { removed, effects } = node.eventual.unregister(name)
      if (removed !== node.held.delete(name)) throw this.#broken(node, `unregister of ${name} says ${removed}`)
      this.perform(node, effects)
    } else if (node.processes.length > 0) {
      const [pid = ''] = node.processes.splice(chance.int(node.processes.length), 1)
      for (const [held, owner] of [...node.held]) if (owner === pid) node.held.delete(held)
      this.perform(node, node.eventual.exited(pid))
    }
  }

  feed(node: NamesNode, input: EventualInput): void {
    if (!node.isRunning) return
    const given = this.#options.tamper === undefined ? input : this.#options.tamper(node.name, input)
    if (given !== undefined) this.perform(node, node.eventual.step(given))
  }

  perform(node: NamesNode, effects: readonly EventualEffect[]): void {
    for (const each of effects) {
      const effect = this.#options.tamperEffect === undefined ? each : this.#options.tamperEffect(node.name, each)
      if (effect === undefined) continue
      if (effect.kind === 'gossip') {
        for (const frame of changeFrames(effect.changes)) node.queue.push({ frame, transmits: 0 })
      } else if (effect.kind === 'pull') this.#pull(node, effect)
      else if (effect.kind === 'compare') this.#compare(node, effect.node)
      else if (effect.kind === 'resolved') {
        if (effect.pid === undefined) node.resolved.delete(effect.name)
        else node.resolved.set(effect.name, effect.pid)
      } else if (effect.kind === 'revoked') {
        this.revocations++
        if (node.held.get(effect.name) !== effect.pid) throw this.#broken(node, `${effect.name} was revoked twice (N8)`)
        node.held.delete(effect.name)
      }
    }
    for (const name of NAMES) {
      if (node.resolved.get(name) !== node.eventual.lookup(name)) throw this.#broken(node, `${name} changed untold`)
      if (node.held.get(name) !== node.eventual.ownPid(name)) throw this.#broken(node, `${name} was lost untold (N8)`)
    }
  }

  /** Undefined: all agree. */
  disagreement(): string | undefined {
    const nodes = this.running()
    for (const name of NAMES) {
      const seen = new Set(nodes.map((node) => node.eventual.lookup(name)))
      const holders = nodes.filter((node) => node.held.has(name))
      if (seen.size > 1) return `${name} stands for ${[...seen].join(' and ')} (N8)`
      if (holders.length > 1) return `${holders.map((node) => node.name).join(' and ')} have ${name} (N8)`
      const [pid] = seen
      if (pid !== holders[0]?.held.get(name)) return `${name} stands for ${pid}, and nobody has it (N8)`
    }
    return undefined
  }

  #sees(node: NamesNode, other: NamesNode): void {
    if (!other.isRunning || this.nodes.get(other.name) !== other || this.#isCut(node.name, other.name)) return
    const before = node.live.get(other.name)
    if (before === other.epoch) return
    if (before !== undefined) this.feed(node, { kind: 'gone', node: other.name, epoch: before })
    node.live.set(other.name, other.epoch)
    this.feed(node, { kind: 'live', node: other.name, epoch: other.epoch })
  }

  #gives(node: NamesNode, other: NamesNode): void {
    if (node.live.get(other.name) !== other.epoch) return
    node.live.delete(other.name)
    this.feed(node, { kind: 'gone', node: other.name, epoch: other.epoch })
  }

  #soon(withinMs: number, act: () => void): void {
    this.world.after(this.chance.between(10, withinMs), act)
  }

  #isCut(a: string, b: string): boolean {
    return this.#cuts.has(pairOf(a, b))
  }

  #reach(from: NamesNode, to: string): NamesNode | undefined {
    const node = this.nodes.get(to)
    return node?.isRunning === true && from.isRunning && !this.#isCut(from.name, to) ? node : undefined
  }

  #tick(): void {
    for (const node of this.running()) {
      if (node.eventual.nextDueMs <= node.env.nowMs()) this.feed(node, { kind: 'wake' })
      this.#gossip(node)
    }
    this.world.after(GOSSIP_MS, () => this.#tick())
  }

  #gossip(node: NamesNode): void {
    const limit = 4 * Math.ceil(Math.log10(node.live.size + 2))
    for (let i = 0; i < Math.min(FANOUT, node.live.size) && node.queue.length > 0; i++) {
      const to = this.chance.pick([...node.live.keys()].sort())
      node.queue.sort((a, b) => a.transmits - b.transmits)
      for (const told of node.queue.slice(0, FRAMES_A_PACKET)) {
        told.transmits++
        this.#packet(node, to, told.frame)
      }
      for (let at = node.queue.length - 1; at >= 0; at--) {
        if ((node.queue[at]?.transmits ?? 0) >= limit) node.queue.splice(at, 1)
      }
    }
  }

  #packet(from: NamesNode, to: string, frame: Uint8Array): void {
    const copies = this.chance.chance(0.05) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (this.chance.chance(this.#loss)) continue
      this.world.after(this.chance.between(0.2, this.chance.chance(0.1) ? 500 : 10), () => {
        const node = this.#reach(from, to)
        if (node !== undefined) this.#hear(node, frame, undefined)
      })
    }
  }

  #hear(node: NamesNode, frame: Uint8Array, from: string | undefined): void {
    const decoded = decodeFrame(frame)
    this.feed(node, decoded.kind === 'changes' ? decoded : { ...decoded, node: from })
  }

  #pushPull(): void {
    for (const node of this.running()) {
      const others = [...node.live.keys()].sort()
      const other = others.length === 0 ? undefined : this.#reach(node, this.chance.pick(others))
      if (other === undefined) continue
      const [mine, theirs] = [digestFrames(node.eventual.digest()), digestFrames(other.eventual.digest())]
      this.#soon(100, () => {
        for (const frame of mine) this.#hear(other, frame, node.name)
        for (const frame of theirs) this.#hear(node, frame, other.name)
      })
    }
    this.world.after(PUSH_PULL_MS, () => this.#pushPull())
  }

  #pull(node: NamesNode, { pull, node: to, request, timeoutMs }: EventualEffect & { kind: 'pull' }): void {
    let isDone = false
    const end = (answer: Uint8Array | undefined): void => {
      if (isDone) return
      isDone = true
      this.feed(node, { kind: 'pulled', pull, answer: answer === undefined ? undefined : decodePullAnswer(answer) })
    }
    this.world.after(timeoutMs, () => end(undefined))
    this.#ask(
      node,
      to,
      encodePull(request),
      (body, other) => encodePullAnswer(other.eventual.answerPull(decodePull(body))),
      end,
    )
  }

  #compare(node: NamesNode, to: string): void {
    const answered = (other: NamesNode, body: Uint8Array): Uint8Array => {
      const entries = decodeDigest(body)
      const beyond = encodeDigest(other.eventual.beyond(entries))
      this.feed(other, { kind: 'digest', node: node.name, entries })
      return beyond
    }
    this.#ask(
      node,
      to,
      encodeDigest(node.eventual.digest()),
      (body, other) => answered(other, body),
      (answer) => {
        if (answer !== undefined) this.feed(node, { kind: 'digest', node: to, entries: decodeDigest(answer) })
      },
    )
  }

  #ask(
    from: NamesNode,
    to: string,
    body: Uint8Array,
    answer: (body: Uint8Array, other: NamesNode) => Uint8Array,
    done: (answer: Uint8Array | undefined) => void,
  ): void {
    this.#soon(50, () => {
      const other = this.#reach(from, to)
      if (other === undefined) return done(undefined)
      const bytes = answer(body, other)
      this.#soon(50, () => done(this.#reach(from, to) === other ? bytes : undefined))
    })
  }

  #broken(node: NamesNode, what: string): InvariantError {
    return new InvariantError(`${node.name}: ${what}; seed ${this.world.seed}`)
  }
}

const pairOf = (a: string, b: string): string => (a < b ? `${a}/${b}` : `${b}/${a}`)

/** @throws InvariantError */
export function runNamesChaos(options: NamesChaosOptions): NamesChaosReport {
  const names = new NamesWorld(options)
  const { world, chance } = names
  const disturb = (): void => {
    const name = chance.pick(names.names)
    const dice = chance.fraction()
    if (dice < 0.3) {
      if (names.nodes.get(name)?.isRunning === true) names.crash(name)
      else names.start(name)
    } else if (dice < 0.6) names.cut(name, chance.pick(names.names))
    else if (dice < 0.7) names.healAll()
    else if (names.running().length > 0) names.flap()
  }
  for (const endMs = options.minutes * 60_000; world.nowMs < endMs; world.run(chance.between(1, 1500))) {
    for (let i = chance.int(4); i > 0; i--) if (names.running().length > 0) names.act(chance.pick(names.running()))
    if (options.isConnected !== true && chance.chance(0.1)) disturb()
  }
  names.healAll()
  for (const name of names.names) if (names.nodes.get(name)?.isRunning !== true) names.start(name)
  // Liveness is gossip's to agree on; from then on the bound counts.
  if (options.isConnected !== true) world.run(3000)
  const healedAtMs = world.nowMs
  const agreed = world.runUntil(() => names.disagreement() === undefined, CONVERGE_MS, 100)
  const problem = names.disagreement()
  if (!agreed) throw new InvariantError(`${problem} ${CONVERGE_MS} ms after all healed; seed ${options.seed}`)
  const convergedMs = world.nowMs - healedAtMs
  world.run(CONVERGE_MS)
  const again = names.disagreement()
  if (again !== undefined) throw new InvariantError(`${again} after they had agreed; seed ${options.seed}`)
  const sum = (of: (node: NamesNode) => number): number => names.running().reduce((total, node) => total + of(node), 0)
  return {
    steps: world.steps,
    registrations: names.registrations,
    revocations: names.revocations,
    pulls: sum(({ eventual }) => eventual.counters.pulls),
    states: sum(({ eventual }) => eventual.counters.states),
    convergedMs,
  }
}
