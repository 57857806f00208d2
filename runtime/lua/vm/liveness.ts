// What the registers of a function hold at an instruction, as far as the code behind it still asks for it: the backward analysis of any book on
// compilers (A. Appel, "Modern Compiler Implementation", ch. 10). A saved frame consists of these registers and of nothing else: what a
// finished expression left behind would keep things alive that the script has let go of, and a document cannot put anything into a
// register that the code does not expect there.

import { OP } from './opcodes.ts'
import type { Proto } from './proto.ts'

/** Not asked for. */
export const DEAD = 0
export const VALUE = 1
/** A variable that closures share. */
export const BOX = 2
/** The first of the three registers of a numeric loop, as `forPrepare` leaves them. */
export const LOOP = 3
/** The others of them. */
export const LOOP_REST = 4

const NO_WAIT = new Set<number>([
  OP.MOVE,
  OP.LOADK,
  OP.LOADKX,
  OP.LOADNIL,
  OP.LOADBOOL,
  OP.GETUP,
  OP.SETUP,
  OP.NEWTABLE,
  OP.GETBOX,
  OP.SETBOX,
  OP.NEWBOX,
  OP.NOT,
  OP.JMP,
  OP.TEST,
  OP.RETURN,
  OP.RETURN0,
  OP.RETURN1,
  OP.FORLOOP,
  OP.FORPREP,
  OP.TFORLOOP,
  OP.SETLIST,
  OP.CLOSURE,
  OP.VARARG,
])

export class Liveness {
  readonly #proto: Proto
  /** Of each instruction one byte a register. */
  readonly #before: Uint8Array
  readonly #isStart: Uint8Array

  constructor(proto: Proto) {
    const { code, size } = proto
    this.#proto = proto
    this.#before = new Uint8Array(code.length * size)
    this.#isStart = new Uint8Array(code.length)
    const starts: number[] = []
    for (let pc = 0; pc < code.length; pc += this.#length(pc)) {
      starts.push(pc)
      this.#isStart[pc] = 1
    }
    const row = new Uint8Array(size)
    for (let isChanged = true; isChanged; ) {
      isChanged = false
      for (let i = starts.length - 1; i >= 0; i--) {
        const pc = starts[i] as number
        this.#after(pc, row)
        kill(this.#proto, pc, row)
        use(this.#proto, pc, row)
        const at = pc * size
        for (let r = 0; r < size; r++) {
          if (this.#before[at + r] === row[r]) continue
          this.#before[at + r] = row[r] as number
          isChanged = true
        }
      }
    }
  }

  /** What the frame needs that goes on with the instruction at `pc`; undefined: none begins there. */
  before(pc: number): Uint8Array | undefined {
    const { size } = this.#proto
    return this.#isStart[pc] === 1 ? this.#before.slice(pc * size, (pc + 1) * size) : undefined
  }

  /**
   * What the frame needs that waits for the results of the instruction before `pc`; undefined: that one waits for nothing.
   * @param extra of CONCAT: the register of the last value, from the first on, that is still to be joined
   */
  waiting(pc: number, extra: unknown): Uint8Array | undefined {
    const { code, size } = this.#proto
    const at = pc - 1
    if (this.#isStart[at] !== 1 || this.#length(at) !== 1) return undefined
    const i = code[at] as number
    const op = i & 255
    if (NO_WAIT.has(op)) return undefined
    const row = new Uint8Array(size)
    this.#after(at, row)
    kill(this.#proto, at, row)
    if (op !== OP.CONCAT) return row
    const first = (i >>> 16) & 255
    if (typeof extra !== 'number' || !Number.isInteger(extra) || extra <= first || extra > i >>> 24) return undefined
    for (let r = first; r < extra - 1; r++) row[r] = VALUE
    return row
  }

  /** Of an instruction that takes as many values as there are: the first of their registers. */
  openFrom(pc: number): number | undefined {
    return openFrom(this.#proto.code[pc] as number)
  }

  /** Whether the instruction before `pc` keeps in its frame how a comparison is to be read. */
  isComparison(pc: number): boolean {
    const op = (this.#proto.code[pc - 1] as number) & 255
    return op >= OP.EQ && op <= OP.GEK
  }

  isConcat(pc: number): boolean {
    return ((this.#proto.code[pc - 1] as number) & 255) === OP.CONCAT
  }

  #length(pc: number): number {
    const op = (this.#proto.code[pc] as number) & 255
    return op === OP.LOADKX || op === OP.SETLIST ? 2 : 1
  }

  /** What is needed behind the instruction, whichever way control goes. */
  #after(pc: number, row: Uint8Array): void {
    const { code, size } = this.#proto
    row.fill(DEAD)
    for (const next of this.#successors(pc)) {
      if (next < 0 || next >= code.length) continue
      const at = next * size
      for (let r = 0; r < size; r++) if (row[r] === DEAD) row[r] = this.#before[at + r] as number
    }
  }

  #successors(pc: number): readonly number[] {
    const i = this.#proto.code[pc] as number
    const op = i & 255
    const next = pc + this.#length(pc)
    switch (op) {
      case OP.LOADBOOL:
        return i >>> 24 === 0 ? [next] : [next + 1]
      case OP.JMP:
        return [next + (i >> 8)]
      case OP.TEST:
        return [next, next + 1]
      case OP.FORLOOP:
      case OP.FORPREP:
      case OP.TFORLOOP:
        return [next, next + (i >> 16)]
      case OP.RETURN:
      case OP.RETURN0:
      case OP.RETURN1:
        return []
      default:
        return op >= OP.EQ && op <= OP.GEK ? [next, next + 1] : [next]
    }
  }
}

function openFrom(i: number): number | undefined {
  const op = i & 255
  const takes = op === OP.CALL || op === OP.TAILCALL || op === OP.RETURN || op === OP.SETLIST
  return takes && ((i >>> 16) & 255) === 0 ? (i >>> 8) & 255 : undefined
}

/** Takes out what the instruction overwrites. */
export function kill(proto: Proto, pc: number, row: Uint8Array): void {
  const i = proto.code[pc] as number
  const op = i & 255
  const a = (i >>> 8) & 255
  const b = (i >>> 16) & 255
  switch (op) {
    case OP.SETUP:
    case OP.SETTABUP:
    case OP.SETTABLE:
    case OP.SETFIELD:
    case OP.SETI:
    case OP.SETBOX:
    case OP.JMP:
    case OP.TEST:
    case OP.RETURN:
    case OP.RETURN0:
    case OP.RETURN1:
    case OP.SETLIST:
      return
    case OP.LOADNIL:
      row.fill(DEAD, a, a + b + 1)
      return
    case OP.SELF:
      row.fill(DEAD, a, a + 2)
      return
    // Nothing stands above what a call leaves.
    case OP.CALL:
    case OP.TAILCALL:
      row.fill(DEAD, a)
      return
    case OP.TFORCALL:
      row.fill(DEAD, a + 3)
      return
    case OP.FORLOOP:
      row.fill(DEAD, a, a + 4)
      return
    case OP.FORPREP:
      row.fill(DEAD, a, a + 4)
      return
    case OP.TFORLOOP:
      row.fill(DEAD, a + 2, a + 3)
      return
    case OP.VARARG:
      row.fill(DEAD, a, b === 0 ? undefined : a + b - 1)
      return
    default:
      if (op < OP.EQ || op > OP.GEK) row[a] = DEAD
  }
}

/** Puts in what the instruction asks for. */
export function use(proto: Proto, pc: number, row: Uint8Array): void {
  const { code, protos } = proto
  const i = code[pc] as number
  const op = i & 255
  const a = (i >>> 8) & 255
  const b = (i >>> 16) & 255
  const c = i >>> 24
  const open = openFrom(i)
  if (open !== undefined) {
    row.fill(VALUE, op === OP.SETLIST ? a : open)
    return
  }
  switch (op) {
    case OP.LOADK:
    case OP.LOADKX:
    case OP.LOADNIL:
    case OP.LOADBOOL:
    case OP.GETUP:
    case OP.GETTABUP:
    case OP.NEWTABLE:
    case OP.JMP:
    case OP.RETURN0:
    case OP.VARARG:
      return
    case OP.MOVE:
    case OP.GETFIELD:
    case OP.GETI:
    case OP.SELF:
    case OP.UNM:
    case OP.BNOT:
    case OP.NOT:
    case OP.LEN:
      row[b] = VALUE
      return
    case OP.SETUP:
    case OP.NEWBOX:
    case OP.TEST:
    case OP.RETURN1:
      row[a] = VALUE
      return
    case OP.SETTABUP:
      row[c] = VALUE
      return
    case OP.GETTABLE:
      row[b] = VALUE
      row[c] = VALUE
      return
    case OP.SETTABLE:
      row[a] = VALUE
      row[b] = VALUE
      row[c] = VALUE
      return
    case OP.SETFIELD:
    case OP.SETI:
      row[a] = VALUE
      row[c] = VALUE
      return
    case OP.GETBOX:
      row[b] = BOX
      return
    case OP.SETBOX:
      row[a] = BOX
      row[b] = VALUE
      return
    case OP.CONCAT:
      row.fill(VALUE, b, c + 1)
      return
    case OP.EQ:
    case OP.LT:
    case OP.LE:
      row[b] = VALUE
      row[c] = VALUE
      return
    case OP.CALL:
    case OP.TAILCALL:
      row.fill(VALUE, a, a + b)
      return
    case OP.RETURN:
      row.fill(VALUE, a, a + b - 1)
      return
    case OP.FORLOOP:
      row[a] = LOOP
      row.fill(LOOP_REST, a + 1, a + 3)
      return
    case OP.FORPREP:
    case OP.TFORCALL:
      row.fill(VALUE, a, a + 3)
      return
    case OP.TFORLOOP:
      row[a + 3] = VALUE
      return
    case OP.SETLIST:
      row.fill(VALUE, a, a + b + 1)
      return
    case OP.CLOSURE:
      for (const { register } of protos[i >>> 16]?.upvalues ?? []) if (register >= 0) row[register] = BOX
      return
    default:
      // Arithmetic, and comparisons with a constant.
      row[b] = VALUE
      if (op >= OP.ADD && op < OP.ADDK) row[c] = VALUE
  }
}
