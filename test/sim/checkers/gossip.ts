// The invariants of membership, G1 to G4 of cluster.md §13, held after every step against the truth that only the simulator
// knows. G1 and G2 promise something only while nobody cuts, halts or floods: the checker is told of such times.

import type { MemberEvent } from '../../../cluster/swim/core/events.ts'
import type { Member } from '../../../cluster/swim/core/members.ts'
import { pushPullIntervalMs } from '../../../cluster/swim/core/push-pull.ts'
import { defaultSwimSettings, type SwimSettings } from '../../../cluster/swim/core/settings.ts'
import { suspicionTerms } from '../../../cluster/swim/core/suspicion.ts'
import type { SwimEffect } from '../../../cluster/swim/core/swim.ts'
import { assert } from '../../../runtime/base/assert.ts'
import { InvariantError } from './invariant-error.ts'

/** What the checker sees of one run of a node. */
export interface ObservedNode {
  readonly name: string
  readonly epoch: number
  readonly isRunning: boolean
  readonly startedAtMs: number
  readonly process: { readonly lastHaltMs: number }
  readonly swim: { members(): readonly Member[]; readonly self: Member; readonly healthScore: number }
}

interface ObservedWorld {
  readonly nowMs: number
  readonly seed: number
}

interface FalseDeath {
  readonly atMs: number
  readonly observer: string
  readonly victim: string
}

/** What one run has heard and seen. */
interface Heard {
  /** Epochs that are joined, by name. */
  readonly joined: Map<string, number>
  /** When a run, `name@epoch`, was first heard of. */
  readonly firstHeardAtMs: Map<string, number>
  /** The highest incarnation seen of each `name@epoch`. */
  readonly incarnations: Map<string, number>
  view: readonly Member[] | undefined
}

export class GossipChecker<Node extends ObservedNode> {
  readonly #world: ObservedWorld
  readonly #nodes: ReadonlyMap<string, Node>
  readonly #settings: SwimSettings
  readonly #heard = new WeakMap<Node, Heard>()
  /** Runs that are over, and when they ended. Only the latest of each name can still be believed in for long. */
  readonly #gone = new Map<string, { epoch: number; atMs: number }>()
  #calmSinceMs = 0
  #isDisturbed = false
  #scoreMax = 0
  readonly falseDeaths: FalseDeath[] = []
  /** How often a promise that depends on calm was in force and kept. */
  readonly kept = { completeness: 0, accuracyMs: 0 }
  #lastStepMs = 0

  /** @param nodes the latest run of each name; the owner keeps it current */
  constructor(world: ObservedWorld, nodes: ReadonlyMap<string, Node>, settings: Partial<SwimSettings> = {}) {
    this.#world = world
    this.#nodes = nodes
    this.#settings = { ...defaultSwimSettings, ...settings }
  }

  /** The network loses much or is cut, or no longer. */
  disturbed(isDisturbed: boolean): void {
    if (this.#isDisturbed || isDisturbed) this.#calmSinceMs = this.#world.nowMs
    this.#isDisturbed = isDisturbed
    this.#scoreMax = 0
  }

  /** A run is over, whether it said so or not. */
  ended(node: Node): void {
    this.#gone.set(node.name, { epoch: node.epoch, atMs: this.#world.nowMs })
  }

  stepped(node: Node, _input: unknown, effects: readonly SwimEffect[]): void {
    const heard = this.#heardBy(node)
    this.#scoreMax = Math.max(this.#scoreMax, node.swim.healthScore)
    this.#check(node.swim.healthScore < this.#settings.awarenessMax, `${node.name}: the health score is out of bounds`)
    const calmMs = this.#calmMs()
    const boundMs = detectionBoundMs(this.#nodes.size, this.#scoreMax, this.#settings)
    for (const effect of effects) {
      if (effect.kind === 'member') this.#event(node, heard, effect.event, calmMs > boundMs / 2 ? boundMs : undefined)
    }
    if (calmMs > boundMs / 2) this.kept.accuracyMs += this.#world.nowMs - this.#lastStepMs
    this.#lastStepMs = this.#world.nowMs
    this.#checkCompleteness(node, heard, calmMs, boundMs)
    const view = node.swim.members()
    if (heard.view === view) return
    heard.view = view
    this.#checkIncarnations(node, heard)
  }

  /** Milliseconds since anything was cut, flooded or halted. */
  #calmMs(): number {
    if (this.#isDisturbed) return 0
    let sinceMs = this.#calmSinceMs
    for (const node of this.#nodes.values()) if (node.isRunning) sinceMs = Math.max(sinceMs, node.process.lastHaltMs)
    return this.#world.nowMs - sinceMs
  }

  /**
   * G4, second half: joined and left alternate per name. G2: no false death in calm.
   * @param settledMs in calm: age from which a run cannot be hit any more by the verdict over the one before it, since claims
   *   name no epoch
   */
  #event(node: Node, { joined, firstHeardAtMs }: Heard, event: MemberEvent, settledMs: number | undefined): void {
    const epoch = joined.get(event.name)
    const what = `${node.name} hears that ${event.name}@${event.epoch} ${event.kind}`
    if (event.kind === 'joined') {
      this.#check(epoch === undefined, `${what}, and it had joined already (G4)`)
      joined.set(event.name, event.epoch)
      const key = `${event.name}@${event.epoch}`
      if (!firstHeardAtMs.has(key)) firstHeardAtMs.set(key, this.#world.nowMs)
      return
    }
    this.#check(epoch === event.epoch, `${what}, and ${epoch ?? 'no epoch'} had joined (G4)`)
    if (event.kind === 'updated') return
    joined.delete(event.name)
    const victim = this.#nodes.get(event.name)
    if (event.reason !== 'dead' || victim?.isRunning !== true || victim.epoch !== event.epoch) return
    this.falseDeaths.push({ atMs: this.#world.nowMs, observer: node.name, victim: event.name })
    const isSettled = settledMs !== undefined && this.#world.nowMs - victim.startedAtMs > settledMs
    this.#check(!isSettled, `${what} (${event.reason}), and it runs (G2)`)
  }

  /** G1: nobody believes in a run for longer than the bound after it ended. */
  #checkCompleteness(node: Node, { joined, firstHeardAtMs }: Heard, calmMs: number, boundMs: number): void {
    const { nowMs } = this.#world
    for (const [name, { epoch, atMs }] of this.#gone) {
      if (joined.get(name) !== epoch) continue
      // Without its disk and with its clock set back, a run may take the epoch of one that nobody had heard of.
      const latest = this.#nodes.get(name)
      if (latest?.isRunning === true && latest.epoch === epoch) continue
      const heardAtMs = firstHeardAtMs.get(`${name}@${epoch}`) ?? 0
      const forMs = Math.min(nowMs - Math.max(atMs, heardAtMs), calmMs)
      if (forMs > boundMs) {
        this.#fail(`${node.name} believes in ${name}@${epoch} ${Math.round(nowMs - atMs)} ms after its end (G1)`)
      }
      this.kept.completeness++
    }
  }

  /** G4, first half: within an epoch the incarnation of a name never decreases. */
  #checkIncarnations(node: Node, { incarnations }: Heard): void {
    for (const { name, epoch, incarnation } of node.swim.members()) {
      const key = `${name}@${epoch}`
      const before = incarnations.get(key) ?? 0
      this.#check(
        incarnation >= before,
        `${node.name} sees ${key} fall from incarnation ${before} to ${incarnation} (G4)`,
      )
      if (incarnation !== before) incarnations.set(key, incarnation)
    }
  }

  #heardBy(node: Node): Heard {
    let heard = this.#heard.get(node)
    if (heard === undefined) {
      heard = { joined: new Map(), firstHeardAtMs: new Map(), incarnations: new Map(), view: undefined }
      this.#heard.set(node, heard)
    }
    return heard
  }

  #check(fact: boolean, text: string): void {
    if (!fact) this.#fail(text)
  }

  #fail(text: string): never {
    throw new InvariantError(`${text}; seed ${this.#world.seed}, at ${Math.round(this.#world.nowMs)} ms`)
  }
}

/** Why the views of running nodes differ from the truth and so from each other; undefined when they agree (G3). */
export function disagreement(nodes: Iterable<ObservedNode>): string | undefined {
  const running = [...nodes].filter((node) => node.isRunning)
  const truth = new Map(running.map((node) => [node.name, node.swim.self]))
  for (const node of running) {
    let live = 0
    for (const member of node.swim.members()) {
      if (member.state === 'dead' || member.state === 'left') continue
      live++
      const self = truth.get(member.name)
      const who = `${node.name} sees ${member.name}`
      if (self === undefined) return `${node.name} believes that ${member.name}@${member.epoch} lives`
      if (member.state !== 'alive') return `${node.name} holds ${member.name} for ${member.state}`
      if (member.epoch !== self.epoch) return `${who} in epoch ${member.epoch}, not ${self.epoch}`
      if (member.meta !== self.meta) return `${who} with old tags`
      if (member.address.host !== self.address.host) return `${who} at an old address`
    }
    if (live === truth.size) continue
    const known = new Map(node.swim.members().map((member) => [member.name, member.state]))
    for (const name of truth.keys()) {
      const state = known.get(name) ?? 'unknown'
      if (state !== 'alive') return `${node.name} does not see ${name} (${state})`
    }
  }
  return undefined
}

/** G1: how long until every live node knows of a crash, at the latest. Twice the sum of what each step may take. */
export function detectionBoundMs(count: number, awareness: number, settings: SwimSettings): number {
  const { probeIntervalMs, gossipIntervalMs, retransmitMult } = settings
  const spreadMs = gossipIntervalMs * retransmitMult * Math.ceil(Math.log10(count + 1))
  return 2 * (count * probeIntervalMs * (awareness + 1) + suspicionTerms(count, settings).maxMs + spreadMs)
}

/** G3: how long until all views agree after the last change in a quiet network, or after it healed. */
export function convergenceBoundMs(count: number, settings: SwimSettings): number {
  assert(settings.pushPullIntervalMs > 0, 'exchanges are on')
  return 2 * pushPullIntervalMs(settings.pushPullIntervalMs, count) + settings.reconnectIntervalMs
}
