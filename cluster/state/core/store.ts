// The versioned store inside the state machine: its keys in memory as all of the applied state, their values where
// they have room. cluster.md §5.12, §8.2.

import { assert } from '../../../runtime/base/assert.ts'
import { fromUint8Array, toBytes, toText, toUint8Array } from '../../../runtime/base/bytes.ts'
import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import type { Changes } from '../../kv/core/changes.ts'
import type { KvCommand, KvResult } from '../../kv/core/commands.ts'
import {
  type KvContext,
  type KvItem,
  type KvPage,
  type Stored,
  type ValueEffect,
  Versions,
} from '../../kv/core/versions.ts'
import { MemoryValues, type Values } from './values.ts'

interface KvEntry extends KvItem {
  /** Nobody writes to it. */
  readonly value: Uint8Array
}

/** What the store asks of the entry that is applied. */
export interface StoreContext {
  readonly clockMs: number
  nextRevision(): number
  /** The token of the current grant of a lock; undefined when nobody holds it. */
  lockToken(name: string): number | undefined
}

export class Store {
  readonly #versions = new Versions()
  readonly #values: Values
  #views = 0
  #isRetired = false

  constructor(values: Values = new MemoryValues()) {
    this.#values = values
  }

  /** Follow the store here; all of an entry is there once it is applied. */
  get changes(): Changes {
    return this.#versions.changes
  }

  get keyCount(): number {
    return this.#versions.keyCount
  }

  get valueBytes(): number {
    return this.#versions.valueBytes
  }

  /** Ascending. */
  namespaces(): string[] {
    return this.#versions.namespaces()
  }

  /** Keys, and their bytes with those of the values. */
  usageOf(namespace: string): { readonly keys: number; readonly bytes: number } {
    return this.#versions.usageOf(namespace)
  }

  get(namespace: string, key: string): KvEntry | undefined {
    const item = this.#versions.get(namespace, key)
    return item === undefined ? undefined : { ...item, value: this.#value(namespace, key, item.version) }
  }

  /** Without the value. */
  peek(namespace: string, key: string): KvItem | undefined {
    return this.#versions.get(namespace, key)
  }

  /** @see Versions.list; `value` reads those of the items at the same moment */
  list(namespace: string, options: { prefix?: string; after?: string; limit?: number } = {}): KvPage {
    return this.#versions.list(namespace, options)
  }

  // What follows is the machine's.

  apply(command: KvCommand, context: StoreContext): KvResult {
    const { result, effects } = this.#versions.apply(command, kvContext(context))
    this.#perform(effects)
    return result
  }

  /** By the log clock; Infinity when no key expires. */
  get nextExpiryMs(): number {
    return this.#versions.nextExpiryMs
  }

  expireNext(context: StoreContext): void {
    this.#perform(this.#versions.expireNext(kvContext(context)))
  }

  /** What is read from here on is as new as this revision. */
  advance(revision: number): void {
    this.#versions.changes.advance(revision)
  }

  /** The records of a snapshot of this moment, in the order of namespaces and keys. */
  view(): { records(): Generator<Uint8Array>; close(): void } {
    const pin = this.#versions.pin()
    this.#views++
    const namespaces = this.#versions.view()
    const value = (namespace: string, key: string, version: number): Uint8Array => this.#value(namespace, key, version)
    function* records(): Generator<Uint8Array> {
      for (const { namespace, keys } of namespaces) {
        for (const [key, stored] of keys.range()) {
          yield kvRecord(namespace, key, stored, value(namespace, key, stored.version))
        }
      }
    }
    let isClosed = false
    const close = (): void => {
      if (isClosed) return
      isClosed = true
      this.#views--
      this.#perform(this.#versions.unpin(pin))
      this.#maybeClose()
    }
    return { records, close }
  }

  /** The machine that is being restored is at this revision and clock; then come the records. */
  begin(state: { version: number; clockMs: number }): void {
    this.#versions.restore([], state)
  }

  /** One record of a snapshot. @throws UnpackError */
  load(record: Uint8Array): void {
    const list = unpack(record)
    if (!Array.isArray(list)) throw new UnpackError('a key of the store is no list')
    const [namespaceItem, keyItem, version, created, expiryMs, value] = list as readonly Packed[]
    if (!(value instanceof Uint8Array)) throw new UnpackError('a value is no bytes')
    const [namespace, key] = [bytesOf(namespaceItem), bytesOf(keyItem)]
    const stored = {
      version: countOf(version),
      created: countOf(created),
      expiryMs: countOf(expiryMs),
      valueBytes: value.length,
    }
    this.#versions.load(namespace, key, stored)
    this.#values.set(addressOf(namespace, key, stored.version), value)
  }

  /** Who followed `before` follows this store from now on. */
  succeed(before: Store): void {
    this.#versions.resume(before.changes)
  }

  /** Nobody asks it any more; what views still show goes with the last of them. */
  retire(): void {
    this.#isRetired = true
    this.#maybeClose()
  }

  #maybeClose(): void {
    if (this.#isRetired && this.#views === 0) this.#values.close()
  }

  #value(namespace: string, key: string, version: number): Uint8Array {
    const value = this.#values.get(addressOf(namespace, key, version))
    assert(value !== undefined, 'a value that can be read is there')
    return value
  }

  #perform(effects: readonly ValueEffect[]): void {
    for (const effect of effects) {
      const { kind, namespace, key } = effect
      if (kind === 'put') this.#values.set(addressOf(namespace, key, effect.stored.version), effect.value)
      else if (kind === 'free') this.#values.delete(addressOf(namespace, key, effect.version))
    }
  }
}

function kvContext(context: StoreContext): KvContext {
  return {
    clockMs: context.clockMs,
    nextRevision: () => context.nextRevision(),
    // Locks have names in text, and a fence names one in bytes: what is no text names none.
    lockToken: (lock) => {
      const name = toText(lock)
      return toBytes(name) === lock ? context.lockToken(name) : undefined
    },
  }
}

/** A namespace has no zero byte, and a version no letter. */
function addressOf(namespace: string, key: string, version: number): string {
  return `${version} ${namespace}\0${key}`
}

function kvRecord(namespace: string, key: string, stored: Stored, value: Uint8Array): Uint8Array {
  const { version, created, expiryMs } = stored
  return pack([toUint8Array(namespace), toUint8Array(key), version, created, expiryMs, value])
}

function bytesOf(item: Packed | undefined): string {
  if (!(item instanceof Uint8Array)) throw new UnpackError('a key of the store is no bytes')
  return fromUint8Array(item)
}

function countOf(item: Packed | undefined): number {
  if (typeof item !== 'number' || !Number.isSafeInteger(item) || item < 0) throw new UnpackError('no whole number')
  return item
}
