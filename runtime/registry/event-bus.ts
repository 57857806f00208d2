// The node's bus for observation: whatever happens is published here, best effort, to whoever subscribed. Publishers never wait.
// lua-core.md §18.

import { MoonmeshError } from '../base/errors.ts'
import type { Value } from '../base/value.ts'
import type { NodeService } from '../node-services.ts'
import { eventMatcher } from './core/event-pattern.ts'

/** Byte strings; `data` is absent when nothing was sent. */
interface BusEvent {
  readonly system: string
  readonly kind: string
  readonly path: string
  readonly data: Value
}

type Listener = (event: BusEvent) => void

interface Subscription {
  readonly matchesSystem: (system: string) => boolean
  readonly matchesKind: (kind: string) => boolean
  readonly listener: Listener
}

export class EventBus {
  readonly #subscriptions = new Set<Subscription>()

  /**
   * @param system a pattern (core/event-pattern.ts), like `kind`
   * @returns ends it
   */
  subscribe(system: string, kind: string, listener: Listener): () => void {
    const subscription = { matchesSystem: eventMatcher(system), matchesKind: eventMatcher(kind), listener }
    this.#subscriptions.add(subscription)
    return () => this.#subscriptions.delete(subscription)
  }

  publish(event: BusEvent): void {
    for (const { matchesSystem, matchesKind, listener } of this.#subscriptions) {
      if (matchesSystem(event.system) && matchesKind(event.kind)) listener(event)
    }
  }
}

/** Subscriptions of one process; more are a leak. */
const SUBSCRIPTIONS_MAX = 1000

/** The bus for scripts: a subscription sends its events to a feed of the process (lua-stdlib/support/feed.ts). */
export class EventService implements NodeService {
  readonly #bus: EventBus
  readonly #deliver: (pid: string, topic: string, values: readonly Value[]) => void
  readonly #feeds = new Map<string, Map<string, () => void>>()

  /** @param deliver puts a message of the runtime into a process's mailbox */
  constructor(bus: EventBus, deliver: (pid: string, topic: string, values: readonly Value[]) => void) {
    this.#bus = bus
    this.#deliver = deliver
  }

  readonly methods: NodeService['methods'] = {
    /** topic of the feed, pattern of systems, pattern of kinds */
    subscribe: ([topic, system, kind], { pid }) => {
      const feeds = this.#feeds.get(pid) ?? new Map<string, () => void>()
      if (feeds.size >= SUBSCRIPTIONS_MAX) {
        throw new MoonmeshError('LimitExceeded', `a process has at most ${SUBSCRIPTIONS_MAX} subscriptions; close some`)
      }
      const end = this.#bus.subscribe(system as string, kind as string, ({ data, ...event }) =>
        this.#deliver(pid, topic as string, [event.system, event.kind, event.path, data]),
      )
      this.#feeds.set(pid, feeds.set(topic as string, end))
      return undefined
    },
    unsubscribe: ([topic], { pid }) => {
      const feeds = this.#feeds.get(pid)
      feeds?.get(topic as string)?.()
      feeds?.delete(topic as string)
      return undefined
    },
    send: ([system, kind, path, data]) => {
      this.#bus.publish({ system: system as string, kind: kind as string, path: path as string, data })
      return undefined
    },
  }

  clientEnded(pid: string): void {
    for (const end of this.#feeds.get(pid)?.values() ?? []) end()
    this.#feeds.delete(pid)
  }
}
