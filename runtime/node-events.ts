// What happens on a node, for those who watch it from outside: members, leaders, names, processes, services, entries. operations.md §3.

import { toText } from './base/bytes.ts'
import { toPlain } from './base/plain.ts'
import type { ProcessNews } from './process/port.ts'
import type { EventBus } from './registry/event-bus.ts'

export type NodeEventType = 'membership' | 'leadership' | 'name' | 'process' | 'service' | 'entry'

export interface NodeEvent {
  readonly type: NodeEventType
  /** As `node.joined`, `service.failed`. */
  readonly kind: string
  /** What it is about: a node, a name, a PID, an entry. */
  readonly subject: string
  /** Wall-clock milliseconds since 1970. */
  readonly timeMs: number
  readonly data: Readonly<Record<string, unknown>>
}

type Listener = (event: NodeEvent) => void

/** Systems of the bus, and what their events are about. */
const TYPES: Readonly<Record<string, NodeEventType>> = {
  cluster: 'membership',
  raft: 'leadership',
  names: 'name',
  supervisor: 'service',
  registry: 'entry',
}

export const NODE_EVENT_TYPES: readonly NodeEventType[] = [...new Set(Object.values(TYPES)), 'process' as const].sort()

interface NodeEventSources {
  readonly bus: EventBus
  readonly wallMs: () => number
  /** Whether hosts tell of every process: nobody pays for it while nobody watches. */
  observe(isObserved: boolean): void
}

export class NodeEvents {
  readonly #sources: NodeEventSources
  readonly #listeners = new Map<Listener, ReadonlySet<NodeEventType>>()

  constructor(sources: NodeEventSources) {
    this.#sources = sources
    for (const [system, type] of Object.entries(TYPES)) {
      // The bus is for scripts, and scripts may say things in these systems' names: those are told as well, as what they are.
      sources.bus.subscribe(system, '*', ({ kind, path, data }) => {
        if (!this.#isWanted(type)) return
        const plain = data === undefined ? {} : toPlain(data)
        const isMap = typeof plain === 'object' && plain !== null && !Array.isArray(plain)
        this.#tell(type, toText(kind), toText(path), isMap ? (plain as Record<string, unknown>) : { value: plain })
      })
    }
  }

  /** @returns ends it */
  watch(types: ReadonlySet<NodeEventType>, listener: Listener): () => void {
    this.#listeners.set(listener, types)
    this.#observe()
    return () => {
      if (this.#listeners.delete(listener)) this.#observe()
    }
  }

  #isObserved = false

  #observe(): void {
    const isObserved = this.#isWanted('process')
    if (isObserved === this.#isObserved) return
    this.#isObserved = isObserved
    this.#sources.observe(isObserved)
  }

  process({ kind, pid, entry, reason, message }: ProcessNews): void {
    this.#tell('process', kind.replace('-', '.'), toText(pid), {
      entry: toText(entry),
      ...(reason === undefined ? {} : { reason }),
      ...(message === undefined ? {} : { message: toText(message) }),
    })
  }

  /** A name of this node alone. */
  name(name: string, pid: string | undefined): void {
    const data = { name: toText(name), pid: pid === undefined ? null : toText(pid), scope: 'local' }
    this.#tell('name', pid === undefined ? 'name.released' : 'name.bound', toText(name), data)
  }

  #isWanted(type: NodeEventType): boolean {
    for (const types of this.#listeners.values()) if (types.has(type)) return true
    return false
  }

  #tell(type: NodeEventType, kind: string, subject: string, data: Readonly<Record<string, unknown>>): void {
    const event: NodeEvent = { type, kind, subject, timeMs: this.#sources.wallMs(), data }
    for (const [listener, types] of this.#listeners) if (types.has(type)) listener(event)
  }
}
