// Bugs that are put into a copy of the built product, to see whether a run finds them. A patch that does not fit stops the run: the code that it
// is made for has changed.

import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Plant {
  readonly name: string
  /** What goes wrong. */
  readonly what: string
  readonly patches: readonly { readonly file: string; readonly from: string; readonly to: string }[]
}

export const PLANTS: readonly Plant[] = [
  {
    name: 'expiry-ignored',
    what: 'a node trusts its locks for as long as it lives, whatever the cluster has decided meanwhile',
    patches: [
      { file: 'cluster/state/core/session.js', from: 'const TRUSTED_SHARE = 0.8;', to: 'const TRUSTED_SHARE = 1000;' },
    ],
  },
  {
    name: 'no-barrier',
    what: 'linearizable reads are answered from what a member happens to have applied',
    patches: [{ file: 'cluster/state/member.js', from: 'if (!options.stale)', to: 'if (false)' }],
  },
  {
    name: 'not-synced',
    what: 'votes and entries are acknowledged before the disk has them',
    patches: [{ file: 'cluster/storage/level.js', from: '{ sync: true }', to: '{ sync: false }' }],
  },
  {
    name: 'commit-alone',
    what: 'a leader counts an entry as committed when one voter has it',
    patches: [
      {
        file: 'cluster/raft/core/quorum.js',
        from: 'return sorted[quorumOf(sorted.length) - 1] ??',
        to: 'return sorted[0] ??',
      },
    ],
  },
  {
    name: 'done-twice',
    what: 'a request that is asked again after a lost answer is done again',
    patches: [
      {
        file: 'cluster/state/core/sessions.js',
        from: 'own.results.set(request.seq, kept(outcome));',
        to: 'own.results.delete(request.seq);',
      },
    ],
  },
  {
    name: 'fences-ignored',
    what: 'a write with the token of an earlier grant is accepted',
    patches: [
      {
        file: 'cluster/kv/core/versions.js',
        from: 'context.lockToken(fence.lock) === fence.token',
        to: 'fence.token >= 0',
      },
    ],
  },
  {
    name: 'losers-not-told',
    what: 'who loses an eventual name is not told',
    patches: [
      {
        file: 'cluster/names/core/eventual.js',
        from: "this.#effects.push({ kind: 'revoked', name: dot.name, pid: dot.bound.pid, winner });",
        to: '',
      },
    ],
  },
]

/** @returns the program of the copy. @throws when there is no such bug, or a patch does not fit exactly once */
export function plantedCopy(root: string, dir: string, name: string): string {
  const plant = PLANTS.find((each) => each.name === name)
  if (plant === undefined)
    throw new Error(`no such bug: ${name}; there are ${PLANTS.map((each) => each.name).join(', ')}`)
  const copy = join(dir, 'planted')
  cpSync(join(root, '.modules'), join(copy, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(copy, 'package.json'))
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  for (const { file, from, to } of plant.patches) {
    const path = join(copy, 'dist', file)
    const pieces = readFileSync(path, 'utf8').split(from)
    if (pieces.length !== 2)
      throw new Error(`${name}: ${file} has ${pieces.length - 1} places like ${JSON.stringify(from)}, not one`)
    writeFileSync(path, pieces.join(to))
  }
  return join(copy, 'dist/runtime/cli/main.js')
}
