// Process groups for scripts: the scopes that entries declare, and how what happens in them reaches processes. lua-libraries.md §1.

import type { Entry, GroupScopeEntry } from '../app/load.ts'
import { toText } from '../base/bytes.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { list, record, TableValue, type Value } from '../base/value.ts'
import type { Client, NodeService } from '../node-services.ts'
import { ValueReader, ValueWriter, WireError } from '../relay/wire/values.ts'
import { neverEnds, type ResourceKeeper } from '../resources.ts'

interface GroupEvent {
  readonly kind: 'member.joined' | 'member.left'
  readonly group: string
  readonly pids: readonly string[]
}

export interface GroupHooks {
  deliver(pids: readonly string[], message: { topic: string; from: string; payload: Uint8Array }): void
  event(subscription: number, event: GroupEvent): void
  overflow(subscription: number): void
}

/** What a `pg.scope` entry says. */
type GroupSettings = Omit<GroupScopeEntry, 'id' | 'namespace' | 'kind' | 'meta' | 'lifecycle' | 'monitorBuffer'>

/** One scope as it runs (cluster/pg/runner.ts). PIDs, groups and topics are byte strings. */
export interface GroupScope {
  join(pid: string, groups: readonly string[], signal?: AbortSignal): void | Promise<void>
  leave(pid: string, groups: readonly string[], signal?: AbortSignal): void | Promise<void>
  monitor(pid: string, group: string | undefined, signal?: AbortSignal): Monitored | Promise<Monitored>
  demonitor(subscription: number): void
  consumed(subscription: number, count: number): void
  exited(pid: string): void
  members(group: string): readonly string[]
  localMembers(group: string): readonly string[]
  groups(): string[]
  localGroups(): string[]
  /** @returns the processes of this node that get it */
  broadcast(message: {
    group: string
    topic: string
    from: string
    isLocal: boolean
    payload: () => Uint8Array
  }): readonly string[]
  health(): { readonly ok: boolean; readonly detail: string }
}

interface Monitored {
  readonly subscription: number
  readonly members: ReadonlyMap<string, readonly string[]>
}

/** All scopes of the node (cluster/pg/pg.ts). */
export interface GroupScopes {
  open(id: string, settings: GroupSettings, hooks: GroupHooks): GroupScope
  stop(id: string): void
  close(): void
}

interface GroupsOptions {
  /** Called with the first scope that starts. */
  load(): Promise<GroupScopes>
  /** The kind of an entry of the app; undefined when there is none. */
  entryKind(id: string): string | undefined
  /** The same message to processes of this node, those that are still there. The list may be given again. */
  cast(pids: readonly string[], from: string, topic: string, values: readonly Value[]): void
  /** Something that a process asked to be told, under a topic of its own; it keeps account of what it has not read. */
  feed(pid: string, topic: string, values: readonly Value[]): void
  log(level: 'warn', fields: Record<string, string | number>, text: string): void
  /** A message between nodes has at most so many bytes. */
  readonly messageBytesMax: number
}

/** What a process watches; more is a leak. */
const SUBSCRIPTIONS_MAX = 256

interface Running {
  readonly scope: GroupScope
  readonly monitorBuffer: number
  /** Who is told, by the scope's number of the subscription. */
  readonly subscribers: Map<number, { readonly pid: string; readonly topic: string; readonly group: string }>
  readonly counts: Map<string, number>
}

export class Groups implements NodeService, ResourceKeeper {
  readonly kinds = ['pg.scope'] as const
  readonly #options: GroupsOptions
  readonly #running = new Map<string, Running>()
  readonly #writer: ValueWriter
  #loaded: Promise<GroupScopes> | undefined
  #scopes: GroupScopes | undefined
  /** Broadcasts of other nodes with values that cannot be read. */
  unreadable = 0

  constructor(options: GroupsOptions) {
    this.#options = options
    this.#writer = new ValueWriter(options.messageBytesMax)
  }

  // ---- entries

  async start(entry: Entry): Promise<ReturnType<typeof neverEnds>> {
    const {
      id,
      namespace: _,
      kind: _kind,
      meta: _meta,
      lifecycle: _lifecycle,
      monitorBuffer,
      ...settings
    } = entry as GroupScopeEntry
    this.#loaded ??= this.#options.load()
    this.#scopes = await this.#loaded
    const subscribers: Running['subscribers'] = new Map()
    const scope = this.#scopes.open(id, settings, {
      deliver: (pids, message) => this.#deliver(id, pids, message),
      event: (subscription, { kind, group, pids }) => {
        const to = subscribers.get(subscription)
        if (to !== undefined) this.#options.feed(to.pid, to.topic, [kind, group, list([...pids])])
      },
      overflow: (subscription) => {
        const to = subscribers.get(subscription)
        if (to === undefined) return
        this.#forget(id, subscription)
        this.#options.feed(to.pid, to.topic, ['overflow', to.group, undefined])
      },
    })
    this.#running.set(id, { scope, monitorBuffer, subscribers, counts: new Map() })
    return neverEnds()
  }

  async stop(id: string): Promise<'graceful'> {
    this.#running.delete(id)
    this.#scopes?.stop(id)
    return 'graceful'
  }

  close(): void {
    this.#running.clear()
    this.#scopes?.close()
  }

  // ---- scripts

  readonly methods: NodeService['methods'] = {
    open: ([id]) => {
      const text = toText(id as string)
      const running = this.#running.get(text)
      if (running !== undefined) return running.monitorBuffer
      const kind = this.#options.entryKind(text)
      if (kind !== undefined && kind !== 'pg.scope') throw refusal('Invalid', 'resource is not a pg scope')
      const why = kind === undefined ? 'there is no such entry' : 'it is not running'
      throw refusal('Internal', `failed to acquire pg scope: ${text} (${why})`)
    },
    join: ([id, ...groups], { pid, signal }) => done(this.#of(id).scope.join(pid, groups as string[], signal)),
    leave: ([id, ...groups], { pid, signal }) => done(this.#of(id).scope.leave(pid, groups as string[], signal)),
    members: ([id, group]) => list([...this.#of(id).scope.members(group as string)]),
    local_members: ([id, group]) => list([...this.#of(id).scope.localMembers(group as string)]),
    groups: ([id]) => list(this.#of(id).scope.groups()),
    local_groups: ([id]) => list(this.#of(id).scope.localGroups()),
    broadcast: ([id, group, topic, ...values], { pid }) =>
      this.#broadcast(id, { group, topic, from: pid, isLocal: false }, values),
    broadcast_local: ([id, group, topic, ...values], { pid }) =>
      this.#broadcast(id, { group, topic, from: pid, isLocal: true }, values),
    /** id, topic of the feed, group or nil; answers `{subscription, members}` or `{subscription, groups}` */
    monitor: ([id, topic, group], client) => this.#monitor(this.#of(id), topic as string, group, client),
    demonitor: ([id, subscription], { pid }) => {
      const text = toText(id as string)
      const running = this.#running.get(text)
      if (running?.subscribers.get(subscription as number)?.pid !== pid) return undefined
      this.#forget(text, subscription as number)
      running.scope.demonitor(subscription as number)
      return undefined
    },
    consumed: ([id, subscription, count], { pid }) => {
      const running = this.#running.get(toText(id as string))
      if (running?.subscribers.get(subscription as number)?.pid === pid) {
        running.scope.consumed(subscription as number, count as number)
      }
      return undefined
    },
  }

  clientEnded(pid: string): void {
    for (const { scope, subscribers, counts } of this.#running.values()) {
      if (counts.delete(pid)) for (const [id, to] of subscribers) if (to.pid === pid) subscribers.delete(id)
      scope.exited(pid)
    }
  }

  #of(id: Value): Running {
    const running = this.#running.get(toText(id as string))
    if (running === undefined) throw refusal('Unavailable', 'service stopped')
    return running
  }

  #monitor(running: Running, topic: string, group: Value, { pid, signal }: Client): Value | Promise<Value> {
    const { counts, subscribers, scope } = running
    const count = counts.get(pid) ?? 0
    if (count >= SUBSCRIPTIONS_MAX) {
      const text = `a process has at most ${SUBSCRIPTIONS_MAX} subscriptions of a pg scope; close some`
      throw new MoonmeshError('LimitExceeded', text, { retryable: false })
    }
    const monitored = ({ subscription, members }: Monitored): Value => {
      counts.set(pid, (counts.get(pid) ?? 0) + 1)
      subscribers.set(subscription, { pid, topic, group: (group as string | undefined) ?? '' })
      if (group !== undefined) return record({ subscription, members: list([...(members.get(group as string) ?? [])]) })
      const groups = new TableValue(
        [],
        [...members.keys()],
        [...members.values()].map((pids) => list([...pids])),
      )
      return record({ subscription, groups })
    }
    const answer = scope.monitor(pid, group as string | undefined, signal)
    return answer instanceof Promise ? answer.then(monitored) : monitored(answer)
  }

  #forget(id: string, subscription: number): void {
    const running = this.#running.get(id)
    const to = running?.subscribers.get(subscription)
    if (running === undefined || to === undefined) return
    running.subscribers.delete(subscription)
    const count = running.counts.get(to.pid) ?? 0
    if (count > 1) running.counts.set(to.pid, count - 1)
    else running.counts.delete(to.pid)
  }

  // ---- broadcasts

  #broadcast(
    id: Value,
    { group, topic, from, isLocal }: { group: Value; topic: Value; from: string; isLocal: boolean },
    values: readonly Value[],
  ): undefined {
    const message = { group: group as string, topic: topic as string, from, isLocal }
    const local = this.#of(id).scope.broadcast({ ...message, payload: () => this.#encode(values) })
    if (local.length > 0) this.#options.cast(local, from, message.topic, values)
    return undefined
  }

  #encode(values: readonly Value[]): Uint8Array {
    try {
      return this.#writer
        .start()
        .list(values, (value) => this.#writer.value(value))
        .finish()
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      throw refusal('Invalid', `too large, or nested too deep, for another node: ${error.message}`)
    }
  }

  #deliver(
    scope: string,
    pids: readonly string[],
    { topic, from, payload }: { topic: string; from: string; payload: Uint8Array },
  ): void {
    let values: readonly Value[]
    try {
      const reader = new ValueReader(Buffer.from(payload.buffer, payload.byteOffset, payload.length))
      values = reader.list(() => reader.value())
      if (!reader.isAtEnd) throw new WireError('bytes follow the values')
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      if (this.unreadable++ === 0) {
        const fields = { event: 'pg_unreadable', scope, reason: messageOf(error) }
        this.#options.log(
          'warn',
          fields,
          'a broadcast of another node that cannot be read; does it run another version?',
        )
      }
      return
    }
    this.#options.cast(pids, from, topic, values)
  }

  // ---- looking at it

  scopes(): string[] {
    return [...this.#running.keys()]
  }

  rows(scope: string | undefined): { scope: string; group: string; members: readonly string[] }[] {
    return this.#sorted(scope).flatMap(({ id, scope: each }) =>
      each.groups().map((group) => ({ scope: id, group: toText(group), members: each.members(group).map(toText) })),
    )
  }

  checks(): { name: string; ok: boolean; detail: string }[] {
    return this.#sorted(undefined).map(({ id, scope }) => ({ name: `pg_broadcast_recent.${id}`, ...scope.health() }))
  }

  #sorted(wanted: string | undefined): { id: string; scope: GroupScope }[] {
    const running = [...this.#running].map(([id, { scope }]) => ({ id, scope }))
    return running.filter(({ id }) => wanted === undefined || id === wanted).sort((a, b) => (a.id < b.id ? -1 : 1))
  }
}

function done(answer: void | Promise<void>): Value | Promise<Value> {
  return answer instanceof Promise ? answer.then(() => undefined) : undefined
}

function refusal(kind: 'Invalid' | 'Internal' | 'Unavailable', text: string): MoonmeshError {
  return new MoonmeshError(kind, text, { retryable: false })
}
