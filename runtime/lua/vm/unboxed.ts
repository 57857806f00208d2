// Which registers of a translated function may keep a float apart from what they hold: a whole float is an object (value.ts), and any float
// is one to V8 while its variable holds integers, too. A sum or product that only goes into further arithmetic needs neither. Such a register
// has a second variable that holds the float, and the first says so.

import { Float } from '../../base/value.ts'
import { kill, use } from './liveness.ts'
import { isFloat } from './number.ts'
import { OP } from './opcodes.ts'
import type { Proto } from './proto.ts'

/** What asks for a register next. */
const OTHERS = 0
const ARITHMETIC = 1

/** ADD SUB MUL POW DIV, as offsets from ADD or ADDK. */
const FLOATING = new Set([0, 1, 2, 4, 5])

/** Whether the instruction is one of arithmetic that may give a float, and is worth having in place. */
function isFloating(op: number): boolean {
  if (op === OP.UNM) return true
  return (
    (op >= OP.ADD && op < OP.ADDK && FLOATING.has(op - OP.ADD)) ||
    (op >= OP.ADDK && op < OP.UNM && FLOATING.has(op - OP.ADDK))
  )
}

/** Whether the instruction takes floats that are kept apart as they are. */
export const takesUnboxed = (op: number): boolean =>
  isFloating(op) || (op >= OP.LT && op <= OP.GEK && op !== OP.EQK) || op === OP.MOVE

export class Unboxed {
  /** Registers that may keep a float apart. */
  readonly registers = new Set<number>()
  /** Instructions whose result is worth being kept so, if it is a float. */
  readonly #results = new Set<number>()
  /** Registers that something reads as numbers. */
  readonly #operands = new Set<number>()
  /** Registers that hold floats at some time, as far as the code or what they hold now tells. Code for integers alone is shorter. */
  readonly #floats: Set<number>

  /** @param order the instructions of each block   @param floats registers that hold floats at the beginning */
  constructor(proto: Proto, order: readonly (readonly number[])[], floats: Iterable<number>) {
    const { code, size } = proto
    const never = new Set<number>()
    this.#floats = new Set(floats)
    for (let before = -1; before < this.#floats.size; ) {
      before = this.#floats.size
      for (const pcs of order) for (const pc of pcs) this.#look(proto, code[pc] as number)
    }
    for (const pcs of order) {
      for (const pc of pcs) {
        const i = code[pc] as number
        const op = i & 255
        const a = (i >>> 8) & 255
        // Loops have forms of their own for what they count with.
        if (op === OP.FORPREP || op === OP.FORLOOP || op === OP.TFORCALL) for (let r = a; r < a + 3; r++) never.add(r)
        if (!takesUnboxed(op) || op === OP.MOVE) continue
        this.#operands.add((i >>> 16) & 255)
        if (op < OP.ADDK || op === OP.LT || op === OP.LE) this.#operands.add(i >>> 24)
      }
    }
    const next = new Uint8Array(size)
    const row = new Uint8Array(size)
    // What is moved or loaded depends on the registers that are known: at most as often as there are registers, and mostly twice.
    for (let before = -1; before < this.registers.size; ) {
      before = this.registers.size
      for (const pcs of order) {
        for (let r = 0; r < size; r++) next[r] = this.#operands.has(r) ? ARITHMETIC : OTHERS
        for (let k = pcs.length - 1; k >= 0; k--) this.#visit(proto, pcs[k] as number, next, row, never)
      }
    }
  }

  /** Whether the instruction's result is kept apart when it is a float. */
  keeps(pc: number): boolean {
    return this.#results.has(pc)
  }

  #look({ constants }: Proto, i: number): void {
    const op = i & 255
    const b = (i >>> 16) & 255
    const c = i >>> 24
    let is = false
    if (op === OP.MOVE || op === OP.UNM) is = this.#floats.has(b)
    else if (op === OP.LOADK) is = isFloat(constants[i >>> 16])
    else if (isFloating(op)) {
      const isConstant = op >= OP.ADDK
      const operation = op - (isConstant ? OP.ADDK : OP.ADD)
      is = operation > 2 || this.#floats.has(b) || (isConstant ? isFloat(constants[c]) : this.#floats.has(c))
    }
    if (is) this.#floats.add((i >>> 8) & 255)
  }

  /** Backwards. */
  #visit(proto: Proto, pc: number, next: Uint8Array, row: Uint8Array, never: ReadonlySet<number>): void {
    const i = proto.code[pc] as number
    const op = i & 255
    const a = (i >>> 8) & 255
    const b = (i >>> 16) & 255
    if (next[a] === ARITHMETIC && this.#floats.has(a) && !never.has(a)) {
      if (isFloating(op) || (op === OP.MOVE && this.registers.has(b))) {
        this.registers.add(a)
        this.#results.add(pc)
      } else if (op === OP.LOADK && this.registers.has(a) && proto.constants[i >>> 16] instanceof Float)
        this.#results.add(pc)
    }
    const isTaken = op === OP.MOVE ? next[a] === ARITHMETIC : takesUnboxed(op)
    row.fill(1)
    kill(proto, pc, row)
    for (let r = 0; r < row.length; r++) if (row[r] === 0) next[r] = OTHERS
    row.fill(0)
    use(proto, pc, row)
    for (let r = 0; r < row.length; r++) if (row[r] !== 0) next[r] = isTaken ? ARITHMETIC : OTHERS
  }
}
