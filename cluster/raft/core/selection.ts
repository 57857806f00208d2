// Who votes, who stands by. A pure function of what the leader sees, so that every leader chooses alike, and a choice that was made
// is chosen again: incumbents stay, and a better priority decides only who fills an open place. cluster.md §5.8.

import { getOrAdd } from '../../../runtime/base/maps.ts'
import { compareServers, nameOf, type ServerId } from './server.ts'

/** A server that could take part, as it tells of itself. */
export interface Candidate {
  readonly server: ServerId
  /** 0 is best. */
  readonly priority: number
  /** What fails together; empty: nothing else fails with it. */
  readonly domain: string
  /** May vote. Others may stand by. */
  readonly isEligible: boolean
}

export interface Limits {
  /** Odd. */
  readonly votersMax: number
  /** Odd; what is lost for good shrinks the voters no further than this. */
  readonly votersMin: number
  readonly standbysMax: number
}

export interface SelectionInput {
  readonly limits: Limits
  /** The configuration as it is. */
  readonly voters: readonly ServerId[]
  readonly standbys: readonly ServerId[]
  readonly leader?: ServerId
  /** Live servers that could be members: of this cluster, of no other formation, with an intact store. */
  readonly present: readonly Candidate[]
  /** What absent members last told of themselves, where it is known. */
  readonly absent?: readonly Candidate[]
  /** Members that are lost for good: their store is another one, or nobody has seen them for long. */
  readonly evictable: ReadonlySet<ServerId>
  /** One voter may be exchanged for another to spread the voters over more failure domains. */
  readonly maySpread?: boolean
}

export interface Selection {
  /** How many voters there should be. */
  readonly target: number
  /** Who they should be, best first; fewer than `target` when there are not enough servers. */
  readonly voters: readonly ServerId[]
  /** Best first. */
  readonly standbys: readonly ServerId[]
  /** The exchange that spreads the voters, when there is one. */
  readonly spread?: { readonly out: ServerId; readonly in: ServerId }
}

/** Invariant: `voters` and `standbys` share nobody, and hold nobody who is evictable. */
export function select(input: SelectionInput): Selection {
  const { limits, evictable, leader } = input
  const known = new Map<ServerId, Candidate>()
  for (const candidate of [...(input.absent ?? []), ...input.present]) known.set(candidate.server, candidate)
  const present = new Set(input.present.map(({ server }) => server))
  const order = new Ranking(known)
  const isElector = (server: ServerId): boolean => present.has(server) && known.get(server)?.isEligible === true
  const electors = order.sort([...present].filter((server) => isElector(server) && !evictable.has(server)))
  const lostVoters = input.voters.filter((server) => evictable.has(server)).length
  const target = targetOf(limits, { electors: electors.length, voters: input.voters.length, lostVoters })

  const chosen = new Set(
    order.sort(input.voters.filter((server) => !evictable.has(server) && (isElector(server) || !present.has(server)))),
  )
  while (chosen.size > target) chosen.delete(order.mostCrowded([...chosen], leader))
  while (chosen.size < target) {
    const next = order.loneliest(electors, chosen)
    if (next === undefined) break
    chosen.add(next)
  }
  // An exchange takes a voter more for a moment. While one of them is still to go that would be two, and nobody left to fill the
  // places of so many: the lost one would stay.
  const isComplete = input.voters.length === target && input.voters.every((server) => chosen.has(server))
  const spread =
    input.maySpread === true && isComplete ? spreadOf(order, { chosen, electors, target, leader }) : undefined
  if (spread !== undefined) {
    chosen.delete(spread.out)
    chosen.add(spread.in)
  }
  return {
    target,
    voters: order.sort([...chosen]),
    standbys: standbysOf(input, order, { chosen, present }),
    ...(spread === undefined ? {} : { spread }),
  }
}

/** The greatest odd number that is not above `count`; 0 for none. */
export function largestOdd(count: number): number {
  return count <= 0 ? 0 : count % 2 === 1 ? count : count - 1
}

function targetOf(
  { votersMax, votersMin }: Limits,
  { electors, voters, lostVoters }: { electors: number; voters: number; lostVoters: number },
): number {
  const now = largestOdd(voters)
  return Math.min(
    votersMax,
    Math.max(largestOdd(electors), now - 2 * Math.floor(lostVoters / 2), Math.min(votersMin, now)),
  )
}

function spreadOf(
  order: Ranking,
  state: { chosen: ReadonlySet<ServerId>; electors: readonly ServerId[]; target: number; leader: ServerId | undefined },
): { out: ServerId; in: ServerId } | undefined {
  const { chosen, target, leader } = state
  const counts = order.countByDomain([...chosen])
  const crowded = [...counts].filter(([, count]) => count > Math.floor(target / 2)).sort(([a], [b]) => (a < b ? -1 : 1))
  const [domain, count] = crowded[0] ?? ['', 0]
  const candidate = order.loneliest(
    state.electors.filter((server) => (counts.get(order.domainOf(server)) ?? 0) + 1 < count),
    chosen,
  )
  const out = order.sort([...chosen].filter((server) => order.domainOf(server) === domain && server !== leader)).pop()
  return candidate === undefined || out === undefined ? undefined : { out, in: candidate }
}

function standbysOf(
  { limits, standbys, evictable }: SelectionInput,
  order: Ranking,
  { chosen, present }: { chosen: ReadonlySet<ServerId>; present: ReadonlySet<ServerId> },
): ServerId[] {
  const isOpen = (server: ServerId): boolean => !chosen.has(server) && !evictable.has(server)
  // Who is away for a moment keeps its place: a restart is no reason to bring in another one, and then to send one away.
  const incumbents = order.sort(standbys.filter(isOpen))
  const others = order.sort([...present].filter((server) => isOpen(server) && !standbys.includes(server)))
  return order.sort([...incumbents, ...others].slice(0, limits.standbysMax))
}

/** By priority, then by name; what is not known of a server makes it last. */
class Ranking {
  readonly #known: ReadonlyMap<ServerId, Candidate>

  constructor(known: ReadonlyMap<ServerId, Candidate>) {
    this.#known = known
  }

  /** Best first. */
  sort(servers: readonly ServerId[]): ServerId[] {
    return [...servers].sort((a, b) => this.#compare(a, b))
  }

  /** A name for what fails together with the server. */
  domainOf(server: ServerId): string {
    const domain = this.#known.get(server)?.domain ?? ''
    return domain === '' ? `server ${server}` : `domain ${domain}`
  }

  countByDomain(servers: readonly ServerId[]): Map<string, number> {
    const counts = new Map<string, number>()
    for (const server of servers) {
      const domain = this.domainOf(server)
      counts.set(domain, getOrAdd(counts, domain, () => 0) + 1)
    }
    return counts
  }

  /** The worst of those that share their domain with most others; the leader only when nobody else is left. */
  mostCrowded(servers: readonly ServerId[], leader: ServerId | undefined): ServerId {
    const counts = this.countByDomain(servers)
    const crowd = (server: ServerId): number => counts.get(this.domainOf(server)) ?? 0
    const others = servers.filter((server) => server !== leader)
    const [worst] = others.sort((a, b) => crowd(b) - crowd(a) || this.#compare(b, a))
    return worst ?? (servers[0] as ServerId)
  }

  /** The best of those whose domain has fewest among the chosen. */
  loneliest(candidates: readonly ServerId[], chosen: ReadonlySet<ServerId>): ServerId | undefined {
    const counts = this.countByDomain([...chosen])
    const crowd = (server: ServerId): number => counts.get(this.domainOf(server)) ?? 0
    const free = candidates.filter((server) => !chosen.has(server))
    return free.sort((a, b) => crowd(a) - crowd(b) || this.#compare(a, b))[0]
  }

  #compare(a: ServerId, b: ServerId): number {
    const byPriority = this.#priorityOf(a) - this.#priorityOf(b)
    return byPriority || compareServers(nameOf(a), nameOf(b)) || compareServers(a, b)
  }

  #priorityOf(server: ServerId): number {
    return this.#known.get(server)?.priority ?? PRIORITY_UNKNOWN
  }
}

/** Worse than any that can be configured. */
const PRIORITY_UNKNOWN = 1_000_000
