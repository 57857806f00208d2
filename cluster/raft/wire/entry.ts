// Entries, hard states and configurations as msgpack, the same on disk and between nodes. cluster.md §5.1, §5.3.
//   entry = [term, type, clock, data]   types: 0 noop · 1 configuration · 2 commands · 3 tick · 4 settings
//   configuration = [[voter…], [standby…]], hard state = {term, vote}, server = [name, store]

import { isPackedMap, type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import type { HardState } from '../core/effects.ts'
import type { Entry } from '../core/entry.ts'
import type { Configuration } from '../core/membership.ts'
import { compareServers, nameOf, type ServerId, serverId, storeOf } from '../core/server.ts'

const NOOP = 0
const CONFIGURATION = 1
const COMMANDS = 2
const TICK = 3
const SETTINGS = 4
/** Voters and standbys at most, twice over. */
const SERVERS_MAX = 64
const NAME_LENGTH_MAX = 128
const STORE_LENGTH_MAX = 64

/** What is kept of encoded entries: as much as is on its way to disks and followers at a time, by and large. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024
/** What an entry takes beside its bytes, about: small ones would otherwise be kept for hours, at many times the bound. */
const ENTRY_COST_BYTES = 512

/**
 * Entries as bytes, the same for the disk and every follower: each is encoded once, and one that came from another server not at
 * all. Nobody writes to the bytes.
 */
export class EntryBytes {
  /** Oldest first. */
  readonly #kept = new Map<Entry, Uint8Array>()
  #keptBytes = 0

  of(entry: Entry): Uint8Array {
    const kept = this.#kept.get(entry)
    if (kept !== undefined) return kept
    const bytes = pack(packEntry(entry))
    this.#keep(entry, bytes)
    return bytes
  }

  /** @param bytes the caller's no longer @throws UnpackError */
  read(index: number, bytes: Uint8Array): Entry {
    const entry = unpackEntry(index, unpack(bytes))
    this.#keep(entry, bytes)
    return entry
  }

  #keep(entry: Entry, bytes: Uint8Array): void {
    this.#kept.set(entry, bytes)
    this.#keptBytes += bytes.length + ENTRY_COST_BYTES
    while (this.#keptBytes > KEPT_BYTES_MAX) {
      const [oldest] = this.#kept
      if (oldest === undefined) return
      this.#kept.delete(oldest[0])
      this.#keptBytes -= oldest[1].length + ENTRY_COST_BYTES
    }
  }
}

function packEntry(entry: Entry): Packed {
  const { term, clockMs } = entry
  switch (entry.kind) {
    case 'noop':
      return [term, NOOP, clockMs, null]
    case 'configuration':
      return [term, CONFIGURATION, clockMs, packConfiguration(entry.configuration)]
    case 'commands':
      return [term, COMMANDS, clockMs, entry.data]
    case 'tick':
      return [term, TICK, clockMs, null]
    case 'settings':
      return [term, SETTINGS, clockMs, entry.data]
  }
}

/** The entry at `index`. @throws UnpackError */
export function unpackEntry(index: number, packed: Packed | undefined): Entry {
  if (!Array.isArray(packed) || packed.length < 4) throw new UnpackError('an entry is a list of four')
  const [term, type, clock, data] = packed as readonly Packed[]
  const position = { index, term: whole(term, 'a term'), clockMs: whole(clock, 'a clock') }
  switch (type) {
    case NOOP:
      return { ...position, kind: 'noop' }
    case CONFIGURATION:
      return { ...position, kind: 'configuration', configuration: unpackConfiguration(data) }
    case COMMANDS:
      return { ...position, kind: 'commands', data: bytes(data) }
    case TICK:
      return { ...position, kind: 'tick' }
    case SETTINGS:
      return { ...position, kind: 'settings', data: bytes(data) }
    default:
      throw new UnpackError('the type of an entry is not known')
  }
}

export function packConfiguration({ voters, standbys }: Configuration): Packed {
  return [voters.map(packServer), standbys.map(packServer)]
}

/** @throws UnpackError */
export function unpackConfiguration(packed: Packed | undefined): Configuration {
  if (!Array.isArray(packed) || packed.length < 2) throw new UnpackError('a configuration is two lists')
  const voters = servers(packed[0])
  const standbys = servers(packed[1])
  if (voters.some((voter) => standbys.includes(voter))) throw new UnpackError('a voter is no standby')
  return { voters, standbys }
}

export function packHardState({ term, vote }: HardState): Packed {
  return { term, vote: vote === undefined ? null : packServer(vote) }
}

/** @throws UnpackError */
export function unpackHardState(packed: Packed | undefined): HardState {
  if (!isPackedMap(packed)) throw new UnpackError('a hard state is a map')
  const term = whole(packed['term'], 'a term')
  const vote = packed['vote']
  return vote === null || vote === undefined ? { term } : { term, vote: unpackServer(vote) }
}

export function packServer(server: ServerId): Packed {
  return [nameOf(server), storeOf(server)]
}

/** @throws UnpackError */
export function unpackServer(packed: Packed | undefined): ServerId {
  if (!Array.isArray(packed) || packed.length !== 2) throw new UnpackError('a server is a name and a store')
  const [name, store] = packed as readonly Packed[]
  if (typeof name !== 'string' || typeof store !== 'string') throw new UnpackError('a server is two strings')
  if (name.length > NAME_LENGTH_MAX || store.length > STORE_LENGTH_MAX)
    throw new UnpackError('a name or store is too long')
  if (name === '' || name.includes('/') || store === '') throw new UnpackError('not the form of a name or a store')
  return serverId(name, store)
}

function servers(packed: Packed | undefined): ServerId[] {
  if (!Array.isArray(packed) || packed.length > SERVERS_MAX) throw new UnpackError('a list of servers is short')
  const list = packed.map(unpackServer)
  const isSorted = list.every((server, at) => at === 0 || compareServers(list[at - 1] as ServerId, server) < 0)
  if (!isSorted) throw new UnpackError('servers are sorted, nobody twice')
  return list
}

function whole(packed: Packed | undefined, what: string): number {
  if (!Number.isSafeInteger(packed) || (packed as number) < 0) throw new UnpackError(`${what} is a whole number`)
  return packed as number
}

function bytes(packed: Packed | undefined): Uint8Array {
  if (!(packed instanceof Uint8Array)) throw new UnpackError('the data of an entry is bytes')
  return packed
}
