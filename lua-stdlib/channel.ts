// Module `channel`: channels between the coroutines of one process, and select. lua-core.md §11.

import { Channel, Deferred, type Party, type Waiter } from '../runtime/base/channel.ts'
import { TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  CannotSave,
  type Engine,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Parts,
  Raise,
  type Returns,
  SUSPEND,
} from '../runtime/lua/engine.ts'
import type { Fiber, LibraryModule, NamedParts, ScriptProcess, Waiting } from '../runtime/services.ts'
import { objectArg, optionalNumber, processOf, raise, tableArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { damaged } from './support/saving.ts'

const CLOSED = 'send on closed channel'

/** A channel as a script holds it. */
export class ChannelObject extends HostObject {
  channel: Channel<LuaValue>
  /** Of one that is being restored: what it holds. */
  contents: readonly Value[] | undefined
  constructor(channel: Channel<LuaValue>) {
    super()
    this.channel = channel
  }
  override get className(): string {
    return 'Channel'
  }
  override heldValues(): readonly LuaValue[] {
    return this.channel.buffered().filter((item) => !(item instanceof Deferred)) as readonly LuaValue[]
  }
}

/** A channel of our own making, as the script holds it. */
export const newChannel = (capacity: number): ChannelObject => new ChannelObject(new Channel(capacity))

class CaseObject extends HostObject {
  on: ChannelObject
  readonly isSend: boolean
  value: LuaValue
  constructor(on: ChannelObject, isSend: boolean, value: LuaValue) {
    super()
    this.on = on
    this.isSend = isSend
    this.value = value
  }
  override get className(): string {
    return 'ChannelCase'
  }
  override heldValues(): readonly LuaValue[] {
    return [this.on, this.value]
  }
}

/** A fiber in `send` or `receive`. */
class FiberParty implements Party<LuaValue>, Waiting {
  readonly #fiber: Fiber
  readonly #on: ChannelObject
  readonly #sent: { value: LuaValue } | undefined
  constructor(fiber: Fiber, on: ChannelObject, sent?: { value: LuaValue }) {
    this.#fiber = fiber
    this.#on = on
    this.#sent = sent
  }
  save(): NamedParts {
    const sent = this.#sent
    return sent === undefined
      ? { name: 'channel.receive', data: [], values: [this.#on] }
      : { name: 'channel.send', data: [], values: [this.#on, sent.value] }
  }
  received(_waiter: Waiter<LuaValue>, value: LuaValue, ok: boolean): void {
    this.#fiber.resume([value, ok])
  }
  sent(): void {
    this.#fiber.resume([true])
  }
  refused(): void {
    this.#fiber.raise(CLOSED)
  }
}

/** A fiber in `select`: the first case that is served withdraws the others. */
class SelectParty implements Party<LuaValue>, Waiting {
  readonly #fiber: Fiber
  readonly #engine: Engine
  readonly #cases: readonly CaseObject[]
  readonly waiters: Waiter<LuaValue>[] = []
  constructor(fiber: Fiber, engine: Engine, cases: readonly CaseObject[]) {
    this.#fiber = fiber
    this.#engine = engine
    this.#cases = cases
  }
  save(): NamedParts {
    return { name: 'channel.select', data: [], values: this.#cases }
  }
  received(waiter: Waiter<LuaValue>, value: LuaValue, ok: boolean): void {
    this.#settle()
    this.#fiber.resume([selected(this.#engine, this.#cases[waiter.index] as CaseObject, value, ok)])
  }
  sent(waiter: Waiter<LuaValue>): void {
    this.#settle()
    this.#fiber.resume([selected(this.#engine, this.#cases[waiter.index] as CaseObject, waiter.value, true)])
  }
  refused(): void {
    this.#settle()
    this.#fiber.raise(CLOSED)
  }
  #settle(): void {
    for (const waiter of this.waiters) waiter.withdraw()
  }
}

function selected(engine: Engine, choice: CaseObject, value: LuaValue, ok: boolean): LuaTable {
  const table = engine.newTable()
  engine.set(table, 'channel', choice.on)
  engine.set(table, 'value', value)
  engine.set(table, 'ok', ok)
  return table
}

const self = (call: Call, fn: string): ChannelObject => objectArg(call, 1, fn, ChannelObject, 'channel')

function receive(call: Call): Returns {
  const on = self(call, 'receive')
  const { channel } = on
  blocking(call, 'channel:receive')
  const got = channel.tryReceive()
  if (got !== undefined) return [got.value, got.ok]
  waitToReceive(processOf(call), on)
  return SUSPEND
}

function waitToReceive(process: ScriptProcess, on: ChannelObject): void {
  const party = new FiberParty(process.fiber, on)
  on.channel.waitToReceive(party)
  process.willWait('channel', party)
}

function send(call: Call): Returns {
  const on = self(call, 'send')
  const { channel } = on
  blocking(call, 'channel:send')
  const value = call.arg(2)
  const outcome = channel.trySend(value)
  if (outcome === 'sent') return true
  if (outcome === 'closed') raise(CLOSED)
  waitToSend(processOf(call), on, value)
  return SUSPEND
}

function waitToSend(process: ScriptProcess, on: ChannelObject, value: LuaValue): void {
  const party = new FiberParty(process.fiber, on, { value })
  on.channel.waitToSend(party, value)
  process.willWait('channel', party)
}

function select(call: Call): Returns {
  const table = tableArg(call, 1, 'select')
  blocking(call, 'channel.select')
  const { engine } = call
  const cases: CaseObject[] = []
  const count = engine.length(table)
  for (let i = 1; i <= count; i++) {
    const item = engine.get(table, i)
    if (!(item instanceof CaseObject)) {
      raise(
        `invalid case #${i} in select (${engine.typeOf(item)}; expected channel:case_receive() or channel:case_send(value))`,
      )
    }
    cases.push(item)
  }
  for (const choice of cases) {
    const { channel } = choice.on
    if (choice.isSend) {
      const outcome = channel.trySend(choice.value)
      if (outcome === 'closed') throw new Raise(CLOSED)
      if (outcome === 'sent') return selected(engine, choice, choice.value, true)
    } else {
      const got = channel.tryReceive()
      if (got !== undefined) return selected(engine, choice, got.value, got.ok)
    }
  }
  if (isTrue(engine.get(table, 'default')) || isTrue(call.arg(2))) {
    const result = engine.newTable()
    engine.set(result, 'default', true)
    engine.set(result, 'ok', true)
    return result
  }
  waitForOne(processOf(call), cases)
  return SUSPEND
}

/** As Lua's own conditions take it. */
const isTrue = (value: LuaValue): boolean => value !== undefined && value !== false

function waitForOne(process: ScriptProcess, cases: readonly CaseObject[]): void {
  const party = new SelectParty(process.fiber, process.engine, cases)
  for (const [index, choice] of cases.entries()) {
    const { channel } = choice.on
    party.waiters.push(
      choice.isSend ? channel.waitToSend(party, choice.value, index) : channel.waitToReceive(party, index),
    )
  }
  process.willWait(cases.length === 0 ? 'never' : 'channel', party)
}

// ---- saving

const channelSaving: ObjectSaving<ChannelObject> = {
  save({ channel }) {
    const items = channel.buffered()
    const contents = items.map((item) => (item instanceof Deferred ? item.save() : true))
    if (contents.includes(undefined)) return new CannotSave('a channel with what a service of the node has sent')
    const values = items.flatMap((item) => (item instanceof Deferred ? [] : [item]))
    return { data: [channel.capacity, channel.isClosed, new TableValue(contents)], values }
  },
  restore([capacity, isClosed, contents]) {
    if (typeof capacity !== 'number' || typeof isClosed !== 'boolean' || !(contents instanceof TableValue))
      throw damaged('a channel')
    const object = newChannel(capacity)
    object.contents = [isClosed, ...contents.array]
    return object
  },
  /** What it holds, in order: values of the script, and mail in between. */
  fill({ channel, contents }, values, owner) {
    const [isClosed, ...items] = contents ?? []
    let next = 0
    for (const item of items) {
      if (!(item instanceof TableValue)) channel.offer(values[next++])
      else if (!restoreMail(owner as ScriptProcess, item)) throw damaged('a message in a channel')
    }
    if (isClosed === true) channel.close()
  },
}

function restoreMail({ subscriptions, readMail }: ScriptProcess, { array: [topic, mail] }: TableValue): boolean {
  if (typeof topic !== 'string' || subscriptions.sinkOf(topic)?.offer(readMail(mail)) !== true) return false
  subscriptions.restored()
  return true
}

const caseSaving: ObjectSaving<CaseObject> = {
  save: ({ on, isSend, value }) => ({ data: [isSend], values: [on, value] }),
  restore([isSend]) {
    return new CaseObject(newChannel(0), isSend === true, undefined)
  },
  fill(object, [on, value]) {
    object.on = channelOf(on)
    object.value = value
  },
}

function channelOf(value: LuaValue): ChannelObject {
  if (!(value instanceof ChannelObject)) throw damaged('a channel')
  return value
}

const waits = {
  'channel.receive': (process: ScriptProcess, { values: [on] }: Parts) => waitToReceive(process, channelOf(on)),
  'channel.send': (process: ScriptProcess, { values: [on, value] }: Parts) => waitToSend(process, channelOf(on), value),
  'channel.select': (process: ScriptProcess, { values }: Parts) => {
    const cases = values.filter((value) => value instanceof CaseObject)
    if (cases.length !== values.length) throw damaged('a case of a select')
    waitForOne(process, cases)
  },
}

export const channelModule: LibraryModule = {
  name: 'channel',
  description: 'channels between the coroutines of a process',
  tags: ['deterministic'],
  isAlwaysPresent: true,
  build: () => ({
    new: (call) => newChannel(optionalNumber(call, 1, 'new', 0)),
    select,
  }),
  waits,
  classes: [
    {
      name: 'Channel',
      saving: channelSaving,
      methods: {
        send,
        receive,
        close: (call) => self(call, 'close').channel.close(),
        case_send: (call) => new CaseObject(self(call, 'case_send'), true, call.arg(2)),
        case_receive: (call) => new CaseObject(self(call, 'case_receive'), false, undefined),
      },
      metamethods: { tostring: (call) => `channel: ${self(call, 'tostring').channel.capacity}` },
    },
    { name: 'ChannelCase', methods: {}, saving: caseSaving },
  ],
}
