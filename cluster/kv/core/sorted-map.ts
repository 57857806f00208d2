// A map in the byte order of its keys, for listing by prefix, that can be looked at as of a moment while it changes: chunks are shared
// with the views that were taken and copied when they are written to next.

interface Chunk<V> {
  readonly keys: string[]
  readonly values: V[]
  /** A chunk of an earlier generation may be part of a view and is never written. */
  readonly generation: number
}

const CHUNK_KEYS_MAX = 256

interface Range {
  /** Exclusive lower bound. */
  readonly after?: string
  readonly prefix?: string
}

/** What a map held at one moment. */
export class SortedView<V> {
  readonly #chunks: readonly Chunk<V>[]
  readonly size: number

  constructor(chunks: readonly Chunk<V>[], size: number) {
    this.#chunks = chunks
    this.size = size
  }

  range(range: Range = {}): Generator<[string, V]> {
    return walk(this.#chunks, range)
  }
}

/** Keys are byte strings. */
export class SortedMap<V> {
  /** Invariant: no chunk is empty; keys ascend within and across chunks. */
  #chunks: Chunk<V>[] = []
  #generation = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  get(key: string): V | undefined {
    const chunk = this.#chunks[chunkOf(this.#chunks, key)]
    if (chunk === undefined) return undefined
    const at = lowerBound(chunk.keys, key)
    return chunk.keys[at] === key ? chunk.values[at] : undefined
  }

  /** @returns what it replaces */
  set(key: string, value: V): V | undefined {
    if (this.#chunks.length === 0) this.#chunks.push({ keys: [], values: [], generation: this.#generation })
    const index = Math.max(0, chunkOf(this.#chunks, key))
    const { keys, values } = this.#own(index)
    const at = lowerBound(keys, key)
    if (keys[at] === key) {
      const before = values[at]
      values[at] = value
      return before
    }
    keys.splice(at, 0, key)
    values.splice(at, 0, value)
    this.#size++
    if (keys.length > CHUNK_KEYS_MAX) {
      // Keys often come in order: then the full chunk stays nearly full.
      const half = index === this.#chunks.length - 1 && at === keys.length - 1 ? keys.length - 1 : keys.length >> 1
      const right = { keys: keys.splice(half), values: values.splice(half), generation: this.#generation }
      this.#chunks.splice(index + 1, 0, right)
    }
    return undefined
  }

  /** @returns what was there */
  delete(key: string): V | undefined {
    const index = chunkOf(this.#chunks, key)
    const found = this.#chunks[index]
    if (found === undefined) return undefined
    const at = lowerBound(found.keys, key)
    if (found.keys[at] !== key) return undefined
    const chunk = this.#own(index)
    const before = chunk.values[at]
    chunk.keys.splice(at, 1)
    chunk.values.splice(at, 1)
    this.#size--
    if (chunk.keys.length === 0) this.#chunks.splice(index, 1)
    else this.#mergeNext(index)
    return before
  }

  clear(): void {
    this.#chunks = []
    this.#size = 0
  }

  /** In byte order. The map must not change meanwhile. */
  range(range: Range = {}): Generator<[string, V]> {
    return walk(this.#chunks, range)
  }

  view(): SortedView<V> {
    this.#generation++
    return new SortedView(this.#chunks.slice(), this.#size)
  }

  #own(index: number): Chunk<V> {
    const chunk = this.#chunks[index] as Chunk<V>
    if (chunk.generation === this.#generation) return chunk
    const copy = { keys: chunk.keys.slice(), values: chunk.values.slice(), generation: this.#generation }
    this.#chunks[index] = copy
    return copy
  }

  /** Small neighbours become one, so that many deletes do not leave many chunks of one key. */
  #mergeNext(index: number): void {
    const next = this.#chunks[index + 1]
    const chunk = this.#chunks[index] as Chunk<V>
    if (next === undefined || chunk.keys.length + next.keys.length > CHUNK_KEYS_MAX / 2) return
    chunk.keys.push(...next.keys)
    chunk.values.push(...next.values)
    this.#chunks.splice(index + 1, 1)
  }
}

function* walk<V>(chunks: readonly Chunk<V>[], { after, prefix = '' }: Range): Generator<[string, V]> {
  const isAfter = after !== undefined && after >= prefix
  const from = isAfter ? after : prefix
  for (let i = Math.max(0, chunkOf(chunks, from)); i < chunks.length; i++) {
    const { keys, values } = chunks[i] as Chunk<V>
    let at = lowerBound(keys, from)
    if (isAfter && keys[at] === from) at++
    for (; at < keys.length; at++) {
      const key = keys[at] as string
      if (!key.startsWith(prefix)) return
      yield [key, values[at] as V]
    }
  }
}

/** The last chunk that begins at or before `key`; -1 when none does. */
function chunkOf<V>(chunks: readonly Chunk<V>[], key: string): number {
  let low = 0
  let high = chunks.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (((chunks[middle] as Chunk<V>).keys[0] as string) <= key) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** The first place whose key is not below `key`. */
export function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
