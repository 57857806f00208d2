// Bugs that are planted into sessions, proposals and the state machine to see whether the simulator finds them: changes of their text, in a
// copy that the simulated nodes are built of.

import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RaftOptions } from '../../cluster/raft/core/raft.ts'
import type { StateParts } from './state-parts.ts'

interface StateMutant {
  readonly name: string
  /** Found once in a file below cluster/, and replaced. */
  readonly change: { readonly file: string; readonly find: string; readonly replace: string }
  /** What makes it likely to be met. */
  readonly raft?: Partial<RaftOptions>
  /** Worlds begin with this seed. Default 1. */
  readonly from?: number
}

const often = { snapshotThreshold: 20, snapshotIntervalMs: 500, trailingEntries: 0 }

export const STATE_MUTANTS: readonly StateMutant[] = [
  {
    name: 'results are forgotten as soon as they are there',
    change: {
      file: 'state/core/sessions.ts',
      find: 'else own.results.set(request.seq, kept(outcome))',
      replace: 'else own.results.delete(request.seq)',
    },
  },
  {
    name: 'the floor is forgotten',
    change: {
      file: 'state/core/sessions.ts',
      find: 'if (outcome === undefined && request.seq < known.floor) {',
      replace: 'if (outcome === undefined && request.seq < 0) {',
    },
  },
  {
    name: 'a node tells a floor above what it waits for',
    change: {
      file: 'state/core/proposer.ts',
      find: 'return first.done === true ? this.#nextSeq : first.value',
      replace: 'return this.#nextSeq',
    },
  },
  {
    name: 'what is restored forgets the answers of requests',
    change: {
      file: 'state/core/sessions.ts',
      find: "new Map(f.list('results').map(readResult))",
      replace: "new Map(f.list('results').slice(1).map(readResult))",
    },
    raft: often,
  },
  {
    name: 'a snapshot forgets who waits for a lock',
    change: {
      file: 'locks/core/locks.ts',
      find: 'expiry: expiryMs, waiters })',
      replace: 'expiry: expiryMs, waiters: [] })',
    },
    raft: often,
  },
  {
    name: 'a lost request gets a new number',
    change: {
      file: 'state/core/proposer.ts',
      find: 'proposal.lost++',
      replace: 'proposal.lost++; proposal.request = undefined',
    },
  },
  {
    name: 'a node trusts its session for 1.2 of its time',
    change: {
      file: 'state/core/session.ts',
      find: 'const TRUSTED_SHARE = 0.8',
      replace: 'const TRUSTED_SHARE = 1.2',
    },
    // Sessions end at 1.25 of their time: only a clock that is slow, or a verdict at its earliest, shows it.
    from: 20,
  },
  {
    name: 'NODE_DOWN forgets the names',
    change: {
      file: 'names/core/bindings.ts',
      find: 'for (const name of this.#bySession.of(session).sort(compareText)) {',
      replace: 'for (const name of [] as string[]) {',
    },
  },
  {
    name: 'an older run of a node keeps its session',
    change: {
      file: 'state/core/machine.ts',
      find: "if (open?.epoch === epoch) return { status: 'session', session: open.session }",
      replace: "if (open !== undefined) return { status: 'session', session: open.session }",
    },
  },
  {
    name: 'fences are not looked at',
    change: {
      file: 'kv/core/versions.ts',
      find: 'if (fence === undefined || context.lockToken(fence.lock) === fence.token) return undefined',
      replace: 'if (fence === undefined || fence.token >= 0) return undefined',
    },
  },
  {
    name: 'reads on members do not ask the leader',
    change: {
      file: 'state/member.ts',
      find: 'if (!options.stale) await this.#consensus.barrier(options.deadlineMs)',
      replace: '',
    },
  },
]

const ROOT = join(import.meta.dirname, '../..')

/** Parts with the change in them. `folder` is written to. @throws Error when the text is not there exactly once */
export async function mutatedParts({ name, change }: StateMutant, folder: string): Promise<StateParts> {
  rmSync(folder, { recursive: true, force: true })
  for (const part of ['cluster', 'runtime/base']) cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  const file = join(folder, 'cluster', change.file)
  const parts = readFileSync(file, 'utf8').split(change.find)
  if (parts.length !== 2) throw new Error(`"${name}" finds its text ${parts.length - 1} times in ${change.file}`)
  writeFileSync(file, parts.join(change.replace))
  const { ClusterState } = (await import(join(folder, 'cluster/state/state.ts'))) as Pick<StateParts, 'ClusterState'>
  const { Machine } = (await import(join(folder, 'cluster/state/core/machine.ts'))) as Pick<StateParts, 'Machine'>
  const { Names } = (await import(join(folder, 'cluster/names/names.ts'))) as Pick<StateParts, 'Names'>
  const { Possessions } = (await import(join(folder, 'cluster/state/possessions.ts'))) as Pick<
    StateParts,
    'Possessions'
  >
  const codec = (await import(join(folder, 'cluster/state/wire/commands.ts'))) as Omit<StateParts, 'Machine'>
  const errors = (await import(join(folder, 'runtime/base/errors.ts'))) as Pick<StateParts, 'MoonmeshError'>
  const { decodeCommands, decodeEnvelope, joinEnvelopes } = codec
  const { MoonmeshError } = errors
  return { ClusterState, Machine, Names, Possessions, decodeCommands, decodeEnvelope, joinEnvelopes, MoonmeshError }
}
