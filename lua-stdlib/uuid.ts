// Module `uuid`: making, reading and checking UUIDs (RFC 9562). lua-libraries.md §7.

import { messageOf } from '../runtime/base/errors.ts'
import type { Call, HostFunction, LuaValue, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { fail } from './support/fail.ts'
import { lazily } from './support/lazy.ts'

const library = lazily<typeof import('uuid')>('uuid')

/** Plain, dashed, in braces or as a URN; any letter case. */
const SPELLING = /^(?:urn:uuid:)?\{?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}?$/i
const BARE = /^[0-9a-f]{32}$/i

/** Seconds between 1582-10-15, where version 1 counts from, and 1970. */
const GREGORIAN_OFFSET_S = 12_219_292_800n
const TICKS_PER_SECOND = 10_000_000n

/** 32 lower-case hexadecimal digits; undefined when it is no UUID. */
function digitsOf(text: string): string | undefined {
  if (BARE.test(text)) return text.toLowerCase()
  const isPaired = text.startsWith('{') === text.endsWith('}') && !(text.startsWith('urn:') && text.endsWith('}'))
  const dashed = isPaired ? SPELLING.exec(text)?.[1] : undefined
  return dashed?.replaceAll('-', '').toLowerCase()
}

const dashed = (digits: string): string => digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

const versionOf = (digits: string): number => Number.parseInt(digits[12] as string, 16)

function variantOf(digits: string): string {
  const bits = Number.parseInt(digits[16] as string, 16)
  if (bits < 8) return 'NCS'
  if (bits < 12) return 'RFC4122'
  return bits < 14 ? 'Microsoft' : 'Future'
}

/** Unix seconds of the versions that hold a time. */
function secondsOf(digits: string): number | undefined {
  if (versionOf(digits) === 7) return Math.floor(Number.parseInt(digits.slice(0, 12), 16) / 1000)
  if (versionOf(digits) !== 1) return undefined
  const ticks = BigInt(`0x${digits.slice(13, 16)}${digits.slice(8, 12)}${digits.slice(0, 8)}`)
  return Number(ticks / TICKS_PER_SECOND - GREGORIAN_OFFSET_S)
}

function make(generate: () => string): HostFunction {
  return () => {
    try {
      return [generate(), undefined]
    } catch (thrown) {
      return fail('Internal', messageOf(thrown))
    }
  }
}

function named(generate: (name: Uint8Array, namespace: string) => string): HostFunction {
  return (call) => {
    const namespace = call.arg(1)
    const name = call.arg(2)
    if (typeof namespace !== 'string' || typeof name !== 'string') {
      return fail('Invalid', 'namespace and name must be strings')
    }
    const digits = digitsOf(namespace)
    if (digits === undefined) return fail('Invalid', 'invalid namespace UUID')
    return [generate(Buffer.from(name, 'latin1'), dashed(digits)), undefined]
  }
}

/** Goes on with the digits of argument 1. */
function reading(then: (digits: string, call: Call) => Returns): HostFunction {
  return (call) => {
    const given = call.arg(1)
    if (typeof given !== 'string') return fail('Invalid', 'input must be a string')
    const digits = digitsOf(given)
    return digits === undefined ? fail('Invalid', 'invalid UUID format') : then(digits, call)
  }
}

function parsed(digits: string, call: Call): Returns {
  const { engine } = call
  const table = engine.newTable()
  engine.set(table, 'version', versionOf(digits))
  engine.set(table, 'variant', variantOf(digits))
  const seconds = secondsOf(digits)
  if (seconds !== undefined) engine.set(table, 'timestamp', seconds)
  if (versionOf(digits) === 1) engine.set(table, 'node', Buffer.from(digits.slice(20), 'hex').toString('latin1'))
  return [table, undefined]
}

function formatted(digits: string, call: Call): Returns {
  const how: LuaValue = call.arg(2) ?? 'standard'
  switch (how) {
    case 'standard':
      return [dashed(digits), undefined]
    case 'simple':
      return [digits, undefined]
    case 'urn':
      return [`urn:uuid:${dashed(digits)}`, undefined]
    default:
      return fail('Invalid', 'unsupported format: use "standard", "simple" or "urn"')
  }
}

export const uuidModule: LibraryModule = {
  name: 'uuid',
  description: 'universally unique ids',
  tags: ['nondeterministic', 'workflow'],
  build: () => ({
    v1: make(() => library().v1()),
    v4: make(() => library().v4()),
    v7: make(() => library().v7()),
    v3: named((name, namespace) => library().v3(name, namespace)),
    v5: named((name, namespace) => library().v5(name, namespace)),
    validate: (call) => {
      const given = call.arg(1)
      return [typeof given === 'string' && digitsOf(given) !== undefined, undefined]
    },
    version: reading((digits) => [versionOf(digits), undefined]),
    variant: reading((digits) => [variantOf(digits), undefined]),
    parse: reading(parsed),
    format: reading(formatted),
  }),
}
