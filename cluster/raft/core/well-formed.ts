// What no server says, whatever it knows: gaps in what an append offers, terms that fall, bytes outside of a snapshot. A
// message that fails here is a peer's mistake and is dropped and counted before it reaches the state machine, whose assertions
// are about ours. cluster.md §0.3, §5.3.

import type { LogPosition } from './entry.ts'
import type { Configuration } from './membership.ts'
import type { AppendRequest, Message, SnapshotMeta, SnapshotRequest } from './messages.ts'
import { compareServers, type ServerId } from './server.ts'

/** Why `message` cannot have come from a server that follows the protocol; undefined when it can. */
export function messageProblem(message: Message): string | undefined {
  if (!isCount(message.term)) return 'its term is not a whole number'
  if (!isCount(message.round)) return 'its round is not a whole number'
  switch (message.kind) {
    case 'prevote':
    case 'vote':
      return positionProblem(message.last, message.term)
    case 'append':
      return appendProblem(message)
    case 'append-reply': {
      const { index, applied, syncMs, hint } = message
      if (!isCount(index) || !isCount(applied)) return 'an index is not a whole number'
      if (!(syncMs >= 0 && syncMs < Number.POSITIVE_INFINITY)) return 'its sync time is not a duration'
      if (hint === undefined) return undefined
      if (!isCount(hint.index) || hint.index === 0) return 'its hint is not an index'
      return hint.term === undefined || isCount(hint.term) ? undefined : 'the term of its hint is not a whole number'
    }
    case 'snapshot':
      return snapshotProblem(message)
    case 'snapshot-reply':
      return isCount(message.index) && isCount(message.offset) ? undefined : 'its index or offset is not a whole number'
    case 'read-index-reply':
      return message.index === undefined || isCount(message.index) ? undefined : 'its index is not a whole number'
    default:
      return undefined
  }
}

function appendProblem({ term, previous, commit, entries, isHeartbeat, clockMs }: AppendRequest): string | undefined {
  const problem = positionProblem(previous, term)
  if (problem !== undefined) return problem
  if (!isCount(commit)) return 'its commit index is not a whole number'
  if (!isCount(clockMs)) return 'its clock is not a whole number'
  if (isHeartbeat && entries.length > 0) return 'a heartbeat carries entries'
  let last = { ...previous, clockMs: 0 }
  for (const entry of entries) {
    if (entry.index !== last.index + 1) return `entry ${entry.index} follows ${last.index}`
    if (!isCount(entry.term) || entry.term < last.term) return `the term of entry ${entry.index} falls`
    if (!isCount(entry.clockMs) || entry.clockMs < last.clockMs) return `the clock of entry ${entry.index} falls`
    if (entry.kind === 'configuration') {
      const wrong = configurationProblem(entry.configuration)
      if (wrong !== undefined) return wrong
    }
    last = entry
  }
  return last.term > term ? `entry ${last.index} is of a later term than its leader` : undefined
}

function snapshotProblem({ term, snapshot, offset, data }: SnapshotRequest): string | undefined {
  const problem = metaProblem(snapshot)
  if (problem !== undefined) return problem
  if (snapshot.term > term) return 'the snapshot is of a later term than its leader'
  if (!isCount(offset)) return 'its offset is not a whole number'
  return offset + data.length > snapshot.sizeBytes ? 'it has bytes behind the end of the snapshot' : undefined
}

function metaProblem({ index, term, clockMs, sizeBytes, configuration }: SnapshotMeta): string | undefined {
  const isWhole = isCount(index) && isCount(term) && isCount(clockMs) && isCount(sizeBytes)
  if (!isWhole || index === 0 || sizeBytes === 0) return 'the snapshot is not described in whole numbers above zero'
  return configurationProblem(configuration)
}

function configurationProblem({ voters, standbys }: Configuration): string | undefined {
  if (voters.length === 0) return 'nobody votes'
  if (!isSorted(voters) || !isSorted(standbys)) return 'the servers are not in order'
  return standbys.some((server) => voters.includes(server)) ? 'a server is voter and standby' : undefined
}

function positionProblem({ index, term: at }: LogPosition, term: number): string | undefined {
  if (!isCount(index) || !isCount(at)) return 'a position is not in whole numbers'
  if ((index === 0) !== (at === 0)) return 'only what is before the first entry has no term'
  return at > term ? 'a position is of a later term than the message' : undefined
}

function isSorted(servers: readonly ServerId[]): boolean {
  return servers.every((server, at) => at === 0 || compareServers(servers[at - 1] as ServerId, server) < 0)
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
