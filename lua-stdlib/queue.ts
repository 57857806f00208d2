// Module `queue`: publishing messages, and the message that a consumer's function handles. lua-libraries.md §19.

import { MoonmeshError } from '../runtime/base/errors.ts'
import { TableValue, type Value } from '../runtime/base/value.ts'
import { type Call, HostObject, type LuaTable, type LuaValue, type Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { objectArg, processOf, stringArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { toStored } from './support/convert.ts'
import { fail, failWith, TRUE_NIL } from './support/fail.ts'
import { isAllowed } from './support/permit.ts'
import { wait } from './support/wait.ts'

/** The message of one delivery; it is of use only while its handler runs. */
class QueueMessageObject extends HostObject {
  readonly delivery: TableValue
  constructor(delivery: TableValue) {
    super()
    this.delivery = delivery
  }
  override get className(): string {
    return 'queue.Message'
  }
  get id(): string {
    return this.delivery.get('id') as string
  }
  get headers(): TableValue {
    return this.delivery.get('headers') as TableValue
  }
}

/** The id of argument 1, or undefined when it is missing. */
function queueId(call: Call, fn: string): string | undefined {
  if (call.arg(1) === undefined) return undefined
  const id = stringArg(call, 1, fn)
  return id === '' ? undefined : id
}

function isEmptyTable(call: Call, value: LuaValue): boolean {
  if (call.engine.typeOf(value) !== 'table') return false
  let isEmpty = true
  call.engine.each(value as LuaTable, () => {
    isEmpty = false
  })
  return isEmpty
}

/** Those with a string as key; values keep their type. */
function headersArg(call: Call): TableValue {
  const headers = new TableValue()
  if (call.type(3) !== 'table') return headers
  const given = call.engine.copyOut(call.arg(3)) as TableValue
  for (const [i, key] of given.keys.entries()) {
    if (typeof key !== 'string') continue
    headers.keys.push(key)
    headers.values.push(given.values[i])
  }
  return headers
}

function publish(call: Call): Returns {
  const id = queueId(call, 'publish')
  blocking(call, 'queue.publish')
  if (id === undefined) return fail('Invalid', 'queue ID required')
  const data = call.arg(2)
  if (data === undefined) return fail('Invalid', 'message data required')
  if (isEmptyTable(call, data)) return fail('Invalid', 'message data cannot be empty')
  for (const [action, resource] of [
    ['queue.publish', ''],
    ['queue.publish.queue', id],
  ] as const) {
    if (!isAllowed(call, action, resource)) return fail('Invalid', `not allowed: ${action} on ${id}`)
  }
  let body: Value
  try {
    body = toStored(call.engine, data)
  } catch (thrown) {
    if (thrown instanceof MoonmeshError) return failWith(thrown)
    throw thrown
  }
  const process = processOf(call)
  const headers = headersArg(call)
  return wait(call, (done) =>
    process.request('queue', 'publish', [id, body, headers], (answer) =>
      done(answer.ok ? TRUE_NIL : failWith(answer.error)),
    ),
  )
}

function info(call: Call): Returns {
  const id = queueId(call, 'info')
  blocking(call, 'queue.info')
  if (id === undefined) return fail('Invalid', 'queue ID required')
  const process = processOf(call)
  return wait(call, (done) =>
    process.request('queue', 'info', [id], (answer) =>
      done(answer.ok ? [process.engine.copyIn(answer.value), undefined] : failWith(answer.error)),
    ),
  )
}

/** The delivery that the running function was given. */
function deliveryOf(call: Call): TableValue | undefined {
  const delivery = processOf(call).attachments?.get('delivery')
  return delivery instanceof TableValue ? delivery : undefined
}

const RELEASED = 'message is released: its handler has returned'

/** Goes on with a message whose handler still runs. */
function withMessage(call: Call, fn: string, then: (message: QueueMessageObject) => Returns): Returns {
  const message = objectArg(call, 1, fn, QueueMessageObject, 'queue.Message')
  return deliveryOf(call) === message.delivery ? then(message) : fail('Invalid', RELEASED)
}

function settle(fn: 'ack' | 'nack'): (call: Call) => Returns {
  return (call) => {
    const process = processOf(call)
    return withMessage(call, fn, ({ delivery }) => {
      blocking(call, `message:${fn}`)
      return wait(call, (done) =>
        process.request('queue', 'settle', [delivery.get('token'), fn], (answer) =>
          done(answer.ok ? TRUE_NIL : failWith(answer.error)),
        ),
      )
    })
  }
}

function header(call: Call): Returns {
  const name = stringArg(call, 2, 'header')
  return withMessage(call, 'header', ({ headers }) => [call.engine.copyIn(headers.get(name)), undefined])
}

export const queueModule: LibraryModule = {
  name: 'queue',
  description: 'queues of messages for functions',
  tags: ['io', 'nondeterministic'],
  build: () => ({
    publish,
    info,
    message: (call) => {
      const delivery = deliveryOf(call)
      return delivery === undefined
        ? fail('Invalid', 'no delivery found: this is no consumer of a queue')
        : [new QueueMessageObject(delivery), undefined]
    },
  }),
  classes: [
    {
      name: 'queue.Message',
      methods: {
        id: (call) => withMessage(call, 'id', ({ id }) => [id, undefined]),
        header,
        headers: (call) => withMessage(call, 'headers', ({ headers }) => [call.engine.copyIn(headers), undefined]),
        ack: settle('ack'),
        nack: settle('nack'),
      },
      metamethods: {
        tostring: (call) =>
          `queue.Message{id=${objectArg(call, 1, 'tostring', QueueMessageObject, 'queue.Message').id}}`,
      },
    },
  ],
}
