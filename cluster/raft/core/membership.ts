// Who votes and who only listens, and the steps from one configuration to the next. Ongaro's thesis §4.1, §4.2.1;
// cluster.md §5.5. A step touches one server: add a standby, promote it, demote a voter, remove either.

import { quorumOf } from './quorum.ts'
import { compareServers, type ServerId } from './server.ts'

/** Invariant: both lists are sorted, hold nobody twice, and share nobody. */
export interface Configuration {
  readonly voters: readonly ServerId[]
  readonly standbys: readonly ServerId[]
}

export const NOBODY: Configuration = { voters: [], standbys: [] }

export interface ConfigurationChange {
  readonly op: 'add-standby' | 'promote' | 'demote' | 'remove'
  readonly server: ServerId
}

export function configurationOf(voters: readonly ServerId[], standbys: readonly ServerId[] = []): Configuration {
  return { voters: [...voters].sort(compareServers), standbys: [...standbys].sort(compareServers) }
}

type ChangeResult = { ok: true; configuration: Configuration } | { ok: false; why: string }

/** The configuration after `change`; `why` says what stands against it in the configuration itself. */
export function applyChange(now: Configuration, change: ConfigurationChange): ChangeResult {
  const { op, server } = change
  const isVoter = now.voters.includes(server)
  const isStandby = now.standbys.includes(server)
  const voters = now.voters.filter((id) => id !== server)
  const standbys = now.standbys.filter((id) => id !== server)
  switch (op) {
    case 'add-standby':
      if (isVoter || isStandby) return refused(`${server} is already a member`)
      return { ok: true, configuration: configurationOf(voters, [...standbys, server]) }
    case 'promote':
      if (!isStandby) return refused(`${server} is not a standby`)
      return { ok: true, configuration: configurationOf([...voters, server], standbys) }
    case 'demote':
      if (!isVoter) return refused(`${server} is not a voter`)
      if (voters.length === 0) return refused(`${server} is the last voter`)
      return { ok: true, configuration: configurationOf(voters, [...standbys, server]) }
    case 'remove':
      if (!isVoter && !isStandby) return refused(`${server} is not a member`)
      if (voters.length === 0) return refused(`${server} is the last voter`)
      return { ok: true, configuration: configurationOf(voters, standbys) }
  }
}

/**
 * Why a step to `next` would leave too few voters to carry on, or undefined when it would not.
 * `available`: servers that are live and were in contact lately, the leader among them. cluster.md §5.5, quorum rule.
 */
export function quorumProblem(next: Configuration, available: ReadonlySet<ServerId>): string | undefined {
  const present = next.voters.filter((voter) => available.has(voter)).length
  const needed = quorumOf(next.voters.length)
  if (present >= needed) return undefined
  const missing = next.voters.filter((voter) => !available.has(voter)).join(', ')
  return `only ${present} of the next ${next.voters.length} voters are reachable and ${needed} are needed; missing: ${missing}`
}

/** Servers of both lists, in order. */
export function membersOf(configuration: Configuration): ServerId[] {
  return [...configuration.voters, ...configuration.standbys].sort(compareServers)
}

function refused(why: string): ChangeResult {
  return { ok: false, why }
}
