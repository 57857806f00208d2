// Bugs that are planted to see whether the simulator finds them. Those of the core are changes of its text, so that the core
// itself knows nothing of them; those around it are switches of the simulated node.

import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Raft, RaftOptions } from '../../cluster/raft/core/raft.ts'
import type { PlantedBugs } from './raft-node.ts'

interface Mutant {
  readonly name: string
  /** Found once in a file of the core, and replaced. */
  readonly change?: Change
  readonly bugs?: PlantedBugs
  /** What makes it likely to be met. */
  readonly raft?: Partial<RaftOptions>
  /** Worlds begin with this seed. Default 1. */
  readonly from?: number
}

const often = { snapshotThreshold: 8, snapshotIntervalMs: 200, trailingEntries: 0, holdMs: 0 }

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a vote is not written down',
    change: {
      file: 'raft.ts',
      find: 'persist.hardState = this.#vote === undefined ? { term: this.#term } : { term: this.#term, vote: this.#vote }',
      replace: 'persist.hardState = { term: this.#term }',
    },
  },
  {
    name: 'answers do not wait for the disk',
    change: {
      file: 'raft.ts',
      find: 'if (write <= this.#written) this.#send(to, message)',
      replace: 'if (true) this.#send(to, message)',
    },
  },
  {
    name: 'a leader counts itself before its disk has it',
    change: {
      file: 'raft.ts',
      find: 'if (voter === this.id) return this.#durable',
      replace: 'if (voter === this.id) return this.#log.lastIndex',
    },
  },
  {
    name: 'entries of an earlier term are committed by counting',
    change: {
      file: 'raft.ts',
      find: 'if (index <= this.#commit || this.#log.term(index) !== this.#term) return',
      replace: 'if (index <= this.#commit) return',
    },
  },
  {
    name: 'nobody checks the quorum',
    change: {
      file: 'raft.ts',
      find: 'if (this.#quorumContactMs(true) < this.#nowMs - this.#options.heartbeatTimeoutMs) {',
      replace: 'if (this.#nowMs < 0) {',
    },
  },
  {
    name: 'votes do not look at the log',
    change: {
      file: 'entry.ts',
      find: 'return a.term > b.term ||',
      replace: 'return a.term >= 0 || a.term > b.term ||',
    },
  },
  {
    name: 'a second vote in a term',
    change: {
      file: 'raft.ts',
      find: 'const isFree = this.#vote === undefined ? this.#leader === undefined : this.#vote === from',
      replace:
        'const isFree = true; if (this.#role === "follower" && request.term === this.#term) this.#vote = undefined',
    },
  },
  {
    name: 'a delayed append cuts the log',
    change: {
      file: 'raft.ts',
      find: 'this.#commitTo(Math.min(request.commit, lastNew))',
      replace:
        'if (lastNew < this.#log.lastIndex && lastNew >= this.#commit) this.#truncateAfter(lastNew); this.#commitTo(Math.min(request.commit, lastNew))',
    },
  },
  {
    name: 'appends are not compared with the log before them',
    change: {
      file: 'raft.ts',
      find: 'const isMatching = previous.index <= this.#commit || this.#log.matches(previous)',
      replace: 'const isMatching = previous.index <= this.#log.lastIndex',
    },
  },
  {
    name: 'two changes of the configuration at once',
    change: {
      file: 'raft.ts',
      find: 'if (newest.index > this.#commit) return',
      replace: 'if (newest.index < 0) return',
    },
  },
  {
    name: 'a change before the first entry of the term',
    change: {
      file: 'raft.ts',
      find: "if (!this.isReady) return this.#refuse(ref, 'not-ready')",
      replace: '',
    },
  },
  {
    name: 'a change without a quorum',
    change: {
      file: 'raft.ts',
      find: 'return quorumProblem(next, available)',
      replace: 'return quorumProblem(next, new Set(next.voters))',
    },
  },
  {
    name: 'a promotion before it has caught up',
    change: {
      file: 'raft.ts',
      find: 'if (!this.#isSynced(progress)) return',
      replace: 'if (progress.match < 0) return',
    },
  },
  {
    name: 'standbys count',
    change: {
      file: 'raft.ts',
      find: `    const index = majorityValue(
      this.#log.newest.configuration.voters.map(`,
      replace: `    const index = majorityValue(
      membersOf(this.#log.newest.configuration).map(`,
    },
  },
  {
    name: 'reads do not ask for a round',
    change: {
      file: 'raft.ts',
      find: 'if (this.hasLease()) return this.#answerRead(reader, this.#commit)',
      replace: 'return this.#answerRead(reader, this.#commit)',
    },
    from: 61,
  },
  {
    name: 'reads are answered before the first entry of the term',
    change: {
      file: 'raft.ts',
      find: 'if (!this.isReady || this.#transfer?.isSent === true) return',
      replace: 'if (this.#transfer?.isSent === true) return',
    },
  },
  {
    name: 'a lease without an end',
    change: {
      file: 'raft.ts',
      find: 'this.#env.nowMs() < this.#quorumContactMs(false) +',
      replace: 'this.#env.nowMs() < 1e12 +',
    },
    raft: { readMode: 'lease' },
    from: 61,
  },
  {
    name: 'no wait after a restart, under leases',
    change: { file: 'raft.ts', find: 'const isNewborn = this.#term <= 1', replace: 'const isNewborn = true' },
    raft: { readMode: 'lease' },
  },
  {
    name: 'an acknowledgement of more than was offered',
    change: {
      file: 'raft.ts',
      find: 'const lastNew = previous.index + entries.length',
      replace: 'const lastNew = Math.max(previous.index + entries.length, this.#log.lastIndex)',
    },
  },
  {
    name: 'the log clock starts anew with every leader',
    change: {
      file: 'raft.ts',
      find: 'clockMs: this.#log.lastClockMs }\n    if (this.#bytes',
      replace: 'clockMs: this.#log.lastClockMs + 60_000 }\n    if (this.#bytes',
    },
  },
  {
    name: 'the log is cut behind a snapshot on its way',
    change: {
      file: 'raft.ts',
      find: 'if (needed !== undefined && needed >= atLeast) index = Math.min(index, needed)',
      replace: '',
    },
    raft: { ...often, holdMs: 60_000, trailingBytes: 1024 * 1024 },
  },
  {
    name: 'entries that are not committed leave the memory',
    change: {
      file: 'raft.ts',
      find: 'this.#log.evict(Math.min(this.#commit, this.#durable)',
      replace: 'this.#log.evict(this.#durable',
    },
    raft: { cacheBytesMax: 300 },
  },
  { name: 'a disk that says done before it is', bugs: { lyingDisk: true } },
  { name: 'a snapshot forgets the answers of requests', bugs: { forgetfulSnapshots: true }, raft: often },
  { name: 'the index of a snapshot is one too low', bugs: { snapshotShift: -1 }, raft: often },
  { name: 'a snapshot is acknowledged before its file is complete', bugs: { hastySnapshots: true }, raft: often },
  { name: 'an answer before the commit', bugs: { hastyAnswers: true } },
  { name: 'reads of local state', bugs: { localReads: true } },
]

const ROOT = join(import.meta.dirname, '../..')

export interface Change {
  readonly file: string
  readonly find: string
  readonly replace: string
}

/** A copy of the core with the change in it. `folder` is written to. @throws Error when the text is not there exactly once */
export async function mutatedCore(mutant: Mutant, folder: string): Promise<typeof Raft | undefined> {
  if (mutant.change === undefined) return undefined
  mutate(mutant.name, mutant.change, folder)
  const module = (await import(join(folder, 'cluster/raft/core/raft.ts'))) as { Raft: typeof Raft }
  return module.Raft
}

/** Copies a core to `folder`, with one change. @param core its folder in the repository */
export function mutate(name: string, change: Change, folder: string, core = 'cluster/raft/core'): void {
  rmSync(folder, { recursive: true, force: true })
  for (const part of [core, 'runtime/base']) cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  const file = join(folder, core, change.file)
  const parts = readFileSync(file, 'utf8').split(change.find)
  if (parts.length !== 2) throw new Error(`"${name}" finds its text ${parts.length - 1} times in ${change.file}`)
  writeFileSync(file, parts.join(change.replace))
}
