// The form of what a suspended process reaches, as saver (save.ts) and restorer (restore.ts) have to agree on it. It is one msgpack array:
//
//   kinds      a byte for each node; a node is known by its number
//   strings    of the nodes STRING, in order
//   names      of the nodes SHARED
//   codes      [entry, hash of its source, hash of what was compiled from it]
//   data       of the nodes DATA and ERROR: what belongs to no script
//   objects    of the nodes OBJECT: [class, data]
//   nodes      of all others: tables, closures, variables, coroutines
//   values     of the nodes OBJECT: the script's values that they hold
//   root       [data, values]: what the process adds
//
// Scalars stand where they are used, everything with an identity is a reference to a node.

import { createHash } from 'node:crypto'
import type { Proto } from './proto.ts'

export const KIND = {
  STRING: 's',
  SHARED: 'n',
  /** The metatable of the globals over a shared base. */
  GLOBALS: 'G',
  DATA: 'd',
  ERROR: 'x',
  OBJECT: 'o',
  ERROR_OBJECT: 'e',
  TABLE: 't',
  CLOSURE: 'f',
  BOX: 'b',
  COROUTINE: 'c',
  ROOT: 'r',
  WRAP: 'w',
  GLOBAL_MATCH: 'g',
} as const

/** Shorter strings are written wherever they occur. */
export const LONG_STRING_MIN = 40

/** Where a coroutine stands. */
export const STATUS = { FRESH: 0, WAITING: 1, DEAD: 2, CHAINED: 3 } as const

export const WAITS = ['suspended', 'yielded', 'preempted'] as const

/** How the three values of a numeric loop are to be understood. */
export const LOOPS = { SMALL: 0, LARGE: 1, FLOAT: 2 } as const

/**
 * What was compiled, in one hash: a frame names its place by the number of an instruction, so the instructions have to be the same.
 */
export function compiledHash(proto: Proto): string {
  const hash = createHash('sha256')
  const open = [proto]
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    const { code, size, parameterCount, isVararg, upvalues, protos } = each
    hash.update(JSON.stringify([size, parameterCount, isVararg, upvalues, protos.length, code.length]))
    hash.update(code)
    open.push(...protos)
  }
  return hash.digest('hex').slice(0, 32)
}
