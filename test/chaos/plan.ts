// What happens to the cluster, and when, as it follows from the seed alone. Whom a fault strikes may be said by its part (`leader`): that is
// known when it begins.

import { Chance } from './chance.ts'

/** A node by its place, or by the part that it has at the moment of the fault. */
export type Target = 'leader' | 'holder' | number

export type Fault =
  /** Killed at once, started again at the end. */
  | { readonly kind: 'kill'; readonly who: Target }
  /** As kill, and what was not synced is lost, as when the power fails. */
  | { readonly kind: 'power'; readonly who: Target }
  /** All at the same moment. */
  | { readonly kind: 'kill-all' }
  | { readonly kind: 'power-all' }
  /** Stands still, and goes on at the end. */
  | { readonly kind: 'stop'; readonly who: Target }
  /** Asked to stop, started again at once, one node after the other. */
  | { readonly kind: 'rolling-restart' }
  /** Restarted at once with another address. */
  | { readonly kind: 'move'; readonly who: Target }
  /** Two parts that do not hear each other. */
  | { readonly kind: 'halves'; readonly left: readonly number[] }
  | { readonly kind: 'isolate'; readonly who: Target }
  /** What others send does not arrive, or what it sends. */
  | { readonly kind: 'deaf'; readonly who: Target }
  | { readonly kind: 'mute'; readonly who: Target }
  /** Two parts that hear each other only through one node. */
  | { readonly kind: 'bridge'; readonly over: number; readonly left: readonly number[] }
  /** Two nodes that do not hear each other. */
  | { readonly kind: 'pair'; readonly one: number; readonly other: number }
  /** Connections that come and go each second. */
  | { readonly kind: 'flicker'; readonly who: Target }
  | { readonly kind: 'slow-link'; readonly who: Target; readonly kbit: number }
  | { readonly kind: 'loss'; readonly share: number }
  | { readonly kind: 'full-disk'; readonly who: Target }
  | { readonly kind: 'slow-disk'; readonly who: Target; readonly syncMs: number }
  /** Killed; bytes at the end of its log are changed; it has to refuse, or to know that nothing is missing. */
  | { readonly kind: 'corrupt'; readonly who: Target }
  /** Killed; its disk is what it was some time ago. */
  | { readonly kind: 'rollback'; readonly who: Target }
  /** Killed; its disk is empty. */
  | { readonly kind: 'wipe'; readonly who: Target }
  /** The clock of the wall jumps, and jumps back at the end. */
  | { readonly kind: 'clock'; readonly who: number; readonly bySeconds: number }
  | { readonly kind: 'rotate-key' }
  | { readonly kind: 'rotate-certificates' }
  | { readonly kind: 'transfer' }
  | { readonly kind: 'garbage'; readonly who: Target }
  /** Somebody with a name that is taken, with another key, or with a certificate of somebody else. */
  | { readonly kind: 'intruder'; readonly how: 'name' | 'key' | 'certificate' }

export type FaultKind = Fault['kind']

export interface Step {
  /** From the end of the step before, without which it does not begin. */
  readonly afterMs: number
  readonly lastsMs: number
  readonly faults: readonly Fault[]
}

export interface Plan {
  readonly seed: number
  readonly nodes: number
  /** The last ones are no servers. */
  readonly clients: number
  readonly voters: 3 | 5
  readonly security: 'plain' | 'key' | 'certificates'
  readonly steps: readonly Step[]
}

interface PlanOptions {
  readonly seed: number
  readonly nodes: number
  readonly durationMs: number
  /** What there is no way to do here, or what is not wanted. */
  readonly without?: ReadonlySet<FaultKind>
}

const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  kill: 14,
  power: 8,
  'kill-all': 2,
  'power-all': 3,
  stop: 10,
  'rolling-restart': 2,
  move: 4,
  halves: 8,
  isolate: 10,
  deaf: 4,
  mute: 4,
  bridge: 5,
  pair: 3,
  flicker: 3,
  'slow-link': 3,
  loss: 3,
  'full-disk': 4,
  'slow-disk': 3,
  corrupt: 3,
  rollback: 3,
  wipe: 3,
  clock: 4,
  'rotate-key': 2,
  'rotate-certificates': 2,
  transfer: 4,
  garbage: 2,
  intruder: 3,
}

export const KINDS = Object.keys(WEIGHTS) as FaultKind[]

/** They take a store away: nothing else may be wrong at the time, or what was acknowledged would be gone by right. */
export const DESTRUCTIVE: ReadonlySet<FaultKind> = new Set(['corrupt', 'rollback', 'wipe'])
/** They need the whole cluster for themselves. */
const ALONE: ReadonlySet<FaultKind> = new Set([
  ...DESTRUCTIVE,
  'kill-all',
  'power-all',
  'rolling-restart',
  'rotate-key',
])
/** Those that go well with another one at the same time. */
const SECOND: readonly FaultKind[] = ['kill', 'power', 'stop', 'isolate', 'pair', 'transfer', 'slow-link']

export function planOf({ seed, nodes, durationMs, without = new Set() }: PlanOptions): Plan {
  const chance = new Chance(seed)
  const clients = nodes > 5 ? 2 : 1
  const servers = nodes - clients
  const voters = servers >= 5 && chance.chance(0.5) ? 5 : 3
  const security = chance.weighted({ plain: 1, key: 2, certificates: 2 })
  const weights = Object.fromEntries(Object.entries(WEIGHTS).filter(([kind]) => !without.has(kind as FaultKind)))
  const steps: Step[] = []
  for (let atMs = 0; ; ) {
    const kind = chance.weighted(weights as Record<FaultKind, number>)
    const faults = [faultOf(kind, nodes, servers, chance)]
    const second = chance.pick(SECOND)
    // Drawn whether or not it is used, so that what cannot be done here changes little else.
    const isDouble = chance.chance(0.25)
    if (isDouble && !ALONE.has(kind) && !without.has(second)) faults.push(faultOf(second, nodes, servers, chance))
    const step = { afterMs: chance.between(2000, 9000), lastsMs: lastsMs(kind, chance), faults }
    atMs += step.afterMs + step.lastsMs
    if (atMs > durationMs) return { seed, nodes, clients, voters, security, steps }
    steps.push(step)
  }
}

function lastsMs(kind: FaultKind, chance: Chance): number {
  const long = chance.chance(0.2)
  const drawn = long ? chance.between(15_000, 30_000) : chance.between(1000, 10_000)
  if (kind === 'kill' || kind === 'power') return chance.chance(0.3) ? 0 : drawn
  if (kind === 'transfer' || kind === 'rolling-restart' || kind === 'move') return 0
  if (kind === 'garbage' || kind === 'intruder') return Math.min(drawn, 8000)
  return drawn
}

function faultOf(kind: FaultKind, nodes: number, servers: number, chance: Chance): Fault {
  const who: Target = chance.chance(0.35) ? 'leader' : chance.chance(0.3) ? 'holder' : chance.int(nodes)
  const server: Target = chance.chance(0.35) ? 'leader' : chance.int(servers)
  const order = chance.shuffled(Array.from({ length: nodes }, (_, i) => i))
  const small = chance.between(1, Math.floor(nodes / 2))
  switch (kind) {
    case 'kill':
    case 'power':
    case 'stop':
    case 'move':
    case 'isolate':
    case 'deaf':
    case 'mute':
    case 'flicker':
    case 'full-disk':
    case 'garbage':
      return { kind, who }
    case 'corrupt':
    case 'rollback':
    case 'wipe':
      return { kind, who: server }
    case 'kill-all':
    case 'power-all':
    case 'rolling-restart':
    case 'rotate-key':
    case 'rotate-certificates':
    case 'transfer':
      return { kind }
    case 'halves':
      return { kind, left: order.slice(0, small).sort() }
    case 'bridge':
      return { kind, over: order[0] as number, left: order.slice(1, 1 + small).sort() }
    case 'pair':
      return { kind, one: order[0] as number, other: order[1] as number }
    case 'slow-link':
      return { kind, who, kbit: chance.pick([128, 512, 2000]) }
    case 'loss':
      return { kind, share: chance.pick([0.05, 0.15, 0.3]) }
    case 'slow-disk':
      return { kind, who: server, syncMs: chance.pick([100, 500, 2000]) }
    case 'clock':
      return { kind, who: chance.int(nodes), bySeconds: chance.pick([3600, -3600, 40, -40]) }
    case 'intruder':
      return { kind, how: chance.pick(['name', 'key', 'certificate'] as const) }
  }
}

export function describe(fault: Fault): string {
  const { kind } = fault
  const parts: string[] = []
  if ('who' in fault) parts.push(typeof fault.who === 'number' ? `n${fault.who + 1}` : `the ${fault.who}`)
  if ('left' in fault) parts.push(fault.left.map((i) => `n${i + 1}`).join(' '), 'from the others')
  if ('over' in fault) parts.push(`but over n${fault.over + 1}`)
  if (fault.kind === 'pair') parts.push(`n${fault.one + 1} and n${fault.other + 1}`)
  if (fault.kind === 'loss') parts.push(`${fault.share * 100} %`)
  if (fault.kind === 'slow-link') parts.push(`${fault.kbit} kbit/s`)
  if (fault.kind === 'slow-disk') parts.push(`${fault.syncMs} ms a sync`)
  if (fault.kind === 'clock') parts.push(`${fault.bySeconds > 0 ? '+' : ''}${fault.bySeconds} s`)
  if (fault.kind === 'intruder') parts.push(`wrong ${fault.how}`)
  return [kind, ...parts].join(' ')
}
