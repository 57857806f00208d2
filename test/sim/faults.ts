// Trouble for a cluster of any protocol: what can befall its processes and its network. One seed draws which kinds it
// uses and how fast they follow one another, so that some seeds are wild and others leave room for slow effects.

import type { Network, NetworkFaults } from './network.ts'
import { quietNetwork } from './network.ts'
import type { SimProcess } from './process.ts'
import type { Chance, World } from './world.ts'

/** A cluster that can be troubled. */
export interface Target {
  readonly world: World
  // biome-ignore lint/suspicious/noExplicitAny: what is sent is the protocol's business
  readonly network: Network<any, any, any>
  /** Names of all nodes, running or not. */
  names(): string[]
  running(): { readonly name: string; readonly key: string; readonly process: SimProcess }[]
  crash(name: string): void
  /** Starts a run of a stopped node. */
  start(name: string, options: { isElsewhere: boolean; isWiped: boolean }): void
  /** The network gets worse than the protocol's promises allow for, or better. */
  disturbed(isDisturbed: boolean): void
  note(what: string): void
}

export type Fault = (target: Target, chance: Chance) => void

/** Never fewer nodes than this are left running. */
const RUNNING_MIN = 2
/** With more loss than this, or longer delays, only the promises for bad networks hold. */
const CALM_LOSS_MAX = 0.1
const CALM_DELAY_MS_MAX = 20

const FAULTS: Record<string, Fault> = {
  crash(target, chance) {
    const running = target.running()
    if (running.length > RUNNING_MIN) target.crash(chance.pick(running).name)
  },
  start(target, chance) {
    const isRunning = new Set(target.running().map((node) => node.name))
    const stopped = target.names().filter((name) => !isRunning.has(name))
    if (stopped.length > 0) target.start(chance.pick(stopped), drawStart(chance))
  },
  /** So quick that nobody notices a death. */
  restart(target, chance) {
    const { name } = chance.pick(target.running())
    target.crash(name)
    target.start(name, drawStart(chance))
  },
  partition(target, chance) {
    const keys = shuffled(target, chance)
    const at = 1 + chance.int(Math.max(1, keys.length - 1))
    target.note(`partition ${keys.slice(0, at)} | ${keys.slice(at)}`)
    target.disturbed(true)
    target.network.partition(keys.slice(0, at), keys.slice(at))
  },
  /** Some cannot reach some others, and everybody reaches the rest. */
  partial(target, chance) {
    const keys = shuffled(target, chance)
    const [a, b] = [keys.slice(0, 1 + chance.int(2)), keys.slice(2, 3 + chance.int(2))]
    target.note(`cut ${a} <> ${b}`)
    target.disturbed(true)
    target.network.partition(a, b)
  },
  oneWay(target, chance) {
    const keys = shuffled(target, chance)
    const to = keys.slice(1, 2 + chance.int(keys.length))
    target.note(`cut ${keys[0]} > ${to}`)
    target.disturbed(true)
    for (const key of to) target.network.cut(keys[0] as string, key)
  },
  heal(target) {
    if (target.network.isWhole) return
    target.note('heal')
    target.network.heal()
    target.disturbed(isBad(target.network.faults))
  },
  freeze(target, chance) {
    const { name, process } = chance.pick(target.running())
    const durationMs = chance.between(200, chance.chance(0.2) ? 120_000 : 20_000)
    target.note(`freeze ${name} for ${Math.round(durationMs)} ms`)
    process.freeze(durationMs)
  },
  slow(target, chance) {
    const { name, process } = chance.pick(target.running())
    const [share, periodMs, durationMs] = [chance.between(0.1, 0.8), chance.between(50, 5000), chance.between(1e4, 9e4)]
    target.note(
      `slow ${name} to ${Math.round(share * 100)} % by ${Math.round(periodMs)} ms for ${Math.round(durationMs)} ms`,
    )
    process.slow({ share, periodMs, durationMs })
  },
  wallClock(target, chance) {
    const { name, process } = chance.pick(target.running())
    const byMs = chance.between(-3_600_000, 3_600_000)
    target.note(`wall clock of ${name} jumps by ${Math.round(byMs / 1000)} s`)
    process.jumpWall(byMs)
  },
  network(target, chance) {
    const isBadOne = chance.chance(0.5)
    const faults: NetworkFaults = {
      loss: chance.between(0, isBadOne ? 0.3 : CALM_LOSS_MAX),
      duplication: chance.between(0, 0.2),
      reordering: chance.between(0, isBadOne ? 0.2 : 0.02),
      streamFailures: chance.between(0, isBadOne ? 0.3 : CALM_LOSS_MAX),
      delayMinMs: 0.2,
      delayMaxMs: chance.between(1, isBadOne ? 80 : CALM_DELAY_MS_MAX),
      bytesPerSecond: isBadOne && chance.chance(0.3) ? chance.between(2000, 50_000) : 0,
    }
    target.note(
      `network: ${JSON.stringify(faults, (_, value) => (typeof value === 'number' ? Number(value.toFixed(3)) : value))}`,
    )
    target.network.faults = faults
    target.disturbed(isBad(faults) || !target.network.isWhole)
  },
  quietNetwork(target) {
    target.note('the network is quiet')
    target.network.faults = { ...quietNetwork }
    target.disturbed(!target.network.isWhole)
  },
}

export interface Plan {
  readonly faults: readonly (readonly [name: string, fault: Fault])[]
  /** Mean time between faults. */
  readonly paceMs: number
}

/** Which kinds of trouble this seed makes, and how fast. @param own faults that only this protocol knows */
export function drawPlan(chance: Chance, own: Record<string, Fault>): Plan {
  const all = Object.entries({ ...FAULTS, ...own })
  const isWild = chance.chance(0.4)
  const faults = all.filter(([name]) => isWild || name === 'start' || chance.chance(0.4))
  // Cuts that nobody heals end the interesting part early.
  for (const name of ['heal', 'quietNetwork']) {
    if (!faults.some(([known]) => known === name)) faults.push([name, FAULTS[name] as Fault])
  }
  return { faults, paceMs: chance.pick([1000, 4000, 4000, 15_000, 60_000]) }
}

/** Makes `count` troubles, with time in between. */
export function makeTrouble(target: Target, plan: Plan, count: number): void {
  const { world } = target
  const { chance } = world
  for (let i = 0; i < count; i++) {
    const [, fault] = chance.pick(plan.faults)
    fault(target, chance)
    world.run(chance.between(0, plan.paceMs * 2))
  }
}

function drawStart(chance: Chance): { isElsewhere: boolean; isWiped: boolean } {
  return { isElsewhere: chance.chance(0.3), isWiped: chance.chance(0.2) }
}

function isBad({ loss, streamFailures, delayMaxMs, bytesPerSecond }: NetworkFaults): boolean {
  return loss > CALM_LOSS_MAX || streamFailures > CALM_LOSS_MAX || delayMaxMs > CALM_DELAY_MS_MAX || bytesPerSecond > 0
}

function shuffled(target: Target, chance: Chance): string[] {
  const keys = target.running().map((node) => node.key)
  for (let i = keys.length - 1; i > 0; i--) {
    const j = chance.int(i + 1)
    const held = keys[i] as string
    keys[i] = keys[j] as string
    keys[j] = held
  }
  return keys
}
