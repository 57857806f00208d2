// The one way from a script's text to code: annotations go, the rest is compiled.

import type { ChunkTypes } from '../base/type-node.ts'
import { eraseAnnotations } from './annotations/erase.ts'
import type { Engine, LuaCode } from './engine.ts'

export interface Compiled {
  readonly code: LuaCode
  /** The declared types that the code expects under a global; absent when it uses none. */
  readonly types: ChunkTypes | undefined
}

/** @param chunkName, source byte strings   @throws LuaSyntaxError */
export function compileChunk(engine: Engine, chunkName: string, source: string): Compiled {
  const erased = eraseAnnotations(chunkName, source)
  return { code: engine.compile(chunkName, erased.source), types: erased.types }
}
