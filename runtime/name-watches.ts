// Watches of names: what they stand for on this node, first as it is, then as it changes. A watch that falls behind is told so, and begins
// anew. Names and PIDs are byte strings.

import { toBytes } from './base/bytes.ts'
import { record, type TableValue } from './base/value.ts'
import type { Watching } from './watches.ts'

export type NameEvent =
  /** It stands for this process now. */
  | { readonly type: 'bound'; readonly name: string; readonly pid: string; readonly scope: string }
  /** It stands for nobody now; `pid`: for whom it did. */
  | { readonly type: 'released'; readonly name: string; readonly pid: string }
  /** Everything was told that was there when the watch began, or began anew. */
  | { readonly type: 'synced' }
  /** Changes are lost: what comes up to the next `synced` is all there is. */
  | { readonly type: 'resync' }

interface NameSource {
  /** What the name stands for here, in the largest scope that has it. */
  resolve(name: string): { readonly pid: string; readonly scope: string } | undefined
  /** Sorted names that begin with this and stand for something here. */
  names(prefix: string): readonly string[]
}

export interface NamePattern {
  readonly name: string
  /** Names that begin with it, and not it alone. */
  readonly isPrefix: boolean
}

/** Changes that wait for a watch whose process does not read. */
const WAITING_MAX = 1024
/** Of what was there at the beginning, told in one go. */
const PAGE = 256

export class NameWatches {
  readonly #source: NameSource
  readonly #ofName = new Map<string, Set<NameWatch>>()
  readonly #ofPrefix = new Set<NameWatch>()

  constructor(source: NameSource) {
    this.#source = source
  }

  watch({ name, isPrefix }: NamePattern): Watching<NameEvent> {
    const names = (): readonly string[] => {
      if (isPrefix) return this.#source.names(name)
      return this.#source.resolve(name) === undefined ? [] : [name]
    }
    const watches = isPrefix ? this.#ofPrefix : (this.#ofName.get(name) ?? new Set())
    if (!isPrefix) this.#ofName.set(name, watches)
    const watch = new NameWatch({
      prefix: name,
      names,
      resolve: (each) => this.#source.resolve(each),
      closed: () => {
        watches.delete(watch)
        if (!isPrefix && watches.size === 0) this.#ofName.delete(name)
      },
    })
    watches.add(watch)
    return watch
  }

  /** It stands for something else now than for `before`, or for nobody. */
  changed(name: string, before: string | undefined): void {
    for (const watch of this.#ofName.get(name) ?? []) watch.changed(name, before)
    for (const watch of this.#ofPrefix) if (name.startsWith(watch.prefix)) watch.changed(name, before)
  }

  get count(): number {
    let count = this.#ofPrefix.size
    for (const watches of this.#ofName.values()) count += watches.size
    return count
  }

  /** Ends all. */
  close(): void {
    for (const watches of [...this.#ofName.values(), this.#ofPrefix]) for (const watch of [...watches]) watch.close()
  }
}

interface NameWatchParts {
  readonly prefix: string
  names(): readonly string[]
  resolve: NameSource['resolve']
  closed(): void
}

class NameWatch implements Watching<NameEvent> {
  readonly #parts: NameWatchParts
  /** Names that were there when it began and are not told yet: what changes of them meanwhile is told with them. */
  #untold: Set<string>
  #isSynced = false
  #isBehind = false
  #waiting: NameEvent[] = []
  #wake: (() => void) | undefined
  #isClosed = false

  constructor(parts: NameWatchParts) {
    this.#parts = parts
    this.#untold = new Set(parts.names())
  }

  get prefix(): string {
    return this.#parts.prefix
  }

  changed(name: string, before: string | undefined): void {
    if (this.#isBehind || this.#untold.has(name)) return
    if (this.#waiting.length >= WAITING_MAX) {
      this.#isBehind = true
      this.#waiting = []
      this.#untold.clear()
    } else {
      const event = this.#boundEvent(name) ?? (before === undefined ? undefined : releasedEvent(name, before))
      if (event !== undefined) this.#waiting.push(event)
    }
    this.#wake?.()
  }

  async next(): Promise<readonly NameEvent[] | undefined> {
    for (;;) {
      if (this.#isClosed) return undefined
      const events = this.#take()
      if (events.length > 0) return events
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#parts.closed()
    this.#wake?.()
  }

  #take(): NameEvent[] {
    const events: NameEvent[] = []
    if (this.#isBehind) {
      this.#isBehind = false
      this.#isSynced = false
      this.#untold = new Set(this.#parts.names())
      events.push({ type: 'resync' })
    }
    events.push(...this.#waiting)
    this.#waiting = []
    if (this.#isSynced) return events
    let room = PAGE
    for (const name of this.#untold) {
      if (room-- === 0) return events
      this.#untold.delete(name)
      const event = this.#boundEvent(name)
      if (event !== undefined) events.push(event)
    }
    this.#isSynced = true
    events.push({ type: 'synced' })
    return events
  }

  #boundEvent(name: string): NameEvent | undefined {
    const now = this.#parts.resolve(name)
    return now === undefined ? undefined : { type: 'bound', name, ...now }
  }
}

const releasedEvent = (name: string, pid: string): NameEvent => ({ type: 'released', name, pid })

/** As a script reads it. */
export function nameEventValue(event: NameEvent): TableValue {
  if (event.type === 'bound') return record({ ...event, scope: toBytes(event.scope) })
  return record({ ...event })
}
