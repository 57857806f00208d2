// Locks of the cluster, for `system.lock`. cluster.md §7.

import { isUtf8 } from 'node:buffer'
import { toBytes, toText } from './base/bytes.ts'
import { MoonmeshError } from './base/errors.ts'
import { record, type Value } from './base/value.ts'
import type { NodeService } from './node-services.ts'

/** The cluster's part; PIDs and names are text. */
interface ClusterLocks {
  acquire(request: {
    readonly name: string
    readonly pid: string
    readonly waitMs: number
    readonly ttlMs: number
    readonly signal: AbortSignal
  }): Promise<
    | { readonly kind: 'granted'; readonly token: number }
    | { readonly kind: 'held'; readonly holder: string; readonly token: number; readonly sinceMs: number | undefined }
    | { readonly kind: 'timeout' }
  >
  release(name: string, pid: string): Promise<boolean>
  renew(name: string, pid: string): Promise<boolean>
  isHeld(name: string, pid: string): boolean
  info(name: string): Promise<LockInfo | undefined>
  exited(pid: string): void
}

interface LockInfo {
  readonly name: string
  readonly holder: string
  readonly token: number
  readonly heldMs: number
  /** Unix milliseconds. */
  readonly sinceMs: number
  readonly waiters: number
  readonly leftMs: number
}

export class LocksService implements NodeService {
  readonly #locks: () => ClusterLocks | undefined

  /** @param locks undefined: there is no consensus to hold them */
  constructor(locks: () => ClusterLocks | undefined) {
    this.#locks = locks
  }

  readonly methods: NodeService['methods'] = {
    acquire: async ([name, waitMs, ttlMs], { pid, signal }) => {
      const request = { name: textOf(name), pid: toText(pid), waitMs: Number(waitMs), ttlMs: Number(ttlMs), signal }
      const answer = await this.#open().acquire(request)
      const holder = answer.kind === 'held' ? toBytes(answer.holder) : undefined
      const token = answer.kind === 'timeout' ? undefined : answer.token
      const since = answer.kind === 'held' ? answer.sinceMs : undefined
      return record({ kind: answer.kind, name, holder, token, since })
    },
    release: ([name], { pid }) => this.#open().release(textOf(name), toText(pid)),
    renew: ([name], { pid }) => this.#open().renew(textOf(name), toText(pid)),
    is_held: ([name], { pid }) => this.#open().isHeld(textOf(name), toText(pid)),
    holder: async ([name]) => {
      const info = await this.#open().info(textOf(name))
      return info === undefined ? undefined : toBytes(info.holder)
    },
    info: async ([name]) => {
      const info = await this.#open().info(textOf(name))
      if (info === undefined) return undefined
      const { holder, token, heldMs, sinceMs, waiters, leftMs } = info
      const ttl = leftMs === 0 ? undefined : leftMs
      return record({ name, holder: toBytes(holder), token, since: sinceMs, held_ms: heldMs, waiters, ttl_ms: ttl })
    },
  }

  clientEnded(pid: string): void {
    this.#locks()?.exited(toText(pid))
  }

  #open(): ClusterLocks {
    const locks = this.#locks()
    if (locks !== undefined) return locks
    throw new MoonmeshError('Internal', 'lock service not available', { retryable: false })
  }
}

/** @throws MoonmeshError `Invalid`: as text, names that are none would be one and the same */
function textOf(name: Value): string {
  const bytes = String(name)
  if (isUtf8(Buffer.from(bytes, 'latin1'))) return toText(bytes)
  throw new MoonmeshError('Invalid', 'a lock name is 1 to 255 bytes of UTF-8', { retryable: false })
}
