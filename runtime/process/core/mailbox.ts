// One process's mailbox: which message goes where, and how many may wait. lua-core.md §7.2. Listeners by topic first, then the inbox,
// then it waits unclaimed. A listener has no queue here: its sink keeps what it was offered until a reader takes it.

import { Queue } from '../../base/queue.ts'

interface Addressed {
  readonly topic: string
  /** Its place in the order of arrival; set by the mailbox. */
  arrival?: number
}

/** Where claimed messages lie until somebody reads them. */
interface MailSink<T> {
  /** False when it takes nothing any more. */
  offer(item: T): boolean
}

/** The topic that stands for lifecycle events; they never fall into the inbox. */
const EVENTS_TOPIC = '@pid/events'
/** The topic that stands for whatever no listener wants. */
const INBOX_TOPIC = '@pid/inbox'

/** Topics of feeds: whoever reads one listens before anything can arrive, so what nobody listens to any more is dropped. */
export const FEED_PREFIX = '@feed/'

const AT = 64
const isReserved = (topic: string): boolean => topic.charCodeAt(0) === AT

export class Mailbox<M extends Addressed, E> {
  /** Unread messages beyond which `deliver` refuses; events are always accepted. */
  readonly countMax: number
  #unread = 0
  #arrivals = 0
  #inbox: MailSink<M> | undefined
  #events: MailSink<E> | undefined
  #listeners: Map<string, MailSink<M>> | undefined
  #unclaimed: Queue<M> | undefined
  #waitingEvents: Queue<E> | undefined

  constructor(countMax: number) {
    this.countMax = countMax
  }

  /** Messages and events that nobody has read yet. */
  get unreadCount(): number {
    return this.#unread
  }

  get inbox(): MailSink<M> | undefined {
    return this.#inbox
  }

  get events(): MailSink<E> | undefined {
    return this.#events
  }

  /** Whether the process handed out any channel of its mailbox. */
  get isWatched(): boolean {
    return this.#inbox !== undefined || this.#events !== undefined || (this.#listeners?.size ?? 0) > 0
  }

  /** False, and the message is dropped, when the mailbox is full. */
  deliver(message: M): boolean {
    if (this.#unread >= this.countMax) return false
    this.admit(message)
    return true
  }

  /** Takes a message whatever waits, for senders that have a bound of their own. */
  admit(message: M): void {
    this.#unread++
    message.arrival = this.#arrivals++
    this.#route(message)
  }

  #route(message: M): void {
    // A sink that the process has closed counts as none: nothing is lost.
    if (this.#listeners?.get(message.topic)?.offer(message) === true) return
    const reserved = isReserved(message.topic)
    if (!reserved && this.#inbox?.offer(message) === true) return
    if (reserved && message.topic.startsWith(FEED_PREFIX)) {
      this.#unread--
      return
    }
    this.#unclaimed ??= new Queue()
    this.#unclaimed.push(message)
  }

  notify(event: E): void {
    this.#unread++
    this.#routeEvent(event)
  }

  #routeEvent(event: E): void {
    if (this.#events?.offer(event) === true) return
    this.#waitingEvents ??= new Queue()
    this.#waitingEvents.push(event)
  }

  /** A reader took one message or event out of a sink. */
  taken(): void {
    this.#unread--
  }

  /** A sink got back a message or event that nobody has read. */
  restored(): void {
    this.#unread++
  }

  /** Every topic with a sink, those that stand for the inbox and the events included. */
  *bindings(): Generator<[topic: string, sink: MailSink<M> | MailSink<E>]> {
    if (this.#inbox !== undefined) yield [INBOX_TOPIC, this.#inbox]
    if (this.#events !== undefined) yield [EVENTS_TOPIC, this.#events]
    yield* this.#listeners ?? []
  }

  /** What no sink has taken, in order of arrival. */
  waiting(): { messages: readonly M[]; events: readonly E[]; arrivals: number } {
    return {
      messages: [...(this.#unclaimed ?? [])],
      events: [...(this.#waitingEvents ?? [])],
      arrivals: this.#arrivals,
    }
  }

  /** Of a new mailbox: what `waiting` gave. Messages keep their places. */
  restore({ messages, events, arrivals }: { messages: readonly M[]; events: readonly E[]; arrivals: number }): void {
    this.#arrivals = arrivals
    for (const message of messages) {
      this.#unclaimed ??= new Queue()
      this.#unclaimed.push(message)
    }
    for (const event of events) {
      this.#waitingEvents ??= new Queue()
      this.#waitingEvents.push(event)
    }
    this.#unread += messages.length + events.length
  }

  sinkOf(topic: string): MailSink<M> | MailSink<E> | undefined {
    if (topic === EVENTS_TOPIC) return this.#events
    return topic === INBOX_TOPIC ? this.#inbox : this.#listeners?.get(topic)
  }

  /** False when another sink has the topic. What waits for the topic moves to the sink, in order of arrival. */
  listen(topic: string, sink: MailSink<M | E>): boolean {
    const holder = this.sinkOf(topic)
    if (holder !== undefined) return holder === sink
    if (topic === EVENTS_TOPIC) this.openEvents(sink)
    else if (topic === INBOX_TOPIC) this.openInbox(sink)
    else {
      this.#listeners ??= new Map()
      this.#listeners.set(topic, sink)
      this.#claim((message) => message.topic === topic)
    }
    return true
  }

  /** False when the sink listens to nothing. */
  unlisten(sink: MailSink<M | E>): boolean {
    let found = sink === this.#events || sink === this.#inbox
    if (sink === this.#events) this.#events = undefined
    if (sink === this.#inbox) this.#inbox = undefined
    for (const [topic, holder] of this.#listeners ?? []) {
      if (holder !== sink) continue
      this.#listeners?.delete(topic)
      found = true
    }
    return found
  }

  /** The first call claims everything that no listener wants, reserved topics excepted. */
  openInbox(sink: MailSink<M>): void {
    if (this.#inbox !== undefined) return
    this.#inbox = sink
    this.#claim((message) => !isReserved(message.topic))
  }

  openEvents(sink: MailSink<E>): void {
    if (this.#events !== undefined) return
    this.#events = sink
    const waiting = this.#waitingEvents
    this.#waitingEvents = undefined
    for (const event of waiting ?? []) this.#routeEvent(event)
  }

  /** Every sink that was handed out. */
  *sinks(): Generator<MailSink<M> | MailSink<E>> {
    if (this.#inbox !== undefined) yield this.#inbox
    if (this.#events !== undefined) yield this.#events
    for (const sink of new Set(this.#listeners?.values())) yield sink
  }

  /** The process starts over with new code: its channels are gone, what nobody read waits again (lua-core.md §9.8). */
  reset(unread: { messages: readonly M[]; events: readonly E[] }): void {
    const unclaimed = [...(this.#unclaimed ?? [])]
    const waiting = [...(this.#waitingEvents ?? [])]
    this.#inbox = undefined
    this.#events = undefined
    this.#listeners = undefined
    this.#unclaimed = undefined
    this.#waitingEvents = undefined
    this.#unread = 0
    const messages = [...unread.messages, ...unclaimed].sort((a, b) => (a.arrival ?? 0) - (b.arrival ?? 0))
    for (const message of messages) {
      this.#unread++
      this.#route(message)
    }
    for (const event of [...unread.events, ...waiting]) this.notify(event)
  }

  #claim(wants: (message: M) => boolean): void {
    const waiting = this.#unclaimed
    if (waiting === undefined) return
    this.#unclaimed = undefined
    for (const message of waiting) {
      if (wants(message)) this.#route(message)
      else {
        this.#unclaimed ??= new Queue()
        this.#unclaimed.push(message)
      }
    }
  }
}
