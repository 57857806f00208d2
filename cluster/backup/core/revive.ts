// What a backup becomes in the new group that is founded from it. cluster.md §5.10, §5.12. It is as if the entry after the last one had
// been the end of every node: all sessions are over, and with them went their names, locks, waiters and requests, as nothing that owned them
// runs any more. Keys, versions and settings stay, and deadlines are as far away as they were: the log clock goes on from where it stood.
//
// Fencing tokens must grow over the restore, also beyond those that were given after the backup was taken, of which it knows nothing. So
// revisions jump: by more than any cluster can have used up since, counted by the wall clock. The same backup restored twice, one after the
// other, jumps further the second time.

import { assert } from '../../../runtime/base/assert.ts'
import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { Fields } from '../../state/core/fields.ts'
import { SECTIONS } from '../../state/core/machine.ts'

/** A log that is synced has a hundredth of it. */
const REVISIONS_PER_SECOND = 2 ** 20
/** For wall clocks that differ, seconds. */
const MARGIN_SECONDS = 24 * 3600

/** @returns the revision that the new group begins with; @throws UnpackError when there is none left */
export function revivedRevision(revision: number, { takenAtMs, nowMs }: { takenAtMs: number; nowMs: number }): number {
  const seconds = Math.ceil(Math.max(0, nowMs - takenAtMs) / 1000) + MARGIN_SECONDS
  const next = revision + seconds * REVISIONS_PER_SECOND
  if (!Number.isSafeInteger(next)) throw new UnpackError('its time is so far away that no revision is left')
  return next
}

/** Turns the records of a backup, in their order, into those that the new group begins with. */
export class Reviver {
  readonly #index: number
  /** Of the ends of sessions: above all before it. */
  #endRevision: number
  readonly #revision: number

  /** @param index of the state that comes out, one more than that of the backup  @param revision of `revivedRevision` */
  constructor(from: { readonly index: number; readonly revision: number }, revision: number) {
    assert(revision > from.revision, 'revisions go on')
    this.#index = from.index + 1
    this.#endRevision = from.revision
    this.#revision = revision
  }

  /** @returns undefined: it does not go on; @throws UnpackError */
  record(section: number, record: Uint8Array): Uint8Array | undefined {
    switch (section) {
      case SECTIONS.settings:
        return this.#head(record)
      case SECTIONS.sessions:
        return this.#session(record)
      case SECTIONS.names:
      case SECTIONS.strong:
      case SECTIONS.locks:
        return undefined
      case SECTIONS.kv:
        return record
      default:
        throw new UnpackError(`section ${section} is unknown: it was written by a later version`)
    }
  }

  #head(record: Uint8Array): Uint8Array {
    const fields = new Fields(unpack(record))
    const head: Record<string, Packed> = {
      index: this.#index,
      clock: fields.count('clock'),
      rev: this.#revision,
      level: fields.count('level'),
      settings: fields.map('settings'),
    }
    return pack(head)
  }

  /** The epoch stays as a fence: no run of before comes back under its name. */
  #session(record: Uint8Array): Uint8Array {
    const fields = new Fields(unpack(record))
    if (fields.countOr('session', 0) === 0) return record
    const ended = ++this.#endRevision
    return pack({ node: fields.text('node'), epoch: fields.count('epoch'), role: fields.text('role'), ended })
  }
}
