// Watches of scripts: what somebody says has changed goes to feeds of the processes that asked (lua-stdlib/support/feed.ts), no faster than
// they read.

import { MoonmeshError, messageOf } from './base/errors.ts'
import { errorFrom } from './base/plain.ts'
import { record, type TableValue, type Value } from './base/value.ts'

export interface Watching<Event> {
  /** Waits until there is something. @returns undefined: it is closed @throws MoonmeshError when it cannot go on */
  next(): Promise<readonly Event[] | undefined>
  close(): void
}

/** Events that a process has been sent and has not read. Whoever is watched keeps the rest, or says that some are lost. */
const UNREAD_MAX = 1024
/** Of one process; more are a leak. */
const WATCHES_MAX = 1000

interface Running<Event> {
  readonly watch: Watching<Event>
  readonly source: string
  unread: number
  /** The pump goes on. */
  resume: (() => void) | undefined
}

export type FeedProcess = (pid: string, topic: string, values: readonly Value[]) => void

export class Watches<Event extends { readonly type: string }> {
  readonly #feed: FeedProcess
  readonly #what: string
  readonly #toValue: (event: Event) => TableValue
  /** By process and topic of the feed. */
  readonly #running = new Map<string, Map<string, Running<Event>>>()
  resyncs = 0

  /**
   * @param what is watched, for the error of its end
   * @param toValue an event as a script reads it; `resync` says that some are lost
   */
  constructor(feed: FeedProcess, what: string, toValue: (event: Event) => TableValue) {
    this.#feed = feed
    this.#what = what
    this.#toValue = toValue
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

  /** @param source what is watched, for `closeSource` */
  add(pid: string, topic: string, source: string, watch: Watching<Event>): void {
    const watches = this.#running.get(pid) ?? new Map<string, Running<Event>>()
    const running: Running<Event> = { watch, source, unread: 0, resume: undefined }
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

  /** It stops: whoever follows it is told. */
  closeSource(source: string): void {
    for (const [, watches] of this.#running) {
      for (const [, running] of watches) if (running.source === source) running.watch.close()
    }
  }

  #remove(pid: string, topic: string): Running<Event> | undefined {
    const watches = this.#running.get(pid)
    const running = watches?.get(topic)
    watches?.delete(topic)
    if (watches?.size === 0) this.#running.delete(pid)
    return running
  }

  async #pump(pid: string, topic: string, running: Running<Event>): Promise<void> {
    let failure: unknown = new MoonmeshError('Unavailable', `${this.#what} is closed`, { retryable: false })
    const isHere = (): boolean => this.#running.get(pid)?.get(topic) === running
    try {
      for (let events = await running.watch.next(); events !== undefined; events = await running.watch.next()) {
        if (!isHere()) return
        for (const event of events) {
          if (event.type === 'resync') this.resyncs++
          running.unread++
          this.#feed(pid, topic, [this.#toValue(event)])
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

  async #room(running: Running<Event>): Promise<void> {
    await new Promise<void>((resolve) => {
      running.resume = resolve
    })
    running.resume = undefined
  }
}
