// Module `console`, on the host of consoles alone: runs what an operator types, says what came of it, knows how names go on. What is typed
// comes from the node, and goes back there.

import { toBytes, toText } from '../runtime/base/bytes.ts'
import { numberText } from '../runtime/base/number-text.ts'
import { Float, list, TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  type Engine,
  ErrorObject,
  HostObject,
  type LuaFunction,
  LuaSyntaxError,
  type LuaTable,
  type LuaValue,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { InputEnd, LibraryModule, ScriptProcess } from '../runtime/services.ts'
import { processOf } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { wait } from './support/wait.ts'

/** What a result shows of a table: so many levels, so many fields a level, so many characters in all. */
const DEPTH_MAX = 4
const FIELDS_MAX = 200
const CHARS_MAX = 64 * 1024
const CANDIDATES_MAX = 200
const KEYWORDS = [
  'and',
  'break',
  'do',
  'else',
  'elseif',
  'end',
  'false',
  'for',
  'function',
  'goto',
  'if',
  'in',
  'local',
  'nil',
  'not',
  'or',
  'repeat',
  'return',
  'then',
  'true',
  'until',
  'while',
]

/** Waits for what is typed next, and answers it. */
function turn(call: Call): Returns {
  blocking(call, 'turn')
  const process = processOf(call)
  setPrint(process)
  return wait(call, (done) => {
    process.request('console', 'next', [], (answer) => {
      if (!answer.ok || !(answer.value instanceof TableValue)) return done([false])
      const [kind, text] = answer.value.array as [string, string]
      if (kind === 'complete') {
        process.note('console', 'candidates', [listOf(candidates(process, text))])
        return done([true])
      }
      run(process, text, () => done([true]))
    })
  })
}

function run(process: ScriptProcess, source: string, done: () => void): void {
  const { engine } = process
  const fn = compiled(process, source)
  if (typeof fn === 'string') {
    process.note('console', 'refused', [fn, isIncomplete(fn)])
    return done()
  }
  process.startInput(fn, (end) => {
    process.note('console', 'ended', reportOf(engine, end))
    done()
  })
}

/** An expression is worth its value; anything else is a chunk. The message, when it is neither. */
function compiled(process: ScriptProcess, source: string): LuaFunction | string {
  const expression = attempt(process, `return ${source}`)
  if (typeof expression !== 'string') return expression
  const chunk = attempt(process, source)
  return typeof chunk === 'string' && isIncomplete(expression) ? expression : chunk
}

function attempt(process: ScriptProcess, source: string): LuaFunction | string {
  try {
    return process.compileInput(source)
  } catch (error) {
    if (error instanceof LuaSyntaxError) return error.message
    throw error
  }
}

/** More lines could make it whole; a string in quotes ends with its line. */
const isIncomplete = (message: string): boolean =>
  /near '?<eof>'?$/.test(message) && !message.includes('unfinished string')

/** Whether it ended well, texts to show, a traceback. */
function reportOf(engine: Engine, end: InputEnd): Value[] {
  if (end.ok) return [true, listOf(end.values.map((value) => shown(engine, value))), '']
  const { raised, traceback } = end
  const text =
    raised instanceof ErrorObject ? errorText(raised) : typeof raised === 'string' ? raised : shown(engine, raised)
  return [false, listOf([text]), traceback]
}

const listOf = (texts: readonly string[]): TableValue => list([...texts])

const errorText = ({ error }: ErrorObject): string =>
  error.kind === '' ? error.message : `${error.kind}: ${error.message}`

/** A value as a person reads it; a byte string. */
function shown(engine: Engine, value: LuaValue): string {
  const printer = new Printer(engine)
  printer.value(value, 0)
  return printer.text
}

class Printer {
  readonly #engine: Engine
  readonly #open = new Set<LuaTable>()
  text = ''

  constructor(engine: Engine) {
    this.#engine = engine
  }

  value(value: LuaValue, depth: number): void {
    const type = this.#engine.typeOf(value)
    if (value === undefined || value === null) this.text += 'nil'
    else if (typeof value === 'string') this.text += quoted(value)
    else if (value instanceof Float) this.text += numberText(value.value)
    else if (typeof value === 'number') this.text += numberText(value)
    else if (typeof value === 'bigint' || typeof value === 'boolean') this.text += String(value)
    else if (value instanceof ErrorObject) this.text += errorText(value)
    else if (value instanceof HostObject) this.text += `<${value.className}>`
    else if (type === 'table') this.#table(value as LuaTable, depth)
    else this.text += `<${type}>`
  }

  #table(table: LuaTable, depth: number): void {
    if (this.#open.has(table) || depth === DEPTH_MAX) {
      this.text += toBytes('{…}')
      return
    }
    this.#open.add(table)
    const count = this.#engine.length(table)
    const indent = '  '.repeat(depth + 1)
    let isEmpty = true
    let left = FIELDS_MAX
    const begin = (): boolean => {
      if (left-- <= 0 || this.text.length > CHARS_MAX) return false
      this.text += `${isEmpty ? '{' : ','}\n${indent}`
      isEmpty = false
      return true
    }
    let isCut = false
    this.#engine.each(table, (key, value) => {
      if (isCut) return
      if (!begin()) {
        isCut = true
        this.text += `${toBytes(' …')}`
        return
      }
      const isListed = typeof key === 'number' && key >= 1 && key <= count
      if (!isListed)
        this.text +=
          typeof key === 'string' && /^[A-Za-z_]\w*$/.test(key) ? `${key} = ` : `[${shownKey(this.#engine, key)}] = `
      this.value(value, depth + 1)
    })
    this.text += isEmpty ? '{}' : `\n${'  '.repeat(depth)}}`
    this.#open.delete(table)
  }
}

function shownKey(engine: Engine, key: LuaValue): string {
  if (typeof key === 'string') return quoted(key)
  return key instanceof Float
    ? numberText(key.value)
    : typeof key === 'object'
      ? `<${engine.typeOf(key)}>`
      : String(key)
}

/** Bytes that are no text, and what steers a terminal, in Lua's own escapes. */
function quoted(bytes: string): string {
  const cut = bytes.length > CHARS_MAX ? `${bytes.slice(0, CHARS_MAX)}` : bytes
  const isText = toBytes(toText(cut)) === cut
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to escape
  const special = isText ? /[\u0000-\u001f"\\\u007f]/g : /[^\u0020-\u0021\u0023-\u005b\u005d-\u007e]/g
  const escaped = cut.replace(special, (char) => ESCAPES[char] ?? `\\${String(char.charCodeAt(0)).padStart(3, '0')}`)
  return `"${escaped}"${cut === bytes ? '' : toBytes('…')}`
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '"': '\\"', '\\': '\\\\' }

/** How the name or path at the end of `text` may go on, whole words each. */
function candidates(process: ScriptProcess, text: string): string[] {
  const [path = ''] = /[A-Za-z_][\w.:]*$/.exec(text) ?? []
  const parts = path.split(/[.:]/)
  const last = parts.pop() ?? ''
  const { engine } = process
  let holder: LuaValue = process.globals
  for (const part of parts) {
    if (engine.typeOf(holder) !== 'table' && !(holder instanceof HostObject)) return []
    holder = engine.lookup(holder as LuaTable | HostObject, part)
  }
  const names = new Set<string>()
  const add = (table: LuaTable): void =>
    engine.each(table, (key) => {
      if (typeof key === 'string' && /^[A-Za-z_]\w*$/.test(key) && key.startsWith(last)) names.add(key)
    })
  if (parts.length === 0) {
    for (const name of KEYWORDS) if (name.startsWith(last)) names.add(name)
    add(process.sharedGlobals)
    add(process.globals)
  } else if (engine.typeOf(holder) === 'table') add(holder as LuaTable)
  const before = path.slice(0, path.length - last.length)
  return [...names]
    .sort()
    .slice(0, CANDIDATES_MAX)
    .map((name) => before + name)
}

/** What is printed goes to the operator. */
function setPrint(process: ScriptProcess): void {
  const { engine } = process
  if (engine.get(process.globals, 'print') !== undefined) return
  const print = engine.function('print', (call) => {
    const texts: string[] = []
    for (let i = 1; i <= call.count; i++) texts.push(call.tostring(i))
    process.note('console', 'printed', [texts.join('\t')])
  })
  engine.set(process.globals, 'print', print)
}

export const consoleModule: LibraryModule = {
  name: 'console',
  description: 'what an operator types',
  tags: ['process'],
  build: () => ({ turn }),
}
