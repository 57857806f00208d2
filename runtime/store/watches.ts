// What a store says has changed, for watches of scripts (runtime/watches.ts). cluster.md §8.4.

import { toBytes } from '../base/bytes.ts'
import { record, type TableValue, type Value } from '../base/value.ts'
import type { Watching } from '../watches.ts'

export type WatchEvent =
  | {
      readonly type: 'put' | 'delete' | 'expired'
      readonly key: string
      /** Of a put. */
      readonly value?: Value
      readonly version: string
      readonly prevVersion?: string
    }
  /** Some are lost: the keys are to be listed again. */
  | { readonly type: 'resync'; readonly version: string }

export type BackendWatch = Watching<WatchEvent>

/** As a script reads it. */
export function eventValue(event: WatchEvent): TableValue {
  if (event.type === 'resync') return record({ type: 'resync', version: toBytes(event.version) })
  const { type, key, value, version, prevVersion } = event
  return record({ type, key, value, version: toBytes(version), prev_version: prevVersion })
}
