// `text.splitter`: what scripts see of it. lua-libraries.md §17.3.

import { toBytes, toText } from '../../runtime/base/bytes.ts'
import {
  type Call,
  type HostClass,
  HostObject,
  type LuaTable,
  type LuaValue,
  type Returns,
} from '../../runtime/lua/engine.ts'
import { objectArg, stringArg, tableArg, toNumber } from '../support/args.ts'
import { fail } from '../support/fail.ts'
import { splitMarkdown, splitText } from './split.ts'

const SIZE_DEFAULT = 512
const OVERLAP_DEFAULT = 100
const SEPARATORS = ['\n\n', '\n', ' ', '']

class SplitterObject extends HostObject {
  /** Text, not bytes. */
  readonly split: (text: string) => string[]
  constructor(split: (text: string) => string[]) {
    super()
    this.split = split
  }
  override get className(): string {
    return 'text.Splitter'
  }
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
  if (chunkSize < 1) return 'chunk_size must be positive'
  const asked = toNumber(option('chunk_overlap'))
  if (asked !== undefined && asked < 0) return 'chunk_overlap must not be negative'
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
    if (typeof item === 'string') separators.push(toText(item))
  }
  return separators.length === 0 ? SEPARATORS : separators
}

export function recursive(call: Call): Returns {
  const options = optionsArg(call)
  if (typeof options === 'string') return fail('Invalid', options)
  return [new SplitterObject((text) => splitText(text, options)), undefined]
}

export function markdown(call: Call): Returns {
  const options = optionsArg(call)
  if (typeof options === 'string') return fail('Invalid', options)
  const rules = {
    ...options,
    codeBlocks: options.flag('code_blocks'),
    headingHierarchy: options.flag('heading_hierarchy'),
  }
  return [new SplitterObject((text) => splitMarkdown(text, rules)), undefined]
}

const self = (call: Call, fn: string): SplitterObject => objectArg(call, 1, fn, SplitterObject, 'text.Splitter')

function splitOne(call: Call): Returns {
  const splitter = self(call, 'split_text')
  const { engine } = call
  const table = engine.newTable()
  for (const [i, chunk] of splitter.split(toText(stringArg(call, 2, 'split_text'))).entries()) {
    engine.set(table, i + 1, toBytes(chunk))
  }
  return [table, undefined]
}

/** Every chunk carries the metadata of what it comes from. */
function splitBatch(call: Call): Returns {
  const splitter = self(call, 'split_batch')
  const { engine } = call
  const pages = tableArg(call, 2, 'split_batch')
  const result = engine.newTable()
  let count = 0
  for (let i = 1; i <= engine.length(pages); i++) {
    const page = engine.get(pages, i)
    const content = engine.typeOf(page) === 'table' ? engine.get(page as LuaTable, 'content') : undefined
    if (typeof content !== 'string') continue
    const metadata = engine.get(page as LuaTable, 'metadata')
    for (const chunk of splitter.split(toText(content))) {
      const item = engine.newTable()
      engine.set(item, 'content', toBytes(chunk))
      const own = engine.typeOf(metadata) === 'table' ? engine.copyIn(engine.copyOut(metadata)) : engine.newTable()
      engine.set(item, 'metadata', own)
      engine.set(result, ++count, item)
    }
  }
  return [result, undefined]
}

export const splitterClass: HostClass = {
  name: 'text.Splitter',
  methods: { split_text: splitOne, split_batch: splitBatch },
}
