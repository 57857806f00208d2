// Lua's patterns (manual §6.4.1), by backtracking. Steps are counted: a pattern that explodes ends as an error.

import type { Val } from './value.ts'

const CAPTURES_MAX = 32
/** Choices inside choices. */
const DEPTH_MAX = 200
/** Some tenths of a second. */
const STEPS_MAX = 20_000_000

const UNFINISHED = -1
const POSITION = -2

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

/** By byte: bit n says that the byte is in class n. */
const CLASSES = new Uint16Array(256)
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
/** By the letter of a class in lower case. */
const BIT_OF = new Uint16Array(256)
for (const [letter, bit] of Object.entries(CLASS_BITS)) BIT_OF[letter.charCodeAt(0)] = bit

/** A mistake in a pattern, for the function that was given it to report. */
export class PatternError {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function isInClass(byte: number, letter: number): boolean {
  const lower = letter | 32
  const bit = (letter | 0) >= 65 ? (BIT_OF[lower] as number) : 0
  if (bit === 0 || (lower === 122 && letter !== 122 && letter !== 90)) return letter === byte
  const isIn = ((CLASSES[byte] as number) & bit) !== 0
  return letter === lower ? isIn : !isIn
}

export class Matcher {
  readonly #source: string
  readonly #pattern: string
  level = 0
  readonly starts: number[] = []
  readonly lengths: number[] = []
  #depth = 0
  steps = 0

  constructor(source: string, pattern: string) {
    this.#source = source
    this.#pattern = pattern
  }

  reset(): void {
    this.level = 0
    this.#depth = 0
  }

  /** @returns where the match that begins at `from` ends; -1: none   @throws PatternError */
  match(from: number, patternFrom: number): number {
    const pattern = this.#pattern
    const source = this.#source
    if (++this.#depth > DEPTH_MAX) throw new PatternError('pattern too complex')
    let s = from
    let p = patternFrom
    try {
      for (;;) {
        if (++this.steps > STEPS_MAX) throw new PatternError('pattern too complex (the match takes too long)')
        if (p === pattern.length) return s
        const code = pattern.charCodeAt(p)
        if (code === OPEN) {
          return pattern.charCodeAt(p + 1) === CLOSE
            ? this.#startCapture(s, p + 2, POSITION)
            : this.#startCapture(s, p + 1, UNFINISHED)
        }
        if (code === CLOSE) return this.#endCapture(s, p + 1)
        if (code === DOLLAR && p + 1 === pattern.length) return s === source.length ? s : -1
        if (code === PERCENT) {
          const next = pattern.charCodeAt(p + 1)
          if (next === 98) {
            s = this.#balance(s, p + 2)
            if (s < 0) return -1
            p += 4
            continue
          }
          if (next === 102) {
            p += 2
            if (pattern.charCodeAt(p) !== SET) throw new PatternError("missing '[' after '%f' in pattern")
            const end = this.#classEnd(p)
            const before = s === 0 ? 0 : source.charCodeAt(s - 1)
            const here = s === source.length ? 0 : source.charCodeAt(s)
            if (this.#isInSet(before, p, end - 1) || !this.#isInSet(here, p, end - 1)) return -1
            p = end
            continue
          }
          if (next >= 48 && next <= 57) {
            s = this.#backReference(s, next)
            if (s < 0) return -1
            p += 2
            continue
          }
        }
        const end = this.#classEnd(p)
        const suffix = pattern.charCodeAt(end)
        if (suffix === STAR) return this.#longest(s, p, end, 0)
        if (suffix === PLUS)
          return s < source.length && this.#isSingle(s, p, end) ? this.#longest(s + 1, p, end, 0) : -1
        if (suffix === MINUS) return this.#shortest(s, p, end)
        const isMatch = s < source.length && this.#isSingle(s, p, end)
        if (suffix === QUESTION) {
          if (isMatch) {
            const found = this.match(s + 1, end + 1)
            if (found >= 0) return found
          }
          p = end + 1
          continue
        }
        if (!isMatch) return -1
        s++
        p = end
      }
    } finally {
      this.#depth--
    }
  }

  #classEnd(from: number): number {
    const pattern = this.#pattern
    let p = from + 1
    const code = pattern.charCodeAt(from)
    if (code === PERCENT) {
      if (p === pattern.length) throw new PatternError("malformed pattern (ends with '%')")
      return p + 1
    }
    if (code !== SET) return p
    if (pattern.charCodeAt(p) === CARET) p++
    do {
      if (p >= pattern.length) throw new PatternError("malformed pattern (missing ']')")
      const each = pattern.charCodeAt(p++)
      if (each === PERCENT) {
        if (p >= pattern.length) throw new PatternError("malformed pattern (missing ']')")
        p++
      }
    } while (pattern.charCodeAt(p) !== SET_END)
    return p + 1
  }

  #isSingle(s: number, p: number, end: number): boolean {
    const byte = this.#source.charCodeAt(s)
    const code = this.#pattern.charCodeAt(p)
    if (code === DOT) return true
    if (code === PERCENT) return isInClass(byte, this.#pattern.charCodeAt(p + 1))
    if (code === SET) return this.#isInSet(byte, p, end - 1)
    return code === byte
  }

  /** @param from of the bracket that opens   @param last of the one that closes */
  #isInSet(byte: number, from: number, last: number): boolean {
    const pattern = this.#pattern
    let p = from + 1
    let isIn = true
    if (pattern.charCodeAt(p) === CARET) {
      isIn = false
      p++
    }
    for (; p < last; p++) {
      const code = pattern.charCodeAt(p)
      if (code === PERCENT) {
        p++
        if (isInClass(byte, pattern.charCodeAt(p))) return isIn
      } else if (pattern.charCodeAt(p + 1) === MINUS && p + 2 < last) {
        if (code <= byte && byte <= pattern.charCodeAt(p + 2)) return isIn
        p += 2
      } else if (code === byte) return isIn
    }
    return !isIn
  }

  #longest(s: number, p: number, end: number, least: number): number {
    const { length } = this.#source
    let count = 0
    while (s + count < length && this.#isSingle(s + count, p, end)) count++
    this.steps += count
    if (end + 1 === this.#pattern.length) return s + count
    for (; count >= least; count--) {
      const found = this.match(s + count, end + 1)
      if (found >= 0) return found
    }
    return -1
  }

  #shortest(from: number, p: number, end: number): number {
    for (let s = from; ; s++) {
      const found = this.match(s, end + 1)
      if (found >= 0) return found
      if (s >= this.#source.length || !this.#isSingle(s, p, end)) return -1
    }
  }

  #startCapture(s: number, p: number, what: number): number {
    if (this.level >= CAPTURES_MAX) throw new PatternError('too many captures')
    this.starts[this.level] = s
    this.lengths[this.level] = what
    this.level++
    const found = this.match(s, p)
    if (found < 0) this.level--
    return found
  }

  #endCapture(s: number, p: number): number {
    let open = this.level - 1
    while (open >= 0 && this.lengths[open] !== UNFINISHED) open--
    if (open < 0) throw new PatternError('invalid pattern capture')
    this.lengths[open] = s - (this.starts[open] as number)
    const found = this.match(s, p)
    if (found < 0) this.lengths[open] = UNFINISHED
    return found
  }

  #balance(s: number, p: number): number {
    const source = this.#source
    if (p + 1 >= this.#pattern.length) throw new PatternError("malformed pattern (missing arguments to '%b')")
    const open = this.#pattern.charCodeAt(p)
    const close = this.#pattern.charCodeAt(p + 1)
    if (s >= source.length || source.charCodeAt(s) !== open) return -1
    let depth = 1
    for (let at = s + 1; at < source.length; at++) {
      const byte = source.charCodeAt(at)
      if (byte === close) {
        if (--depth === 0) return at + 1
      } else if (byte === open) depth++
    }
    this.steps += source.length - s
    return -1
  }

  #backReference(s: number, digit: number): number {
    const index = digit - 49
    if (index < 0 || index >= this.level || this.lengths[index] === UNFINISHED) {
      throw new PatternError(`invalid capture index %${index + 1}`)
    }
    const start = this.starts[index] as number
    const length = this.lengths[index] as number
    // A position is no text that could come again.
    if (length === POSITION) return -1
    this.steps += length
    const isEqual = this.#source.startsWith(this.#source.slice(start, start + length), s)
    return isEqual ? s + length : -1
  }

  /** Capture `index`; the whole match is the only one of a pattern without any. */
  capture(index: number, from: number, to: number): Val {
    if (index >= this.level) {
      if (index !== 0) throw new PatternError(`invalid capture index %${index + 1}`)
      return this.#source.slice(from, to)
    }
    const length = this.lengths[index] as number
    const start = this.starts[index] as number
    if (length === POSITION) return start + 1
    if (length === UNFINISHED) throw new PatternError('unfinished capture')
    return this.#source.slice(start, start + length)
  }
}

/** Whether `find` looks for the pattern as it is. A bracket or parenthesis that only closes does not count, as in the reference. */
export const isPlain = (pattern: string): boolean => !/[\^$*+?.([%-]/.test(pattern)
