// Module `channel`: channels between the coroutines of one process, and select. lua-core.md §11.

import { Channel, type Party, type Waiter } from '../runtime/base/channel.ts'
import {
  type Call,
  type Engine,
  HostObject,
  type LuaTable,
  type LuaValue,
  Raise,
  type Returns,
  SUSPEND,
} from '../runtime/lua/engine.ts'
import type { Fiber, LibraryModule } from '../runtime/services.ts'
import { objectArg, optionalNumber, processOf, raise, tableArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'

const CLOSED = 'send on closed channel'

/** A channel as a script holds it. */
export class ChannelObject extends HostObject {
  readonly channel: Channel<LuaValue>
  constructor(channel: Channel<LuaValue>) {
    super()
    this.channel = channel
  }
  override get className(): string {
    return 'Channel'
  }
}

/** A channel of our own making, as the script holds it. */
export const newChannel = (capacity: number): ChannelObject => new ChannelObject(new Channel(capacity))

class CaseObject extends HostObject {
  readonly on: ChannelObject
  readonly isSend: boolean
  readonly value: LuaValue
  constructor(on: ChannelObject, isSend: boolean, value: LuaValue) {
    super()
    this.on = on
    this.isSend = isSend
    this.value = value
  }
  override get className(): string {
    return 'ChannelCase'
  }
}

/** A fiber in `send` or `receive`. */
class FiberParty implements Party<LuaValue> {
  readonly #fiber: Fiber
  constructor(fiber: Fiber) {
    this.#fiber = fiber
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
class SelectParty implements Party<LuaValue> {
  readonly #fiber: Fiber
  readonly #engine: Engine
  readonly #cases: readonly CaseObject[]
  readonly waiters: Waiter<LuaValue>[] = []
  constructor(fiber: Fiber, engine: Engine, cases: readonly CaseObject[]) {
    this.#fiber = fiber
    this.#engine = engine
    this.#cases = cases
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
  const { channel } = self(call, 'receive')
  blocking(call, 'channel:receive')
  const got = channel.tryReceive()
  if (got !== undefined) return [got.value, got.ok]
  const process = processOf(call)
  channel.waitToReceive(new FiberParty(process.fiber))
  process.willWait('channel')
  return SUSPEND
}

function send(call: Call): Returns {
  const { channel } = self(call, 'send')
  blocking(call, 'channel:send')
  const value = call.arg(2)
  const outcome = channel.trySend(value)
  if (outcome === 'sent') return true
  if (outcome === 'closed') raise(CLOSED)
  const process = processOf(call)
  channel.waitToSend(new FiberParty(process.fiber), value)
  process.willWait('channel')
  return SUSPEND
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
  if (engine.get(table, 'default') === true || call.arg(2) === true) {
    const result = engine.newTable()
    engine.set(result, 'default', true)
    engine.set(result, 'ok', true)
    return result
  }
  const process = processOf(call)
  const party = new SelectParty(process.fiber, engine, cases)
  for (const [index, choice] of cases.entries()) {
    const { channel } = choice.on
    party.waiters.push(
      choice.isSend ? channel.waitToSend(party, choice.value, index) : channel.waitToReceive(party, index),
    )
  }
  process.willWait(cases.length === 0 ? 'never' : 'channel')
  return SUSPEND
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
  classes: [
    {
      name: 'Channel',
      methods: {
        send,
        receive,
        close: (call) => self(call, 'close').channel.close(),
        case_send: (call) => new CaseObject(self(call, 'case_send'), true, call.arg(2)),
        case_receive: (call) => new CaseObject(self(call, 'case_receive'), false, undefined),
      },
      metamethods: { tostring: (call) => `channel: ${self(call, 'tostring').channel.capacity}` },
    },
    { name: 'ChannelCase', methods: {} },
  ],
}
