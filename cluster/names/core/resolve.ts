// Which process a name stands for when several scopes know it, and whom it keeps out. cluster.md §6.1.

/** Who has the name, as one node sees it. */
export interface Holders {
  /** In the log: consistent or strong. */
  readonly global: string | undefined
  /** Who is about to have it as a strong name, or has it and was announced before the log reached this node (§6.4). */
  readonly reserved: string | undefined
  readonly eventual: string | undefined
  /** Of this node. */
  readonly local: string | undefined
}

type Scope = 'local' | 'eventual' | 'consistent' | 'strong'

/** The largest scope speaks first; without the names of this node alone, which every host knows by itself. */
export function resolveShared({ global, eventual }: Holders): string | undefined {
  return global ?? eventual
}

/**
 * Another process that keeps `pid` from having the name in this scope. A name of a larger scope keeps out all others; one of a smaller
 * scope gives way, except that an eventual name is not put over a local one of the same node, whose processes would no longer reach it.
 */
export function holderAgainst(
  scope: Scope,
  pid: string,
  { global, reserved, eventual, local }: Holders,
): string | undefined {
  const larger = [reserved, global]
  if (scope === 'local' || scope === 'eventual') larger.push(eventual)
  if (scope === 'eventual') larger.push(local)
  return larger.find((holder) => holder !== undefined && holder !== pid)
}

/** Another process that has the name here in a scope in which a strong name cannot be put over it. */
export function holderAgainstStrong(pid: string, holders: Pick<Holders, 'eventual' | 'local'>): string | undefined {
  return [holders.eventual, holders.local].find((holder) => holder !== undefined && holder !== pid)
}
