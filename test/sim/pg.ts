// Process groups under faults: processes join, leave and end, nodes crash and start again, scopes begin anew, links are cut, verdicts are
// wrong. P2 holds after every step; when all heals, P1 within a bound.

import { Outbox } from '../../cluster/pg/core/outbox.ts'
import { Scope, type ScopeEffect, type ScopeInput } from '../../cluster/pg/core/scope.ts'
import type { PgSettings } from '../../cluster/pg/core/settings.ts'
import {
  decodeAnswer,
  decodeMessage,
  decodePull,
  encodeAnswer,
  encodeMessage,
  encodePull,
} from '../../cluster/pg/wire/codec.ts'
import type { Env } from '../../runtime/base/env.ts'
import { PidMaker } from '../../runtime/base/pid.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { PgChecker } from './checkers/pg.ts'
import { SessionNetwork, type SessionNode } from './sessions.ts'
import { type Chance, World } from './world.ts'

interface PgChaosOptions {
  readonly seed: number
  readonly nodes: number
  readonly minutes: number
  readonly settings?: Partial<PgSettings>
  /** In place of the core. */
  readonly core?: typeof Scope
  /** Breaks something on purpose, to see that it is found. */
  readonly tamper?: (node: PgNode, input: ScopeInput) => ScopeInput | undefined
}

interface PgChaosReport {
  readonly steps: number
  readonly events: number
  readonly pulls: number
  readonly fullSyncs: number
  /** Until all nodes agreed, after everything healed. */
  readonly convergedMs: number
}

const SCOPE = 'app:groups'
const GROUPS = ['a', 'b', 'c', 'd']
/** So few changes are kept that whole states travel as well. */
const HISTORY_MAX = 2
const LAST_CHANGES = 60
/** How often something is not taken: nobody is told, except the sender. */
const UNSENT = 0.1
const MESSAGE = 0
const PULL = 1
const ANSWER = 2
/** Two rounds of comparing, and what a session takes to end and begin. */
const CONVERGE_MS = 90_000

class PgNode implements SessionNode {
  readonly name: string
  readonly epoch: number
  isRunning = true
  /** False between the end of the scope and its next beginning. */
  isOpen = true
  scope: Scope
  readonly processes: string[] = []
  readonly subscriptions: number[] = []
  readonly #world: World
  readonly #network: SessionNetwork
  readonly #checker: PgChecker<PgNode>
  readonly #options: PgChaosOptions
  readonly #env: Env
  readonly #pids: PidMaker
  readonly #methods = ['pg.hello', 'pg.delta', 'pg.none']
  #run = 0
  #pulls = new Map<number, { node: string; pull: number; scope: Scope }>()
  #nextRequest = 1
  readonly #links = new Map<string, number>()
  #outbox = new Outbox()
  #isFlushDue = false

  constructor(
    world: World,
    network: SessionNetwork,
    checker: PgChecker<PgNode>,
    name: string,
    epoch: number,
    options: PgChaosOptions,
  ) {
    this.#world = world
    this.#network = network
    this.#checker = checker
    this.#options = options
    this.name = name
    this.epoch = epoch
    this.#env = world.env({ offsetMs: world.chance.int(1e9) })
    this.#pids = new PidMaker({ node: name, host: 'h', epoch, slot: 0, generation: 0 })
    this.scope = this.#newScope()
    this.#wakeLater()
  }

  /** The scope ends; nobody asks for it until it is opened again. */
  close(): void {
    if (!this.isOpen) return
    this.#perform(this.scope.step({ kind: 'stop' }))
    for (const node of this.#flush()) this.#tellNoneLater(node)
    this.#checker.ended(this)
    this.processes.length = 0
    this.subscriptions.length = 0
    this.isOpen = false
  }

  /** It begins, with nothing. */
  open(): void {
    if (this.isOpen) return
    this.isOpen = true
    this.#run++
    this.scope = this.#newScope()
    for (const [node, epoch] of [...this.#links].sort(([a], [b]) => (a < b ? -1 : 1)))
      this.#feed({ kind: 'node-up', node, epoch })
  }

  nodeUp(node: string, epoch: number): void {
    this.#links.set(node, epoch)
    this.#feed({ kind: 'node-up', node, epoch })
  }

  nodeDown(node: string, epoch: number): void {
    this.#links.delete(node)
    for (const [id, request] of this.#pulls) {
      if (request.node !== node) continue
      this.#pulls.delete(id)
      this.#pulled(request, undefined)
    }
    this.#feed({ kind: 'node-down', node, epoch })
  }

  receive(node: string, epoch: number, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const id = view.getUint32(1)
    const body = bytes.subarray(5)
    if (bytes[0] === MESSAGE) {
      const decoded = decodeMessage(this.#methods[id] ?? '', body)
      if (decoded === undefined) return
      const { message } = decoded
      if (this.isOpen) return this.#feed({ kind: 'message', node, epoch, message })
      const { method, body: none } = encodeMessage(SCOPE, { kind: 'none' })
      if (message.kind !== 'none') this.#send(node, MESSAGE, this.#methods.indexOf(method), none)
    } else if (bytes[0] === PULL) {
      if (!this.isOpen) return
      const { request } = decodePull(body)
      this.#send(node, ANSWER, id, encodeAnswer(this.scope.answerPull(request)))
    } else {
      const request = this.#pulls.get(id)
      this.#pulls.delete(id)
      if (request !== undefined) this.#pulled(request, body)
    }
  }

  /** Something that a process does. */
  act(chance: Chance): void {
    if (!this.isOpen) return
    const pid = chance.chance(0.3) || this.processes.length === 0 ? this.#pids.next() : chance.pick(this.processes)
    if (!this.processes.includes(pid)) this.processes.push(pid)
    const groups = Array.from({ length: 1 + chance.int(3) }, () => chance.pick(GROUPS))
    const dice = chance.fraction()
    if (dice < 0.45) {
      const { outcome, effects } = this.scope.join(pid, groups)
      if (outcome.ok) for (const group of groups) this.#checker.joined(this, pid, group)
      this.#perform(effects)
    } else if (dice < 0.7) {
      const before = new Map(
        groups.map((group) => [group, this.scope.localMembers(group).filter((each) => each === pid).length]),
      )
      const { outcome, effects } = this.scope.leave(pid, groups)
      if (outcome.ok) {
        for (const group of groups) {
          const left = before.get(group) ?? 0
          if (left > 0) this.#checker.left(this, pid, group)
          before.set(group, left - 1)
        }
      }
      this.#perform(effects)
    } else if (dice < 0.85) {
      this.processes.splice(this.processes.indexOf(pid), 1)
      this.#checker.exited(this, pid)
      this.#feed({ kind: 'exited', pid })
    } else if (this.subscriptions.length < 4) {
      const group = chance.chance(0.5) ? undefined : chance.pick(GROUPS)
      const owner = `monitor of ${this.name}`
      const monitoring = this.scope.monitor(owner, group)
      if (monitoring === undefined) return
      this.subscriptions.push(monitoring.subscription)
      this.#checker.monitoring(this, monitoring.subscription, group, monitoring.members)
      this.#perform(monitoring.effects)
    } else {
      const subscription = this.subscriptions.shift() as number
      this.#checker.demonitored(this, subscription)
      this.#perform(this.scope.demonitor(subscription))
    }
  }

  #newScope(): Scope {
    const { settings, core = Scope } = this.#options
    return new core(
      {
        node: this.name,
        epoch: this.epoch,
        run: this.#run,
        historyMax: HISTORY_MAX,
        ...(settings === undefined ? {} : { settings }),
      },
      this.#env,
    )
  }

  #feed(input: ScopeInput): void {
    if (!this.isRunning || !this.isOpen) return
    const given = this.#options.tamper === undefined ? input : this.#options.tamper(this, input)
    if (given !== undefined) this.#perform(this.scope.step(given))
  }

  #perform(effects: readonly ScopeEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'send') {
        this.#outbox.add(effect.nodes, effect.message)
        this.#flushLater()
      } else if (effect.kind === 'pull') {
        this.#flush()
        const id = this.#nextRequest++
        const request = { node: effect.node, pull: effect.pull, scope: this.scope }
        this.#pulls.set(id, request)
        this.#send(effect.node, PULL, id, encodePull(SCOPE, effect.request))
        this.#world.after(effect.timeoutMs, () => {
          if (this.#pulls.delete(id)) this.#pulled(request, undefined)
        })
      }
    }
    this.#checker.stepped(this, effects)
  }

  /** At the end of the turn, which may have gone on for a while. */
  #flushLater(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    this.#world.after(this.#world.chance.int(50), () => {
      this.#isFlushDue = false
      if (this.isRunning) this.#flush()
    })
  }

  /** @returns nodes that did not take everything */
  #flush(): ReadonlySet<string> {
    const unsent = new Set<string>()
    for (const { nodes, message } of this.#outbox.take()) {
      const { method, body } = encodeMessage(SCOPE, message)
      for (const node of nodes) {
        // A queue that is full, now and then: whoever missed something is told again.
        if (this.#world.chance.chance(UNSENT)) unsent.add(node)
        else this.#send(node, MESSAGE, this.#methods.indexOf(method), body)
      }
    }
    for (const node of unsent) this.#feed({ kind: 'unsent', node })
    return unsent
  }

  #tellNoneLater(node: string): void {
    this.#world.after(1000, () => {
      if (!this.isRunning || this.isOpen || !this.#links.has(node)) return
      const { method, body } = encodeMessage(SCOPE, { kind: 'none' })
      if (this.#world.chance.chance(UNSENT)) this.#tellNoneLater(node)
      else this.#send(node, MESSAGE, this.#methods.indexOf(method), body)
    })
  }

  #pulled(request: { node: string; pull: number; scope: Scope }, body: Uint8Array | undefined): void {
    if (request.scope !== this.scope) return
    const answer = body === undefined ? undefined : decodeAnswer(body)
    this.#feed({ kind: 'pulled', node: request.node, pull: request.pull, answer })
  }

  #send(to: string, kind: number, id: number, body: Uint8Array): void {
    const bytes = new Uint8Array(5 + body.length)
    bytes[0] = kind
    new DataView(bytes.buffer).setUint32(1, id)
    bytes.set(body, 5)
    this.#network.send(this, to, bytes)
  }

  #wakeLater(): void {
    this.#world.after(100, () => {
      if (!this.isRunning) return
      if (this.scope.nextDueMs <= this.#env.nowMs()) this.#feed({ kind: 'wake' })
      this.#wakeLater()
    })
  }
}

/** @throws InvariantError */
export function runPgChaos(options: PgChaosOptions): PgChaosReport {
  const world = new World(options.seed)
  const { chance } = world
  const network = new SessionNetwork(world)
  const checker = new PgChecker<PgNode>(options.seed)
  const nodes = new Map<string, PgNode>()
  let epoch = 1
  const start = (name: string): void => {
    const node = new PgNode(world, network, checker, name, epoch++, options)
    nodes.set(name, node)
    network.join(node)
  }
  const names = Array.from({ length: options.nodes }, (_, i) => `n${i + 1}`)
  names.forEach(start)
  const running = (): PgNode[] => [...nodes.values()].filter(({ isRunning, isOpen }) => isRunning && isOpen)
  const disturb = (): void => {
    const name = chance.pick(names)
    const other = chance.pick(names)
    const node = nodes.get(name) as PgNode
    const dice = chance.fraction()
    if (dice < 0.25) {
      if (node.isRunning) {
        node.isRunning = false
        checker.ended(node)
        network.crashed(name)
      } else start(name)
    } else if (dice < 0.5) network.cut(name, other)
    else if (dice < 0.65) network.heal(name, other)
    else if (dice < 0.7) network.healAll()
    else if (dice < 0.9) network.breakSession(name, other)
    else if (!node.isRunning) return
    else if (!node.isOpen) node.open()
    else {
      node.close()
      // The entry is updated, or removed for a while.
      if (dice < 0.96) node.open()
    }
  }
  for (const endMs = options.minutes * 60_000; world.nowMs < endMs; world.run(chance.between(1, 2000))) {
    for (let i = chance.int(6); i > 0; i--) if (running().length > 0) chance.pick(running()).act(chance)
    if (chance.chance(0.2)) disturb()
  }
  network.healAll()
  for (const name of names) if (nodes.get(name)?.isRunning !== true) start(name)
  // What goes wrong while sessions last stays wrong: no new one covers it up.
  for (let i = 0; i < LAST_CHANGES; i++) {
    world.run(chance.between(1, 2000))
    const busy = running().length > 0 ? chance.pick(running()) : undefined
    for (let acts = 1 + chance.int(6); acts > 0; acts--) busy?.act(chance)
    const node = nodes.get(chance.pick(names))
    if (node?.isOpen === false) node.open()
    else if (chance.chance(0.2)) node?.close()
  }
  const healedAtMs = world.nowMs
  if (!world.runUntil(() => checker.disagreement(running()) === undefined, CONVERGE_MS, 100)) {
    throw new InvariantError(
      `${checker.disagreement(running())} ${CONVERGE_MS} ms after all healed; seed ${options.seed}`,
    )
  }
  const convergedMs = world.nowMs - healedAtMs
  world.run(CONVERGE_MS)
  const problem = checker.disagreement(running())
  if (problem !== undefined) throw new InvariantError(`${problem} after they had agreed; seed ${options.seed}`)
  const sum = (of: (node: PgNode) => number): number => running().reduce((total, node) => total + of(node), 0)
  return {
    steps: world.steps,
    events: checker.events,
    pulls: sum(({ scope }) => scope.counters.pulls),
    fullSyncs: sum(({ scope }) => scope.counters.fullSyncs),
    convergedMs,
  }
}
