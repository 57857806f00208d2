// Compiles chunks to find their syntax errors, on engines of its own that are made at the first need.

import { toBytes, toText } from '../base/bytes.ts'
import { type Engine, LuaSyntaxError } from './engine.ts'
import { createEngine, DEFAULT_LUA, type LuaSettings } from './engines.ts'

/** What is wrong with a chunk: `line` is 1-based, `text` has no position. */
interface SyntaxProblem {
  line: number
  text: string
}

/** A function that tells what is wrong with a chunk, or undefined. `chunkName` is the entry id; `lua` says which engine is to take it. */
export function compileProblem(): (
  chunkName: string,
  source: string,
  lua?: LuaSettings,
) => Promise<SyntaxProblem | undefined> {
  const engines = new Map<string, Promise<Engine>>()
  return async (chunkName, source, lua = DEFAULT_LUA) => {
    let engine = engines.get(lua.engine)
    if (engine === undefined) {
      engine = createEngine(lua)
      engines.set(lua.engine, engine)
    }
    try {
      ;(await engine).compile(toBytes(chunkName), toBytes(source))
      return undefined
    } catch (error) {
      if (error instanceof LuaSyntaxError) return { line: error.line, text: toText(error.text) }
      throw error
    }
  }
}
