// Majorities. Changes go one server at a time, so any two neighbouring configurations share a voter in any two majorities
// and no joint quorum is needed: Ongaro's thesis §4.1, cluster.md §5.5.

import type { ServerId } from './server.ts'

/** How many of `voterCount` make a majority. */
export function quorumOf(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1
}

/** The greatest value that a majority has reached, given one value a voter. No voters: -Infinity, nothing was ever agreed. */
export function majorityValue(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => b - a)
  return sorted[quorumOf(sorted.length) - 1] ?? Number.NEGATIVE_INFINITY
}

type Tally = 'won' | 'lost' | 'pending'

/** Counts the votes of `voters`; a vote of anybody else does not count. Lost: a majority can no longer be reached. */
export function tally(voters: readonly ServerId[], votes: ReadonlyMap<ServerId, boolean>): Tally {
  let granted = 0
  let missing = 0
  for (const voter of voters) {
    const vote = votes.get(voter)
    if (vote === undefined) missing++
    else if (vote) granted++
  }
  const quorum = quorumOf(voters.length)
  if (granted >= quorum) return 'won'
  return granted + missing < quorum ? 'lost' : 'pending'
}
