// Tags of a node in the meta of its alive message, as serf packs them: a marker byte and a map of strings. cluster.md §3.10.

import { toBytes, toText } from '../../../runtime/base/bytes.ts'
import { DecodeError } from './decode-error.ts'
import { Reader, Writer } from './msgpack.ts'

/** The most that memberlist lets a meta have. */
export const META_BYTES_MAX = 512

const MARKER = 0xff
const TAGS_MAX = 128

/** The meta of these tags as a byte string: keys in ascending order, empty values left out. May exceed META_BYTES_MAX. */
export function encodeTags(tags: ReadonlyMap<string, string>): string {
  const pairs = [...tags]
    .filter(([, value]) => value !== '')
    .map(([key, value]) => [toBytes(key), toBytes(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  const out = new Writer().u8(MARKER).mapHeader(pairs.length)
  for (const [key, value] of pairs) out.raw(key).raw(value)
  return out.finish().toString('latin1')
}

/** The tags of a meta. One without the marker is a bare role, as old serf agents send it; undefined when unreadable. */
export function decodeTags(meta: string): ReadonlyMap<string, string> | undefined {
  if (meta === '') return new Map()
  if (meta.charCodeAt(0) !== MARKER) return new Map([['role', toText(meta)]])
  const reader = new Reader(Buffer.from(meta, 'latin1'), 1)
  const tags = new Map<string, string>()
  try {
    const count = reader.mapHeader(TAGS_MAX)
    for (let i = 0; i < count; i++) {
      const key = reader.raw(META_BYTES_MAX) ?? ''
      tags.set(toText(key), toText(reader.raw(META_BYTES_MAX) ?? ''))
    }
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
  return tags
}
