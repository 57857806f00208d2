// The processes of one host by their PIDs, in the order in which they came.
//
// Not a `Map`: one that many pass through makes itself a new table each time that the old one is full of what was removed, and the old table
// points to the new one. As soon as one of them has lived through a few collections of what is young, all that follow are kept until
// everything is collected, and with them every process that was in one: a third of the time of a host that goes on spawning. Here what links
// processes is in the processes, and one that was removed leads to nobody.

/** What the table keeps in its elements. */
export interface Tabled<T> {
  readonly pid: string
  /** In the same bucket. */
  nextInBucket: T | undefined
  /** In order of arrival. */
  older: T | undefined
  younger: T | undefined
}

const BUCKETS_MIN = 64
/** The PIDs of a host differ in the digits before the last three characters; so many of them. */
const TAIL = 3
const DIGITS = 9

function hashOf(pid: string): number {
  const end = pid.length - TAIL
  let hash = 0
  for (let i = Math.max(0, end - DIGITS); i < end; i++) hash = (Math.imul(hash, 33) + pid.charCodeAt(i)) | 0
  return hash ^ (hash >>> 15)
}

export class ProcessTable<T extends Tabled<T>> {
  /** Each the first of its chain; their number is a power of two. */
  #buckets: (T | undefined)[] = emptyBuckets(BUCKETS_MIN)
  #first: T | undefined = undefined
  #last: T | undefined = undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  get(pid: string): T | undefined {
    const buckets = this.#buckets
    let each = buckets[hashOf(pid) & (buckets.length - 1)]
    while (each !== undefined && each.pid !== pid) each = each.nextInBucket
    return each
  }

  has(pid: string): boolean {
    return this.get(pid) !== undefined
  }

  /** Of one whose PID is not there. */
  add(item: T): void {
    if (this.#size >= this.#buckets.length) this.#resize(this.#buckets.length * 2)
    this.#chain(item)
    item.older = this.#last
    if (this.#last === undefined) this.#first = item
    else this.#last.younger = item
    this.#last = item
    this.#size++
  }

  /** False when it is not there. */
  remove(item: T): boolean {
    if (!this.#unchain(item)) return false
    const { older, younger } = item
    if (older === undefined) this.#first = younger
    else older.younger = younger
    if (younger === undefined) this.#last = older
    else younger.older = older
    item.older = undefined
    item.younger = undefined
    this.#size--
    const { length } = this.#buckets
    if (length > BUCKETS_MIN && this.#size < length / 8) this.#resize(length / 2)
    return true
  }

  /** All that are there now: the list stays as it is while they come and go. */
  list(): T[] {
    const items: T[] = []
    for (let each = this.#first; each !== undefined; each = each.younger) items.push(each)
    return items
  }

  clear(): void {
    this.#buckets = emptyBuckets(BUCKETS_MIN)
    this.#first = undefined
    this.#last = undefined
    this.#size = 0
  }

  #chain(item: T): void {
    const buckets = this.#buckets
    const at = hashOf(item.pid) & (buckets.length - 1)
    item.nextInBucket = buckets[at]
    buckets[at] = item
  }

  #unchain(item: T): boolean {
    const buckets = this.#buckets
    const at = hashOf(item.pid) & (buckets.length - 1)
    let previous: T | undefined
    let each = buckets[at]
    while (each !== undefined && each !== item) {
      previous = each
      each = each.nextInBucket
    }
    if (each === undefined) return false
    if (previous === undefined) buckets[at] = item.nextInBucket
    else previous.nextInBucket = item.nextInBucket
    item.nextInBucket = undefined
    return true
  }

  #resize(length: number): void {
    this.#buckets = emptyBuckets(length)
    for (let each = this.#first; each !== undefined; each = each.younger) this.#chain(each)
  }
}

const emptyBuckets = <T>(length: number): (T | undefined)[] => new Array<T | undefined>(length).fill(undefined)
