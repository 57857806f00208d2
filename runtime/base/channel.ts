// Channels: the meeting points of one process's coroutines. lua-core.md §11. Whoever must wait leaves a waiter; it is served exactly
// once, first come, first served, or withdrawn. A channel knows neither engine nor scheduler: a `Party` is told what happened.

import type { Value } from './value.ts'

/** One that waits, at one channel or, for a select, at several. */
export interface Party<T> {
  /** `waiter` got a value (`ok`), or its channel closed with nothing left. */
  received(waiter: Waiter<T>, value: T | undefined, ok: boolean): void
  /** The value of `waiter` was taken. */
  sent(waiter: Waiter<T>): void
  /** The channel of a sending `waiter` was closed. */
  refused(waiter: Waiter<T>): void
}

/** A place in the line of a channel. */
export class Waiter<T> {
  readonly channel: Channel<T>
  readonly party: Party<T>
  readonly isSender: boolean
  readonly value: T | undefined
  /** The position of the case in its select; 0 otherwise. */
  readonly index: number
  /** @internal links of the line */
  line: Line<T> | undefined = undefined
  previous: Waiter<T> | undefined = undefined
  next: Waiter<T> | undefined = undefined

  constructor(channel: Channel<T>, party: Party<T>, isSender: boolean, value: T | undefined, index: number) {
    this.channel = channel
    this.party = party
    this.isSender = isSender
    this.value = value
    this.index = index
  }

  /** Leaves the line; nothing happens when it was served already. */
  withdraw(): void {
    this.line?.remove(this)
  }
}

/** Waiters in order; the channel's own. */
class Line<T> {
  first: Waiter<T> | undefined = undefined
  last: Waiter<T> | undefined = undefined

  add(waiter: Waiter<T>): void {
    const { last } = this
    waiter.line = this
    waiter.previous = last
    if (last === undefined) this.first = waiter
    else last.next = waiter
    this.last = waiter
  }

  take(): Waiter<T> | undefined {
    const waiter = this.first
    if (waiter !== undefined) this.remove(waiter)
    return waiter
  }

  remove(waiter: Waiter<T>): void {
    if (waiter.line !== this) return
    if (waiter.previous === undefined) this.first = waiter.next
    else waiter.previous.next = waiter.next
    if (waiter.next === undefined) this.last = waiter.previous
    else waiter.next.previous = waiter.previous
    waiter.line = undefined
    waiter.previous = undefined
    waiter.next = undefined
  }
}

/** A value that takes its final form when it is received, not when it is put into the channel. */
export abstract class Deferred<T> {
  abstract take(): T
  /** As data, for a process that is saved; undefined: it cannot be. */
  save(): Value {
    return undefined
  }
}

/** What an attempt to receive found: a value, a closed channel, or (undefined) nothing yet. */
type Received<T> = { value: T | undefined; ok: boolean } | undefined

export class Channel<T> {
  /** How many values it holds without a receiver; 0 = sender and receiver meet. */
  readonly capacity: number
  #buffer: (T | Deferred<T>)[] | undefined
  #head = 0
  #receivers: Line<T> | undefined
  #senders: Line<T> | undefined
  #isClosed = false

  constructor(capacity = 0) {
    this.capacity = Math.max(0, Math.floor(capacity) || 0)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Values that wait for a receiver in the channel itself. */
  get bufferedCount(): number {
    return this.#buffer === undefined ? 0 : this.#buffer.length - this.#head
  }

  /** Takes a value if one is there; a closed, empty channel answers `ok: false`. */
  tryReceive(): Received<T> {
    if (this.bufferedCount > 0) {
      const value = this.#shift()
      // Offers may have filled the buffer beyond its capacity: then no slot is free yet.
      const sender = this.bufferedCount < this.capacity ? this.#senders?.take() : undefined
      if (sender !== undefined) {
        this.#push(sender.value as T)
        sender.party.sent(sender)
      }
      return { value: final(value), ok: true }
    }
    const sender = this.#senders?.take()
    if (sender !== undefined) {
      sender.party.sent(sender)
      return { value: sender.value, ok: true }
    }
    return this.#isClosed ? { value: undefined, ok: false } : undefined
  }

  /** Hands the value to a waiting receiver or the buffer; `full` when it would have to wait. */
  trySend(value: T | Deferred<T>): 'sent' | 'closed' | 'full' {
    if (this.#isClosed) return 'closed'
    const receiver = this.#receivers?.take()
    if (receiver !== undefined) {
      receiver.party.received(receiver, final(value), true)
      return 'sent'
    }
    if (this.bufferedCount >= this.capacity) return 'full'
    this.#push(value)
    return 'sent'
  }

  /** Like trySend, but the buffer takes it whatever its capacity: for sources that keep their own bound. False when closed. */
  offer(value: T | Deferred<T>): boolean {
    const outcome = this.trySend(value)
    if (outcome === 'full') this.#push(value)
    return outcome !== 'closed'
  }

  /** Waits in line to receive; only right after `tryReceive` found nothing. */
  waitToReceive(party: Party<T>, index = 0): Waiter<T> {
    const waiter = new Waiter(this, party, false, undefined, index)
    this.#receivers ??= new Line()
    this.#receivers.add(waiter)
    return waiter
  }

  /** Waits in line to send; only right after `trySend` answered `full`. */
  waitToSend(party: Party<T>, value: T, index = 0): Waiter<T> {
    const waiter = new Waiter(this, party, true, value, index)
    this.#senders ??= new Line()
    this.#senders.add(waiter)
    return waiter
  }

  /** Wakes everyone who waits; buffered values can still be received. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (let waiter = this.#receivers?.take(); waiter !== undefined; waiter = this.#receivers?.take()) {
      waiter.party.received(waiter, undefined, false)
    }
    for (let waiter = this.#senders?.take(); waiter !== undefined; waiter = this.#senders?.take()) {
      waiter.party.refused(waiter)
    }
  }

  /** Gives what is still deferred in the buffer its final form. */
  settle(): void {
    this.#buffer = this.drain().map(final)
  }

  /** What lies in the buffer, as it was put in. */
  buffered(): readonly (T | Deferred<T>)[] {
    return this.#buffer?.slice(this.#head) ?? []
  }

  /** Takes everything out of the buffer, as it was put in. */
  drain(): (T | Deferred<T>)[] {
    const rest = this.#buffer?.slice(this.#head) ?? []
    this.#buffer = undefined
    this.#head = 0
    return rest
  }

  #push(value: T | Deferred<T>): void {
    this.#buffer ??= []
    this.#buffer.push(value)
  }

  #shift(): T | Deferred<T> {
    const buffer = this.#buffer as (T | Deferred<T>)[]
    const value = buffer[this.#head] as T | Deferred<T>
    buffer[this.#head++] = undefined as T
    if (this.#head === buffer.length) {
      this.#buffer = undefined
      this.#head = 0
    } else if (this.#head >= 1024 && this.#head * 2 >= buffer.length) {
      this.#buffer = buffer.slice(this.#head)
      this.#head = 0
    }
    return value
  }
}

function final<T>(value: T | Deferred<T>): T {
  return value instanceof Deferred ? value.take() : value
}
