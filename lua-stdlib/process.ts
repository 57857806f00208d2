// Module `process`: identity, sending, spawning, links and monitors, receiving, upgrade, the spawn builder. lua-core.md §7-§10.

import { toText } from '../runtime/base/bytes.ts'
import { type Channel, Deferred } from '../runtime/base/channel.ts'
import { readMemoryLimit } from '../runtime/base/memory-limit.ts'
import { TableValue, topBytes, type Value, valueBytes } from '../runtime/base/value.ts'
import {
  type Call,
  type Engine,
  ErrorObject,
  HOST_OBJECT_BYTES,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Parts,
  type Returns,
  SUSPEND,
} from '../runtime/lua/engine.ts'
import type {
  Answer,
  Envelope,
  LibraryModule,
  LifecycleEvent,
  NamedParts,
  ScriptProcess,
  Sink,
  SpawnOptions,
} from '../runtime/services.ts'
import { ChannelObject, newChannel } from './channel.ts'
import { PayloadObject } from './payload.ts'
import { nameWatchClass, registryModule } from './process-registry.ts'
import { isNumber, objectArg, optionalString, processOf, raise, stringArg, tableArg, toNumber } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { contextArg } from './support/context.ts'
import { errorObject, fail, failWith, TRUE_NIL } from './support/fail.ts'
import { identityData, identityFrom, withActor, withScope } from './support/identity.ts'
import { demand, refusal } from './support/permit.ts'
import { damaged } from './support/saving.ts'
import { wait } from './support/wait.ts'

const EVENT_KINDS = { EXIT: 'pid.exit', LINK_DOWN: 'pid.link.down', CANCEL: 'pid.cancel', OUTDATED: 'pid.outdated' }
const INVALID = { retryable: false }
const AT = 64

// ---- receiving

class MessageObject extends HostObject {
  readonly envelope: Envelope
  constructor(envelope: Envelope) {
    super()
    this.envelope = envelope
  }
  override get className(): string {
    return 'Message'
  }
  override askedBytes(): number {
    let bytes = HOST_OBJECT_BYTES
    for (const value of this.envelope.values) bytes += topBytes(value)
    return bytes
  }
  override heldBytes(): number {
    let bytes = HOST_OBJECT_BYTES
    for (const value of this.envelope.values) bytes += valueBytes(value)
    return bytes
  }
}

type Mail = Envelope | LifecycleEvent

/** Which function bound a channel to a topic. */
type Binding = 'inbox' | 'events' | 'listen' | 'subscribe'

const BINDINGS: readonly string[] = ['inbox', 'events', 'listen', 'subscribe'] satisfies Binding[]
const INBOX = { binding: 'inbox', topic: '@pid/inbox' } as const
const EVENTS = { binding: 'events', topic: '@pid/events' } as const

/** A channel as the sink of the inbox, the events or a topic. */
class MailSink implements Sink {
  readonly process: ScriptProcess
  readonly binding: Binding
  readonly topic: string
  readonly handle: ChannelObject
  isMessageMode: boolean
  constructor(
    process: ScriptProcess,
    { binding, topic }: { binding: Binding; topic: string },
    handle: ChannelObject,
    isMessageMode = false,
  ) {
    this.process = process
    this.binding = binding
    this.topic = topic
    this.handle = handle
    this.isMessageMode = isMessageMode
  }
  get #channel(): Channel<LuaValue> {
    return this.handle.channel
  }
  offer(mail: Mail): boolean {
    return this.#channel.offer(new UnreadMail(this, mail))
  }
  drain(): Mail[] {
    return this.#channel.drain().flatMap((item) => (item instanceof UnreadMail ? [item.mail] : []))
  }
  save(): NamedParts {
    return { name: 'mail', data: [this.binding, this.isMessageMode], values: [this.handle] }
  }
  /** The channel is no sink any more. What lies in it can still be read, and does not count for the mailbox. */
  leave(): void {
    this.#channel.settle()
  }
}

/** Mail that nobody has read: it counts for the mailbox, and takes its script form when it is received. */
class UnreadMail extends Deferred<LuaValue> {
  readonly sink: MailSink
  readonly mail: Mail
  constructor(sink: MailSink, mail: Mail) {
    super()
    this.sink = sink
    this.mail = mail
  }
  override save(): Value {
    const { process, topic } = this.sink
    return new TableValue([topic, process.writeMail(this.mail)])
  }
  override take(): LuaValue {
    const { mail } = this
    const { process, isMessageMode } = this.sink
    process.subscriptions.taken()
    if ('kind' in mail) return eventTable(process.engine, mail)
    return isMessageMode ? new MessageObject(mail) : bareValue(process.engine, mail.values)
  }
}

function bareValue(engine: Engine, values: readonly Value[]): LuaValue {
  if (values.length <= 1) return engine.copyIn(values[0])
  const table = engine.newTable()
  for (const [i, value] of values.entries()) engine.set(table, i + 1, engine.copyIn(value))
  return table
}

function eventTable(engine: Engine, event: LifecycleEvent): LuaTable {
  const table = engine.newTable()
  engine.set(table, 'at', Math.floor(event.atMs / 1000))
  switch (event.kind) {
    case 'cancel':
      engine.set(table, 'kind', EVENT_KINDS.CANCEL)
      engine.set(table, 'from', event.from)
      engine.set(table, 'reason', event.reason)
      break
    case 'outdated':
      engine.set(table, 'kind', EVENT_KINDS.OUTDATED)
      event.isRead = true
      engine.set(table, 'sources', engine.copyIn(new TableValue([...event.sources])))
      break
    default: {
      const result = engine.newTable()
      if (event.outcome.ok) engine.set(result, 'value', engine.copyIn(event.outcome.value))
      else engine.set(result, 'error', new ErrorObject(event.outcome.error))
      engine.set(table, 'kind', event.kind === 'exit' ? EVENT_KINDS.EXIT : EVENT_KINDS.LINK_DOWN)
      engine.set(table, 'from', event.from)
      engine.set(table, 'result', result)
    }
  }
  return table
}

function inbox(call: Call): Returns {
  blocking(call, 'process.inbox')
  const process = processOf(call)
  const { subscriptions } = process
  if (subscriptions.inbox === undefined) subscriptions.openInbox(new MailSink(process, INBOX, newChannel(0), true))
  return (subscriptions.inbox as MailSink).handle
}

function events(call: Call): Returns {
  blocking(call, 'process.events')
  const process = processOf(call)
  const { subscriptions } = process
  if (subscriptions.events === undefined) subscriptions.openEvents(new MailSink(process, EVENTS, newChannel(0)))
  return (subscriptions.events as MailSink).handle
}

function listen(call: Call): Returns {
  const topic = stringArg(call, 1, 'listen')
  const options = call.arg(2) === undefined ? undefined : tableArg(call, 2, 'listen')
  blocking(call, 'process.listen')
  if (topic === '') return fail('Invalid', 'topic cannot be empty', INVALID)
  if (topic.startsWith('@')) return fail('Invalid', 'cannot listen to @ topics', INVALID)
  const wantsMessages = options !== undefined && call.engine.get(options, 'message') === true
  const process = processOf(call)
  const known = process.subscriptions.sinkOf(topic) as MailSink | undefined
  if (known?.binding === 'listen') {
    // Without the option the mode stays what it is (lua-core.md §25, 10).
    if (wantsMessages) known.isMessageMode = true
    return known.handle
  }
  if (known !== undefined) return alreadySubscribed(topic)
  const sink = new MailSink(process, { binding: 'listen', topic }, newChannel(1), wantsMessages)
  process.subscriptions.listen(topic, sink)
  return sink.handle
}

const alreadySubscribed = (topic: string): Returns =>
  fail('AlreadyExists', `topic "${toText(topic)}" already subscribed`, INVALID)

/** Ends what `binding` began with the channel; false when there is nothing of that kind. */
function unbind(process: ScriptProcess, handle: ChannelObject, binding: Binding): boolean {
  const { subscriptions } = process
  const sinks = ([...subscriptions.sinks()] as MailSink[]).filter(
    (sink) => sink.handle === handle && sink.binding === binding && subscriptions.unlisten(sink),
  )
  for (const sink of sinks) sink.leave()
  return sinks.length > 0
}

const channelNotFound = (): Returns => [false, errorObject('NotFound', 'channel not found', INVALID)]

function unlisten(call: Call): Returns {
  const handle = objectArg(call, 1, 'unlisten', ChannelObject, 'channel')
  blocking(call, 'process.unlisten')
  if (!unbind(processOf(call), handle, 'listen')) return channelNotFound()
  handle.channel.close()
  return true
}

/** Binds a channel of the script to a topic: bare values. Reserved topics mean what they mean to the runtime (lua-core.md §11.5). */
function subscribe(call: Call): Returns {
  const topic = stringArg(call, 1, 'subscribe')
  const handle = objectArg(call, 2, 'subscribe', ChannelObject, 'channel')
  blocking(call, 'subscribe')
  const process = processOf(call)
  const known = process.subscriptions.sinkOf(topic) as MailSink | undefined
  if (known !== undefined) return known.handle === handle ? handle : alreadySubscribed(topic)
  process.subscriptions.listen(topic, new MailSink(process, { binding: 'subscribe', topic }, handle))
  return handle
}

function unsubscribe(call: Call): Returns {
  const handle = objectArg(call, 1, 'unsubscribe', ChannelObject, 'channel')
  blocking(call, 'unsubscribe')
  return unbind(processOf(call), handle, 'subscribe') ? true : channelNotFound()
}

// ---- other processes

/** The PID that a destination means, or the `nil, err` of a name that nobody has. */
function destination(call: Call, fn: string): string | readonly LuaValue[] {
  const text = stringArg(call, 1, fn)
  blocking(call, `process.${fn}`)
  return (
    processOf(call).resolve(text) ??
    fail('NotFound', `could not resolve '${toText(text)}' as PID or registered name`, INVALID)
  )
}

const copyArgs = (call: Call, from: number): Value[] => {
  // Most messages have one value: an array that grew would have room for many.
  if (call.count === from) return [call.engine.copyOut(call.arg(from))]
  const values: Value[] = []
  for (let i = from; i <= call.count; i++) values.push(call.engine.copyOut(call.arg(i)))
  return values
}

function send(call: Call): Returns {
  if (call.count < 2) return fail('Invalid', 'send requires at least destination and topic arguments', INVALID)
  const to = destination(call, 'send')
  const topic = stringArg(call, 2, 'send')
  if (typeof to !== 'string') return to
  if (topic.charCodeAt(0) === AT) return fail('Invalid', 'cannot send to @ topics', INVALID)
  const refused = refusal(call, 'process.send', to)
  if (refused !== undefined) return refused
  const values = copyArgs(call, 3)
  const process = processOf(call)
  const answer = process.trySend(to, topic, values)
  if (answer !== undefined) return answer.ok ? TRUE_NIL : failWith(answer.error)
  return wait(call, (done) => process.send(to, topic, values, trueOr(done)))
}

const trueOr =
  (done: (values: readonly LuaValue[]) => void) =>
  (answer: Answer<undefined>): void =>
    done(answer.ok ? TRUE_NIL : failWith(answer.error))

type SpawnKind = 'spawn' | 'spawn_monitored' | 'spawn_linked' | 'spawn_linked_monitored'
const SPAWN_KINDS: readonly SpawnKind[] = ['spawn', 'spawn_monitored', 'spawn_linked', 'spawn_linked_monitored']

function spawnWith(call: Call, kind: SpawnKind, from: number, base: SpawnOptions): Returns {
  const id = stringArg(call, from, kind)
  const host = stringArg(call, from + 1, kind)
  blocking(call, `process.${kind}`)
  const options = { ...base, monitor: kind.endsWith('monitored'), link: kind.includes('linked') }
  const refused = spawnRefusal(call, id, host, options)
  if (refused !== undefined) return refused
  const args = copyArgs(call, from + 2)
  return wait(call, (done) =>
    processOf(call).spawn(id, host, args, options, (answer) =>
      done(answer.ok ? [answer.value, undefined] : failWith(answer.error)),
    ),
  )
}

function spawnRefusal(
  call: Call,
  id: string,
  host: string,
  { monitor, link }: { monitor: boolean; link: boolean },
): readonly LuaValue[] | undefined {
  return (
    refusal(call, 'process.spawn', id) ??
    refusal(call, 'process.host', host) ??
    (monitor ? refusal(call, 'process.spawn.monitored', id) : undefined) ??
    (link ? refusal(call, 'process.spawn.linked', id) : undefined)
  )
}

function spawn(kind: SpawnKind): (call: Call) => Returns {
  return (call) =>
    call.count < 2
      ? fail('Invalid', `${kind} requires at least id and host arguments`, INVALID)
      : spawnWith(call, kind, 1, {})
}

function execWith(call: Call, from: number, base: SpawnOptions): Returns {
  const id = stringArg(call, from, 'exec')
  const host = stringArg(call, from + 1, 'exec')
  blocking(call, 'process.exec')
  if (id === '') return fail('Invalid', 'process ID required', INVALID)
  if (!/^[^:]+:.+$/s.test(id)) return fail('Invalid', 'invalid process ID format (namespace:name required)', INVALID)
  if (host === '') return fail('Invalid', 'host ID required', INVALID)
  const refused = refusal(call, 'process.exec', id) ?? refusal(call, 'process.host', host)
  if (refused !== undefined) return refused
  const args = copyArgs(call, from + 2)
  return wait(call, (done) =>
    processOf(call).exec(id, host, args, base, (answer) =>
      done(answer.ok ? [call.engine.copyIn(answer.value), undefined] : failWith(answer.error)),
    ),
  )
}

const EXEC_ARGUMENTS = 'exec requires id and host arguments'

const exec = (call: Call): Returns =>
  call.count < 2 ? fail('Invalid', EXEC_ARGUMENTS, INVALID) : execWith(call, 1, {})

function execMethod(call: Call): Returns {
  const { options } = builder(call, 'exec')
  if (call.count < 3) raise(EXEC_ARGUMENTS)
  return execWith(call, 2, options)
}

function cancel(call: Call): Returns {
  const to = destination(call, 'cancel')
  const reason = optionalString(call, 2, 'cancel') ?? ''
  if (typeof to !== 'string') return to
  return refusal(call, 'process.cancel', to) ?? wait(call, (done) => processOf(call).cancel(to, reason, trueOr(done)))
}

function onPid(fn: 'terminate' | 'monitor' | 'link'): (call: Call) => Returns {
  return (call) => {
    const to = destination(call, fn)
    if (typeof to !== 'string') return to
    return refusal(call, `process.${fn}`, to) ?? wait(call, (done) => processOf(call)[fn](to, trueOr(done)))
  }
}

function offPid(fn: 'unmonitor' | 'unlink'): (call: Call) => Returns {
  return (call) => {
    const to = destination(call, fn)
    if (typeof to !== 'string') return to
    const refused = refusal(call, `process.${fn}`, to)
    if (refused !== undefined) return refused
    processOf(call)[fn](to)
    return TRUE_NIL
  }
}

// ---- options, upgrade

function getOptions(call: Call): Returns {
  const { trapLinks, upgradable } = processOf(call).options
  const table = call.engine.newTable()
  call.engine.set(table, 'trap_links', trapLinks)
  call.engine.set(table, 'upgradable', upgradable)
  return table
}

/** How a message names a key of a script's table. */
function keyText(engine: Engine, key: LuaValue): string {
  if (typeof key === 'string') return toText(key)
  if (isNumber(key)) return String(toNumber(key))
  return typeof key === 'boolean' ? String(key) : `of type ${engine.typeOf(key)}`
}

function setOptions(call: Call): Returns {
  const invalid = (text: string): readonly LuaValue[] => [false, errorObject('Invalid', text, INVALID)]
  if (call.type(1) !== 'table') return invalid('options parameter must be a table')
  const problems: string[] = []
  const chosen: { trapLinks?: boolean; upgradable?: boolean } = {}
  call.engine.each(call.arg(1) as LuaTable, (key, value) => {
    const field = key === 'trap_links' ? 'trapLinks' : key === 'upgradable' ? 'upgradable' : undefined
    if (field === undefined) problems.push(`option ${keyText(call.engine, key)} is not supported`)
    else if (typeof value !== 'boolean') problems.push(`${key} must be a boolean`)
    else chosen[field] = value
  })
  processOf(call).setOptions(chosen)
  const [problem] = problems
  return problem === undefined ? TRUE_NIL : invalid(problem)
}

function upgrade(call: Call): Returns {
  const id = optionalString(call, 1, 'upgrade')
  blocking(call, 'process.upgrade')
  processOf(call).upgrade(id === '' ? undefined : id, copyArgs(call, 2))
  return SUSPEND
}

// ---- the spawn builder

class SpawnBuilder extends HostObject {
  readonly options: SpawnOptions
  constructor(options: SpawnOptions) {
    super()
    this.options = options
  }
  override get className(): string {
    return 'SpawnBuilder'
  }
}

const builderSaving: ObjectSaving<SpawnBuilder> = {
  save({ options: { name, messages, context, identity, memoryLimitBytes } }) {
    const mail = messages?.map(({ topic, values }) => new TableValue([topic, new TableValue([...values])]))
    return { data: [name, context, identityData(identity), memoryLimitBytes, new TableValue(mail)], values: [] }
  },
  restore([name, context, identity, memoryLimitBytes, mail]) {
    const isBuilder =
      (name === undefined || typeof name === 'string') &&
      (context === undefined || context instanceof TableValue) &&
      (memoryLimitBytes === undefined || typeof memoryLimitBytes === 'number') &&
      mail instanceof TableValue
    if (!isBuilder) throw damaged('a builder')
    const who = identityFrom(identity)
    return new SpawnBuilder({
      ...(name === undefined ? {} : { name }),
      ...(context === undefined ? {} : { context }),
      ...(who === undefined ? {} : { identity: who }),
      ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }),
      ...(mail.array.length === 0 ? {} : { messages: mail.array.map(firstMessage) }),
    })
  },
}

function firstMessage(saved: Value): { topic: string; values: readonly Value[] } {
  const [topic, values] = saved instanceof TableValue ? saved.array : []
  if (typeof topic !== 'string' || !(values instanceof TableValue)) throw damaged('a message')
  return { topic, values: values.array }
}

const builder = (call: Call, fn: string): SpawnBuilder => objectArg(call, 1, fn, SpawnBuilder, 'SpawnBuilder')

function withContext(call: Call, base: SpawnOptions, index: number): SpawnBuilder {
  const context = contextArg(call, index, 'with_context', base.context)
  demand(call, 'process.context', 'context')
  return new SpawnBuilder({ ...base, context })
}

function withIdentity(call: Call, fn: 'with_actor' | 'with_scope'): SpawnBuilder {
  const { options } = builder(call, fn)
  const before = options.identity ?? processOf(call).identity
  const identity = fn === 'with_actor' ? withActor(call, 2, fn, before) : withScope(call, 2, fn, before)
  demand(call, 'process.security', 'security')
  return new SpawnBuilder({ ...options, identity })
}

/** `network` is reserved; unknown options are kept for whoever knows them, that is nobody, so there is nothing to keep. */
function withOptions(call: Call, base: SpawnOptions, index: number): SpawnBuilder {
  const table = tableArg(call, index, 'with_options')
  const network = call.engine.get(table, 'network')
  const limit = call.engine.get(table, 'memory_limit')
  demand(call, 'process.context', 'context')
  if (typeof network === 'string') demand(call, 'network.select', network)
  if (limit === undefined) return new SpawnBuilder(base)
  const memoryLimitBytes = readMemoryLimit(isNumber(limit) ? toNumber(limit) : limit)
  if (memoryLimitBytes === undefined) raise('memory_limit must be bytes or a size such as "32MiB", at least 1MiB')
  return new SpawnBuilder({ ...base, memoryLimitBytes: memoryLimitBytes as number })
}

function withName(call: Call): Returns {
  const { options } = builder(call, 'with_name')
  const name = call.arg(2)
  if (typeof name !== 'string' || name === '') raise('with_name requires a non-empty name')
  return new SpawnBuilder({ ...options, name: name as string })
}

function withMessage(call: Call): Returns {
  const { options } = builder(call, 'with_message')
  const topic = stringArg(call, 2, 'with_message')
  if (topic.startsWith('@')) raise('cannot send to @ topics')
  const messages = [...(options.messages ?? []), { topic, values: copyArgs(call, 3) }]
  return new SpawnBuilder({ ...options, messages })
}

function spawnMethod(kind: SpawnKind): (call: Call) => Returns {
  return (call) => {
    const { options } = builder(call, kind)
    if (call.count < 3) raise(`${kind} requires at least id and host arguments`)
    return spawnWith(call, kind, 2, options)
  }
}

// ---- saving

const messageSaving: ObjectSaving<MessageObject> = {
  save: ({ envelope }, owner) => ({ data: [(owner as ScriptProcess).writeMail(envelope)], values: [] }),
  restore([value], owner) {
    const mail = (owner as ScriptProcess).readMail(value)
    if ('kind' in mail) throw damaged('a message')
    return new MessageObject(mail)
  },
}

function restoreSink(
  process: ScriptProcess,
  topic: string,
  { data: [binding, isMessageMode], values: [handle] }: Parts,
): void {
  if (typeof binding !== 'string' || !BINDINGS.includes(binding) || !(handle instanceof ChannelObject))
    throw damaged('a subscription')
  const sink = new MailSink(process, { binding: binding as Binding, topic }, handle, isMessageMode === true)
  if (!process.subscriptions.listen(topic, sink)) throw damaged('a subscription')
}

// ---- the module

const message = (call: Call, fn: string): Envelope => objectArg(call, 1, fn, MessageObject, 'Message').envelope

function payloadOf(call: Call): Returns {
  const { values } = message(call, 'payload')
  if (values.length <= 1) return values.length === 0 ? [undefined] : new PayloadObject(values[0])
  const table = call.engine.newTable()
  for (const [i, value] of values.entries()) call.engine.set(table, i + 1, new PayloadObject(value))
  return table
}

export const processModule: LibraryModule = {
  name: 'process',
  description: 'messages, spawning, links and monitors, names',
  tags: ['process', 'nondeterministic'],
  isAlwaysPresent: true,
  build: () => ({
    pid: (call) => processOf(call).pid,
    id: (call) => processOf(call).entryId,
    send,
    ...Object.fromEntries(SPAWN_KINDS.map((kind) => [kind, spawn(kind)])),
    exec,
    terminate: onPid('terminate'),
    cancel,
    monitor: onPid('monitor'),
    unmonitor: offPid('unmonitor'),
    link: onPid('link'),
    unlink: offPid('unlink'),
    get_options: getOptions,
    set_options: setOptions,
    inbox,
    events,
    listen,
    unlisten,
    upgrade,
    with_context: (call) => withContext(call, {}, 1),
    with_options: (call) => withOptions(call, {}, 1),
    event: EVENT_KINDS,
    registry: registryModule,
  }),
  classes: [
    nameWatchClass,
    {
      name: 'Message',
      saving: messageSaving,
      methods: {
        topic: (call) => message(call, 'topic').topic,
        from: (call) => message(call, 'from').from,
        payload: payloadOf,
      },
      metamethods: {
        tostring: (call) => {
          const { topic, from } = message(call, 'tostring')
          return `process.Message{topic=${topic}, from=${from}}`
        },
      },
    },
    {
      name: 'SpawnBuilder',
      saving: builderSaving,
      methods: {
        with_context: (call) => withContext(call, builder(call, 'with_context').options, 2),
        with_options: (call) => withOptions(call, builder(call, 'with_options').options, 2),
        with_actor: (call) => withIdentity(call, 'with_actor'),
        with_scope: (call) => withIdentity(call, 'with_scope'),
        with_name: withName,
        with_message: withMessage,
        ...Object.fromEntries(SPAWN_KINDS.map((kind) => [kind, spawnMethod(kind)])),
        exec: execMethod,
      },
    },
  ],
  globals: { subscribe, unsubscribe },
  sinks: { mail: restoreSink },
}
