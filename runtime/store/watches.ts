// Watches of scripts: what a store says has changed goes to feeds of the processes that asked (lua-stdlib/support/feed.ts), no faster than they
// read. cluster.md §8.4.

import { toBytes } from '../base/bytes.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { errorFrom } from '../base/plain.ts'
import { record, type TableValue, type Value } from '../base/value.ts'

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

export interface BackendWatch {
  /** Waits until there is something. @returns undefined: it is closed @throws MoonmeshError when it cannot go on */
  next(): Promise<readonly WatchEvent[] | undefined>
  close(): void
}

/** Events that a process has been sent and has not read. The store keeps its place for the rest. */
const UNREAD_MAX = 1024
/** Of one process; more are a leak. */
const WATCHES_MAX = 1000

interface Running {
  readonly watch: BackendWatch
  readonly store: string
  unread: number
  /** The pump goes on. */
  resume: (() => void) | undefined
}

export type FeedProcess = (pid: string, topic: string, values: readonly Value[]) => void

export class Watches {
  readonly #feed: FeedProcess
  /** By process and topic of the feed. */
  readonly #running = new Map<string, Map<string, Running>>()
  resyncs = 0

  constructor(feed: FeedProcess) {
    this.#feed = feed
  }

  get count(): number {
    let count = 0
    for (const watches of this.#running.values()) count += watches.size
    return count
  }

  /** @throws MoonmeshError `LimitExceeded` */
  assertRoom(pid: string): void {
    if ((this.#running.get(pid)?.size ?? 0) < WATCHES_MAX) return
    throw new MoonmeshError('LimitExceeded', `a process has at most ${WATCHES_MAX} watches; close some`, {
      retryable: false,
    })
  }

  add(pid: string, topic: string, store: string, watch: BackendWatch): void {
    const watches = this.#running.get(pid) ?? new Map<string, Running>()
    const running: Running = { watch, store, unread: 0, resume: undefined }
    this.#running.set(pid, watches.set(topic, running))
    void this.#pump(pid, topic, running)
  }

  /** So many were read. */
  consumed(pid: string, topic: string, count: number): void {
    const running = this.#running.get(pid)?.get(topic)
    if (running === undefined) return
    running.unread = Math.max(0, running.unread - count)
    if (running.unread < UNREAD_MAX) running.resume?.()
  }

  close(pid: string, topic: string): void {
    const running = this.#remove(pid, topic)
    running?.watch.close()
    running?.resume?.()
  }

  closeOf(pid: string): void {
    for (const topic of [...(this.#running.get(pid)?.keys() ?? [])]) this.close(pid, topic)
  }

  /** The store stops: whoever follows it is told. */
  closeStore(store: string): void {
    for (const [, watches] of this.#running) {
      for (const [, running] of watches) if (running.store === store) running.watch.close()
    }
  }

  #remove(pid: string, topic: string): Running | undefined {
    const watches = this.#running.get(pid)
    const running = watches?.get(topic)
    watches?.delete(topic)
    if (watches?.size === 0) this.#running.delete(pid)
    return running
  }

  async #pump(pid: string, topic: string, running: Running): Promise<void> {
    let failure: unknown = new MoonmeshError('Unavailable', 'store is closed', { retryable: false })
    const isHere = (): boolean => this.#running.get(pid)?.get(topic) === running
    try {
      for (let events = await running.watch.next(); events !== undefined; events = await running.watch.next()) {
        if (!isHere()) return
        for (const event of events) {
          if (event.type === 'resync') this.resyncs++
          running.unread++
          this.#feed(pid, topic, [eventValue(event)])
        }
        if (running.unread >= UNREAD_MAX) await this.#room(running)
      }
    } catch (error) {
      failure = error
    }
    if (!isHere()) return
    this.#remove(pid, topic)
    running.watch.close()
    const error = failure instanceof MoonmeshError ? failure : new MoonmeshError('Internal', messageOf(failure))
    this.#feed(pid, topic, [record({ type: 'closed', error: errorFrom(error) }), true])
  }

  async #room(running: Running): Promise<void> {
    await new Promise<void>((resolve) => {
      running.resume = resolve
    })
    running.resume = undefined
  }
}

function eventValue(event: WatchEvent): TableValue {
  if (event.type === 'resync') return record({ type: 'resync', version: toBytes(event.version) })
  const { type, key, value, version, prevVersion } = event
  return record({ type, key, value, version: toBytes(version), prev_version: prevVersion })
}
