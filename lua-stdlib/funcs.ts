// Module `funcs`: calls of function entries, at once or through a future, and executors. lua-core.md §15.

import { Channel } from '../runtime/base/channel.ts'
import { errorFrom } from '../runtime/base/plain.ts'
import { ErrorValue, TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  CannotSave,
  ErrorObject,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { Answer, CallOptions, LibraryModule, RunningCall } from '../runtime/services.ts'
import { ChannelObject } from './channel.ts'
import { PayloadObject } from './payload.ts'
import { objectArg, processOf, stringArg, tableArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { contextArg } from './support/context.ts'
import { fail, failWith, TRUE_NIL } from './support/fail.ts'
import { identityData, identityFrom, withActor, withScope } from './support/identity.ts'
import { refusal } from './support/permit.ts'
import { damaged } from './support/saving.ts'
import { wait } from './support/wait.ts'
import { MILLISECOND, parseDuration } from './time/duration.ts'
import { DurationObject } from './time/objects.ts'

/** The outcome of an asynchronous call, now or later. */
class Future extends HostObject {
  handle = new ChannelObject(new Channel<LuaValue>(1))
  answer: { ok: true; payload: PayloadObject } | { ok: false; error: ErrorObject } | undefined
  isCanceled = false
  running: RunningCall | undefined

  override get className(): string {
    return 'Future'
  }

  settle(answer: Answer<Value>): void {
    if (this.answer !== undefined) return
    this.answer = answer.ok
      ? { ok: true, payload: new PayloadObject(answer.value) }
      : { ok: false, error: new ErrorObject(errorFrom(answer.error)) }
    const { channel } = this.handle
    channel.trySend(this.answer.ok ? this.answer.payload : this.answer.error)
    channel.close()
  }

  cancel(): void {
    if (this.answer !== undefined) return
    this.isCanceled = true
    this.answer = { ok: false, error: new ErrorObject(new ErrorValue('Canceled', 'canceled', false)) }
    this.running?.cancel()
    this.handle.channel.close()
  }
}

const futureSaving: ObjectSaving<Future> = {
  save({ answer, handle, isCanceled }) {
    if (answer === undefined) return new CannotSave('a call that has not ended', true)
    return { data: [answer.ok, isCanceled], values: [answer.ok ? answer.payload : answer.error, handle] }
  },
  restore([, isCanceled]) {
    const object = new Future()
    object.isCanceled = isCanceled === true
    return object
  },
  fill(object, [answer, handle]) {
    if (!(handle instanceof ChannelObject)) throw damaged('a channel')
    object.handle = handle
    if (answer instanceof PayloadObject) object.answer = { ok: true, payload: answer }
    else if (answer instanceof ErrorObject) object.answer = { ok: false, error: answer }
    else throw damaged('an answer')
  },
}

/** Options of calls that can be used again. */
class Executor extends HostObject {
  readonly options: CallOptions
  constructor(options: CallOptions) {
    super()
    this.options = options
  }
  override get className(): string {
    return 'Executor'
  }
}

const executorSaving: ObjectSaving<Executor> = {
  save({ options: { context, identity, timeoutMs } }) {
    return { data: [context, identityData(identity), timeoutMs], values: [] }
  },
  restore([context, identity, timeoutMs]) {
    const isContext = context === undefined || context instanceof TableValue
    const isTimeout = timeoutMs === undefined || (typeof timeoutMs === 'number' && timeoutMs > 0)
    if (!isContext || !isTimeout) throw damaged('an executor')
    const who = identityFrom(identity)
    return new Executor({
      ...(context === undefined ? {} : { context }),
      ...(who === undefined ? {} : { identity: who }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    })
  },
}

const executor = (call: Call, fn: string): CallOptions => objectArg(call, 1, fn, Executor, 'Executor').options
const future = (call: Call, fn: string): Future => objectArg(call, 1, fn, Future, 'Future')

function targetProblem(target: string): string | undefined {
  const colon = target.indexOf(':')
  if (target === '') return 'function ID required'
  if (colon <= 0) return 'namespace required in function ID'
  return colon === target.length - 1 ? 'name required in function ID' : undefined
}

function argsFrom(call: Call, from: number): Value[] {
  const values: Value[] = []
  for (let i = from; i <= call.count; i++) values.push(call.engine.copyOut(call.arg(i)))
  return values
}

/** The target of a call, or why there is no call. */
function target(call: Call, index: number, fn: string): string | readonly LuaValue[] {
  const id = stringArg(call, index, fn)
  const problem = targetProblem(id)
  if (problem !== undefined) return fail('Invalid', problem)
  blocking(call, `funcs.${fn}`)
  return refusal(call, 'funcs.call', id) ?? id
}

function callNow(call: Call, index: number, options: CallOptions): Returns {
  const id = target(call, index, 'call')
  if (typeof id !== 'string') return id
  const args = argsFrom(call, index + 1)
  const { engine } = call
  return wait(call, (done) => {
    processOf(call).call(id, args, options, (answer) =>
      done(answer.ok ? [engine.copyIn(answer.value), undefined] : failWith(answer.error)),
    )
  })
}

function callLater(call: Call, index: number, options: CallOptions): Returns {
  const id = target(call, index, 'async')
  if (typeof id !== 'string') return id
  const made = new Future()
  made.running = processOf(call).call(id, argsFrom(call, index + 1), options, (answer) => made.settle(answer))
  return [made, undefined]
}

/** `timeout` in milliseconds or as a duration; the options given replace those before. */
function withOptions(call: Call): Returns {
  const { timeoutMs: _replaced, ...kept } = executor(call, 'with_options')
  const timeout = call.engine.get(tableArg(call, 2, 'with_options') as LuaTable, 'timeout')
  if (timeout === undefined) return new Executor(kept)
  const timeoutMs = millisecondsOf(timeout)
  if (timeoutMs === undefined || !(timeoutMs > 0)) {
    return fail('Invalid', 'timeout must be a positive number of milliseconds or a duration such as "5s"')
  }
  return new Executor({ ...kept, timeoutMs })
}

/** A bare number is milliseconds here, unlike where a duration alone is meant. */
function millisecondsOf(value: LuaValue): number | undefined {
  if (typeof value === 'string' || value instanceof DurationObject) {
    const ns = typeof value === 'string' ? parseDuration(value) : value.ns
    return ns === undefined ? undefined : Number(ns) / MILLISECOND
  }
  if (typeof value === 'number') return value
  return typeof value === 'object' && 'value' in value && typeof value.value === 'number' ? value.value : undefined
}

function result(call: Call): Returns {
  const { answer } = future(call, 'result')
  if (answer === undefined) return [undefined, undefined]
  return answer.ok ? [answer.payload, undefined] : [undefined, answer.error]
}

function error(call: Call): Returns {
  const { answer } = future(call, 'error')
  return answer === undefined || answer.ok ? [undefined, false] : [answer.error, true]
}

function cancel(call: Call): Returns {
  const made = future(call, 'cancel')
  blocking(call, 'future:cancel')
  made.cancel()
  return TRUE_NIL
}

export const funcsModule: LibraryModule = {
  name: 'funcs',
  description: 'calls of functions, now or later',
  tags: ['process', 'nondeterministic'],
  build: () => ({
    call: (call) => callNow(call, 1, {}),
    async: (call) => callLater(call, 1, {}),
    new: () => new Executor({}),
  }),
  classes: [
    {
      name: 'Executor',
      saving: executorSaving,
      methods: {
        with_context: (call) => {
          const options = executor(call, 'with_context')
          const context = contextArg(call, 2, 'with_context', options.context)
          return refusal(call, 'funcs.context', 'context') ?? new Executor({ ...options, context })
        },
        with_options: withOptions,
        with_actor: (call) => {
          const options = executor(call, 'with_actor')
          const identity = withActor(call, 2, 'with_actor', options.identity ?? processOf(call).identity)
          return refusal(call, 'funcs.security', 'security') ?? new Executor({ ...options, identity })
        },
        with_scope: (call) => {
          const options = executor(call, 'with_scope')
          const identity = withScope(call, 2, 'with_scope', options.identity ?? processOf(call).identity)
          return refusal(call, 'funcs.security', 'security') ?? new Executor({ ...options, identity })
        },
        call: (call) => callNow(call, 2, executor(call, 'call')),
        async: (call) => callLater(call, 2, executor(call, 'async')),
      },
    },
    {
      name: 'Future',
      saving: futureSaving,
      methods: {
        response: (call) => future(call, 'response').handle,
        channel: (call) => future(call, 'channel').handle,
        is_complete: (call) => future(call, 'is_complete').answer !== undefined,
        is_canceled: (call) => future(call, 'is_canceled').isCanceled,
        result,
        error,
        cancel,
      },
    },
  ],
}
