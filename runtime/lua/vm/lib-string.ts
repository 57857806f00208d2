// The string library.

import { partOf } from '../../base/bytes.ts'
import { format } from './format.ts'
import { type Natives, natives, positionArgument, stringArgument, textOf } from './library.ts'
import { LONG_STRING_MIN } from './long-strings.ts'
import { type Machine, STRING_BYTES_MAX } from './machine.ts'
import { pack, packSize, unpack } from './pack.ts'
import type { Pattern } from './patterns.ts'
import { Table } from './table.ts'
import { Closure, Native, typeName, type Val } from './value.ts'

/** Results of `string.byte`. */
const BYTES_MAX = 900_000
/** So many bytes are joined one by one. */
const SHORT = 32
/** Bytes of a string by which its value is asked as often as by another. */
const SINGLES = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte))

/** The first match as `Pattern.find` gives it, its steps paid from the budget. */
function findOne(m: Machine, pattern: Pattern, source: string, from: number, except: number): number {
  pattern.steps = 0
  const end = pattern.find(source, from, except)
  m.budget -= pattern.steps >> 3
  return end
}

function search(m: Machine, S: Val[], at: number, count: number, isFind: boolean): number {
  const source = stringArgument(m, S, at, count, 1)
  const text = stringArgument(m, S, at, count, 2)
  let from = positionArgument(m, S, at, count, 3, 1)
  if (from < 0) from = Math.max(1, source.length + from + 1)
  else if (from === 0) from = 1
  if (from > source.length + 1) {
    S[at] = undefined
    return 1
  }
  if (isFind) {
    const plain = S[at + 4]
    if ((plain !== undefined && plain !== false && count >= 4) || m.patterns.of(text).isPlain) {
      const found = source.indexOf(text, from - 1)
      if (found < 0) {
        S[at] = undefined
        return 1
      }
      S[at] = found + 1
      S[at + 1] = found + text.length
      return 2
    }
  }
  const pattern = m.patterns.of(text)
  const end = findOne(m, pattern, source, from - 1, -1)
  if (end < 0) {
    S[at] = undefined
    return 1
  }
  if (!isFind) return pattern.push(S, at, source, end, true)
  const captures = pattern.push(S, at + 2, source, end, false)
  S[at] = pattern.begin + 1
  S[at + 1] = end
  return captures + 2
}

function gsub(m: Machine, S: Val[], at: number, count: number): number {
  const source = stringArgument(m, S, at, count, 1)
  const text = stringArgument(m, S, at, count, 2)
  const replacement = S[at + 3]
  const template = count >= 3 ? textOf(replacement) : undefined
  const limit = positionArgument(m, S, at, count, 4, source.length + 1)
  if (
    template === undefined &&
    !(replacement instanceof Table || replacement instanceof Closure || replacement instanceof Native)
  ) {
    throw m.argumentError(3, 'string/function/table expected')
  }
  const pattern = m.patterns.of(text)
  const isLiteral = template !== undefined && !template.includes('%')
  let out = ''
  let copied = 0
  let done = 0
  let size = 0
  let last = -1
  let steps = 0
  try {
    for (let from = 0; done < limit; ) {
      // The function may have looked for the same pattern. A search that fails has paid for all.
      pattern.steps = steps
      steps = 0
      const end = pattern.find(source, from, last)
      steps = pattern.steps
      if (end < 0) break
      const { begin } = pattern
      done++
      let value: Val
      if (isLiteral) value = template
      else if (template !== undefined) value = expand(m, template, pattern, source, end)
      else if (replacement instanceof Table) value = lookUp(m, replacement, pattern.capture(0, source, end))
      else value = callBack(m, S, replacement as Closure | Native, pattern, source, end)
      if (value !== undefined && value !== false) {
        const text = typeof value === 'string' ? value : textOf(value)
        if (text === undefined) throw m.error(`invalid replacement value (a ${typeName(value)})`)
        out += source.slice(copied, begin) + text
        size += begin - copied + text.length
        if (size > STRING_BYTES_MAX) throw m.error('resulting string too large')
        copied = end
      }
      from = end
      last = end
      if (pattern.isAnchored) break
    }
  } finally {
    m.budget -= steps >> 3
  }
  m.checkLength(size + source.length - copied)
  S[at] = m.made(out + source.slice(copied))
  S[at + 1] = done
  return 2
}

function lookUp(m: Machine, table: Table, key: Val): Val {
  const value = table.get(key)
  return value !== undefined || table.meta === undefined ? value : m.sync(() => m.index(table, key))
}

function callBack(m: Machine, S: Val[], f: Closure | Native, pattern: Pattern, source: string, end: number): Val {
  const free = m.freeAt
  m.room(S, free, 1)
  S[free] = f
  const captures = pattern.push(S, free + 1, source, end, true)
  return m.callSync(free, captures) > 0 ? S[m.resultAt] : undefined
}

function expand(m: Machine, template: string, pattern: Pattern, source: string, end: number): string {
  let out = ''
  let copied = 0
  for (let at = template.indexOf('%'); at >= 0; at = template.indexOf('%', copied)) {
    out += template.slice(copied, at)
    const next = template.charCodeAt(at + 1)
    copied = at + 2
    if (next === 37) out += '%'
    else if (next >= 48 && next <= 57) {
      out += next === 48 ? source.slice(pattern.begin, end) : String(pattern.capture(next - 49, source, end))
    } else throw m.error("invalid use of '%' in replacement string")
  }
  return out + template.slice(copied)
}

function gmatch(m: Machine, S: Val[], at: number, count: number): number {
  const source = stringArgument(m, S, at, count, 1)
  const pattern = stringArgument(m, S, at, count, 2)
  m.allocate(200)
  S[at] = new GlobalMatch(source, pattern)
  return 1
}

/** What `string.gmatch` gives. */
export class GlobalMatch extends Native {
  source: string
  pattern: string
  /** Where it looks next. */
  from = 0
  /** Where the last match ended; -1: there was none. */
  last = -1
  constructor(source: string, pattern: string) {
    super('for iterator', nextMatch)
    this.source = source
    this.pattern = pattern
  }
}

function nextMatch(m: Machine, S: Val[], at: number): number {
  const state = m.native as GlobalMatch
  const { source, pattern: text } = state
  // Here a caret is a character as any other.
  const pattern = m.patterns.of(text.charCodeAt(0) === 94 ? `%${text}` : text)
  // No match is empty where the one before it ended.
  const end = findOne(m, pattern, source, state.from, state.last)
  if (end < 0) {
    state.from = source.length + 1
    return 0
  }
  state.from = end
  state.last = end
  return pattern.push(S, at, source, end, true)
}

function rep(m: Machine, S: Val[], at: number, count: number): number {
  const text = stringArgument(m, S, at, count, 1)
  const times = positionArgument(m, S, at, count, 2)
  const separator = S[at + 3] === undefined || count < 3 ? '' : stringArgument(m, S, at, count, 3)
  if (times <= 0) {
    S[at] = ''
    return 1
  }
  const size = (text.length + separator.length) * times - separator.length
  if (size > STRING_BYTES_MAX) throw m.error('resulting string too large')
  m.checkLength(size)
  S[at] = m.made(separator === '' || times === 1 ? text.repeat(times) : (text + separator).repeat(times - 1) + text)
  return 1
}

/** Only letters of ASCII have cases. */
function changeCase(text: string, isUp: boolean): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is ASCII, control characters included
  if (/^[\x00-\x7f]*$/.test(text)) return isUp ? text.toUpperCase() : text.toLowerCase()
  return isUp
    ? text.replace(/[a-z]+/g, (letters) => letters.toUpperCase())
    : text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

function reversed(text: string): string {
  if (text.length > SHORT) return Buffer.from(text, 'latin1').reverse().toString('latin1')
  let out = ''
  for (let i = text.length - 1; i >= 0; i--) out += text[i]
  return out
}

export function stringLibrary(): Natives {
  const library = natives('string.', {
    len(m, S, at, count) {
      S[at] = stringArgument(m, S, at, count, 1).length
      return 1
    },
    sub(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      const { length } = text
      let from = positionArgument(m, S, at, count, 2)
      let to = positionArgument(m, S, at, count, 3, -1)
      if (from < 0) from = Math.max(1, length + from + 1)
      else if (from === 0) from = 1
      if (to < 0) to = length + to + 1
      else if (to > length) to = length
      const size = to - from + 1
      if (size <= 0) S[at] = ''
      else {
        if (size > 64 && size < LONG_STRING_MIN) m.give(size)
        S[at] = m.made(partOf(text, from - 1, to))
      }
      return 1
    },
    upper(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      m.checkLength(text.length)
      S[at] = m.made(changeCase(text, true))
      return 1
    },
    lower(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      m.checkLength(text.length)
      S[at] = m.made(changeCase(text, false))
      return 1
    },
    rep,
    reverse(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      m.checkLength(text.length)
      S[at] = m.made(reversed(text))
      return 1
    },
    byte(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      const { length } = text
      let from = positionArgument(m, S, at, count, 2, 1)
      let to = positionArgument(m, S, at, count, 3, from)
      if (from < 0) from = Math.max(1, length + from + 1)
      else if (from === 0) from = 1
      if (to < 0) to = length + to + 1
      else if (to > length) to = length
      if (from > to) return 0
      if (to - from >= BYTES_MAX) throw m.error('string slice too long')
      m.room(S, at, to - from + 1)
      for (let i = from; i <= to; i++) S[at + i - from] = text.charCodeAt(i - 1)
      return to - from + 1
    },
    char(m, S, at, count) {
      if (count === 1) {
        const value = S[at + 1]
        if (typeof value === 'number' && value >= 0 && value <= 255 && Number.isInteger(value)) {
          S[at] = SINGLES[value]
          return 1
        }
      }
      let text = ''
      for (let i = 1; i <= count; i++) {
        const value = positionArgument(m, S, at, count, i)
        if (value < 0 || value > 255) throw m.argumentError(i, 'value out of range')
        text += SINGLES[value]
      }
      S[at] = text
      return 1
    },
    format(m, S, at, count) {
      S[at] = m.made(format(m, S, at, count))
      return 1
    },
    find: (m, S, at, count) => search(m, S, at, count, true),
    match: (m, S, at, count) => search(m, S, at, count, false),
    gmatch,
    gsub,
    pack(m, S, at, count) {
      S[at] = m.made(pack(m, S, at, count))
      return 1
    },
    packsize(m, S, at, count) {
      S[at] = packSize(m, S, at, count)
      return 1
    },
    unpack,
  })
  return { ...library, gfind: library['gmatch'] as Native }
}
