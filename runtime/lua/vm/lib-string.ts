// The string library.

import { format } from './format.ts'
import { type Natives, natives, positionArgument, stringArgument, textOf } from './library.ts'
import { type Machine, STRING_BYTES_MAX } from './machine.ts'
import { pack, packSize, unpack } from './pack.ts'
import { isPlain, Matcher, PatternError } from './patterns.ts'
import { Table } from './table.ts'
import { Closure, Native, typeName, type Val } from './value.ts'

/** Results of `string.byte`. */
const BYTES_MAX = 900_000
/** Bytes of a string by which its value is asked as often as by another. */
const SINGLES = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte))

/** @returns what `use` does, with mistakes in patterns as errors of the function, and steps paid from the budget */
function matching<T>(m: Machine, matcher: Matcher, use: () => T): T {
  try {
    return use()
  } catch (error) {
    if (error instanceof PatternError) throw m.error(error.text)
    throw error
  } finally {
    m.budget -= matcher.steps >> 3
  }
}

/** Leaves the captures from `S[at]` on. */
function pushCaptures(
  m: Machine,
  S: Val[],
  at: number,
  matcher: Matcher,
  from: number,
  to: number,
  hasWhole: boolean,
): number {
  const count = matcher.level === 0 && hasWhole ? 1 : matcher.level
  m.room(S, at, count)
  for (let i = 0; i < count; i++) S[at + i] = matcher.capture(i, from, to)
  return count
}

function search(m: Machine, S: Val[], at: number, count: number, isFind: boolean): number {
  const source = stringArgument(m, S, at, count, 1)
  const pattern = stringArgument(m, S, at, count, 2)
  let from = positionArgument(m, S, at, count, 3, 1)
  if (from < 0) from = Math.max(1, source.length + from + 1)
  else if (from === 0) from = 1
  if (from > source.length + 1) {
    S[at] = undefined
    return 1
  }
  const plain = S[at + 4]
  if (isFind && ((plain !== undefined && plain !== false && count >= 4) || isPlain(pattern))) {
    const found = source.indexOf(pattern, from - 1)
    if (found < 0) {
      S[at] = undefined
      return 1
    }
    S[at] = found + 1
    S[at + 1] = found + pattern.length
    return 2
  }
  const matcher = new Matcher(source, pattern)
  return matching(m, matcher, () => {
    const isAnchored = pattern.charCodeAt(0) === 94
    for (let s = from - 1; s <= source.length; s++) {
      matcher.reset()
      const end = matcher.match(s, isAnchored ? 1 : 0)
      if (end >= 0) {
        if (!isFind) return pushCaptures(m, S, at, matcher, s, end, true)
        const captures = pushCaptures(m, S, at + 2, matcher, s, end, false)
        S[at] = s + 1
        S[at + 1] = end
        return captures + 2
      }
      if (isAnchored) break
    }
    S[at] = undefined
    return 1
  })
}

function gsub(m: Machine, S: Val[], at: number, count: number): number {
  const source = stringArgument(m, S, at, count, 1)
  const pattern = stringArgument(m, S, at, count, 2)
  const replacement = S[at + 3]
  const template = count >= 3 ? textOf(replacement) : undefined
  const isCall = replacement instanceof Closure || replacement instanceof Native
  const limit = positionArgument(m, S, at, count, 4, source.length + 1)
  if (template === undefined && !(replacement instanceof Table) && !isCall) {
    throw m.argumentError(3, 'string/function/table expected')
  }
  const isAnchored = pattern.charCodeAt(0) === 94
  const matcher = new Matcher(source, pattern)
  const isLiteral = template !== undefined && !template.includes('%')
  let out = ''
  let copied = 0
  let done = 0
  let size = 0
  let s = 0
  let last = -1
  matching(m, matcher, () => {
    while (done < limit) {
      matcher.reset()
      const end = matcher.match(s, isAnchored ? 1 : 0)
      if (end >= 0 && end !== last) {
        done++
        let value: Val
        if (isLiteral) value = template
        else if (template !== undefined) value = expand(m, template, matcher, source, s, end)
        else if (replacement instanceof Table) value = lookUp(m, replacement, matcher.capture(0, s, end))
        else value = callBack(m, S, replacement as Closure | Native, matcher, s, end)
        if (value !== undefined && value !== false) {
          const text = typeof value === 'string' ? value : textOf(value)
          if (text === undefined) throw m.error(`invalid replacement value (a ${typeName(value)})`)
          out += source.slice(copied, s) + text
          size += s - copied + text.length
          if (size > STRING_BYTES_MAX) throw m.error('resulting string too large')
          copied = end
        }
        s = end
        last = end
      } else if (s < source.length) s++
      else break
      if (isAnchored) break
    }
  })
  m.checkLength(size + source.length - copied)
  S[at] = out + source.slice(copied)
  S[at + 1] = done
  return 2
}

function lookUp(m: Machine, table: Table, key: Val): Val {
  const value = table.get(key)
  return value !== undefined || table.meta === undefined ? value : m.sync(() => m.index(table, key))
}

function callBack(m: Machine, S: Val[], f: Closure | Native, matcher: Matcher, from: number, to: number): Val {
  const free = m.freeAt
  m.room(S, free, matcher.level + 2)
  S[free] = f
  const captures = pushCaptures(m, S, free + 1, matcher, from, to, true)
  return m.callSync(free, captures) > 0 ? S[m.resultAt] : undefined
}

function expand(m: Machine, template: string, matcher: Matcher, source: string, from: number, to: number): string {
  let out = ''
  let copied = 0
  for (let at = template.indexOf('%'); at >= 0; at = template.indexOf('%', copied)) {
    out += template.slice(copied, at)
    const next = template.charCodeAt(at + 1)
    copied = at + 2
    if (next === 37) out += '%'
    else if (next >= 48 && next <= 57) {
      out += next === 48 ? source.slice(from, to) : String(matcher.capture(next - 49, from, to))
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
  source = ''
  pattern = ''
  /** Where it looks next. */
  from = 0
  /** Where the last match ended; -1: there was none. */
  last = -1
  #matcher: Matcher
  constructor(source: string, pattern: string) {
    super('for iterator', (m, S, at) => matching(m, this.#matcher, () => this.#next(m, S, at)))
    this.#matcher = this.begin(source, pattern)
  }

  begin(source: string, pattern: string): Matcher {
    this.source = source
    this.pattern = pattern
    this.#matcher = new Matcher(source, pattern)
    return this.#matcher
  }

  #next(m: Machine, S: Val[], at: number): number {
    const matcher = this.#matcher
    matcher.steps = 0
    for (; this.from <= this.source.length; this.from++) {
      matcher.reset()
      const end = matcher.match(this.from, 0)
      // No match is empty where the one before it ended.
      if (end < 0 || end === this.last) continue
      const begin = this.from
      this.from = end
      this.last = end
      return pushCaptures(m, S, at, matcher, begin, end, true)
    }
    return 0
  }
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
  S[at] = separator === '' || times === 1 ? text.repeat(times) : (text + separator).repeat(times - 1) + text
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
      S[at] = from > to ? '' : text.slice(from - 1, to)
      return 1
    },
    upper(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      m.checkLength(text.length)
      S[at] = changeCase(text, true)
      return 1
    },
    lower(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      m.checkLength(text.length)
      S[at] = changeCase(text, false)
      return 1
    },
    rep,
    reverse(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      m.checkLength(text.length)
      S[at] = text.split('').reverse().join('')
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
      S[at] = format(m, S, at, count)
      return 1
    },
    find: (m, S, at, count) => search(m, S, at, count, true),
    match: (m, S, at, count) => search(m, S, at, count, false),
    gmatch,
    gsub,
    pack(m, S, at, count) {
      S[at] = pack(m, S, at, count)
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
