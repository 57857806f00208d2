// Which group a node holds to that is in none itself: the first one that it met, for ever. Two groups in one cluster are a mistake of people,
// and a node must not go from one to the other by chance. Only when the nodes that made up its group are, most of them, seen in another one,
// and nobody is left in the old, has that one taken its place: their disks are lost, or were restored. cluster.md §5.4, §12.

export interface Affiliation {
  /** The first 16 hex digits. */
  readonly formation: string
  /** Names of those who voted in it when they were last seen, in order. */
  readonly voters: readonly string[]
}

/** A member of some group, as gossip tells. */
export interface Sighting {
  readonly name: string
  readonly formation: string
  readonly isVoter: boolean
}

/** Of one group, at most. */
const VOTERS_MAX = 32

/** @param known undefined: none was met yet @returns `known` itself when nothing is new */
export function affiliate(known: Affiliation | undefined, seen: readonly Sighting[]): Affiliation | undefined {
  const groups = new Map<string, string[]>()
  for (const { name, formation, isVoter } of seen) {
    const voters = groups.get(formation) ?? []
    groups.set(formation, isVoter ? [...voters, name] : voters)
  }
  const of = (formation: string): Affiliation => {
    return { formation, voters: (groups.get(formation) ?? []).sort().slice(0, VOTERS_MAX) }
  }
  if (known === undefined) {
    // Of several that it meets at once, one whose voters are there; which of them is all the same.
    const [first] = [...groups].sort(([a, x], [b, y]) => y.length - x.length || (a < b ? -1 : 1))
    return first === undefined || first[1].length === 0 ? undefined : of(first[0])
  }
  if (groups.has(known.formation)) {
    const now = of(known.formation)
    // Who is out of reach for a moment still votes.
    const isMore = now.voters.some((name) => !known.voters.includes(name)) || now.voters.length > known.voters.length
    return isMore ? now : known
  }
  const heir = [...groups].find(([, voters]) => {
    return voters.filter((name) => known.voters.includes(name)).length > known.voters.length / 2
  })
  return heir === undefined ? known : of(heir[0])
}
