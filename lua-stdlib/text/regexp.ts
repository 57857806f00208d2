// `text.regexp`: what scripts see of patterns. lua-libraries.md §17.1.

import { partOf } from '../../runtime/base/bytes.ts'
import { messageOf } from '../../runtime/base/errors.ts'
import {
  type Call,
  type HostClass,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../../runtime/lua/engine.ts'
import { integerArg, objectArg, processOf, raise, stringArg } from '../support/args.ts'
import { fail } from '../support/fail.ts'
import { damaged } from '../support/saving.ts'
import { type Match, Pattern, TooSlow } from './pattern.ts'

/** What a compiled pattern takes, as measured. */
const PATTERN_BYTES = 3000
const PATTERN_BYTES_PER_BYTE = 350

class RegexpObject extends HostObject {
  readonly pattern: Pattern
  constructor(pattern: Pattern) {
    super()
    this.pattern = pattern
  }
  override get className(): string {
    return 'text.Regexp'
  }
  override askedBytes(): number {
    return this.heldBytes()
  }
  override heldBytes(): number {
    return PATTERN_BYTES + PATTERN_BYTES_PER_BYTE * this.pattern.source.length
  }
}

const saving: ObjectSaving<RegexpObject> = {
  save: ({ pattern }) => ({ data: [pattern.source], values: [] }),
  restore([source]) {
    if (typeof source !== 'string') throw damaged('a pattern')
    try {
      return new RegexpObject(new Pattern(source))
    } catch {
      throw damaged('a pattern')
    }
  },
}

export function compile(call: Call): Returns {
  const source = stringArg(call, 1, 'compile')
  try {
    return [new RegexpObject(new Pattern(source)), undefined]
  } catch (thrown) {
    const text = messageOf(thrown)
    return fail('Invalid', text.startsWith('error parsing regexp') ? text : `error parsing regexp: ${text}`)
  }
}

const self = (call: Call, fn: string): Pattern => objectArg(call, 1, fn, RegexpObject, 'text.Regexp').pattern

function listOf(call: Call, items: readonly LuaValue[]): LuaTable {
  const table = call.engine.newTable()
  for (const [i, item] of items.entries()) call.engine.set(table, i + 1, item)
  return table
}

/** The whole and its groups as texts; '' for a group that took no part. */
const texts = (subject: string, match: Match): string[] =>
  match.map((group) => (group === undefined ? '' : partOf(subject, group.start, group.end)))

const wholeOf = (subject: string, match: Match): string => texts(subject, match)[0] as string

/** 1-based, inclusive. */
function indexOf(call: Call, match: Match): LuaTable {
  const { start, end } = match[0] as { start: number; end: number }
  return listOf(call, [start + 1, end])
}

type Method = (call: Call, pattern: Pattern, subject: string) => Returns

function method(fn: string, run: Method): (call: Call) => Returns {
  return (call) => {
    try {
      return run(call, self(call, fn), stringArg(call, 2, fn))
    } catch (thrown) {
      if (thrown instanceof TooSlow) raise(`${fn}: ${thrown.message}`)
      throw thrown
    }
  }
}

/** Longer searches than this would keep every other process of the host waiting. */
const SEARCH_MS_MAX = 5000

function lateness(call: Call): () => boolean {
  const { env } = processOf(call)
  const deadlineMs = env.nowMs() + SEARCH_MS_MAX
  return () => env.nowMs() > deadlineMs
}

const all = (call: Call, pattern: Pattern, subject: string): Match[] =>
  pattern.all(subject, Number.POSITIVE_INFINITY, lateness(call))

const METHODS: Readonly<Record<string, Method>> = {
  match_string: (_call, pattern, subject) => pattern.test(subject),
  find_string: (_call, pattern, subject) => {
    const match = pattern.first(subject)
    const text = match === undefined ? '' : wholeOf(subject, match)
    return text === '' ? [undefined] : text
  },
  find_all_string: (call, pattern, subject) =>
    listOf(
      call,
      all(call, pattern, subject).map((match) => wholeOf(subject, match)),
    ),
  find_string_submatch: (call, pattern, subject) => {
    const match = pattern.first(subject)
    return match === undefined ? [undefined] : listOf(call, texts(subject, match))
  },
  find_all_string_submatch: (call, pattern, subject) =>
    listOf(
      call,
      all(call, pattern, subject).map((match) => listOf(call, texts(subject, match))),
    ),
  find_string_index: (call, pattern, subject) => {
    const match = pattern.first(subject)
    return match === undefined ? [undefined] : indexOf(call, match)
  },
  find_all_string_index: (call, pattern, subject) => {
    const matches = all(call, pattern, subject)
    if (matches.length === 0) return [undefined]
    return listOf(
      call,
      matches.map((match) => indexOf(call, match)),
    )
  },
  replace_all_string: (call, pattern, subject) =>
    pattern.replaceAll(subject, stringArg(call, 3, 'replace_all_string'), lateness(call)),
  split: (call, pattern, subject) => {
    const countMax = call.arg(3) === undefined ? -1 : integerArg(call, 3, 'split')
    return listOf(call, pattern.split(subject, countMax, lateness(call)))
  },
}

export const regexpClass: HostClass = {
  name: 'text.Regexp',
  saving,
  methods: {
    ...Object.fromEntries(Object.entries(METHODS).map(([name, run]) => [name, method(name, run)])),
    num_subexp: (call) => self(call, 'num_subexp').groupCount,
    subexp_names: (call) => listOf(call, self(call, 'subexp_names').groupNames),
    string: (call) => self(call, 'string').source,
  },
  metamethods: { tostring: (call) => self(call, 'tostring').source },
}
