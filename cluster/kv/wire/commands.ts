// Commands of the versioned store as bytes of the log, and keys as records of a snapshot: modern msgpack, read strictly. Byte strings
// travel as bytes. cluster.md §5.12, §8.2.

import { fromUint8Array, toUint8Array } from '../../../runtime/base/bytes.ts'
import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import type { Fence, KvCommand, Put } from '../core/commands.ts'
import type { Stored } from '../core/versions.ts'

const PUT = 0
const DELETE = 1
const TXN = 2

export function encodeCommand(command: KvCommand): Uint8Array {
  return pack(packCommand(command))
}

/** The form inside a larger message. */
export function packCommand(command: KvCommand): Packed {
  const { namespace, fence } = command
  switch (command.kind) {
    case 'put': {
      const { put, condition } = command
      const asked = condition === 'none' ? null : condition === 'absent' ? 0 : condition.version
      return [PUT, toUint8Array(namespace), packPut(put), asked, packFence(fence)]
    }
    case 'delete':
      return [DELETE, toUint8Array(namespace), toUint8Array(command.key), command.ifVersion ?? null, packFence(fence)]
    case 'txn': {
      const checks = command.checks.map(({ key, version }) => [toUint8Array(key), version])
      const deletes = command.deletes.map(toUint8Array)
      return [TXN, toUint8Array(namespace), checks, command.puts.map(packPut), deletes, packFence(fence)]
    }
  }
}

/** @throws UnpackError */
export function decodeCommand(bytes: Uint8Array): KvCommand {
  return commandOf(unpack(bytes))
}

/** @throws UnpackError */
export function commandOf(value: Packed): KvCommand {
  const [kind, namespaceItem, ...items] = listOf(value)
  const namespace = textOf(namespaceItem)
  switch (kind) {
    case PUT: {
      const [put, asked, fence] = items
      const version = asked === null ? undefined : countOf(asked)
      const condition = version === undefined ? 'none' : version === 0 ? 'absent' : { version }
      return { kind: 'put', namespace, put: putOf(put), condition, fence: fenceOf(fence) }
    }
    case DELETE: {
      const [key, version, fence] = items
      const ifVersion = version === null ? undefined : countOf(version)
      return { kind: 'delete', namespace, key: textOf(key), ifVersion, fence: fenceOf(fence) }
    }
    case TXN: {
      const [checks, puts, deletes, fence] = items
      return {
        kind: 'txn',
        namespace,
        checks: listOf(checks).map((item) => {
          const [key, version] = listOf(item)
          return { key: textOf(key), version: countOf(version) }
        }),
        puts: listOf(puts).map(putOf),
        deletes: listOf(deletes).map(textOf),
        fence: fenceOf(fence),
      }
    }
    default:
      throw new UnpackError('no such command')
  }
}

/** One key with its value, as a snapshot holds it. */
export interface KvRecord {
  readonly namespace: string
  readonly key: string
  readonly stored: Stored
  readonly value: Uint8Array
}

export function encodeRecord({ namespace, key, stored, value }: KvRecord): Uint8Array {
  const { version, created, expiryMs } = stored
  return pack([toUint8Array(namespace), toUint8Array(key), version, created, expiryMs, value])
}

/** @throws UnpackError */
export function decodeRecord(bytes: Uint8Array): KvRecord {
  const [namespace, key, version, created, expiryMs, valueItem] = listOf(unpack(bytes))
  const value = bytesOf(valueItem)
  const stored = {
    version: countOf(version),
    created: countOf(created),
    expiryMs: countOf(expiryMs),
    valueBytes: value.length,
  }
  return { namespace: textOf(namespace), key: textOf(key), stored, value }
}

/** What is kept of a key beside its value, so that a restart does not read the values. */
export function encodeStored({ version, created, expiryMs, valueBytes }: Stored): Uint8Array {
  return pack([version, created, expiryMs, valueBytes])
}

/** @throws UnpackError */
export function decodeStored(bytes: Uint8Array): Stored {
  const [version, created, expiryMs, valueBytes] = listOf(unpack(bytes)).map(countOf)
  if (version === undefined || created === undefined || expiryMs === undefined || valueBytes === undefined) {
    throw new UnpackError('not a stored key')
  }
  return { version, created, expiryMs, valueBytes }
}

function packPut({ key, value, ttlMs, keepsExpiry }: Put): Packed {
  return [toUint8Array(key), value, keepsExpiry ? null : ttlMs]
}

function putOf(item: Packed | undefined): Put {
  const [key, value, ttl] = listOf(item)
  const keepsExpiry = ttl === null
  if (!keepsExpiry && !(typeof ttl === 'number' && ttl >= 0)) throw new UnpackError('not a time')
  return { key: textOf(key), value: bytesOf(value), ttlMs: keepsExpiry ? 0 : ttl, keepsExpiry }
}

function packFence(fence: Fence | undefined): Packed {
  return fence === undefined ? null : [toUint8Array(fence.lock), fence.token]
}

function fenceOf(item: Packed | undefined): Fence | undefined {
  if (item === null) return undefined
  const [lock, token] = listOf(item)
  return { lock: textOf(lock), token: countOf(token) }
}

function listOf(value: Packed | undefined): readonly Packed[] {
  if (!Array.isArray(value)) throw new UnpackError('not a list')
  return value
}

function bytesOf(value: Packed | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new UnpackError('not bytes')
  return value
}

const textOf = (value: Packed | undefined): string => fromUint8Array(bytesOf(value))

function countOf(value: Packed | undefined): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new UnpackError('not a whole number')
  return value
}
