// What waits: sleep, after, timers and tickers. lua-core.md §13.2, §13.5. Delays run on the process's monotonic clock; the Times that
// channels bring are wall-clock times.

import { toText } from '../../runtime/base/bytes.ts'
import { Channel } from '../../runtime/base/channel.ts'
import {
  type Call,
  type HostClass,
  HostObject,
  type LuaValue,
  type Returns,
  SUSPEND,
} from '../../runtime/lua/engine.ts'
import type { ScriptProcess, Timer } from '../../runtime/services.ts'
import { ChannelObject } from '../channel.ts'
import { badArgument, isNumber, objectArg, processOf } from '../support/args.ts'
import { blocking } from '../support/blocking.ts'
import { fail } from '../support/fail.ts'
import { instantFromMs } from './instant.ts'
import { durationArg, durationOf, TimeObject } from './objects.ts'
import type { Zones } from './zones.ts'

const TICKS_MAX = 16
/** Faster ticks would only keep the host busy: timers are precise to about a millisecond. */
const INTERVAL_MS_MIN = 1

const toMs = (ns: bigint): number => Number(ns) / 1e6

/** The wall clock of the process, shown in the local zone. */
export function wallTime(process: ScriptProcess, zones: Zones): TimeObject {
  return new TimeObject(instantFromMs(process.env.wallMs()), zones.local, zones)
}

/** A channel that gets one Time when due and then closes, unless it is stopped before. */
class TimerObject extends HostObject {
  readonly channel = new ChannelObject(new Channel<LuaValue>(1))
  readonly #process: ScriptProcess
  readonly #zones: Zones
  #timer: Timer

  constructor(process: ScriptProcess, zones: Zones, ns: bigint) {
    super()
    this.#process = process
    this.#zones = zones
    this.#timer = this.#start(ns)
  }

  override get className(): string {
    return 'Timer'
  }

  /** True if it was pending. */
  stop(): boolean {
    const wasPending = this.#timer.cancel()
    this.channel.channel.close()
    return wasPending
  }

  /** True if it was pending: now it fires `ns` from now. A timer that has fired or was stopped stays as it is (§25, open 18). */
  reset(ns: bigint): boolean {
    if (!this.#timer.cancel()) return false
    this.#timer = this.#start(ns)
    return true
  }

  #start(ns: bigint): Timer {
    return this.#process.after(toMs(ns), () => {
      const { channel } = this.channel
      channel.trySend(wallTime(this.#process, this.#zones))
      channel.close()
    })
  }
}

/** A channel that gets a Time per interval. Ticks keep to multiples of the interval since the start; those missed are dropped. */
class TickerObject extends HostObject {
  readonly channel = new ChannelObject(new Channel<LuaValue>(TICKS_MAX))
  readonly #process: ScriptProcess
  readonly #zones: Zones
  readonly #intervalMs: number
  readonly #startMs: number
  #tickCount = 0
  #timer: Timer

  constructor(process: ScriptProcess, zones: Zones, ns: bigint) {
    super()
    this.#process = process
    this.#zones = zones
    this.#intervalMs = Math.max(INTERVAL_MS_MIN, toMs(ns))
    this.#startMs = process.env.nowMs()
    this.#timer = this.#next()
  }

  override get className(): string {
    return 'Ticker'
  }

  stop(): void {
    this.#timer.cancel()
    this.channel.channel.close()
  }

  #next(): Timer {
    const elapsedMs = this.#process.env.nowMs() - this.#startMs
    this.#tickCount = Math.max(this.#tickCount, Math.floor(elapsedMs / this.#intervalMs)) + 1
    return this.#process.after(this.#tickCount * this.#intervalMs - elapsedMs, () => {
      // A full channel drops the tick.
      this.channel.channel.trySend(wallTime(this.#process, this.#zones))
      this.#timer = this.#next()
    })
  }
}

// ---- functions of the module

/** Nothing after the duration; zero or less returns at once. */
export function sleep(call: Call): Returns {
  const given = call.arg(1)
  const ns = typeof given === 'string' || isNumber(given) ? durationOf(given) : durationArg(call, 1, 'sleep')
  blocking(call, 'time.sleep')
  if (ns === undefined) return fail('Invalid', `time.sleep: invalid duration ${shown(call, given)}`)
  if (ns <= 0n) return undefined
  const process = processOf(call)
  const { fiber } = process
  process.after(toMs(ns), () => fiber.resume([]))
  process.willWait('timer')
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
  starting('time.ticker', (process, ns) => new TickerObject(process, zones, ns))

// ---- classes

const timerSelf = (call: Call, fn: string): TimerObject => objectArg(call, 1, fn, TimerObject, 'Timer')
const tickerSelf = (call: Call, fn: string): TickerObject => objectArg(call, 1, fn, TickerObject, 'Ticker')

export const timerClass: HostClass = {
  name: 'Timer',
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
