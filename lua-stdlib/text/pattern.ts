// Regular expressions of RE2 over byte strings. lua-libraries.md §17.1; what "all matches" and "split" mean follows Go's regexp package.

import { RE2JS } from 're2js'
import { partOf, toBytes, toText } from '../../runtime/base/bytes.ts'
import { messageOf } from '../../runtime/base/errors.ts'
import { illFormedAt } from '../support/json-utf8.ts'
import { scanText } from './scan.ts'

/** A match: byte offsets of the whole and of each group, [start, end); undefined for a group that took no part. */
export type Match = readonly ({ readonly start: number; readonly end: number } | undefined)[]

const SOURCE_BYTES_MAX = 64 * 1024

const never = (): boolean => false

/** Matches are found one by one, each in linear time; a pattern may look through the whole rest for each. `message` is text. */
export class TooSlow extends Error {
  override readonly name = 'TooSlow'
}

export class Pattern {
  /** As it was written; a byte string. */
  readonly source: string
  readonly groupCount: number
  /** Names by number of the group, '' for none; the whole match comes first. Byte strings. */
  readonly groupNames: readonly string[]
  readonly #compiled: RE2JS

  /** @throws Error what is wrong with the pattern */
  constructor(source: string) {
    if (source.length > SOURCE_BYTES_MAX) throw new Error(`pattern has more than ${SOURCE_BYTES_MAX} bytes`)
    if (illFormedAt(source) >= 0) throw new Error('error parsing regexp: invalid UTF-8')
    try {
      this.#compiled = RE2JS.compile(toText(source))
    } catch (thrown) {
      throw new Error(`error parsing regexp: ${messageOf(thrown).replace(/^error parsing regexp: /, '')}`)
    }
    this.source = source
    this.groupCount = this.#compiled.groupCount()
    const names: string[] = Array.from({ length: this.groupCount + 1 }, () => '')
    for (const [name, number] of Object.entries(this.#compiled.namedGroups())) names[number] = toBytes(name)
    this.groupNames = names
  }

  test(bytes: string): boolean {
    return this.#compiled.matcher(scanText(bytes).text).find()
  }

  first(bytes: string): Match | undefined {
    return this.all(bytes, 1)[0]
  }

  /**
   * Matches from left to right; an empty one right behind another does not count.
   * @param isLate asked after each match
   * @throws TooSlow
   */
  all(bytes: string, countMax = Number.POSITIVE_INFINITY, isLate: () => boolean = never): Match[] {
    const { text, byteOf } = scanText(bytes)
    const matcher = this.#compiled.matcher(text)
    const matches: Match[] = []
    let previousEnd = -1
    while (matches.length < countMax && matcher.find()) {
      if (isLate()) throw new TooSlow('finding all matches takes too long')
      const [start, end] = [matcher.start(), matcher.end()]
      if (start === end && start === previousEnd) continue
      previousEnd = end
      const groups: (Match[number] | undefined)[] = [{ start: byteOf(start), end: byteOf(end) }]
      for (let i = 1; i <= this.groupCount; i++) {
        const from = matcher.start(i)
        groups.push(from < 0 ? undefined : { start: byteOf(from), end: byteOf(matcher.end(i)) })
      }
      matches.push(groups)
    }
    return matches
  }

  /** `$1`, `${1}` and `${name}` in the replacement stand for groups, `$$` for a dollar sign. */
  replaceAll(bytes: string, replacement: string, isLate?: () => boolean): string {
    let out = ''
    let at = 0
    for (const match of this.all(bytes, Number.POSITIVE_INFINITY, isLate)) {
      const whole = match[0] as { start: number; end: number }
      out += bytes.slice(at, whole.start) + this.#expanded(replacement, bytes, match)
      at = whole.end
    }
    return out + bytes.slice(at)
  }

  #expanded(replacement: string, bytes: string, match: Match): string {
    return replacement.replace(/\$(?:(\$)|\{(\w+)\}|(\w+))/g, (_whole, dollar, braced, plain) => {
      if (dollar !== undefined) return '$'
      const name = (braced ?? plain) as string
      const index = /^\d+$/.test(name) ? Number(name) : this.groupNames.indexOf(name)
      const group = index < 0 ? undefined : match[index]
      return group === undefined ? '' : partOf(bytes, group.start, group.end)
    })
  }

  /** @param countMax most pieces; negative: all; 0: none */
  split(bytes: string, countMax: number, isLate?: () => boolean): string[] {
    if (countMax === 0) return []
    if (bytes === '' && this.source !== '') return ['']
    const pieces: string[] = []
    let begin = 0
    let end = 0
    // One more than there are cuts: an empty match at the beginning is none.
    for (const match of this.all(bytes, countMax > 0 ? countMax : Number.POSITIVE_INFINITY, isLate)) {
      if (countMax > 0 && pieces.length === countMax - 1) break
      const whole = match[0] as { start: number; end: number }
      end = whole.start
      if (whole.end !== 0) pieces.push(partOf(bytes, begin, end))
      begin = whole.end
    }
    if (end !== bytes.length) pieces.push(partOf(bytes, begin, bytes.length))
    return pieces
  }
}
