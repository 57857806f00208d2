// What a Lua process is made of while it is suspended, as the parts that the engine writes down (docs/internals/lua-engine.md).

import { MoonmeshError } from '../base/errors.ts'
import { TableValue, type Value } from '../base/value.ts'
import type { LuaTable, LuaThread, LuaValue, Parts, RunInput } from '../lua/engine.ts'
import type { Envelope, Identity, LifecycleEvent, NamedParts, ProcessOptions } from '../services.ts'
import { type Mail, readMail, writeMail } from './mail-form.ts'

/** A coroutine of the scheduler. `current`: it was paused in the middle; `ready`: it stands in line. */
export interface FiberState {
  readonly thread: LuaThread
  readonly state: 'current' | 'ready' | 'waiting'
  readonly input: RunInput
  /** Of one that waits: for what. */
  readonly wait: NamedParts | undefined
}

export interface ProcessState {
  readonly main: number
  readonly fibers: readonly FiberState[]
  readonly libraries: ReadonlyMap<string, LuaValue>
  readonly globals: LuaTable | undefined
  readonly sinks: readonly { topic: string; parts: NamedParts }[]
  readonly messages: readonly Envelope[]
  readonly events: readonly LifecycleEvent[]
  readonly arrivals: number
  /** Objects that start pending timers again. */
  readonly timers: readonly LuaValue[]
  readonly context: TableValue
  readonly identity: Identity | undefined
  readonly options: ProcessOptions
  readonly feedCount: number
}

const isEvent = (mail: Mail): mail is LifecycleEvent => 'kind' in mail
const isMessage = (mail: Mail): mail is Envelope => !isEvent(mail)

const list = (items: readonly Value[]): TableValue => new TableValue([...items])

/** The parts, and how error texts call each value. */
export function partsOf(state: ProcessState): Parts & { names: readonly string[] } {
  const values: LuaValue[] = []
  const names: string[] = []
  const put = (name: string, ...items: readonly LuaValue[]): number => {
    for (const item of items) {
      values.push(item)
      names.push(name)
    }
    return items.length
  }
  const { identity } = state
  const fibers = state.fibers.map(({ thread, state: standing, input, wait }, i) => {
    put(i === state.main ? 'the process' : 'a coroutine of the process', thread)
    const isRaise = 'raise' in input
    const inputs = put('what a call returns', ...(isRaise ? [input.raise] : input.values))
    const waits = put('what a coroutine waits for', ...(wait?.values ?? []))
    return list([standing, isRaise, inputs, wait?.name, list(wait?.data ?? []), waits])
  })
  const libraries = [...state.libraries].map(([id, value]) => {
    put(`the library ${id}`, value)
    return id
  })
  const sinks = state.sinks.map(({ topic, parts }) =>
    list([topic, parts.name, list(parts.data), put(`the channel of topic '${topic}'`, ...parts.values)]),
  )
  put('a timer', ...state.timers)
  put('the globals', state.globals)
  const data = list([
    state.main,
    list(fibers),
    list(libraries),
    list(sinks),
    list(state.messages.map(writeMail)),
    list(state.events.map(writeMail)),
    state.arrivals,
    state.timers.length,
    state.context,
    identity === undefined
      ? undefined
      : list([
          identity.actor === undefined ? undefined : list([identity.actor.id, identity.actor.meta]),
          identity.scope === undefined ? undefined : list(identity.scope),
        ]),
    list([state.options.trapLinks, state.options.upgradable]),
    state.feedCount,
  ])
  return { data: [data], values, names }
}

/** Takes values from the front. */
class Cursor {
  readonly #values: readonly LuaValue[]
  #at = 0
  constructor(values: readonly LuaValue[]) {
    this.#values = values
  }
  take(count: Value): LuaValue[] {
    if (typeof count !== 'number' || count < 0 || this.#at + count > this.#values.length) throw malformed('a count')
    this.#at += count
    return this.#values.slice(this.#at - count, this.#at)
  }
}

/** @throws MoonmeshError `Invalid` for parts that `partsOf` cannot have made */
export function stateOf(parts: Parts, isThread: (value: LuaValue) => boolean): ProcessState {
  const values = new Cursor(parts.values)
  const fields = items(parts.data[0])
  if (fields.length !== 12) throw malformed('a process')
  const [main, fibers, libraries, sinks, messages, events, arrivals, timers, context, identity, options, feeds] = fields
  const made = items(fibers).map((fiber): FiberState => {
    const [state, isRaise, inputs, name, data, waits] = items(fiber)
    const [thread] = values.take(1)
    if (!isThread(thread)) throw malformed('a coroutine')
    if (state !== 'current' && state !== 'ready' && state !== 'waiting') throw malformed('a coroutine')
    const given = values.take(inputs)
    const held = values.take(waits)
    if ((typeof name === 'string') !== (state === 'waiting')) throw malformed('a coroutine')
    return {
      thread: thread as LuaThread,
      state,
      input: isRaise === true ? { raise: given[0] } : { values: given },
      wait: typeof name === 'string' ? { name, data: items(data), values: held } : undefined,
    }
  })
  if (new Set(made.map(({ thread }) => thread)).size !== made.length) throw malformed('a coroutine')
  if (made.filter(({ state }) => state === 'current').length > 1) throw malformed('a coroutine')
  const loaded = items(libraries).map((id): [string, LuaValue] => [text(id), values.take(1)[0]])
  const bound = items(sinks).map((sink) => {
    const [topic, name, data, count] = items(sink)
    return { topic: text(topic), parts: { name: text(name), data: items(data), values: values.take(count) } }
  })
  const started = values.take(timers)
  const [globals] = values.take(1)
  if (!(context instanceof TableValue)) throw malformed('a context')
  const [trapLinks, upgradable] = items(options)
  return {
    main: index(main, made.length),
    fibers: made,
    libraries: new Map(loaded),
    globals: globals as LuaTable | undefined,
    sinks: bound,
    messages: items(messages).map(readMail).filter(isMessage),
    events: items(events).map(readMail).filter(isEvent),
    arrivals: index(arrivals, Number.MAX_SAFE_INTEGER),
    timers: started,
    context,
    identity: identity === undefined ? undefined : identityFrom(items(identity)),
    options: { trapLinks: trapLinks === true, upgradable: upgradable === true },
    feedCount: index(feeds, Number.MAX_SAFE_INTEGER),
  }
}

function identityFrom([actor, scope]: readonly Value[]): Identity {
  const [id, meta] = actor === undefined ? [] : items(actor)
  if (actor !== undefined && !(meta instanceof TableValue)) throw malformed('an actor')
  return {
    actor: actor === undefined ? undefined : { id: text(id), meta: meta as TableValue },
    scope: scope === undefined ? undefined : items(scope).map(text),
  }
}

function items(value: Value): readonly Value[] {
  if (!(value instanceof TableValue)) throw malformed('a list')
  return value.array
}

function text(value: Value): string {
  if (typeof value !== 'string') throw malformed('a text')
  return value
}

function index(value: Value, end: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value >= end)
    throw malformed('a number')
  return value
}

const malformed = (what: string): MoonmeshError =>
  new MoonmeshError('Invalid', `the document is damaged: ${what} of another form`, { retryable: false })
