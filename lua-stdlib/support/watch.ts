// Watches: a feed of changes with its own end, which tells the node how much of it was read. The service that is watched has the methods
// `unwatch` and `consumed` (runtime/watches.ts).

import type { Value } from '../../runtime/base/value.ts'
import { type Call, type HostClass, HostObject, type LuaValue } from '../../runtime/lua/engine.ts'
import type { ScriptProcess } from '../../runtime/services.ts'
import { objectArg } from './args.ts'
import { Feed } from './feed.ts'

/** Events that a watch's channel holds before further ones wait in the mailbox. */
const WATCH_CAPACITY = 64
/** Events that are reported as read in one go. */
const REPORT_EVERY = 64

export abstract class WatchObject extends HostObject {
  readonly feed: Feed
  readonly #process: ScriptProcess
  readonly #service: string
  readonly #forget: () => void
  #unreported = 0
  #isClosed = false

  constructor(process: ScriptProcess, service: string) {
    super()
    this.#process = process
    this.#service = service
    const take = ([event, isLast]: readonly Value[]): LuaValue => {
      // The node has let go of it: this was the last one.
      if (isLast === true) this.close()
      return process.engine.copyIn(event)
    }
    this.feed = new Feed(process, WATCH_CAPACITY, take, () => this.#taken())
    this.#forget = process.onEnd(() => this.close())
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#forget()
    this.#process.note(this.#service, 'unwatch', [this.feed.topic])
    this.feed.close()
  }

  #taken(): void {
    if (this.#isClosed || ++this.#unreported < REPORT_EVERY) return
    this.#process.note(this.#service, 'consumed', [this.feed.topic, this.#unreported])
    this.#unreported = 0
  }
}

/** The class of these watches for scripts: `channel` and `close`. */
export function watchClass(name: string, type: abstract new (...args: never[]) => WatchObject): HostClass {
  const self = (call: Call, fn: string): WatchObject => objectArg(call, 1, fn, type, name)
  return {
    name,
    saving: `a ${name} that the node tells of changes`,
    methods: {
      channel: (call) => self(call, 'channel').feed.handle,
      close: (call) => {
        self(call, 'close').close()
        return true
      },
    },
  }
}
