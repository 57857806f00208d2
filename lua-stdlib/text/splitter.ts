// `text.splitter`: what scripts see of it. lua-libraries.md §17.3.

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
import { bytesOfScanned, scanText } from './scan.ts'
import { splitMarkdown, splitText, TooManyCharacters } from './split.ts'

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
  methods: { split_text: splitOne, split_batch: splitBatch },
}
