// Values of replicated stores as bytes: the same msgpack as in messages between nodes. lua-libraries.md §0.4, cluster.md §8.1.

import { MoonmeshError } from '../base/errors.ts'
import type { Value } from '../base/value.ts'
import { ValueReader, ValueWriter, WireError } from '../relay/wire/values.ts'

/** @throws MoonmeshError `Invalid` when it takes more than `bytesMax` bytes */
export function encodeValue(value: Value, bytesMax: number): Uint8Array {
  try {
    return new ValueWriter(bytesMax).start().value(value).finish()
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    const text = `a value has at most ${bytesMax} bytes; see cluster.kv.max_value_size`
    throw new MoonmeshError('Invalid', text, { retryable: false, cause: error })
  }
}

/** @throws MoonmeshError `Internal` when another program wrote it, in a form of its own */
export function decodeValue(bytes: Uint8Array): Value {
  try {
    const reader = new ValueReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    const value = reader.value()
    if (!reader.isAtEnd) throw new WireError('bytes follow the value')
    return value
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    throw new MoonmeshError('Internal', `the stored value cannot be read: ${error.message}`, { cause: error })
  }
}
