// Requests and answers as msgpack arrays. The body is the last item and stays as it is: whoever knows the method reads it.
// cluster.md §4.7.

import { type Packed, pack, UnpackError, unpackAt } from '../../../runtime/base/msgpack.ts'
import type { RequestMessage } from '../core/requests.ts'
import { ProtocolError } from './protocol-error.ts'

const REQUEST = 0
const REPLY = 1
const CANCEL = 2
const ONE_WAY = 3
const METHOD_LENGTH_MAX = 128
const TEXT_LENGTH_MAX = 4096
const NIL = Uint8Array.of(0xc0)

export function encodeRequest(message: RequestMessage): Uint8Array {
  switch (message.kind) {
    case 'request':
      return join(5, [REQUEST, message.id, message.method, Math.ceil(message.remainingMs)], message.body)
    case 'ok':
      return join(4, [REPLY, message.id, true], message.body)
    case 'error': {
      const { kind, message: text, details } = message.error
      return pack([REPLY, message.id, false, [kind, text.slice(0, TEXT_LENGTH_MAX), (details ?? null) as Packed]])
    }
    case 'cancel':
      return pack([CANCEL, message.id])
    case 'one-way':
      return join(3, [ONE_WAY, message.method], message.body)
  }
}

/** The body is a view of `bytes`. Undefined: a kind of a later version. @throws ProtocolError */
export function decodeRequest(bytes: Uint8Array): RequestMessage | undefined {
  try {
    return decode(bytes)
  } catch (error) {
    if (error instanceof UnpackError) throw new ProtocolError(`no msgpack: ${error.message}`)
    throw error
  }
}

function decode(bytes: Uint8Array): RequestMessage | undefined {
  const count = (bytes[0] ?? 0) - 0x90
  if (count < 2 || count > 15) throw new ProtocolError('a request is an array')
  let at = 1
  const next = (): Packed => {
    const { value, end } = unpackAt(bytes, at)
    at = end
    return value
  }
  const expect = (items: number): void => {
    if (count !== items) throw new ProtocolError(`a request of ${count} items`)
  }
  const type = integer(next())
  switch (type) {
    case REQUEST: {
      expect(5)
      const id = integer(next())
      const method = text(next(), METHOD_LENGTH_MAX)
      const remainingMs = integer(next())
      return { kind: 'request', id, method, remainingMs, body: tail(bytes, at) }
    }
    case REPLY: {
      expect(4)
      const id = integer(next())
      const isOk = next()
      if (isOk === true) return { kind: 'ok', id, body: tail(bytes, at) }
      const error = next()
      if (isOk !== false || !Array.isArray(error) || error.length < 2) throw new ProtocolError('no answer')
      const [kind, message, details] = error as readonly Packed[]
      return {
        kind: 'error',
        id,
        error: {
          kind: text(kind, METHOD_LENGTH_MAX),
          message: text(message, 2 * TEXT_LENGTH_MAX),
          details: details ?? null,
        },
      }
    }
    case CANCEL:
      expect(2)
      return { kind: 'cancel', id: integer(next()) }
    case ONE_WAY:
      expect(3)
      return { kind: 'one-way', method: text(next(), METHOD_LENGTH_MAX), body: tail(bytes, at) }
    default:
      return undefined
  }
}

function join(count: number, items: readonly Packed[], body: Uint8Array): Uint8Array {
  const head = pack(items)
  const last = body.length === 0 ? NIL : body
  const out = new Uint8Array(head.length + last.length)
  out.set(head, 0)
  out[0] = 0x90 | count
  out.set(last, head.length)
  return out
}

function tail(bytes: Uint8Array, at: number): Uint8Array {
  if (at >= bytes.length) throw new ProtocolError('a body is missing')
  return bytes.subarray(at)
}

function integer(value: Packed): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw new ProtocolError('not a whole number')
  return value
}

function text(value: Packed | undefined, lengthMax: number): string {
  if (typeof value !== 'string' || value.length > lengthMax) throw new ProtocolError('not a short string')
  return value
}
