// The invariants of membership, G1 to G4 of cluster.md §13, held against the truth that only the simulator knows.

import { pushPullIntervalMs } from '../../../cluster/swim/core/push-pull.ts'
import { defaultSwimSettings, type SwimSettings } from '../../../cluster/swim/core/settings.ts'
import { suspicionTerms } from '../../../cluster/swim/core/suspicion.ts'
import type { SwimEffect, SwimInput } from '../../../cluster/swim/core/swim.ts'
import { assert } from '../../../runtime/base/assert.ts'
import type { SwimNode, SwimObserver } from '../swim-node.ts'
import type { World } from '../world.ts'

export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

export interface FalseDeath {
  readonly atMs: number
  readonly observer: string
  readonly victim: string
}

export class GossipChecker implements SwimObserver {
  readonly #world: World
  readonly #nodes: ReadonlyMap<string, SwimNode>
  /** By observer's run: the highest incarnation seen of each name and epoch. */
  readonly #incarnations = new WeakMap<SwimNode, Map<string, number>>()
  readonly #lastViews = new WeakMap<SwimNode, readonly unknown[]>()
  /** By observer's run: names and epochs that are joined as told. */
  readonly #joined = new WeakMap<SwimNode, Map<string, number>>()
  readonly falseDeaths: FalseDeath[] = []

  /** @param nodes the running nodes by name; the owner keeps it current */
  constructor(world: World, nodes: ReadonlyMap<string, SwimNode>) {
    this.#world = world
    this.#nodes = nodes
  }

  stepped(node: SwimNode, _input: SwimInput, effects: readonly SwimEffect[]): void {
    for (const effect of effects) if (effect.kind === 'member') this.#event(node, effect)
    const view = node.swim.members()
    if (this.#lastViews.get(node) === view) return
    this.#lastViews.set(node, view)
    this.#checkIncarnations(node)
    this.#check(node.swim.healthScore < defaultSwimSettings.awarenessMax, 'the health score is within its bounds')
  }

  /** G4, second half: joined and left alternate per name. */
  #event(node: SwimNode, { event }: Extract<SwimEffect, { kind: 'member' }>): void {
    const joined = this.#of(this.#joined, node)
    const epoch = joined.get(event.name)
    const what = `${node.name} hears that ${event.name}@${event.epoch} ${event.kind}`
    if (event.kind === 'joined') {
      this.#check(epoch === undefined, `${what}, and it had joined already (G4)`)
      joined.set(event.name, event.epoch)
      return
    }
    this.#check(epoch === event.epoch, `${what}, and ${epoch ?? 'no epoch'} had joined (G4)`)
    if (event.kind === 'updated') return
    joined.delete(event.name)
    const victim = this.#nodes.get(event.name)
    const isAlive = victim?.isRunning === true && victim.epoch === event.epoch
    if (event.reason === 'dead' && isAlive) {
      this.falseDeaths.push({ atMs: this.#world.nowMs, observer: node.name, victim: event.name })
    }
  }

  /** G4, first half: within an epoch the incarnation of a name never decreases. */
  #checkIncarnations(node: SwimNode): void {
    const highest = this.#of(this.#incarnations, node)
    for (const { name, epoch, incarnation } of node.swim.members()) {
      const key = `${name}@${epoch}`
      const before = highest.get(key) ?? 0
      this.#check(
        incarnation >= before,
        `${node.name} sees ${key} fall from incarnation ${before} to ${incarnation} (G4)`,
      )
      highest.set(key, incarnation)
    }
  }

  #of(maps: WeakMap<SwimNode, Map<string, number>>, node: SwimNode): Map<string, number> {
    let map = maps.get(node)
    if (map === undefined) {
      map = new Map()
      maps.set(node, map)
    }
    return map
  }

  #check(fact: boolean, text: string): void {
    if (!fact) throw new InvariantError(`${text}; seed ${this.#world.seed}, at ${Math.round(this.#world.nowMs)} ms`)
  }
}

/** Why the views of running nodes differ from the truth and so from each other; undefined when they agree (G3). */
export function disagreement(nodes: Iterable<SwimNode>): string | undefined {
  const running = [...nodes].filter((node) => node.isRunning)
  const truth = new Map(running.map((node) => [node.name, node]))
  for (const node of running) {
    const live = node.live()
    for (const member of live) {
      const self = truth.get(member.name)?.swim.self
      if (self === undefined) return `${node.name} believes that ${member.name}@${member.epoch} lives`
      if (member.state !== 'alive') return `${node.name} holds ${member.name} for ${member.state}`
      if (member.epoch !== self.epoch)
        return `${node.name} sees ${member.name} in epoch ${member.epoch}, not ${self.epoch}`
      if (member.meta !== self.meta) return `${node.name} has old tags of ${member.name}`
      if (member.address.host !== self.address.host) return `${node.name} has an old address of ${member.name}`
    }
    for (const name of truth.keys()) {
      if (!live.some((member) => member.name === name)) {
        return `${node.name} does not see ${name} (${node.swim.members().find((each) => each.name === name)?.state ?? 'unknown'})`
      }
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
