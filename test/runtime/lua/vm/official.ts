// What the official tests of Lua use beside the language and what lua-core.md §2 offers: `load`, parts of `debug`, `utf8`, and stubs of `os`,
// `io` and the collector. It exists so that as many of their lines as can be run.

import { LuaSyntaxError, type LuaTable, type LuaValue } from '../../../../runtime/lua/engine.ts'
import type { VmEngine } from '../../../../runtime/lua/vm/engine.ts'
import { utf8Bytes } from '../../../../runtime/lua/vm/lexer.ts'
import { integerArgument, positionArgument, stringArgument } from '../../../../runtime/lua/vm/library.ts'
import type { Machine } from '../../../../runtime/lua/vm/machine.ts'
import type { Proto } from '../../../../runtime/lua/vm/proto.ts'
import { Table } from '../../../../runtime/lua/vm/table.ts'
import {
  type Box,
  Closure,
  Coroutine,
  type Frame,
  LUA,
  Native,
  type NativeCode,
  type Val,
} from '../../../../runtime/lua/vm/value.ts'
import { type Mode, newEngine } from './support.ts'

/** As `luaO_chunkid` shows the name of a chunk. */
function chunkId(source: string): string {
  const most = 59
  if (source[0] === '=') return source.slice(1, most + 1)
  if (source[0] === '@') return source.length <= most + 1 ? source.slice(1) : `...${source.slice(-(most - 3))}`
  const line = source.split('\n')[0] as string
  const room = most - '[string "..."]'.length
  return source.includes('\n') || line.length > room ? `[string "${line.slice(0, room)}..."]` : `[string "${line}"]`
}

/** @param prefix how error texts call the table */
function table(entries: Record<string, NativeCode | Val>, prefix = ''): Table {
  const made = new Table()
  for (const [name, entry] of Object.entries(entries)) {
    made.setStr(name, typeof entry === 'function' ? new Native(prefix + name, entry as NativeCode) : entry, true)
  }
  return made
}

const returns =
  (...values: Val[]): NativeCode =>
  (_m, S, at) => {
    for (const [i, value] of values.entries()) S[at + i] = value
    return values.length
  }

/** `load` of text, from a string or a function; code in binary form does not exist here. */
function load(engine: VmEngine, globals: LuaTable): NativeCode {
  return (m, S, at, count) => {
    const fail = (text: Val): number => {
      S[at] = undefined
      S[at + 1] = text
      return 2
    }
    let source = S[at + 1]
    const name = count >= 2 && S[at + 2] !== undefined ? stringArgument(m, S, at, count, 2) : undefined
    const mode = S[at + 3]
    const environment = count >= 4 ? S[at + 4] : (globals as unknown as Val)
    if (typeof source !== 'string') {
      const reader = source
      source = ''
      try {
        for (let piece = m.callValue(reader); piece !== undefined && piece !== ''; piece = m.callValue(reader)) {
          if (typeof piece !== 'string') return fail('reader function must return a string')
          source += piece
        }
      } catch (error) {
        return fail(m.asError(error).value)
      }
    }
    // Only files may begin with a line for the shell.
    if (source.startsWith('#')) return fail(`${chunkId(name ?? source)}:1: unexpected symbol near '#'`)
    if (mode === 'b') return fail("attempt to load a text chunk (mode is 'b')")
    try {
      const code = engine.compile(chunkId(name ?? (typeof S[at + 1] === 'string' ? source : '=(load)')), source)
      const loaded = engine.load(code, globals) as unknown as Closure
      ;(loaded.up[0] as Box).v = environment
      S[at] = loaded
      return 1
    } catch (error) {
      if (!(error instanceof LuaSyntaxError)) throw error
      return fail(`${error.chunkName}:${error.line}: ${error.text}`)
    }
  }
}

// ---- debug

function functionAt(m: Machine, level: number): Frame | undefined {
  let left = level
  for (let i = m.co.depth; i > 0; i--) {
    const frame = m.co.frames[i] as Frame
    if (frame.kind === LUA && --left === 0) return frame
  }
  return undefined
}

function describe(proto: Proto, currentLine: number): Table {
  return table({
    currentline: currentLine,
    linedefined: proto.line,
    lastlinedefined: proto.endLine,
    short_src: proto.chunkName,
    what: proto.line === 0 ? 'main' : 'Lua',
  })
}

const ids = new WeakMap<object, Table>()

/** The upvalue `index` of the function that is argument `argument`; undefined when there is none. */
function upvalue(m: Machine, S: Val[], at: number, count: number, argument: number): { fn: Closure; index: number } {
  const fn = S[at + argument]
  const index = positionArgument(m, S, at, count, argument + 1)
  if (!(fn instanceof Closure)) throw m.argumentError(argument, 'Lua function expected')
  if (index < 1 || index > fn.up.length) throw m.argumentError(argument + 1, 'invalid upvalue index')
  return { fn, index: index - 1 }
}

function debugLibrary(engine: VmEngine): Table {
  return table({
    traceback(m, S, at) {
      const from = S[at + 1] instanceof Coroutine ? (S[at + 1] as Coroutine) : m.co
      const text = from === S[at + 1] ? S[at + 2] : S[at + 1]
      if (text !== undefined && typeof text !== 'string' && typeof text !== 'number') S[at] = text
      else S[at] = (text === undefined ? '' : `${text}\n`) + m.tracebackOf(from)
      return 1
    },
    getinfo(m, S, at) {
      const what = S[at + 1]
      if (what instanceof Closure) S[at] = describe(what.proto, -1)
      else {
        const frame = functionAt(m, what as number)
        const proto = frame?.fn?.proto
        S[at] = proto === undefined ? undefined : describe(proto, proto.lines[(frame as Frame).pc - 1] ?? proto.line)
      }
      return 1
    },
    getmetatable(m, S, at) {
      S[at] = m.metaOf(S[at + 1])
      return 1
    },
    setmetatable(m, S, at) {
      const value = S[at + 1]
      if (typeof value === 'string') m.stringMeta = S[at + 2] as Table | undefined
      else if (value instanceof Table) value.meta = S[at + 2] as Table | undefined
      else throw m.error('only strings and tables have metatables here')
      S[at] = value
      return 1
    },
    upvalueid(m, S, at, count) {
      const { fn, index } = upvalue(m, S, at, count, 1)
      const box = fn.up[index] as Box
      if (!ids.has(box)) ids.set(box, engine.newTable() as unknown as Table)
      S[at] = ids.get(box)
      return 1
    },
    upvaluejoin(m, S, at, count) {
      const to = upvalue(m, S, at, count, 1)
      const from = upvalue(m, S, at, count, 3)
      to.fn.up[to.index] = from.fn.up[from.index] as Box
      return 0
    },
    getupvalue(m, S, at, count) {
      const { fn, index } = upvalue(m, S, at, count, 1)
      S[at] = fn.proto.upvalues[index]?.name
      S[at + 1] = (fn.up[index] as Box).v
      return 2
    },
    setupvalue(m, S, at, count) {
      const { fn, index } = upvalue(m, S, at, count, 1)
      ;(fn.up[index] as Box).v = S[at + 3]
      S[at] = fn.proto.upvalues[index]?.name
      return 1
    },
  })
}

// ---- utf8 (manual §6.5)

const isContinuation = (text: string, at: number): boolean => (text.charCodeAt(at) & 0xc0) === 0x80

/** @returns the code point that begins there, and where the next one does; undefined for bytes that are none */
function decode(text: string, at: number): { point: number; end: number } | undefined {
  const first = text.charCodeAt(at)
  if (first < 0x80) return { point: first, end: at + 1 }
  const more = first >= 0xf8 || first < 0xc0 ? 0 : first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1
  if (more === 0) return undefined
  let point = first & (0x3f >> more)
  for (let i = 1; i <= more; i++) {
    if (at + i >= text.length || !isContinuation(text, at + i)) return undefined
    point = point * 64 + (text.charCodeAt(at + i) & 0x3f)
  }
  const least = [0, 0x80, 0x800, 0x10000][more] as number
  return point < least || point > 0x10ffff ? undefined : { point, end: at + more + 1 }
}

function utf8Library(): Table {
  const relative = (position: number, length: number): number =>
    position >= 0 ? position : -position > length ? 0 : length + position + 1
  const range = (m: Machine, S: Val[], at: number, count: number, index: number, absent: number, length: number) =>
    relative(positionArgument(m, S, at, count, index, absent), length)
  const next = new Native('utf8 iterator', (m, S, at) => {
    const text = S[at + 1] as string
    let from = S[at + 2] as number
    if (from > 0) while (from < text.length && isContinuation(text, from)) from++
    if (from >= text.length) return 0
    const found = decode(text, from)
    if (found === undefined || isContinuation(text, found.end)) throw m.error('invalid UTF-8 code')
    S[at] = from + 1
    S[at + 1] = found.point
    return 2
  })
  return table({
    charpattern: '[\0-\x7f\xc2-\xf4][\x80-\xbf]*',
    char(m, S, at, count) {
      let text = ''
      for (let i = 1; i <= count; i++) {
        const point = integerArgument(m, S, at, count, i)
        if (point < 0 || point > 0x10ffff) throw m.argumentError(i, 'value out of range')
        text += utf8Bytes(Number(point))
      }
      S[at] = text
      return 1
    },
    codes(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      S[at] = next
      S[at + 1] = text
      S[at + 2] = 0
      return 3
    },
    codepoint(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      const from = range(m, S, at, count, 2, 1, text.length)
      const to = range(m, S, at, count, 3, from, text.length)
      if (from < 1) throw m.argumentError(2, 'out of range')
      if (to > text.length) throw m.argumentError(3, 'out of range')
      const points: number[] = []
      for (let i = from - 1; i < to; ) {
        const found = decode(text, i)
        if (found === undefined) throw m.error('invalid UTF-8 code')
        points.push(found.point)
        i = found.end
      }
      m.room(S, at, points.length)
      for (const [i, point] of points.entries()) S[at + i] = point
      return points.length
    },
    len(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      const from = range(m, S, at, count, 2, 1, text.length)
      const to = range(m, S, at, count, 3, -1, text.length)
      if (from < 1 || from > text.length + 1) throw m.argumentError(2, 'initial position out of string')
      if (to > text.length) throw m.argumentError(3, 'final position out of string')
      let length = 0
      for (let i = from - 1; i < to; length++) {
        const found = decode(text, i)
        if (found === undefined) {
          S[at] = undefined
          S[at + 1] = i + 1
          return 2
        }
        i = found.end
      }
      S[at] = length
      return 1
    },
    offset(m, S, at, count) {
      const text = stringArgument(m, S, at, count, 1)
      let n = positionArgument(m, S, at, count, 2)
      let i = range(m, S, at, count, 3, n >= 0 ? 1 : text.length + 1, text.length) - 1
      if (i < 0 || i > text.length) throw m.argumentError(3, 'position out of range')
      if (n === 0) while (i > 0 && isContinuation(text, i)) i--
      else {
        if (isContinuation(text, i)) throw m.error('initial position is a continuation byte')
        for (; n < 0 && i > 0; n++)
          do i--
          while (i > 0 && isContinuation(text, i))
        if (n > 0) {
          n--
          for (; n > 0 && i < text.length; n--)
            do i++
            while (isContinuation(text, i))
        }
      }
      S[at] = n === 0 ? i + 1 : undefined
      return 1
    },
  })
}

/** Everything that a file sees. @param printed is given what it prints */
function officialGlobals(engine: VmEngine, printed: (text: string) => void): LuaTable {
  const { globals, libraries } = engine.standardLibrary
  const base = engine.newTable()
  for (const [name, value] of Object.entries(globals)) engine.set(base, name, value as LuaValue)
  const loaded = new Table()
  for (const [name, library] of Object.entries(libraries)) {
    // Some files put functions into them.
    const made = engine.newTable()
    for (const [key, value] of Object.entries(library)) engine.set(made, key, value as LuaValue)
    engine.set(base, name, made)
    loaded.setStr(name, made as unknown as Val, true)
  }
  // Unprotected, for the files that change it.
  engine.machine.stringMeta = table({ __index: loaded.get('string') })
  const print: NativeCode = (m, S, at, count) => {
    const parts: string[] = []
    for (let i = 1; i <= count; i++) {
      const text = m.callValue((base as unknown as Table).getStr('tostring'), S[at + i])
      if (typeof text !== 'string') throw m.error("'tostring' must return a string to 'print'")
      parts.push(text)
    }
    printed(`${parts.join('\t')}\n`)
    return 0
  }
  const words: NativeCode = (m, S, at, count) => {
    for (let i = 1; i <= count; i++) printed(stringArgument(m, S, at, count, i))
    return 0
  }
  const others = {
    debug: debugLibrary(engine),
    utf8: utf8Library(),
    os: table({ time: returns(1), clock: returns(0), getenv: returns(undefined), setlocale: returns(undefined) }),
    io: table({ write: words, stderr: table({ write: words }) }, 'io.'),
    _G: base as unknown as Val,
    package: table({ preload: new Table(), loaded }),
  }
  for (const [name, library] of Object.entries(others)) {
    engine.set(base, name, library as LuaValue)
    loaded.setStr(name, library, true)
  }
  const functions: Record<string, NativeCode> = {
    print,
    load: load(engine, base),
    collectgarbage(m, S, at, count) {
      const option = count > 0 ? stringArgument(m, S, at, count, 1) : 'collect'
      if (!['collect', 'stop', 'restart', 'count', 'step', 'setpause', 'setstepmul', 'isrunning'].includes(option)) {
        throw m.argumentError(1, `invalid option '${option}'`)
      }
      S[at] = 0
      return 1
    },
    rawlen(m, S, at, count) {
      const value = S[at + 1]
      if (typeof value === 'string') S[at] = value.length
      else if (value instanceof Table) S[at] = value.length()
      else throw m.argumentError(count > 0 ? 1 : 0, 'table or string expected')
      return 1
    },
    require(m, S, at, count) {
      const name = stringArgument(m, S, at, count, 1)
      const found = loaded.get(name)
      if (found === undefined) {
        const loader = (others.package.getStr('preload') as Table).get(name)
        if (loader === undefined) throw m.error(`module '${name}' not found`)
        loaded.setStr(name, m.callValue(loader, name), true)
      }
      S[at] = loaded.get(name)
      return 1
    },
  }
  for (const [name, code] of Object.entries(functions)) {
    engine.set(base, name, new Native(name, code) as unknown as LuaValue)
  }
  engine.set(base, '_port', true)
  return base
}

/** The text without the lines of the ranges; the others keep their numbers. */
export function without(text: string, ranges: readonly { readonly from: number; readonly to: number }[]): string {
  const lines = text.split('\n')
  for (const { from, to } of ranges) for (let line = from; line <= to; line++) lines[line - 1] = ''
  return lines.join('\n')
}

/** Runs the text of a file to its end. @returns the error that ended it, with its stack */
export function runOfficial(name: string, text: string, mode: Mode): string | undefined {
  const engine = newEngine(mode)
  const globals = officialGlobals(engine, () => undefined)
  const thread = engine.newThread(engine.load(engine.compile(name, text), globals), true)
  const budget = mode === 'slices' ? 40 : 1_000_000
  const owner = {}
  let status = engine.run(thread, owner, budget, { values: [] })
  while (status === 'preempted') status = engine.run(thread, owner, budget, { values: [] })
  if (status === 'done') return undefined
  return `${status}: ${String(engine.results[0])}\n${engine.traceback}`
}
