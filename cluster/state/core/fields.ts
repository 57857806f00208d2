// Reads the members of a packed map by name and type. Unknown members are ignored, wrong ones refused. cluster.md §0.3.

import { isPackedMap, type Packed, type PackedMap, UnpackError } from '../../../runtime/base/msgpack.ts'

export class Fields {
  readonly #map: PackedMap

  /** @throws UnpackError when it is no map */
  constructor(value: Packed | undefined) {
    if (!isPackedMap(value)) throw new UnpackError('no map')
    this.#map = value
  }

  has(key: string): boolean {
    return this.#map[key] !== undefined && this.#map[key] !== null
  }

  /** An integer in [0, 2^53-1]. */
  count(key: string): number {
    const value = this.#map[key]
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) this.#refuse(key)
    return value as number
  }

  countOr<T>(key: string, otherwise: T): number | T {
    return this.has(key) ? this.count(key) : otherwise
  }

  text(key: string): string {
    const value = this.#map[key]
    if (typeof value !== 'string') this.#refuse(key)
    return value as string
  }

  textOr<T>(key: string, otherwise: T): string | T {
    return this.has(key) ? this.text(key) : otherwise
  }

  list(key: string): readonly Packed[] {
    const value = this.#map[key]
    if (!Array.isArray(value)) this.#refuse(key)
    return value as readonly Packed[]
  }

  counts(key: string): number[] {
    const items = this.list(key)
    if (!items.every((item) => typeof item === 'number' && Number.isSafeInteger(item) && item >= 0)) this.#refuse(key)
    return items as number[]
  }

  texts(key: string): string[] {
    const items = this.list(key)
    if (!items.every((item) => typeof item === 'string')) this.#refuse(key)
    return items as string[]
  }

  /** Whatever it is, but there. */
  value(key: string): Packed {
    const value = this.#map[key]
    if (value === undefined) this.#refuse(key)
    return value as Packed
  }

  map(key: string): PackedMap {
    const value = this.#map[key]
    if (!isPackedMap(value)) this.#refuse(key)
    return value as PackedMap
  }

  bytes(key: string): Uint8Array {
    const value = this.#map[key]
    if (!(value instanceof Uint8Array)) this.#refuse(key)
    return value as Uint8Array
  }

  #refuse(key: string): never {
    throw new UnpackError(`"${key}" is missing or of the wrong type`)
  }
}
