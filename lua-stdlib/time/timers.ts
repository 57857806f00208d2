// What waits: sleep, after, timers and tickers. lua-core.md §13.2, §13.5. Delays run on the process's monotonic clock; the Times that
// channels bring are wall-clock times.

import { toText } from '../../runtime/base/bytes.ts'
import { Channel } from '../../runtime/base/channel.ts'
import { Float, type Value } from '../../runtime/base/value.ts'
import {
  type Call,
  type HostClass,
  HostObject,
  type LuaValue,
  type ObjectSaving,
  type Parts,
  type Returns,
  SUSPEND,
} from '../../runtime/lua/engine.ts'
import type { NamedParts, ScriptProcess, Timer, Waiting } from '../../runtime/services.ts'
import { ChannelObject } from '../channel.ts'
import { badArgument, isNumber, objectArg, processOf } from '../support/args.ts'
import { blocking } from '../support/blocking.ts'
import { fail } from '../support/fail.ts'
import { damaged } from '../support/saving.ts'
import { instantFromMs } from './instant.ts'
import { durationArg, durationOf, TimeObject, zonesOf } from './objects.ts'
import type { Zones } from './zones.ts'

const TICKS_MAX = 16
/** Faster ticks would only keep the host busy: timers are precise to about a millisecond. */
const INTERVAL_MS_MIN = 1
/** What no duration of 64 bits of nanoseconds exceeds. */
const LONGEST_MS = 2 ** 63 / 1e6

const toMs = (ns: bigint): number => Number(ns) / 1e6

/** The wall clock of the process, shown in the local zone. */
export function wallTime(process: ScriptProcess, zones: Zones): TimeObject {
  return new TimeObject(instantFromMs(process.env.wallMs()), zones.local, zones)
}

/** A channel that gets one Time when due and then closes, unless it is stopped before. */
class TimerObject extends HostObject {
  channel = new ChannelObject(new Channel<LuaValue>(1))
  readonly #process: ScriptProcess
  readonly #zones: Zones
  #timer: Timer | undefined
  #dueMs = 0

  /** @param ns undefined: it has fired or was stopped */
  constructor(process: ScriptProcess, zones: Zones, ns: bigint | undefined) {
    super()
    this.#process = process
    this.#zones = zones
    if (ns !== undefined) this.#start(toMs(ns))
  }

  override get className(): string {
    return 'Timer'
  }

  /** Until it fires; undefined when it has or was stopped. */
  get remainingMs(): number | undefined {
    return this.#timer === undefined ? undefined : Math.max(0, this.#dueMs - this.#process.env.nowMs())
  }

  /** True if it was pending. */
  stop(): boolean {
    const wasPending = this.#cancel()
    this.channel.channel.close()
    return wasPending
  }

  /** True if it was pending: now it fires `ns` from now. A timer that has fired or was stopped stays as it is (§25, open 18). */
  reset(ns: bigint): boolean {
    if (!this.#cancel()) return false
    this.#start(toMs(ns))
    return true
  }

  #cancel(): boolean {
    const wasPending = this.#timer?.cancel() === true
    this.#timer = undefined
    return wasPending
  }

  #start(delayMs: number): void {
    this.#dueMs = this.#process.env.nowMs() + delayMs
    const fire = (): void => {
      const { channel } = this.channel
      this.#timer = undefined
      channel.trySend(wallTime(this.#process, this.#zones))
      channel.close()
    }
    this.#timer = this.#process.after(delayMs, fire, this)
  }
}

/** A channel that gets a Time per interval. Ticks keep to multiples of the interval since the start; those missed are dropped. */
class TickerObject extends HostObject {
  channel = new ChannelObject(new Channel<LuaValue>(TICKS_MAX))
  readonly intervalMs: number
  readonly #process: ScriptProcess
  readonly #zones: Zones
  readonly #startMs: number
  #tickCount = 0
  #timer: Timer | undefined

  /** @param firstMs until the first tick; undefined: it was stopped */
  constructor(process: ScriptProcess, zones: Zones, intervalMs: number, firstMs: number | undefined = intervalMs) {
    super()
    this.#process = process
    this.#zones = zones
    this.intervalMs = intervalMs
    this.#startMs = process.env.nowMs() + firstMs - intervalMs
    this.#next()
  }

  override get className(): string {
    return 'Ticker'
  }

  /** Until the next tick; undefined when it was stopped. */
  get remainingMs(): number | undefined {
    const nextMs = this.#startMs + this.#tickCount * this.intervalMs
    return this.#timer === undefined ? undefined : Math.max(0, nextMs - this.#process.env.nowMs())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.channel.channel.close()
  }

  #next(): void {
    const elapsedMs = this.#process.env.nowMs() - this.#startMs
    this.#tickCount = Math.max(this.#tickCount, Math.floor(elapsedMs / this.intervalMs)) + 1
    const tick = (): void => {
      // A full channel drops the tick.
      this.channel.channel.trySend(wallTime(this.#process, this.#zones))
      this.#next()
    }
    this.#timer = this.#process.after(this.#tickCount * this.intervalMs - elapsedMs, tick, this)
  }
}

// ---- saving: a timer goes on with what was left of its time

/** Until then; undefined: never. */
function remainingOf(value: Value): number | undefined {
  const ms = value instanceof Float ? value.value : value
  if (ms === undefined) return undefined
  if (typeof ms !== 'number' || !(ms >= 0) || ms > LONGEST_MS) throw damaged('a remaining time')
  return ms
}

function takeChannel(object: TimerObject | TickerObject, [channel]: readonly LuaValue[]): void {
  if (!(channel instanceof ChannelObject)) throw damaged('a channel')
  object.channel = channel
}

const timerSaving: ObjectSaving<TimerObject> = {
  save: (object) => ({ data: [object.remainingMs], values: [object.channel] }),
  restore([remaining], owner) {
    const process = owner as ScriptProcess
    const ms = remainingOf(remaining)
    return new TimerObject(
      process,
      zonesOf(process.engine),
      ms === undefined ? undefined : BigInt(Math.round(ms * 1e6)),
    )
  },
  fill: takeChannel,
}

const tickerSaving: ObjectSaving<TickerObject> = {
  save: (object) => ({ data: [object.intervalMs, object.remainingMs], values: [object.channel] }),
  restore([interval, remaining], owner) {
    const process = owner as ScriptProcess
    const intervalMs = remainingOf(interval)
    if (intervalMs === undefined || intervalMs < INTERVAL_MS_MIN) throw damaged('an interval')
    const ms = remainingOf(remaining)
    const object = new TickerObject(process, zonesOf(process.engine), intervalMs, Math.min(ms ?? 0, intervalMs))
    if (ms === undefined) object.stop()
    return object
  },
  fill: takeChannel,
}

class Sleep implements Waiting {
  readonly #process: ScriptProcess
  readonly #dueMs: number
  constructor(process: ScriptProcess, dueMs: number) {
    this.#process = process
    this.#dueMs = dueMs
  }
  save(): NamedParts {
    return { name: 'time.sleep', data: [Math.max(0, this.#dueMs - this.#process.env.nowMs())], values: [] }
  }
}

function sleepFor(process: ScriptProcess, ms: number): void {
  const { fiber } = process
  process.after(ms, () => fiber.resume([]))
  process.willWait('timer', new Sleep(process, process.env.nowMs() + ms))
}

export const timeWaits = {
  'time.sleep': (process: ScriptProcess, { data: [remaining] }: Parts) =>
    sleepFor(process, remainingOf(remaining) ?? 0),
}

// ---- functions of the module

/** Nothing after the duration; zero or less returns at once. */
export function sleep(call: Call): Returns {
  const given = call.arg(1)
  const ns = typeof given === 'string' || isNumber(given) ? durationOf(given) : durationArg(call, 1, 'sleep')
  blocking(call, 'time.sleep')
  if (ns === undefined) return fail('Invalid', `time.sleep: invalid duration ${shown(call, given)}`)
  if (ns <= 0n) return undefined
  sleepFor(processOf(call), toMs(ns))
  return SUSPEND
}

/** @param start what begins with a duration of more than 0 */
function starting(name: string, start: (process: ScriptProcess, ns: bigint) => LuaValue): (call: Call) => Returns {
  return (call) => {
    const given = call.arg(1)
    const ns = durationOf(given)
    blocking(call, name)
    if (ns === undefined || ns <= 0n) return fail('Invalid', `${name}: duration must be > 0, got ${shown(call, given)}`)
    return start(processOf(call), ns)
  }
}

const shown = (call: Call, given: LuaValue): string =>
  typeof given === 'string' ? JSON.stringify(toText(given.slice(0, 100))) : toText(call.tostring(1))

export const after = (zones: Zones): ((call: Call) => Returns) =>
  starting('time.after', (process, ns) => new TimerObject(process, zones, ns).channel)

export const timer = (zones: Zones): ((call: Call) => Returns) =>
  starting('time.timer', (process, ns) => new TimerObject(process, zones, ns))

export const ticker = (zones: Zones): ((call: Call) => Returns) =>
  starting('time.ticker', (process, ns) => new TickerObject(process, zones, Math.max(INTERVAL_MS_MIN, toMs(ns))))

// ---- classes

const timerSelf = (call: Call, fn: string): TimerObject => objectArg(call, 1, fn, TimerObject, 'Timer')
const tickerSelf = (call: Call, fn: string): TickerObject => objectArg(call, 1, fn, TickerObject, 'Ticker')

export const timerClass: HostClass = {
  name: 'Timer',
  saving: timerSaving,
  methods: {
    response: (call) => timerSelf(call, 'response').channel,
    channel: (call) => timerSelf(call, 'channel').channel,
    stop: (call) => {
      const object = timerSelf(call, 'stop')
      blocking(call, 'timer:stop')
      return object.stop()
    },
    reset: (call) => {
      const object = timerSelf(call, 'reset')
      const ns = durationArg(call, 2, 'reset')
      if (ns <= 0n) badArgument(2, 'reset', 'duration must be > 0')
      blocking(call, 'timer:reset')
      return object.reset(ns)
    },
  },
}

export const tickerClass: HostClass = {
  name: 'Ticker',
  saving: tickerSaving,
  methods: {
    response: (call) => tickerSelf(call, 'response').channel,
    channel: (call) => tickerSelf(call, 'channel').channel,
    stop: (call) => {
      const object = tickerSelf(call, 'stop')
      blocking(call, 'ticker:stop')
      object.stop()
      return true
    },
  },
}
