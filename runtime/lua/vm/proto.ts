// The code of a function, immutable but for what the machine learns about it.

import type { ChunkTypes } from '../../base/type-node.ts'
import type { Shape, Table } from './table.ts'
import type { Val } from './value.ts'

/** What an instruction that looks up a constant key has learned. */
export class Cache {
  shape: Shape | null = null
  slot = 0
  /** Of a write that adds the key: the shape after it. */
  next: Shape | undefined = undefined
  /** The last lookup that went through metatables. */
  missShape: Shape | null = null
  missMeta: Table | undefined = undefined
  missEpoch = -1
  value: Val = undefined
}

/** An instruction behind a call at which coroutines wait. */
export class Place {
  /** How often one went on there; negative: it was made into JavaScript, or refused. */
  heat = 0
  entry: Entry | undefined = undefined
}

export type Entry = (...args: unknown[]) => Val

const NONE: readonly number[] = []

export class Proto {
  code: Int32Array = new Int32Array(0)
  /** The line of each instruction. */
  lines: Int32Array = new Int32Array(0)
  constants: Val[] = []
  protos: Proto[] = []
  upvalues: { name: string; register: number; index: number }[] = []
  parameterCount = 0
  isVararg = false
  /** Registers. */
  size = 2
  chunkName = ''
  /** Of a chunk: the declared types whose values it uses. */
  types: ChunkTypes | undefined = undefined
  /** Of a chunk: the lengths of its long constants (long-strings.ts). */
  longConstants: readonly number[] = NONE
  line = 0
  endLine = 0
  /** By instruction: how the source calls its operands, as `local 'x'`. */
  names: (readonly (string | undefined)[] | undefined)[] = []
  /** By instruction. */
  caches: (Cache | undefined)[] = []
  /** What a call costs of the budget. */
  cost = 1
  /** How often it was called before it was compiled to JavaScript; negative: that was tried. */
  heat = 0
  /** The function in JavaScript (jit.ts). */
  entry: Entry | undefined = undefined
  /** The same from the head of a loop on, by instruction; undefined: refused. */
  readonly loops = new Map<number, Entry | undefined>()
  /** The same from behind a call on, by instruction. */
  readonly places: (Place | undefined)[] = []
  /** How many of them have become hot. */
  placeCount = 0
  /** How often the JavaScript had to give up for something else than the end of the budget. */
  unwound = 0
}
