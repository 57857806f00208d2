// Backups of the replicated state, taken through any node: from its own replica, or piece by piece from that of a member. The state is that
// of one moment after the call, and holds every write that was acknowledged before it. cluster.md §5.7, operations.md §2.

import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { pack, unpack } from '../../runtime/base/msgpack.ts'
import type { Fabric, Run } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import { Fields } from '../state/core/fields.ts'
import type { MachineView } from '../state/core/machine.ts'
import type { BackupHeader } from './core/contents.ts'
import { type Backup, Taking } from './taking.ts'

interface BackupsOptions {
  readonly fabric: Fabric
  /** Undefined: this node never has a replica. */
  readonly consensus: Consensus | undefined
  /** The replicated state of this node: whether its replica says anything, and a barrier. */
  readonly state: { readonly replica: object | undefined; barrier(deadlineMs: number): Promise<void> }
  readonly clusterId: string
  /** Of the package. */
  readonly version: string
  /** Runs in the next turn of the event loop. */
  readonly defer: (run: () => void) => void
}

/** Each keeps what is replaced while it lasts. */
const TAKINGS_MAX = 2
const BARRIER_MS = 10_000
const ASK_MS = 15_000
/** Of an answer: below the smallest `internode.max_message_size`. */
const ANSWER_BYTES = 48 * 1024
const OPEN = 'backup.open'
const READ = 'backup.read'
const CLOSE = 'backup.close'

/** A backup that another node takes of the replica here. */
interface Served {
  readonly taking: Taking
  /** Of a piece that was not sent as a whole. */
  rest: Uint8Array
  /** The number of the last answer, and it: a question that comes twice is answered alike. */
  number: number
  answer: Uint8Array
  isBusy: boolean
}

export class Backups {
  readonly #options: BackupsOptions
  readonly #takings = new Set<Taking>()
  readonly #served = new Map<string, Served>()
  readonly #closers: (() => void)[] = []
  #opening = 0
  #ids = 0
  #isClosed = false

  constructor(options: BackupsOptions) {
    this.#options = options
    const { fabric, consensus } = options
    if (consensus === undefined) return
    this.#closers.push(
      fabric.serve(OPEN, async (_body, { peer, signal }) => {
        for (const [key, { taking }] of [...this.#served]) if (taking.isOver) this.#served.delete(key)
        const taking = await this.#take(consensus)
        const id = `${++this.#ids}`
        const fresh = { rest: new Uint8Array(0), number: 0, answer: pack(null), isBusy: false }
        if (signal.aborted) taking.close()
        else this.#served.set(servedKey(peer, id), { taking, ...fresh })
        return pack({ id })
      }),
      fabric.serve(READ, (body, { peer }) => this.#read(peer, body)),
      fabric.onNotify(CLOSE, ({ name }, body) => this.#drop(servedKey(name, new Fields(unpack(body)).text('id')))),
      fabric.onLink(({ kind, node }) => {
        if (kind !== 'down') return
        for (const key of [...this.#served.keys()]) if (key.startsWith(servedKey(node.name, ''))) this.#drop(key)
      }),
    )
  }

  /**
   * Begins a backup, here or at a member. Close it, or read it to its end.
   * @throws MoonmeshError `Unavailable` (no leader, no member is reached), `Timeout`, `LimitExceeded` (others are being taken)
   */
  async take(): Promise<Backup> {
    const { consensus, state } = this.#options
    if (consensus !== undefined && state.replica !== undefined) return this.#take(consensus)
    return this.#takeFromMember()
  }

  /** Gives up what is being taken. Idempotent. */
  close(): void {
    this.#isClosed = true
    for (const close of this.#closers.splice(0)) close()
    for (const taking of [...this.#takings]) taking.close()
    this.#served.clear()
  }

  // ── From the replica here ─────────────────────────────────────────────────────────────────────────────────────────────

  async #take(consensus: Consensus): Promise<Taking> {
    if (this.#takings.size + this.#opening >= TAKINGS_MAX) {
      const text = `${TAKINGS_MAX} backups are being taken of ${this.#options.fabric.name} already; wait for their end`
      throw new MoonmeshError('LimitExceeded', text, { retryable: true })
    }
    this.#opening++
    try {
      await this.#options.state.barrier(BARRIER_MS)
      const view = await this.#viewOf(consensus)
      if (this.#isClosed) {
        view.close()
        throw new MoonmeshError('Canceled', 'this node is stopping')
      }
      return this.#begin(consensus, view)
    } finally {
      this.#opening--
    }
  }

  /** The state between two entries: now, or after the one that is half applied. */
  #viewOf(consensus: Consensus): Promise<MachineView> {
    const { machine } = consensus
    if (!machine.isApplying) return Promise.resolve(machine.view())
    return new Promise((resolve, reject) => {
      const stop = consensus.onApplied(() => {
        stop()
        cancel()
        resolve(machine.view())
      })
      const cancel = this.#options.fabric.after(BARRIER_MS, () => {
        stop()
        reject(new MoonmeshError('Timeout', 'an entry takes too long to be applied', { retryable: true }))
      })
    })
  }

  #begin(consensus: Consensus, view: MachineView): Taking {
    const { fabric, clusterId, version, defer } = this.#options
    const { formation = '', term, configuration } = consensus.status()
    const { index, clockMs, revision, featureLevel, settings, counts } = view
    const header: BackupHeader = {
      clusterId,
      formation,
      index,
      term,
      clockMs,
      revision,
      featureLevel,
      settings,
      voters: configuration.configuration.voters,
      standbys: configuration.configuration.standbys,
      takenAtMs: Math.round(fabric.env.wallMs()),
      node: fabric.name,
      version,
      counts,
    }
    const taking: Taking = new Taking({
      header,
      view,
      after: (delayMs, run) => fabric.after(delayMs, run),
      nowMs: () => fabric.env.nowMs(),
      defer,
      onEnd: () => this.#takings.delete(taking),
    })
    this.#takings.add(taking)
    fabric.log('info', 'backup_begun', { index, keys: counts.keys, bytes: counts.valueBytes })
    return taking
  }

  // ── For others ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Empty bytes: it was the last one. */
  async #read(peer: string, body: Uint8Array): Promise<Uint8Array> {
    const fields = new Fields(unpack(body))
    const key = servedKey(peer, fields.text('id'))
    const number = fields.count('number')
    const served = this.#served.get(key)
    if (served === undefined) throw new MoonmeshError('Canceled', 'this backup was given up', { retryable: true })
    if (number === served.number) return served.answer
    if (number !== served.number + 1 || served.isBusy) {
      throw new MoonmeshError('Invalid', 'pieces of a backup are read one after the other')
    }
    if (served.rest.length === 0) {
      served.isBusy = true
      served.rest = (await served.taking.next()) ?? served.rest
      served.isBusy = false
    }
    served.number = number
    served.answer = pack(served.rest.subarray(0, ANSWER_BYTES))
    served.rest = served.rest.subarray(ANSWER_BYTES)
    return served.answer
  }

  #drop(key: string): void {
    this.#served.get(key)?.taking.close()
    this.#served.delete(key)
  }

  // ── From a member ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async #takeFromMember(): Promise<Backup> {
    const { fabric } = this.#options
    let problem = 'no voter or standby is reached from here'
    for (const member of this.#members()) {
      try {
        const answer = await fabric.request(member, OPEN, pack({}), { deadlineMs: ASK_MS })
        return this.#fromMember(member, new Fields(unpack(answer)).text('id'))
      } catch (error) {
        problem = `${member.name}: ${messageOf(error)}`
      }
    }
    throw new MoonmeshError('Unavailable', `no backup can be taken: ${problem}`, { retryable: true })
  }

  /** Standbys first: they have the least to do. */
  #members(): Run[] {
    const { fabric } = this.#options
    const linked = fabric.live().filter((node) => fabric.isLinked(node))
    const ofRole = (role: string): Run[] => linked.filter(({ tags }) => tags.get('raft_role') === role)
    return [...ofRole('standby'), ...ofRole('voter')]
  }

  #fromMember(member: Run, id: string): Backup {
    const { fabric } = this.#options
    let number = 0
    let isOver = false
    return {
      next: async () => {
        if (isOver) return undefined
        const body = pack({ id, number: ++number })
        const piece = unpack(await fabric.request(member, READ, body, { deadlineMs: ASK_MS }))
        if (!(piece instanceof Uint8Array)) throw new MoonmeshError('Internal', `${member.name} sent no bytes`)
        isOver = piece.length === 0
        if (isOver) fabric.notify(member, CLOSE, pack({ id }))
        return isOver ? undefined : piece
      },
      close: () => {
        if (!isOver) fabric.notify(member, CLOSE, pack({ id }))
        isOver = true
      },
    }
  }
}

function servedKey(node: string, id: string): string {
  return `${node} ${id}`
}
