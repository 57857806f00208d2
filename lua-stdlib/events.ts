// Module `events`: the node's bus for observation. lua-core.md §18.

import type { Value } from '../runtime/base/value.ts'
import { type Call, type Engine, HostObject, type LuaTable, type Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule, ScriptProcess } from '../runtime/services.ts'
import { objectArg, optionalString, processOf, stringArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { fail, failWith, TRUE_NIL } from './support/fail.ts'
import { Feed } from './support/feed.ts'
import { refusal } from './support/permit.ts'
import { wait } from './support/wait.ts'

/** Events that a channel holds before further ones wait in the mailbox. */
const CAPACITY = 64
const EVERYTHING = '*'

class SubscriptionObject extends HostObject {
  readonly feed: Feed
  readonly #process: ScriptProcess
  readonly #forget: () => void
  #isClosed = false

  constructor(process: ScriptProcess) {
    super()
    this.#process = process
    this.feed = new Feed(process, CAPACITY, (values) => eventTable(process.engine, values))
    this.#forget = process.onEnd(() => this.close())
  }
  override get className(): string {
    return 'events.Subscription'
  }
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#forget()
    this.#process.note('events', 'unsubscribe', [this.feed.topic])
    this.feed.close()
  }
}

function eventTable(engine: Engine, [system, kind, path, data]: readonly Value[]): LuaTable {
  const table = engine.newTable()
  engine.set(table, 'system', engine.copyIn(system))
  engine.set(table, 'kind', engine.copyIn(kind))
  engine.set(table, 'path', engine.copyIn(path))
  engine.set(table, 'data', engine.copyIn(data))
  return table
}

function subscribe(call: Call): Returns {
  const system = stringArg(call, 1, 'subscribe')
  const kind = optionalString(call, 2, 'subscribe') ?? ''
  blocking(call, 'events.subscribe')
  if (system === '') return fail('Invalid', 'system pattern is required')
  const refused = refusal(call, 'events.subscribe', system)
  if (refused !== undefined) return refused
  const process = processOf(call)
  return wait(call, (done) => {
    const subscription = new SubscriptionObject(process)
    const args = [subscription.feed.topic, system, kind === '' ? EVERYTHING : kind]
    process.request('events', 'subscribe', args, (answer) => {
      if (!answer.ok) subscription.close()
      done(answer.ok ? [subscription, undefined] : failWith(answer.error))
    })
  })
}

function send(call: Call): Returns {
  const [system, kind, path] = [1, 2, 3].map((index) => stringArg(call, index, 'send')) as [string, string, string]
  blocking(call, 'events.send')
  if (system === '') return fail('Invalid', 'system is required')
  if (kind === '') return fail('Invalid', 'kind is required')
  if (path === '') return fail('Invalid', 'path is required')
  const refused = refusal(call, 'events.send', system)
  if (refused !== undefined) return refused
  const data = call.engine.copyOut(call.arg(4))
  return wait(call, (done) =>
    processOf(call).request('events', 'send', [system, kind, path, data], (answer) =>
      done(answer.ok ? TRUE_NIL : failWith(answer.error)),
    ),
  )
}

const self = (call: Call, fn: string): SubscriptionObject =>
  objectArg(call, 1, fn, SubscriptionObject, 'events.Subscription')

export const eventsModule: LibraryModule = {
  name: 'events',
  description: "the node's bus for observation",
  tags: ['process', 'nondeterministic'],
  build: () => ({ subscribe, send }),
  classes: [
    {
      name: 'events.Subscription',
      saving: 'a subscription to events',
      methods: {
        channel: (call) => self(call, 'channel').feed.handle,
        close: (call) => {
          self(call, 'close').close()
          return true
        },
      },
    },
  ],
}
