// What servers say to each other before they are a group, and what a promise looks like on disk. cluster.md §5.4.

import { isPackedMap, type Packed, type PackedMap, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import type { BootAnswer, BootRequest, Fate, Founder, Plan } from '../core/bootstrap.ts'
import { packConfiguration, unpackConfiguration } from './entry.ts'

/** The methods of requests, one a kind. */
export const BOOT_METHODS = {
  hello: 'boot.hello',
  propose: 'boot.propose',
  commit: 'boot.commit',
  abort: 'boot.abort',
  status: 'boot.status',
  release: 'boot.release',
} as const satisfies Record<BootRequest['kind'], string>

const FOUNDERS_MAX = 16
const FATES: readonly Fate[] = ['committed', 'released', 'promised', 'none']
const HEX = /^[0-9a-f]+$/
const STORE_DIGITS = 32
const FORMATION_DIGITS = 32
const NONCE_DIGITS = 16

export function encodeBootRequest(request: BootRequest): Uint8Array {
  if (request.kind === 'hello') return pack({})
  return request.kind === 'propose' ? encodePlan(request.plan) : pack({ formation: request.formation })
}

/** @throws UnpackError */
export function decodeBootRequest(kind: BootRequest['kind'], bytes: Uint8Array): BootRequest {
  if (kind === 'hello') return { kind }
  if (kind === 'propose') return { kind, plan: decodePlan(bytes) }
  return { kind, formation: hex(mapIn(bytes), 'formation', FORMATION_DIGITS) }
}

export function encodeBootAnswer(answer: BootAnswer): Uint8Array {
  return pack({ ...answer })
}

/** @throws UnpackError */
export function decodeBootAnswer(bytes: Uint8Array): BootAnswer {
  const map = mapIn(bytes)
  const kind = text(map, 'kind')
  switch (kind) {
    case 'hello': {
      const own = { store: hex(map, 'store', STORE_DIGITS), epoch: count(map, 'epoch') }
      return map['formation'] === undefined
        ? { kind, ...own }
        : { kind, ...own, formation: hex(map, 'formation', FORMATION_DIGITS) }
    }
    case 'accepted':
      return { kind }
    case 'refused':
      return { kind, why: text(map, 'why') }
    case 'fate': {
      const told = text(map, 'fate')
      const fate = FATES.find((each) => each === told)
      if (fate === undefined) throw new UnpackError('the fate of a proposal is not known')
      return { kind, store: hex(map, 'store', STORE_DIGITS), fate }
    }
    default:
      throw new UnpackError('the kind of an answer is not known')
  }
}

export function encodePlan({ formation, nonce, proposer, founders, configuration, settings }: Plan): Uint8Array {
  return pack({
    formation,
    nonce,
    proposer,
    founders: founders.map(({ name, epoch, store }): Packed => [name, epoch, store]),
    configuration: packConfiguration(configuration),
    settings,
  })
}

/** @throws UnpackError */
export function decodePlan(bytes: Uint8Array): Plan {
  const map = mapIn(bytes)
  const { founders, configuration, settings } = map
  if (!Array.isArray(founders) || founders.length > FOUNDERS_MAX) throw new UnpackError('the founders are a short list')
  if (!(settings instanceof Uint8Array)) throw new UnpackError('the settings are bytes')
  return {
    formation: hex(map, 'formation', FORMATION_DIGITS),
    nonce: hex(map, 'nonce', NONCE_DIGITS),
    proposer: text(map, 'proposer'),
    founders: founders.map(founderOf),
    configuration: unpackConfiguration(configuration),
    settings,
  }
}

function founderOf(packed: Packed): Founder {
  if (!Array.isArray(packed)) throw new UnpackError('a founder is a list of three')
  const [name, epoch, store] = packed as readonly Packed[]
  const map = { name, epoch, store }
  return { name: text(map, 'name'), epoch: count(map, 'epoch'), store: hex(map, 'store', STORE_DIGITS) }
}

function mapIn(bytes: Uint8Array): PackedMap {
  const map = unpack(bytes)
  if (!isPackedMap(map)) throw new UnpackError('a message is a map')
  return map
}

function text(map: PackedMap, key: string): string {
  const value = map[key]
  if (typeof value !== 'string') throw new UnpackError(`${key} is a string`)
  return value
}

function hex(map: PackedMap, key: string, digits: number): string {
  const value = text(map, key)
  if (value.length !== digits || !HEX.test(value)) throw new UnpackError(`${key} is ${digits} hex digits`)
  return value
}

function count(map: PackedMap, key: string): number {
  const value = map[key]
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new UnpackError(`${key} is a whole number`)
  return value as number
}
