// Commands of the versioned store as they lie in a command of the log: msgpack, read strictly. Byte strings travel as bytes.
// cluster.md §5.12, §8.2.

import { fromUint8Array, toUint8Array } from '../../../runtime/base/bytes.ts'
import { type Packed, UnpackError } from '../../../runtime/base/msgpack.ts'
import type { Fence, KvCommand, Put } from '../core/commands.ts'

const PUT = 0
const DELETE = 1
const TXN = 2

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
