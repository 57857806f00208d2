// What a backup holds, in numbers: said by its beginning, and counted from its records. operations.md §2.

import { fromUint8Array, toText } from '../../../runtime/base/bytes.ts'
import { type Packed, type PackedMap, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { Fields } from '../../state/core/fields.ts'
import { SECTIONS, type StateCounts } from '../../state/core/machine.ts'

/** What a backup says of itself before its records. */
export interface BackupHeader {
  readonly clusterId: string
  /** Of the group it was taken from, hex. */
  readonly formation: string
  /** The last entry that is in it, and the term in which it was taken. */
  readonly index: number
  readonly term: number
  /** The log clock, milliseconds. */
  readonly clockMs: number
  /** Every fencing token and version in it is at most this. */
  readonly revision: number
  readonly featureLevel: number
  /** What the group had agreed on. */
  readonly settings: PackedMap
  /** `name/store`, sorted. */
  readonly voters: readonly string[]
  readonly standbys: readonly string[]
  /** Wall clock, milliseconds. */
  readonly takenAtMs: number
  /** Whose replica it was taken from, and the version of its package. */
  readonly node: string
  readonly version: string
  readonly counts: StateCounts
}

export interface BackupContents {
  readonly sessions: { readonly open: number; readonly ended: number }
  readonly names: { readonly consistent: number; readonly strong: number; readonly reserved: number }
  readonly locks: { readonly held: number; readonly waiting: number }
  /** By namespace, ascending. */
  readonly stores: readonly { readonly namespace: string; readonly keys: number; readonly valueBytes: number }[]
}

/** Of namespaces: more than any cluster has, and a bound for a file that somebody made up. */
const STORES_MAX = 1_000_000

/** Counts records as they come; they are read on the way, so a file that passes here is whole and can be understood. */
export class ContentsCounter {
  #sessions = { open: 0, ended: 0 }
  #names = { consistent: 0, strong: 0, reserved: 0 }
  #locks = { held: 0, waiting: 0 }
  readonly #stores = new Map<string, { keys: number; valueBytes: number }>()
  #revision = 0

  /** @throws UnpackError */
  add(section: number, record: Uint8Array): void {
    const value = unpack(record)
    switch (section) {
      case SECTIONS.settings:
        this.#revision = new Fields(value).count('rev')
        return
      case SECTIONS.sessions: {
        const isOpen = new Fields(value).countOr('session', 0) !== 0
        this.#sessions[isOpen ? 'open' : 'ended']++
        return
      }
      case SECTIONS.names:
        this.#names[new Fields(value).count('scope') === 1 ? 'strong' : 'consistent']++
        return
      case SECTIONS.strong:
        this.#names.reserved++
        return
      case SECTIONS.locks:
        this.#locks.held++
        this.#locks.waiting += new Fields(value).list('waiters').length
        return
      case SECTIONS.kv:
        return this.#key(value)
      default:
        throw new UnpackError(`section ${section} is unknown: it was written by a later version`)
    }
  }

  /** Every token and version is at most this. */
  get revision(): number {
    return this.#revision
  }

  get contents(): BackupContents {
    const stores = [...this.#stores].map(([namespace, counts]) => ({ namespace, ...counts }))
    stores.sort((a, b) => (a.namespace < b.namespace ? -1 : 1))
    return { sessions: { ...this.#sessions }, names: { ...this.#names }, locks: { ...this.#locks }, stores }
  }

  /** What a header has to say of these contents. */
  get counts(): StateCounts {
    const stores = [...this.#stores.values()]
    return {
      sessions: this.#sessions.open,
      names: this.#names.consistent + this.#names.strong,
      reservations: this.#names.reserved,
      locks: this.#locks.held,
      keys: stores.reduce((sum, { keys }) => sum + keys, 0),
      valueBytes: stores.reduce((sum, { valueBytes }) => sum + valueBytes, 0),
    }
  }

  #key(record: Packed): void {
    const [namespace, , , , , value] = Array.isArray(record) ? (record as readonly Packed[]) : []
    if (!(namespace instanceof Uint8Array) || !(value instanceof Uint8Array)) {
      throw new UnpackError('a key of a store is a list of namespace, key, versions and value')
    }
    const name = toText(fromUint8Array(namespace))
    const store = this.#stores.get(name) ?? { keys: 0, valueBytes: 0 }
    if (store.keys === 0 && this.#stores.size >= STORES_MAX) throw new UnpackError('it has too many stores')
    store.keys++
    store.valueBytes += value.length
    this.#stores.set(name, store)
  }
}
