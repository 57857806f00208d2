// What a group has agreed on for all its servers: the settings in its log, beside those in this node's own file. Who differs says so and goes
// by the group; an operator changes them through the leader's file. cluster.md §2.2, §5.1.

import { isPackedMap, type Packed, type PackedMap, pack, unpack } from '../../runtime/base/msgpack.ts'
import type { RaftSettings } from '../config.ts'
import type { Fabric } from '../fabric.ts'
import type { Consensus } from './consensus.ts'
import type { Limits } from './core/selection.ts'
import type { StoreMeta } from './store.ts'

/** Milliseconds, bytes and counts. */
interface GroupSettings {
  readonly electionTimeoutMs: number
  readonly heartbeatTimeoutMs: number
  readonly entryBytesMax: number
  readonly standbysMax: number
  /** Odd. */
  readonly votersMax: number
  readonly sessionTtlMs: number
}

/** By their names in the log, which are those of the file. */
const KEYS = {
  election_timeout: 'electionTimeoutMs',
  heartbeat_timeout: 'heartbeatTimeoutMs',
  max_entry_size: 'entryBytesMax',
  max_standbys: 'standbysMax',
  max_voters: 'votersMax',
  session_ttl: 'sessionTtlMs',
} as const satisfies Record<string, keyof GroupSettings>
type Key = keyof typeof KEYS
const NAMES = Object.keys(KEYS) as Key[]

interface Difference {
  readonly setting: Key
  readonly own: number
  readonly agreed: number
}

/** Of this node's file. */
export function groupSettingsOf(settings: RaftSettings, sessionTtlMs: number): GroupSettings {
  const { electionTimeoutMs, heartbeatTimeoutMs, entryBytesMax, standbysMax, votersMax } = settings
  return { electionTimeoutMs, heartbeatTimeoutMs, entryBytesMax, standbysMax, votersMax, sessionTtlMs }
}

/** As an entry of the log; `before` keeps what is not in any file. */
export function packGroupSettings(settings: GroupSettings, before: PackedMap = { feature_level: 0 }): Uint8Array {
  const agreed = new Map<string, Packed>()
  for (const [name, value] of Object.entries(before)) if (value !== undefined) agreed.set(name, value)
  for (const name of NAMES) agreed.set(name, settings[KEYS[name]])
  return pack(Object.fromEntries([...agreed].sort(([a], [b]) => (a < b ? -1 : 1))))
}

/** What an entry says; a later version may say more, and what is no number it does not say. */
function readGroupSettings(map: PackedMap): Partial<GroupSettings> {
  const found: Record<string, number> = {}
  for (const name of NAMES) {
    const value = map[name]
    const isFine =
      typeof value === 'number' && Number.isSafeInteger(value) && value >= (name === 'max_standbys' ? 0 : 1)
    if (isFine && (name !== 'max_voters' || value % 2 === 1)) found[KEYS[name]] = value
  }
  return found
}

/** What the store of a server remembers, or its group began with; nothing where it knows neither. */
export function keptIn({ agreed, initial }: StoreMeta): Partial<GroupSettings> {
  if (agreed !== undefined) return ofEntry(Buffer.from(agreed, 'base64'))
  const beginning = initial === undefined ? undefined : unpack(Buffer.from(initial, 'base64'))
  const entry = Array.isArray(beginning) ? (beginning as readonly unknown[])[1] : undefined
  return entry instanceof Uint8Array ? ofEntry(entry) : {}
}

function ofEntry(data: Uint8Array): Partial<GroupSettings> {
  const map = unpack(data)
  return isPackedMap(map) ? readGroupSettings(map) : {}
}

const isEmpty = (map: PackedMap): boolean => Object.keys(map).length === 0

interface AgreementOptions {
  readonly fabric: Fabric
  readonly consensus: Consensus
  readonly own: GroupSettings
}

export class Agreement {
  readonly #fabric: Fabric
  readonly #consensus: Consensus
  readonly #unsubscribe: (() => void)[]
  readonly #listeners = new Set<() => void>()
  #own: GroupSettings
  #seen: PackedMap | undefined
  #agreed: Partial<GroupSettings> = {}
  #told = ''
  /** A session may have been renewed for the time that was agreed on before, until then. */
  #ttlBefore = { ttlMs: 0, untilMs: Number.NEGATIVE_INFINITY }

  constructor({ fabric, consensus, own }: AgreementOptions) {
    this.#fabric = fabric
    this.#consensus = consensus
    this.#own = own
    const look = (): void => this.#look()
    this.#unsubscribe = [consensus.onApplied(look), consensus.onRestored(look), consensus.onStatus(look)]
    this.#look()
  }

  /** The group has agreed on something else. @returns takes it back */
  onChanged(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#listeners.clear()
    for (const stop of this.#unsubscribe.splice(0)) stop()
  }

  /** The group's, and this node's own where the group says nothing. */
  get current(): GroupSettings {
    return { ...this.#own, ...this.#agreed }
  }

  limits(votersMin: number): Limits {
    const { votersMax, standbysMax } = this.current
    return { votersMax, standbysMax, votersMin: Math.min(votersMin, votersMax) }
  }

  /** How long a node whose renewal is acknowledged may rely on its session, before its margin. */
  get sessionTtlMs(): number {
    return this.current.sessionTtlMs
  }

  /** How long a leader waits before it ends a session: as long as any leader may have promised. */
  get sessionWaitMs(): number {
    const { ttlMs, untilMs } = this.#ttlBefore
    return this.#fabric.env.nowMs() < untilMs ? Math.max(ttlMs, this.sessionTtlMs) : this.sessionTtlMs
  }

  /** By name of the setting. */
  get differences(): readonly Difference[] {
    return NAMES.flatMap((setting) => {
      const own = this.#own[KEYS[setting]]
      const agreed = this.#agreed[KEYS[setting]] ?? own
      return own === agreed ? [] : [{ setting, own, agreed }]
    })
  }

  /** The check `raft_settings`. It never fails: the node goes by the group. */
  health(): { ok: boolean; detail: string } {
    const { differences } = this
    if (differences.length === 0) return { ok: true, detail: 'as in the file of this node' }
    return { ok: true, detail: `the file of this node differs: ${textOf(differences)}` }
  }

  /**
   * The file was read anew. The leader's counts for all: it is proposed to the group.
   * @throws MoonmeshError of a proposal
   */
  async reload(own: GroupSettings): Promise<void> {
    this.#own = own
    this.#told = ''
    const isNews = NAMES.some((name) => this.#agreed[KEYS[name]] !== own[KEYS[name]])
    if (this.#consensus.status().role !== 'leader' || !isNews) return this.#tell()
    const fields = { settings: NAMES.map((name) => `${name} ${own[KEYS[name]]}`).join(', ') }
    await this.#consensus.proposeSettings(packGroupSettings(own, this.#consensus.machine.settings))
    this.#fabric.log('info', 'raft_settings_changed', fields)
  }

  #look(): void {
    const { settings } = this.#consensus.machine
    if (settings === this.#seen) return
    this.#seen = settings
    const before = this.sessionTtlMs
    // A replica that has not applied that far yet knows them from the run before.
    this.#agreed = isEmpty(settings) ? keptIn(this.#consensus.meta) : readGroupSettings(settings)
    if (before > this.sessionTtlMs) {
      this.#ttlBefore = { ttlMs: before, untilMs: this.#fabric.env.nowMs() + before }
    }
    this.#keep(settings)
    this.#tell()
    for (const listener of [...this.#listeners]) listener()
  }

  /** For the next start, which needs some of it before it has a replica. */
  #keep(settings: PackedMap): void {
    if (isEmpty(settings)) return
    const agreed = Buffer.from(pack(settings)).toString('base64')
    if (this.#consensus.meta.agreed === agreed) return
    this.#consensus
      .changeMeta((meta) => ({ ...meta, agreed }))
      .catch(() => {
        // The failure of the disk is dealt with; the next start has the settings of before.
      })
  }

  #tell(): void {
    const text = textOf(this.differences)
    if (text === this.#told) return
    this.#told = text
    if (text !== '') this.#fabric.log('warn', 'raft_settings_differ', { settings: text })
  }
}

function textOf(differences: readonly Difference[]): string {
  return differences
    .map(({ setting, own, agreed }) => `${setting} is ${own} here and ${agreed} in the group`)
    .join(', ')
}
