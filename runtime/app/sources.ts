// The Lua text of entries: read, and compiled to find its syntax errors, each at its own line. lua-core.md §4.1.

import { dirname, resolve } from 'node:path'
import { messageOf } from '../base/errors.ts'
import type { LuaSettings } from '../lua/engines.ts'
import { type Declaration, filePathOf, isFileSource } from './entries.ts'
import { readText } from './files.ts'
import { fieldValue, type LocatedMap, type LocatedScalar, scalar, withField } from './located.ts'
import { type Place, type ProblemList, wholeOf } from './problems.ts'
import { isLuaKind } from './schema.ts'

interface SyntaxProblem {
  /** From 1. */
  readonly line: number
  readonly text: string
}

/** Compiles a chunk for the engine that `lua` names; tells what is wrong with it, or undefined. `chunkName` is the entry id. */
export type Compile = (
  chunkName: string,
  source: string,
  lua: LuaSettings,
) => SyntaxProblem | undefined | Promise<SyntaxProblem | undefined>

const SOURCE_BYTES_MAX = 1024 * 1024

interface Sourced {
  /** The entry, its `source` replaced by the text itself. */
  readonly located: LocatedMap
  readonly sourceFile: string | undefined
}

/** Undefined, and a problem, when an entry's text cannot be had or does not compile. Entries without Lua text are as they were. */
export async function inlineSource(
  declaration: Declaration,
  compile: (chunkName: string, source: string) => ReturnType<Compile>,
  problems: ProblemList,
): Promise<Sourced | undefined> {
  const { located, kind, id, raw } = declaration
  const source = fieldValue(located, 'source')
  if (!isLuaKind(kind) || source?.kind !== 'scalar' || typeof source.value !== 'string') {
    return { located, sourceFile: undefined }
  }
  const path = [...raw.path, 'source']
  const chunkName = id ?? 'chunk'
  if (!isFileSource(source.value)) {
    const problem = await compileProblem(compile, chunkName, source.value)
    if (problem === undefined) return { located, sourceFile: undefined }
    const { at, message } = placeInline(source, source.value, problem)
    problems.add(at, path, message)
    return undefined
  }
  const sourceFile = resolve(dirname(raw.file), filePathOf(source.value))
  const read = await readText(sourceFile, SOURCE_BYTES_MAX)
  if ('why' in read) {
    const advice = `create it or correct the path, which is relative to ${dirname(raw.file)}`
    problems.add(source.at, path, `${read.why}; ${advice}`)
    return undefined
  }
  const problem = await compileProblem(compile, chunkName, read.text)
  if (problem !== undefined) {
    problems.add({ file: sourceFile, line: problem.line, column: 1 }, [], problem.text)
    return undefined
  }
  return { located: withField(located, 'source', scalar(read.text, source.at)), sourceFile }
}

/** Whatever the text does to the compiler is a problem of the text. */
async function compileProblem(
  compile: (chunkName: string, source: string) => ReturnType<Compile>,
  chunkName: string,
  text: string,
): Promise<SyntaxProblem | undefined> {
  try {
    const problem = await compile(chunkName, text)
    return problem === undefined ? undefined : { line: Math.max(1, problem.line), text: `Lua syntax: ${problem.text}` }
  } catch (error) {
    return { line: 1, text: `the compiler cannot take this chunk: ${messageOf(error)}` }
  }
}

/** The line of a chunk that stands in YAML: exact for a block and for text on one line, else told in words. */
function placeInline(
  source: LocatedScalar,
  chunk: string,
  { line, text }: SyntaxProblem,
): { at: Place; message: string } {
  const hint = /^\S+\.lua$/.test(chunk) ? `; to name a file, write file://${chunk}` : ''
  const message = `${text}${hint}`
  if (source.at.line === 0) return { at: wholeOf(source.at.file), message: `line ${line} of the chunk: ${message}` }
  if (source.isBlock === true) return { at: { ...source.at, line: source.at.line + line, column: 1 }, message }
  const isOneLine = !chunk.trimEnd().includes('\n')
  return { at: source.at, message: isOneLine ? message : `line ${line} of the chunk: ${message}` }
}
