// `text.splitter`: what scripts see of it. lua-libraries.md §17.3.

import { TableValue } from '../../runtime/base/value.ts'
import {
  type Call,
  type HostClass,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../../runtime/lua/engine.ts'
import { objectArg, stringArg, tableArg, toNumber } from '../support/args.ts'
import { fail } from '../support/fail.ts'
import { damaged } from '../support/saving.ts'
import { bytesOfScanned, scanText } from './scan.ts'
import { type MarkdownOptions, type SplitOptions, splitMarkdown, splitText, TooManyCharacters } from './split.ts'

const SIZE_DEFAULT = 512
const OVERLAP_DEFAULT = 100
const SEPARATORS = ['\n\n', '\n', ' ', '']

type Rules = ({ readonly kind: 'text' } & SplitOptions) | ({ readonly kind: 'markdown' } & MarkdownOptions)

class SplitterObject extends HostObject {
  readonly rules: Rules
  constructor(rules: Rules) {
    super()
    this.rules = rules
  }
  override get className(): string {
    return 'text.Splitter'
  }
  /** Text, not bytes. */
  split(text: string): string[] {
    return this.rules.kind === 'markdown' ? splitMarkdown(text, this.rules) : splitText(text, this.rules)
  }
}

const saving: ObjectSaving<SplitterObject> = {
  save({ rules }) {
    const { chunkSize, chunkOverlap, separators, keepsSeparator } = rules
    const marks = rules.kind === 'markdown' ? [rules.codeBlocks, rules.headingHierarchy] : []
    const texts = new TableValue(separators.map(bytesOfScanned))
    return { data: [chunkSize, chunkOverlap, texts, keepsSeparator, ...marks], values: [] }
  },
  restore([chunkSize, chunkOverlap, texts, keeps, codeBlocks, headingHierarchy]) {
    const isSplitter =
      typeof chunkSize === 'number' &&
      chunkSize >= 1 &&
      typeof chunkOverlap === 'number' &&
      chunkOverlap >= 0 &&
      chunkOverlap < chunkSize &&
      texts instanceof TableValue &&
      texts.array.every((text) => typeof text === 'string')
    if (!isSplitter) throw damaged('a splitter')
    const separators = (texts.array as string[]).map((bytes) => scanText(bytes).text)
    const rules = { chunkSize, chunkOverlap, separators, keepsSeparator: keeps === true }
    if (codeBlocks === undefined) return new SplitterObject({ kind: 'text', ...rules })
    const marks = { codeBlocks: codeBlocks === true, headingHierarchy: headingHierarchy === true }
    return new SplitterObject({ kind: 'markdown', ...rules, ...marks })
  },
}

interface Given {
  readonly chunkSize: number
  readonly chunkOverlap: number
  readonly separators: readonly string[]
  readonly keepsSeparator: boolean
  flag(name: string): boolean
}

function optionsArg(call: Call): Given | string {
  const { engine } = call
  const table = call.type(1) === 'table' ? (call.arg(1) as LuaTable) : undefined
  const option = (name: string): LuaValue => (table === undefined ? undefined : engine.get(table, name))
  const chunkSize = Math.trunc(toNumber(option('chunk_size')) ?? SIZE_DEFAULT)
  if (!(chunkSize >= 1)) return 'chunk_size must be positive'
  const asked = toNumber(option('chunk_overlap'))
  if (asked !== undefined && !(asked >= 0)) return 'chunk_overlap must not be negative'
  if (asked !== undefined && asked >= chunkSize) return 'chunk_overlap must be smaller than chunk_size'
  const chunkOverlap = Math.min(Math.trunc(asked ?? OVERLAP_DEFAULT), chunkSize - 1)
  return {
    chunkSize,
    chunkOverlap,
    separators: separatorsOf(call, option('separators')),
    keepsSeparator: option('keep_separator') === true,
    flag: (name) => option(name) === true,
  }
}

function separatorsOf(call: Call, given: LuaValue): readonly string[] {
  const { engine } = call
  if (engine.typeOf(given) !== 'table') return SEPARATORS
  const separators: string[] = []
  for (let i = 1; i <= engine.length(given as LuaTable); i++) {
    const item = engine.get(given as LuaTable, i)
    if (typeof item === 'string') separators.push(scanText(item).text)
  }
  return separators.length === 0 ? SEPARATORS : separators
}

export function recursive(call: Call): Returns {
  const options = optionsArg(call)
  if (typeof options === 'string') return fail('Invalid', options)
  return [new SplitterObject({ kind: 'text', ...options }), undefined]
}

export function markdown(call: Call): Returns {
  const options = optionsArg(call)
  if (typeof options === 'string') return fail('Invalid', options)
  const rules = {
    kind: 'markdown' as const,
    ...options,
    codeBlocks: options.flag('code_blocks'),
    headingHierarchy: options.flag('heading_hierarchy'),
  }
  return [new SplitterObject(rules), undefined]
}

const self = (call: Call, fn: string): SplitterObject => objectArg(call, 1, fn, SplitterObject, 'text.Splitter')

function splitOne(call: Call): Returns {
  const splitter = self(call, 'split_text')
  const { engine } = call
  const text = stringArg(call, 2, 'split_text')
  return withinBounds(() => {
    const table = engine.newTable()
    for (const [i, chunk] of chunksOf(splitter, text).entries()) engine.set(table, i + 1, chunk)
    return [table, undefined]
  })
}

/** Byte strings. @throws TooManyCharacters */
const chunksOf = (splitter: SplitterObject, bytes: string): string[] =>
  splitter.split(scanText(bytes).text).map(bytesOfScanned)

function withinBounds(work: () => Returns): Returns {
  try {
    return work()
  } catch (thrown) {
    if (thrown instanceof TooManyCharacters) return fail('Invalid', thrown.message)
    throw thrown
  }
}

/** Every chunk carries the metadata of what it comes from. */
function splitBatch(call: Call): Returns {
  const splitter = self(call, 'split_batch')
  const pages = tableArg(call, 2, 'split_batch')
  return withinBounds(() => [batchOf(call, splitter, pages), undefined])
}

function batchOf({ engine }: Call, splitter: SplitterObject, pages: LuaTable): LuaTable {
  const result = engine.newTable()
  let count = 0
  for (let i = 1; i <= engine.length(pages); i++) {
    const page = engine.get(pages, i)
    const content = engine.typeOf(page) === 'table' ? engine.get(page as LuaTable, 'content') : undefined
    if (typeof content !== 'string') continue
    const metadata = engine.get(page as LuaTable, 'metadata')
    for (const chunk of chunksOf(splitter, content)) {
      const item = engine.newTable()
      engine.set(item, 'content', chunk)
      const own = engine.typeOf(metadata) === 'table' ? engine.copyIn(engine.copyOut(metadata)) : engine.newTable()
      engine.set(item, 'metadata', own)
      engine.set(result, ++count, item)
    }
  }
  return result
}

export const splitterClass: HostClass = {
  name: 'text.Splitter',
  saving,
  methods: { split_text: splitOne, split_batch: splitBatch },
}
