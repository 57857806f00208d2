// `text.diff`: differences between texts, and patches, by the diff-match-patch algorithm. lua-libraries.md §17.2.

import {
  applyPatches,
  DIFF_DELETE,
  DIFF_EQUAL,
  DIFF_INSERT,
  type Diff,
  makeDiff,
  makePatches,
  type Patch,
  parsePatch,
  stringifyPatch,
} from '@sanity/diff-match-patch'
import { toBytes, toText } from '../../runtime/base/bytes.ts'
import { messageOf } from '../../runtime/base/errors.ts'
import {
  type Call,
  type HostClass,
  HostObject,
  type LuaTable,
  type ObjectSaving,
  type Returns,
} from '../../runtime/lua/engine.ts'
import { objectArg, stringArg, tableArg, toNumber } from '../support/args.ts'
import { fail } from '../support/fail.ts'
import { illFormedAt } from '../support/json-utf8.ts'
import { damaged } from '../support/saving.ts'
import { bytesOfScanned, scanText } from './scan.ts'

interface Options {
  /** 0: as long as it takes, within the bound. */
  readonly timeoutS: number
  /** Characters of context on each side of a patch, within its bounds. */
  readonly patchMargin: number
  readonly deleteThreshold: number
}

/** Longer differences than this would keep every other process of the host waiting. */
const TIMEOUT_S_MAX = 5
const TEXT_BYTES_MAX = 16 * 1024 * 1024
const MARGIN_DEFAULT = 4
/** Outside of these the package never ends: without context none becomes unique, and pieces that are context alone take nothing off a patch. */
const MARGIN_MIN = 1
const MARGIN_MAX = 15

const boundedMargin = (margin: number): number => Math.min(MARGIN_MAX, Math.max(MARGIN_MIN, Math.trunc(margin)))

class DifferObject extends HostObject {
  readonly options: Options
  constructor(options: Options) {
    super()
    this.options = options
  }
  override get className(): string {
    return 'text.Differ'
  }
}

const saving: ObjectSaving<DifferObject> = {
  save: ({ options: { timeoutS, patchMargin, deleteThreshold } }) => ({
    data: [timeoutS, patchMargin, deleteThreshold],
    values: [],
  }),
  restore([timeoutS, patchMargin, deleteThreshold]) {
    const isDiffer =
      typeof timeoutS === 'number' &&
      timeoutS > 0 &&
      timeoutS <= TIMEOUT_S_MAX &&
      typeof patchMargin === 'number' &&
      !Number.isNaN(patchMargin) &&
      typeof deleteThreshold === 'number'
    if (!isDiffer) throw damaged('a differ')
    return new DifferObject({ timeoutS, patchMargin: boundedMargin(patchMargin), deleteThreshold })
  },
}

/** Wrong types are as if they were not there, and so is what is no number at all. */
export function newDiffer(call: Call): Returns {
  const given = call.type(1) === 'table' ? (call.arg(1) as LuaTable) : undefined
  const option = (name: string, fallback: number): number => {
    const value = given === undefined ? undefined : call.engine.get(given, name)
    const number = typeof value === 'string' ? undefined : toNumber(value)
    return number === undefined || Number.isNaN(number) ? fallback : number
  }
  const timeoutS = option('diff_timeout', 1)
  return [
    new DifferObject({
      timeoutS: timeoutS <= 0 ? TIMEOUT_S_MAX : Math.min(timeoutS, TIMEOUT_S_MAX),
      patchMargin: boundedMargin(option('patch_margin', MARGIN_DEFAULT)),
      deleteThreshold: option('patch_delete_threshold', 0.5),
    }),
    undefined,
  ]
}

const self = (call: Call, fn: string): Options => objectArg(call, 1, fn, DifferObject, 'text.Differ').options

const OPERATIONS = { [DIFF_EQUAL]: 'equal', [DIFF_DELETE]: 'delete', [DIFF_INSERT]: 'insert' } as const
const TYPES: Readonly<Record<string, Diff[0]>> = { equal: DIFF_EQUAL, delete: DIFF_DELETE, insert: DIFF_INSERT }

function differences(a: string, b: string, { timeoutS }: Options): Diff[] {
  if (a === b) return a === '' ? [] : [[DIFF_EQUAL, a]]
  return makeDiff(a, b, { timeout: timeoutS })
}

/** Goes on with two texts, or tells why not. */
function withTexts(call: Call, fn: string, then: (a: string, b: string) => Returns): Returns {
  const a = stringArg(call, 2, fn)
  const b = stringArg(call, 3, fn)
  if (a.length > TEXT_BYTES_MAX || b.length > TEXT_BYTES_MAX) {
    return fail('Invalid', `a text has more than ${TEXT_BYTES_MAX} bytes`)
  }
  try {
    return then(scanText(a).text, scanText(b).text)
  } catch (thrown) {
    return fail('Internal', messageOf(thrown))
  }
}

function compare(call: Call): Returns {
  const options = self(call, 'compare')
  return withTexts(call, 'compare', (a, b) => {
    const { engine } = call
    const list = engine.newTable()
    for (const [i, [type, text]] of differences(a, b, options).entries()) {
      const item = engine.newTable()
      engine.set(item, 'operation', OPERATIONS[type])
      engine.set(item, 'text', bytesOfScanned(text))
      engine.set(list, i + 1, item)
    }
    return [list, undefined]
  })
}

/** The differences of argument 2; what is none of them is left out. Texts are byte strings. */
function diffsArg(call: Call, fn: string): { type: Diff[0]; bytes: string }[] {
  const { engine } = call
  const list = tableArg(call, 2, fn)
  const diffs: { type: Diff[0]; bytes: string }[] = []
  for (let i = 1; i <= engine.length(list); i++) {
    const item = engine.get(list, i)
    if (engine.typeOf(item) !== 'table') continue
    const operation = engine.get(item as LuaTable, 'operation')
    const text = engine.get(item as LuaTable, 'text')
    const type = typeof operation === 'string' ? TYPES[operation] : undefined
    if (type !== undefined && typeof text === 'string') diffs.push({ type, bytes: text })
  }
  return diffs
}

function summarize(call: Call): Returns {
  self(call, 'summarize')
  const counts: Record<Diff[0], number> = { [DIFF_EQUAL]: 0, [DIFF_DELETE]: 0, [DIFF_INSERT]: 0 }
  for (const { type, bytes } of diffsArg(call, 'summarize')) counts[type] += bytes.length
  const table = call.engine.newTable()
  call.engine.set(table, 'insertions', counts[DIFF_INSERT])
  call.engine.set(table, 'deletions', counts[DIFF_DELETE])
  call.engine.set(table, 'equals', counts[DIFF_EQUAL])
  return table
}

const ANSI = { [DIFF_EQUAL]: ['', ''], [DIFF_DELETE]: ['\x1b[31m', '\x1b[0m'], [DIFF_INSERT]: ['\x1b[32m', '\x1b[0m'] }
const HTML = {
  [DIFF_EQUAL]: ['<span>', '</span>'],
  [DIFF_DELETE]: ['<del>', '</del>'],
  [DIFF_INSERT]: ['<ins>', '</ins>'],
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (sign) => ESCAPES[sign] as string)

function pretty(fn: string, marks: Readonly<Record<Diff[0], readonly string[]>>, escaped: (text: string) => string) {
  return (call: Call): Returns => {
    self(call, fn)
    const parts = diffsArg(call, fn).map(({ type, bytes }) => {
      const [before = '', after = ''] = marks[type]
      return before + escaped(bytes) + after
    })
    return [parts.join(''), undefined]
  }
}

function patchMake(call: Call): Returns {
  const options = self(call, 'patch_make')
  const isText = [2, 3].every((index) => illFormedAt(stringArg(call, index, 'patch_make')) < 0)
  if (!isText) return fail('Invalid', 'a patch can be made of UTF-8 only')
  return withTexts(call, 'patch_make', (a, b) => {
    const { engine } = call
    const list = engine.newTable()
    const patches = a === b ? [] : makePatches(a, differences(a, b, options), { margin: options.patchMargin })
    for (const [i, patch] of patches.entries()) {
      const item = engine.newTable()
      engine.set(item, 'text', toBytes(stringifyPatch(patch)))
      engine.set(list, i + 1, item)
    }
    return [list, undefined]
  })
}

function patchApply(call: Call): Returns {
  const { patchMargin, deleteThreshold } = self(call, 'patch_apply')
  const { engine } = call
  const list = tableArg(call, 2, 'patch_apply')
  const subject = stringArg(call, 3, 'patch_apply')
  const patches: Patch[] = []
  for (let i = 1; i <= engine.length(list); i++) {
    const item = engine.get(list, i)
    const text = engine.typeOf(item) === 'table' ? engine.get(item as LuaTable, 'text') : undefined
    if (typeof text === 'string') for (const patch of parsed(toText(text))) patches.push(patch)
  }
  try {
    const [result, applied] = applyPatches(patches, scanText(subject).text, { margin: patchMargin, deleteThreshold })
    return [bytesOfScanned(result), applied.every(Boolean)]
  } catch {
    return [subject, false]
  }
}

/** What cannot be read as a patch is left out. */
function parsed(text: string): Patch[] {
  try {
    return parsePatch(text)
  } catch {
    return []
  }
}

export const differClass: HostClass = {
  name: 'text.Differ',
  saving,
  methods: {
    compare,
    summarize,
    pretty_text: pretty('pretty_text', ANSI, (text) => text),
    pretty_html: pretty('pretty_html', HTML, escapeHtml),
    patch_make: patchMake,
    patch_apply: patchApply,
  },
}
