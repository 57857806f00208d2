// The group that this node holds to, remembered beside its store: what it is told by others counts, and whom it asks, follows from that.
// cluster.md §5.4.
//
//   <raft.data_dir>/_sys/formation   {formation, voters}, sealed

import { dirname } from 'node:path'
import { messageOf } from '../../runtime/base/errors.ts'
import type { Fabric } from '../fabric.ts'
import { diskFiles, type Files } from '../storage/files.ts'
import { readSealed, writeSealed } from '../storage/sealed-file.ts'
import type { Consensus } from './consensus.ts'
import { type Affiliation, affiliate, type Sighting } from './core/affiliation.ts'
import { nameOf } from './core/server.ts'
import { seenOf } from './seen.ts'

const DIGITS = 16
const WARN_MS = 60_000

interface AffiliationOptions {
  readonly fabric: Fabric
  /** Undefined: nothing is remembered. */
  readonly path: string | undefined
  readonly files?: Files
}

export class Affiliations {
  readonly #fabric: Fabric
  readonly #path: string | undefined
  readonly #files: Files
  readonly #unsubscribe: (() => void)[] = []
  #known: Affiliation | undefined
  #consensus: Consensus | undefined
  #writing: Promise<void> = Promise.resolve()
  #warnAtMs = Number.NEGATIVE_INFINITY

  private constructor({ fabric, path, files = diskFiles }: AffiliationOptions, known: Affiliation | undefined) {
    this.#fabric = fabric
    this.#path = path
    this.#files = files
    this.#known = known
    fabric.formation = known?.formation
  }

  /** @throws MoonmeshError when what was remembered cannot be read */
  static async open(options: AffiliationOptions): Promise<Affiliations> {
    const { path, files = diskFiles } = options
    const content = path === undefined ? undefined : await readSealed(files, path)
    return new Affiliations(options, parse(content))
  }

  /** From now on it follows what gossip and the own store tell. `consensus`: undefined on a client. */
  follow(consensus: Consensus | undefined): void {
    this.#consensus = consensus
    const look = (): void => this.#look()
    this.#unsubscribe.push(this.#fabric.onLive(look))
    if (consensus !== undefined) this.#unsubscribe.push(consensus.onStatus(look))
    this.#look()
  }

  /** Hex, its first 16 digits; undefined: none was met yet. */
  get formation(): string | undefined {
    return this.#known?.formation
  }

  /** For a node that is in no group: whether it holds to one while only another is there. */
  health(): { ok: boolean; detail: string } {
    const known = this.#known
    if (known === undefined) return { ok: true, detail: 'no group was met yet' }
    const others = this.#others(known.formation)
    if (others.length === 0) return { ok: true, detail: `holds to group ${known.formation}` }
    const names = others.map(({ name }) => name).join(', ')
    const detail = `this node holds to group ${known.formation}, which it met first (${known.voters.join(', ')}); ${names} are in another one with the same cluster id. If the first one is gone for good: stop this node, runtime cluster reset-store --node ${this.#fabric.name}, start it again`
    return { ok: false, detail }
  }

  /** Waits for what is on its way to the disk. */
  async close(): Promise<void> {
    for (const stop of this.#unsubscribe.splice(0)) stop()
    await this.#writing
  }

  #look(): void {
    const before = this.#known
    const now = this.#own() ?? affiliate(before, this.#seen())
    this.#warn()
    if (now === undefined || isSame(now, before)) return
    this.#known = now
    this.#fabric.formation = now.formation
    if (now.formation !== before?.formation) {
      const was = before === undefined ? {} : { before: before.formation }
      this.#fabric.log('info', 'formation_met', { formation: now.formation, ...was })
    }
    this.#write(now)
  }

  /** A store that is in a group settles it. */
  #own(): Affiliation | undefined {
    const { formation, configuration } = this.#consensus?.status() ?? {}
    if (formation === undefined || configuration === undefined) return undefined
    const voters = configuration.configuration.voters.map(nameOf)
    const own = { formation: formation.slice(0, DIGITS), voters }
    // Before its first entries are there, a new member knows nobody.
    return voters.length > 0 || this.#known?.formation !== own.formation ? own : this.#known
  }

  #seen(): Sighting[] {
    return this.#fabric.live().flatMap((node) => {
      const { formation, status } = seenOf(node, false) ?? {}
      if (formation === undefined || status === 'none') return []
      return [{ name: node.name, formation, isVoter: node.tags.get('raft_role') === 'voter' }]
    })
  }

  #others(formation: string): Sighting[] {
    return this.#seen().filter((each) => each.formation !== formation)
  }

  #warn(): void {
    const known = this.#known
    const nowMs = this.#fabric.env.nowMs()
    if (known === undefined || this.#own() !== undefined || nowMs < this.#warnAtMs + WARN_MS) return
    const others = this.#others(known.formation)
    if (others.length === 0) return
    this.#warnAtMs = nowMs
    const fields = { formation: known.formation, others: others.map(({ name }) => name).join(' ') }
    this.#fabric.log('error', 'formation_conflict', fields)
  }

  #write(content: Affiliation): void {
    const path = this.#path
    if (path === undefined) return
    this.#writing = this.#writing
      .then(async () => {
        // What comes after it has overtaken it.
        if (this.#known !== content) return
        await this.#files.makeDirectory(dirname(path))
        await writeSealed(this.#files, path, content)
      })
      .catch((error: unknown) => {
        this.#fabric.log('error', 'formation_not_kept', { reason: messageOf(error) })
      })
  }
}

function isSame(a: Affiliation, b: Affiliation | undefined): boolean {
  return a === b || (a.formation === b?.formation && a.voters.join(' ') === b.voters.join(' '))
}

function parse(content: unknown): Affiliation | undefined {
  const { formation, voters } = (typeof content === 'object' && content !== null ? content : {}) as Record<
    string,
    unknown
  >
  const isValid =
    typeof formation === 'string' && Array.isArray(voters) && voters.every((name) => typeof name === 'string')
  return isValid ? { formation, voters: voters as string[] } : undefined
}
