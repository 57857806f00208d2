// Module `base64`: RFC 4648, standard alphabet, with padding. lua-libraries.md §6.

import type { Call, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { fail } from './support/fail.ts'

const DIGITS = /^[A-Za-z0-9+/]*={0,2}$/

function encode(call: Call): Returns {
  const data = call.arg(1)
  if (typeof data !== 'string') return fail('Invalid', 'string expected')
  return Buffer.from(data, 'latin1').toString('base64')
}

/** Line ends are no part of the data; everything else must be right: Node's own decoder takes anything. */
function decode(call: Call): Returns {
  const text = call.arg(1)
  if (typeof text !== 'string') return fail('Invalid', 'string expected')
  const digits = text.replace(/[\r\n]/g, '')
  const wrong = digits.search(/[^A-Za-z0-9+/=]/)
  if (wrong >= 0) return fail('Invalid', `illegal base64 data at input byte ${wrong}`)
  if (digits.length % 4 !== 0 || !DIGITS.test(digits)) {
    return fail('Invalid', `illegal base64 data at input byte ${digits.length}: wrong padding`)
  }
  return Buffer.from(digits, 'base64').toString('latin1')
}

export const base64Module: LibraryModule = {
  name: 'base64',
  description: 'bytes as text and back',
  tags: ['encoding', 'deterministic'],
  build: () => ({ encode, decode }),
}
