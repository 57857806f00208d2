// What can be asked of the versioned store in the log, and what comes of it. cluster.md §8.2. Namespaces and keys are byte strings, and so
// are the names of locks; values are whatever the library wrote.

export interface Fence {
  readonly lock: string
  /** Of the grant that the caller believes to hold. */
  readonly token: number
}

export interface Put {
  readonly key: string
  readonly value: Uint8Array
  /** From the clock of the log; 0 is no deadline. */
  readonly ttlMs: number
  /** The deadline that the key has stays, and `ttlMs` says nothing. */
  readonly keepsExpiry: boolean
}

export type KvCommand =
  | {
      readonly kind: 'put'
      readonly namespace: string
      readonly put: Put
      readonly condition: 'none' | 'absent' | { readonly version: number }
      readonly fence: Fence | undefined
    }
  | {
      readonly kind: 'delete'
      readonly namespace: string
      readonly key: string
      readonly ifVersion: number | undefined
      readonly fence: Fence | undefined
    }
  /** All or nothing, and one version for all. A check of version 0 wants the key to be absent. */
  | {
      readonly kind: 'txn'
      readonly namespace: string
      readonly checks: readonly { readonly key: string; readonly version: number }[]
      readonly puts: readonly Put[]
      readonly deletes: readonly string[]
      readonly fence: Fence | undefined
    }

export type KvResult =
  /** `version` is absent when nothing changed; `existed` counts the keys that were there and are deleted or replaced. */
  | { readonly ok: true; readonly version: number | undefined; readonly existed: number }
  | {
      readonly ok: false
      readonly kind: 'AlreadyExists' | 'Conflict' | 'NotFound' | 'Invalid' | 'Unavailable'
      readonly message: string
      /** The key of the condition, and the version that it has, when it has one. */
      readonly key?: string
      readonly version?: number
    }

export const TXN_OPS_MAX = 128
/** However large the nodes' own limit of values is: an entry of the log must hold it. */
export const VALUE_BYTES_MAX = 64 * 1024 * 1024
export const KV_NAMESPACE_BYTES_MAX = 64
export const KV_KEY_BYTES_MAX = 1024
export const KV_TTL_MS_MAX = 10 * 366 * 24 * 3_600_000
