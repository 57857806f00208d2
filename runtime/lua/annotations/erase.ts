// Annotated Lua to plain Lua (lua-core.md §3). Erased parts become spaces: every line, and every column of what is left, stays where it
// was. Only where a program uses a declared type as a value does the text grow, within its line.

import type { ChunkTypes } from '../../base/type-node.ts'
import { ChunkParser, type Edit } from './chunk-parser.ts'
import { freeName } from './scopes.ts'
import { tokenize } from './tokens.ts'

interface Erased {
  readonly source: string
  /** The declared types whose values the chunk uses; absent when it uses none. */
  readonly types: ChunkTypes | undefined
}

/**
 * @param source a byte string   @returns the same string when nothing in it is annotated
 * @throws LuaSyntaxError for an annotation that is none; what else is wrong with the text is left to the engine
 */
export function eraseAnnotations(chunkName: string, source: string): Erased {
  const parser = new ChunkParser(tokenize(source), chunkName)
  parser.parse()
  const { edits, scopes } = parser
  if (edits.length === 0) return { source, types: undefined }
  const types = scopes.finish(freeName(source))
  let out = ''
  let at = 0
  for (const edit of edits) {
    const { start, end } = edit
    out += source.slice(at, start) + replacement(edit, source.slice(start, end), types)
    at = end
  }
  return { source: out + source.slice(at), types }
}

function replacement({ kind, declared }: Edit, text: string, types: ChunkTypes | undefined): string {
  if (kind === 'blank') return blank(text)
  if (types === undefined || declared?.key === undefined || kind === 'separator') return `;${blank(text.slice(1))}`
  if (kind === 'reference') return `${types.global}.${declared.key}`
  // A type that refers to variables gets their values where it is declared.
  if (declared.slots.length === 0) return `;${blank(text.slice(1))}`
  return `${types.global}.bind("${declared.key}", ${declared.slots.join(', ')});${lineEnds(text)}`
}

const blank = (text: string): string => text.replace(/[^\r\n]/g, ' ')
const lineEnds = (text: string): string => text.replace(/[^\r\n]/g, '')
