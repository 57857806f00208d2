// Compiles chunks to find their syntax errors, on an engine of its own that is made at the first need.

import { toBytes, toText } from '../base/bytes.ts'
import { compileChunk } from './compile.ts'
import { type Engine, LuaSyntaxError } from './engine.ts'
import { FengariEngine } from './fengari.ts'

/** A function that tells what is wrong with a chunk, or undefined. `chunkName` is the entry id. */
export function compileProblem(): (chunkName: string, source: string) => { line: number; text: string } | undefined {
  let engine: Engine | undefined
  return (chunkName, source) => {
    engine ??= new FengariEngine()
    try {
      compileChunk(engine, toBytes(chunkName), toBytes(source))
      return undefined
    } catch (error) {
      if (error instanceof LuaSyntaxError) return { line: error.line, text: toText(error.text) }
      throw error
    }
  }
}
