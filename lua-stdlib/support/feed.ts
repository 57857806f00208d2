// Feeds: what the node sends to a process piece by piece, read from a channel. A feed's messages travel through the mailbox, so they keep
// their order, count for its bound until they are read, and wait there when the channel's reader is slow.

import { Channel, Deferred } from '../../runtime/base/channel.ts'
import type { Value } from '../../runtime/base/value.ts'
import type { LuaValue } from '../../runtime/lua/engine.ts'
import type { Envelope, LifecycleEvent, ScriptProcess, Sink } from '../../runtime/services.ts'
import { ChannelObject } from '../channel.ts'

type Take = (values: readonly Value[]) => LuaValue

export class Feed implements Sink {
  readonly handle: ChannelObject
  /** What the node sends its messages to, at this process. */
  readonly topic: string
  readonly #process: ScriptProcess
  readonly #take: Take
  readonly #taken: () => void

  /**
   * @param take what a reader gets for the values of one message
   * @param taken after each message that was read, for a sender that counts them
   */
  constructor(process: ScriptProcess, capacity: number, take: Take, taken: () => void = () => {}) {
    this.#process = process
    this.#take = take
    this.#taken = taken
    this.handle = new ChannelObject(new Channel(capacity))
    this.topic = process.newFeedTopic()
    process.subscriptions.listen(this.topic, this)
  }

  offer(mail: Envelope | LifecycleEvent): boolean {
    return 'kind' in mail || this.handle.channel.offer(new Unread(this.#process, mail, this.#take, this.#taken))
  }

  /** Nobody else wants what a feed brought. */
  drain(): [] {
    this.handle.channel.drain()
    return []
  }

  /** No more messages; those that are there can still be read, unless they are dropped. */
  close(options: { dropsUnread?: boolean } = {}): void {
    const { channel } = this.handle
    this.#process.subscriptions.unlisten(this)
    if (options.dropsUnread === true) for (const item of channel.drain()) if (item instanceof Unread) item.drop()
    channel.settle()
    channel.close()
  }
}

class Unread extends Deferred<LuaValue> {
  readonly #process: ScriptProcess
  readonly #mail: Envelope
  readonly #take: Take
  readonly #taken: () => void
  constructor(process: ScriptProcess, mail: Envelope, take: Take, taken: () => void) {
    super()
    this.#process = process
    this.#mail = mail
    this.#take = take
    this.#taken = taken
  }
  override take(): LuaValue {
    this.drop()
    this.#taken()
    return this.#take(this.#mail.values)
  }
  drop(): void {
    this.#process.subscriptions.taken()
  }
}
