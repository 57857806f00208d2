// Lua's patterns (manual §6.4.1). The items of a pattern become instructions as soon as a match reaches them, and a loop goes through these and
// back. Steps are counted as the reference takes them, one for each item at each place, skipped places included: a pattern that explodes ends
// as an error.

import { partOf } from '../../base/bytes.ts'
import { Kept } from './kept.ts'
import type { Machine } from './machine.ts'
import type { LuaError, Val } from './value.ts'

const CAPTURES_MAX = 32
/** Choices inside choices. */
const DEPTH_MAX = 200
/** Some tenths of a second. */
const STEPS_MAX = 20_000_000
/** Items that become instructions at once: of an endless pattern few are ever reached. */
const ITEMS_AT_ONCE = 64

/** What a capture holds. */
const UNFINISHED = 0
const POSITION = 1
const TEXT = 2

const PERCENT = 37
const OPEN = 40
const CLOSE = 41
const STAR = 42
const PLUS = 43
const MINUS = 45
const DOT = 46
const QUESTION = 63
const SET = 91
const SET_END = 93
const CARET = 94
const DOLLAR = 36

/** Instructions: each is its kind, and up to three words more. */
const KIND = {
  /** The byte. */
  BYTE: 0,
  /** A class: where its table begins, its bit. So for the next four. */
  ONE: 1,
  STAR: 2,
  MINUS: 3,
  OPTIONAL: 4,
  PLUS: 5,
  /** At the end of the pattern: nothing that follows can fail. */
  LAST_STAR: 6,
  LAST_PLUS: 7,
  /** The capture. So for the next three. */
  OPEN: 8,
  CLOSE: 9,
  BACK: 10,
  POSITION: 11,
  END: 12,
  SOURCE_END: 13,
  /** Both bytes. */
  BALANCE: 14,
  /** As for a class. */
  FRONTIER: 15,
  /** The mistake that stands here. */
  MISTAKE: 16,
  /** Nobody has come here yet. */
  MORE: 17,
} as const
const WORDS = 4

/** By byte: bit n says that the byte is in class n. */
const CLASSES = new Int32Array(256)
const CLASS_BITS: Readonly<Record<string, number>> = {
  a: 1,
  c: 2,
  d: 4,
  g: 8,
  l: 16,
  p: 32,
  s: 64,
  u: 128,
  w: 256,
  x: 512,
  z: 1024,
}
for (let byte = 0; byte < 128; byte++) {
  const isUpper = byte >= 65 && byte <= 90
  const isLower = byte >= 97 && byte <= 122
  const isDigit = byte >= 48 && byte <= 57
  const isGraph = byte > 32 && byte < 127
  let bits = 0
  if (isUpper || isLower) bits |= 1
  if (byte < 32 || byte === 127) bits |= 2
  if (isDigit) bits |= 4
  if (isGraph) bits |= 8
  if (isLower) bits |= 16
  if (isGraph && !isUpper && !isLower && !isDigit) bits |= 32
  if (byte === 32 || (byte >= 9 && byte <= 13)) bits |= 64
  if (isUpper) bits |= 128
  if (isUpper || isLower || isDigit) bits |= 256
  if (isDigit || (byte >= 97 && byte <= 102) || (byte >= 65 && byte <= 70)) bits |= 512
  if (byte === 0) bits |= 1024
  CLASSES[byte] = bits
}
/** The opposite of each class follows behind all of them, then what every byte is. */
const OPPOSITE = 11
const ANY = 1 << 22
/** The first bit of a table that is free for what a pattern needs itself. */
const FIRST_FREE = 23
for (let byte = 0; byte < 256; byte++) {
  const bits = CLASSES[byte] as number
  CLASSES[byte] = bits | ((~bits & 2047) << OPPOSITE) | ANY
}
/** By the letter of a class. */
const BIT_OF = new Int32Array(256)
for (const [letter, bit] of Object.entries(CLASS_BITS)) {
  BIT_OF[letter.charCodeAt(0)] = bit
  BIT_OF[letter.toUpperCase().charCodeAt(0)] = bit << OPPOSITE
}

/** Where the bytes of a class end that begin at `from`. */
function runEnd(source: string, table: Int32Array, offset: number, bit: number, from: number): number {
  const { length } = source
  let s = from
  while (s < length && ((table[offset + source.charCodeAt(s)] as number) & bit) !== 0) s++
  return s
}

/** Where the next byte of a class is; the end of the source: nowhere. */
function nextOf(source: string, table: Int32Array, offset: number, bit: number, from: number): number {
  const { length } = source
  let s = from
  while (s < length && ((table[offset + source.charCodeAt(s)] as number) & bit) === 0) s++
  return s
}

/** The bracket that opens is there, the one that closes is not. */
const OPEN_LEFT = -2

/** Where what begins with `open` at `s` is closed; -1: it does not begin, OPEN_LEFT: it does not end. */
function balanced(source: string, s: number, open: number, close: number): number {
  if (s >= source.length || source.charCodeAt(s) !== open) return -1
  let depth = 1
  for (let at = s + 1; at < source.length; at++) {
    const byte = source.charCodeAt(at)
    if (byte === close) {
      if (--depth === 0) return at + 1
    } else if (byte === open) depth++
  }
  return OPEN_LEFT
}

/** What `find` looks for as it is. A bracket or parenthesis that only closes does not count, as in the reference. */
const SPECIAL = /[\^$*+?.([%-]/

export class Pattern {
  readonly text: string
  /** Whether `find` looks for it as it is. */
  readonly isPlain: boolean
  readonly isAnchored: boolean
  /** Where the last match began. */
  begin = 0
  /** How many captures it has, once there was a match. */
  level = 0
  /** What matches took so far. */
  steps = 0
  readonly #machine: Machine
  readonly #scratch: Int32Array
  #code = NO_CODE
  #table = CLASSES
  /** Words of `#table` that are in use, and bits of the last 256 of them. */
  #tableEnd = 256
  #bits = FIRST_FREE
  /** Where the next item begins in the text. */
  #at: number
  readonly #kinds: number[] = []
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #mistakes: string[] = []
  /** Instructions, with MORE. */
  #size = 0
  /** What the byte must be that a match begins with: as text, or of which class. */
  #firstByte = ''
  #firstOffset = 0
  #firstBit = 0
  /** Steps of a place where it is not so. */
  #firstSteps = 0

  /** @param scratch shared by patterns that match one at a time */
  constructor(text: string, scratch: Int32Array, machine: Machine) {
    this.text = text
    this.isPlain = !SPECIAL.test(text)
    this.isAnchored = text.charCodeAt(0) === CARET
    this.#at = this.isAnchored ? 1 : 0
    this.#scratch = scratch
    this.#machine = machine
  }

  /**
   * Looks for the first match that begins at `from` or behind it and does not end at `except`.
   * @returns where it ends; `begin` says where it began; -1: there is none   @throws LuaError, with `steps` paid
   */
  find(source: string, from: number, except: number): number {
    if (this.#size === 0) this.#extend()
    const { length } = source
    const isAnywhere = !this.isAnchored
    const firstByte = this.#firstByte
    const firstBit = this.#firstBit
    for (let s = from; s <= length; s++) {
      if (isAnywhere && (firstBit !== 0 || firstByte !== '')) {
        let first: number
        if (firstBit !== 0) first = nextOf(source, this.#table, this.#firstOffset, firstBit, s)
        else {
          first = source.indexOf(firstByte, s)
          if (first < 0) first = length
        }
        this.steps += (first - s) * this.#firstSteps
        s = first
        if (s === length) {
          this.steps += this.#firstSteps
          if (this.steps > STEPS_MAX) throw this.#endless(this.steps)
          return -1
        }
      }
      const end = this.#match(source, s)
      if (end >= 0 && end !== except) {
        this.begin = s
        return end
      }
      if (!isAnywhere) break
    }
    return -1
  }

  /** Leaves the captures from `S[at]` on, or the whole match when there are none and it is asked for. @throws LuaError */
  push(S: Val[], at: number, source: string, end: number, hasWhole: boolean): number {
    const { level } = this
    this.#machine.room(S, at, level)
    if (level === 0 && hasWhole) {
      S[at] = partOf(source, this.begin, end)
      return 1
    }
    for (let i = 0; i < level; i++) S[at + i] = this.#captured(i, source)
    return level
  }

  /** Capture `index`; the whole match is the only one of a pattern without any. @throws LuaError */
  capture(index: number, source: string, end: number): Val {
    if (index < this.level) return this.#captured(index, source)
    if (index !== 0) throw this.#machine.error(`invalid capture index %${index + 1}`)
    return partOf(source, this.begin, end)
  }

  #captured(index: number, source: string): Val {
    const kind = this.#kinds[index]
    const start = this.#starts[index] as number
    if (kind === TEXT) return partOf(source, start, this.#ends[index] as number)
    if (kind === POSITION) return start + 1
    throw this.#machine.error('unfinished capture')
  }

  #fail(text: string, steps: number): LuaError {
    this.#machine.budget -= steps >> 3
    return this.#machine.error(text)
  }

  #endless(steps: number): LuaError {
    return this.#fail('pattern too complex (the match takes too long)', steps)
  }

  /** @returns where the match that begins at `from` ends; -1: none   @throws LuaError */
  #match(source: string, from: number): number {
    const stack = this.#scratch
    const starts = this.#starts
    const ends = this.#ends
    const { length } = source
    let table = this.#table
    let code = this.#code
    let { steps } = this
    let s = from
    let at = 0
    let depth = 1
    let top = 0
    for (;;) {
      if (++steps > STEPS_MAX) throw this.#endless(steps)
      const a = code[at + 1] as number
      const b = code[at + 2] as number
      // What matches goes on with `continue`.
      switch (code[at]) {
        case KIND.BYTE:
          if (s === length || source.charCodeAt(s) !== a) break
          s++
          at += WORDS
          continue
        case KIND.ONE:
          if (s === length || ((table[a + source.charCodeAt(s)] as number) & b) === 0) break
          s++
          at += WORDS
          continue
        case KIND.PLUS:
        case KIND.STAR: {
          const end = runEnd(source, table, a, b, s)
          if (code[at] === KIND.PLUS) {
            if (end === s) break
            s++
          }
          steps += end - s
          stack[top] = at
          stack[top + 1] = s
          stack[top + 2] = end
          stack[top + 3] = depth
          top += WORDS
          if (++depth > DEPTH_MAX) throw this.#fail('pattern too complex', steps)
          s = end
          at += WORDS
          continue
        }
        case KIND.LAST_PLUS:
        case KIND.LAST_STAR: {
          const end = runEnd(source, table, a, b, s)
          if (code[at] === KIND.LAST_PLUS) {
            if (end === s) break
            s++
          }
          this.steps = steps + end - s
          return end
        }
        case KIND.OPTIONAL:
          if (s < length && ((table[a + source.charCodeAt(s)] as number) & b) !== 0) {
            stack[top] = at
            stack[top + 1] = s
            stack[top + 3] = depth
            top += WORDS
            if (++depth > DEPTH_MAX) throw this.#fail('pattern too complex', steps)
            s++
          }
          at += WORDS
          continue
        case KIND.MINUS:
          stack[top] = at
          stack[top + 1] = s
          stack[top + 3] = depth
          top += WORDS
          if (++depth > DEPTH_MAX) throw this.#fail('pattern too complex', steps)
          at += WORDS
          continue
        case KIND.OPEN:
        case KIND.POSITION:
          starts[a] = s
          if (++depth > DEPTH_MAX) throw this.#fail('pattern too complex', steps)
          at += WORDS
          continue
        case KIND.CLOSE:
          ends[a] = s
          if (++depth > DEPTH_MAX) throw this.#fail('pattern too complex', steps)
          at += WORDS
          continue
        case KIND.END:
          this.steps = steps
          return s
        case KIND.SOURCE_END:
          if (s !== length) break
          this.steps = steps
          return s
        case KIND.BALANCE: {
          const end = balanced(source, s, a, b)
          if (end < 0) {
            if (end === OPEN_LEFT) steps += length - s
            break
          }
          s = end
          at += WORDS
          continue
        }
        case KIND.FRONTIER: {
          const before = s === 0 ? 0 : source.charCodeAt(s - 1)
          const here = s === length ? 0 : source.charCodeAt(s)
          if (((table[a + before] as number) & b) !== 0 || ((table[a + here] as number) & b) === 0) break
          at += WORDS
          continue
        }
        case KIND.BACK: {
          const start = starts[a] as number
          const end = ends[a] as number
          steps += end - start
          if (!source.startsWith(source.slice(start, end), s)) break
          s += end - start
          at += WORDS
          continue
        }
        case KIND.MORE:
          steps--
          this.#extend()
          code = this.#code
          table = this.#table
          continue
        default:
          throw this.#fail(this.#mistakes[a] as string, steps)
      }
      // Back to the last choice that has something left.
      for (;;) {
        if (top === 0) {
          this.steps = steps
          return -1
        }
        at = stack[top - 4] as number
        const kind = code[at]
        if (kind === KIND.MINUS) {
          s = stack[top - 3] as number
          if (
            s < length &&
            ((table[(code[at + 1] as number) + source.charCodeAt(s)] as number) & (code[at + 2] as number)) !== 0
          ) {
            stack[top - 3] = ++s
            depth = (stack[top - 1] as number) + 1
            break
          }
        } else if (kind === KIND.OPTIONAL) {
          top -= WORDS
          s = stack[top + 1] as number
          depth = stack[top + 3] as number
          break
        } else {
          s = (stack[top - 2] as number) - 1
          if (s >= (stack[top - 3] as number)) {
            stack[top - 2] = s
            depth = (stack[top - 1] as number) + 1
            break
          }
        }
        top -= WORDS
      }
      at += WORDS
    }
  }

  // ---- from items to instructions

  /** Makes the next items of the text into instructions, in place of MORE. */
  #extend(): void {
    const isFirst = this.#size === 0
    const size = (isFirst ? 0 : this.#size - 1) + Math.min(this.text.length - this.#at, ITEMS_AT_ONCE) + 2
    if (size * WORDS > this.#code.length) {
      const code = new Int32Array(isFirst ? size * WORDS : size * 2 * WORDS)
      if (!isFirst) this.#machine.allocate(code.byteLength)
      code.set(this.#code)
      this.#code = code
    }
    if (!isFirst) this.#size--
    for (let i = 0; ; i++) {
      if (i === ITEMS_AT_ONCE) {
        this.#emit(KIND.MORE)
        break
      }
      if (this.#item()) break
    }
    if (isFirst) this.#findFirst()
  }

  #emit(kind: number, a = 0, b = 0): void {
    const at = this.#size++ * WORDS
    this.#code[at] = kind
    this.#code[at + 1] = a
    this.#code[at + 2] = b
  }

  #mistake(text: string): true {
    this.#emit(KIND.MISTAKE, this.#mistakes.length)
    this.#mistakes.push(text)
    return true
  }

  /** @returns whether nothing can follow */
  #item(): boolean {
    const { text } = this
    const p = this.#at
    if (p === text.length) {
      this.#emit(KIND.END)
      return true
    }
    const code = text.charCodeAt(p)
    if (code === OPEN) return this.#open(text.charCodeAt(p + 1) === CLOSE)
    if (code === CLOSE) return this.#close()
    if (code === DOLLAR && p + 1 === text.length) {
      this.#emit(KIND.SOURCE_END)
      return true
    }
    if (code === PERCENT) {
      const next = text.charCodeAt(p + 1)
      if (next === 98) {
        if (p + 3 >= text.length) return this.#mistake("malformed pattern (missing arguments to '%b')")
        this.#emit(KIND.BALANCE, text.charCodeAt(p + 2), text.charCodeAt(p + 3))
        this.#at = p + 4
        return false
      }
      if (next === 102) {
        if (text.charCodeAt(p + 2) !== SET) return this.#mistake("missing '[' after '%f' in pattern")
        const end = this.#setEnd(p + 2)
        if (end < 0) return this.#mistake("malformed pattern (missing ']')")
        const bit = this.#setBit(p + 2, end - 1)
        this.#emit(KIND.FRONTIER, this.#tableEnd - 256, bit)
        this.#at = end
        return false
      }
      if (next >= 48 && next <= 57) return this.#back(next - 49)
      if (p + 1 === text.length) return this.#mistake("malformed pattern (ends with '%')")
    }
    return this.#single(code, p)
  }

  #open(isPosition: boolean): boolean {
    if (this.level >= CAPTURES_MAX) return this.#mistake('too many captures')
    this.#emit(isPosition ? KIND.POSITION : KIND.OPEN, this.level++)
    this.#kinds.push(isPosition ? POSITION : UNFINISHED)
    this.#starts.push(0)
    this.#ends.push(0)
    this.#at += isPosition ? 2 : 1
    return false
  }

  #close(): boolean {
    const open = this.#kinds.lastIndexOf(UNFINISHED)
    if (open < 0) return this.#mistake('invalid pattern capture')
    this.#kinds[open] = TEXT
    this.#emit(KIND.CLOSE, open)
    this.#at++
    return false
  }

  #back(index: number): boolean {
    const kind = this.#kinds[index]
    if (kind === undefined || kind === UNFINISHED) return this.#mistake(`invalid capture index %${index + 1}`)
    // A position is no text that could come again: no byte is in a class without a bit.
    if (kind === POSITION) this.#emit(KIND.ONE)
    else this.#emit(KIND.BACK, index)
    this.#at += 2
    return false
  }

  /** A character, class or set, and what may follow it. */
  #single(code: number, p: number): boolean {
    const { text } = this
    const end = code === PERCENT ? p + 2 : code === SET ? this.#setEnd(p) : p + 1
    if (end < 0) return this.#mistake("malformed pattern (missing ']')")
    const suffix = text.charCodeAt(end)
    const kind =
      suffix === STAR
        ? end + 1 === text.length
          ? KIND.LAST_STAR
          : KIND.STAR
        : suffix === PLUS
          ? end + 1 === text.length
            ? KIND.LAST_PLUS
            : KIND.PLUS
          : suffix === MINUS
            ? KIND.MINUS
            : suffix === QUESTION
              ? KIND.OPTIONAL
              : KIND.ONE
    this.#at = kind === KIND.ONE ? end : end + 1
    if (code === SET) {
      const bit = this.#setBit(p, end - 1)
      this.#emit(kind, this.#tableEnd - 256, bit)
      return false
    }
    const letter = code === PERCENT ? text.charCodeAt(p + 1) : code
    const known = code === DOT ? ANY : code === PERCENT ? (BIT_OF[letter] as number) : 0
    if (known !== 0) this.#emit(kind, 0, known)
    else if (kind === KIND.ONE) this.#emit(KIND.BYTE, letter)
    else {
      const bit = this.#newBit()
      const at = this.#tableEnd - 256 + letter
      this.#table[at] = (this.#table[at] as number) | bit
      this.#emit(kind, this.#tableEnd - 256, bit)
    }
    return false
  }

  /** Behind the bracket that closes the set; -1: there is none. */
  #setEnd(from: number): number {
    const { text } = this
    let p = from + 1
    if (text.charCodeAt(p) === CARET) p++
    do {
      if (p >= text.length) return -1
      if (text.charCodeAt(p++) === PERCENT && p++ >= text.length) return -1
    } while (text.charCodeAt(p) !== SET_END)
    return p + 1
  }

  /** A bit that no byte has, in the last 256 words of the table. */
  #newBit(): number {
    if (this.#table === CLASSES) this.#table = CLASSES.slice()
    else if (this.#bits === 32) {
      this.#bits = 0
      this.#tableEnd += 256
      if (this.#tableEnd > this.#table.length) {
        const table = new Int32Array(this.#table.length * 2)
        this.#machine.allocate(table.byteLength)
        table.set(this.#table)
        this.#table = table
      }
    }
    return 1 << this.#bits++
  }

  /** @param from of the bracket that opens   @param last of the one that closes */
  #setBit(from: number, last: number): number {
    const { text } = this
    const bit = this.#newBit()
    const table = this.#table
    const offset = this.#tableEnd - 256
    let p = from + 1
    const isOpposite = text.charCodeAt(p) === CARET
    if (isOpposite) p++
    for (; p < last; p++) {
      let low = text.charCodeAt(p)
      let high = low
      if (low === PERCENT) {
        low = high = text.charCodeAt(++p)
        const known = BIT_OF[low] as number
        if (known !== 0) {
          for (let byte = 0; byte < 256; byte++)
            if (((CLASSES[byte] as number) & known) !== 0) table[offset + byte] = (table[offset + byte] as number) | bit
          continue
        }
      } else if (text.charCodeAt(p + 1) === MINUS && p + 2 < last) {
        high = text.charCodeAt(p + 2)
        p += 2
      }
      for (let byte = low; byte <= high; byte++) table[offset + byte] = (table[offset + byte] as number) | bit
    }
    if (isOpposite) for (let i = offset; i < offset + 256; i++) table[i] = (table[i] as number) ^ bit
    return bit
  }

  /** What a match must begin with, if that is known. */
  #findFirst(): void {
    const code = this.#code
    let at = 0
    while (code[at] === KIND.OPEN || code[at] === KIND.POSITION) at += WORDS
    this.#firstSteps = at / WORDS + 1
    const kind = code[at]
    if (kind === KIND.BYTE) this.#firstByte = String.fromCharCode(code[at + 1] as number)
    else if (kind === KIND.ONE || kind === KIND.PLUS || kind === KIND.LAST_PLUS) {
      this.#firstOffset = code[at + 1] as number
      this.#firstBit = code[at + 2] as number
    }
  }
}

const NO_CODE = new Int32Array(0)

/** The patterns of one machine: those that come again are known already. */
export function newPatterns(machine: Machine): Kept<Pattern> {
  const scratch = new Int32Array((DEPTH_MAX + 1) * WORDS)
  return new Kept((text) => new Pattern(text, scratch, machine))
}
