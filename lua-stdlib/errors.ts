// Module `errors`: error objects for scripts. lua-core.md §12, §2.4.
//
// `ErrorValue.stack` holds lines: at most one context, which errors.wrap added and which has not become part of the message yet, then the
// frames, each behind a tab.

import { toBytes } from '../runtime/base/bytes.ts'
import { ErrorValue, Float, TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  type Engine,
  ErrorObject,
  type LuaTable,
  type LuaValue,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { badArgument, isNumber, objectArg, processOf, raise, stringArg } from './support/args.ts'

const KINDS = {
  NOT_FOUND: 'NotFound',
  ALREADY_EXISTS: 'AlreadyExists',
  INVALID: 'Invalid',
  PERMISSION_DENIED: 'PermissionDenied',
  UNAVAILABLE: 'Unavailable',
  INTERNAL: 'Internal',
  CANCELED: 'Canceled',
  CONFLICT: 'Conflict',
  TIMEOUT: 'Timeout',
  RATE_LIMITED: 'RateLimited',
  UNKNOWN: '',
} as const

/** The line of the stack that says who made the error; empty where no Lua code calls. */
function frameHere(call: Call): string {
  const where = call.where()
  return where === '' ? '' : `\t${where}`
}

function newError(call: Call): Returns {
  const first = call.arg(1)
  const text = messageText(first)
  if (text !== undefined) return new ErrorObject(new ErrorValue('', text, undefined, undefined, frameHere(call)))
  if (call.type(1) !== 'table') {
    const got = call.type(1)
    badArgument(1, 'new', `expected string or table, got ${got === 'none' ? 'no value' : got}`)
  }
  return errorFromTable(call, first as LuaTable)
}

/** Fields of other types than documented count as absent: an error on the way must not be lost over its own description. */
function errorFromTable(call: Call, fields: LuaTable): ErrorObject {
  const { engine } = call
  const given = engine.get(fields, 'message')
  if (given === undefined) raise('message field is required')
  const message = messageText(given)
  if (message === undefined) raise('message must be a string')
  const kind = engine.get(fields, 'kind')
  const retryable = engine.get(fields, 'retryable')
  return new ErrorObject(
    new ErrorValue(
      typeof kind === 'string' ? kind : '',
      message,
      typeof retryable === 'boolean' ? retryable : undefined,
      detailsFrom(engine, engine.get(fields, 'details')),
      frameHere(call),
    ),
  )
}

const messageText = (value: LuaValue): string | undefined =>
  value instanceof ErrorObject ? value.error.message : typeof value === 'string' ? value : undefined

/** A record with string keys at the top; undefined for anything but a table with something in it. */
function detailsFrom(engine: Engine, given: LuaValue): TableValue | undefined {
  const copy = engine.typeOf(given) === 'table' ? engine.copyOut(given) : undefined
  if (!(copy instanceof TableValue)) return undefined
  const keys: Value[] = []
  const values: Value[] = []
  const add = (key: Value, value: Value): void => {
    const text = keyText(key)
    if (text === undefined) return
    keys.push(text)
    values.push(value)
  }
  for (const [i, value] of copy.array.entries()) add(i + 1, value)
  for (const [i, key] of copy.keys.entries()) add(key, copy.values[i])
  return keys.length === 0 ? undefined : new TableValue([], keys, values)
}

function keyText(key: Value): string | undefined {
  if (typeof key === 'string') return key
  if (key instanceof Float) return String(key.value)
  return typeof key === 'object' || key === undefined ? undefined : String(key)
}

/** Splits a stack into the pending context, if there is one, and the frames. */
function stackParts(stack: string): { context: string; frames: string } {
  if (stack === '' || stack.startsWith('\t')) return { context: '', frames: stack }
  const end = stack.indexOf('\n')
  return end < 0 ? { context: stack, frames: '' } : { context: stack.slice(0, end), frames: stack.slice(end + 1) }
}

/** The context stands in the stack only; wrapping again moves it in front of the message (§25, open 17). */
function wrap(call: Call): Returns {
  const given = call.arg(1)
  const { kind, message, retryable, details, stack } =
    given instanceof ErrorObject ? given.error : new ErrorValue('', stringArg(call, 1, 'wrap'))
  const context = stringArg(call, 2, 'wrap').replace(/[\n\t]/g, ' ')
  const inner = stackParts(stack)
  const lines = [context, inner.frames || frameHere(call)].filter((line) => line !== '')
  return new ErrorObject(
    new ErrorValue(
      kind,
      inner.context === '' ? message : `${inner.context}: ${message}`,
      retryable,
      details,
      lines.join('\n'),
    ),
  )
}

/** `nil` for anything that carries no frames. */
function callStack(call: Call): Returns {
  const given = call.arg(1)
  if (!(given instanceof ErrorObject)) return [undefined]
  const { engine } = call
  const frames = engine.newTable()
  let level = 0
  for (const line of stackParts(given.error.stack).frames.split('\n')) {
    const match = /^\t(.*):(\d+)$/.exec(line)
    if (match === null) continue
    const frame = engine.newTable()
    engine.set(frame, 'level', ++level)
    engine.set(frame, 'source', match[1] as string)
    engine.set(frame, 'line', Number(match[2]))
    engine.set(frame, 'name', '?')
    engine.set(frame, 'type', 'Lua')
    engine.set(frames, level, frame)
  }
  if (level === 0) return [undefined]
  const result = engine.newTable()
  engine.set(result, 'thread', toBytes(processOf(call).pid))
  engine.set(result, 'frames', frames)
  return result
}

const self = (call: Call, fn: string): ErrorValue => objectArg(call, 1, fn, ErrorObject, 'Error').error

function details(call: Call): Returns {
  const { details: value } = self(call, 'details')
  return [value === undefined || value.keys.length === 0 ? undefined : call.engine.copyIn(value)]
}

/** The message, then a pending context and the frames; never empty. */
function stack(call: Call): Returns {
  const error = self(call, 'stack')
  return [error.message, error.stack].filter((part) => part !== '').join('\n') || 'error'
}

function operand(call: Call, index: number): string {
  const value = call.arg(index)
  if (value instanceof ErrorObject) return value.error.message
  if (typeof value === 'string') return value
  if (isNumber(value)) return call.tostring(index)
  return raise(`attempt to concatenate a ${call.type(index)} value`)
}

export const errorsModule: LibraryModule = {
  name: 'errors',
  description: 'error objects: kinds, details, context',
  tags: ['deterministic'],
  isAlwaysPresent: true,
  build: () => ({
    ...KINDS,
    new: newError,
    wrap,
    is: (call) => {
      const kind = stringArg(call, 2, 'is')
      const given = call.arg(1)
      return given instanceof ErrorObject && given.error.kind === kind
    },
    call_stack: callStack,
  }),
  classes: [
    {
      name: 'Error',
      methods: {
        message: (call) => self(call, 'message').message,
        kind: (call) => self(call, 'kind').kind,
        retryable: (call) => [self(call, 'retryable').retryable],
        details,
        stack,
      },
      metamethods: {
        tostring: (call) => self(call, 'tostring').message,
        concat: (call) => operand(call, 1) + operand(call, 2),
      },
    },
  ],
}
