// What is wrong with an app and where: file, line, column, path, and a message that says what to do.

import { isAbsolute, relative } from 'node:path'

/** Where something was written. Line and column are 1-based; both are 0 when the place is no file but a flag, a variable or an object. */
export interface Place {
  /** An absolute path; or `--set node.name=…`, `RUNTIME_NODE__NAME`; or '' for an object of an embedding program. */
  readonly file: string
  readonly line: number
  readonly column: number
}

export interface Problem extends Place {
  /** `entries[3].kind`; '' when the problem is of the file as a whole. */
  readonly path: string
  readonly message: string
}

export type Path = readonly (string | number)[]

/** A place that has no lines: a flag, a variable, or a file that could not be read. */
export const wholeOf = (file: string): Place => ({ file, line: 0, column: 0 })

/** Problems that are kept; the others are counted. Nobody reads a thousand, and each costs a search for what was meant. */
const KEPT_MAX = 1000

/** Collects problems, each once. */
export class ProblemList {
  readonly #problems = new Map<string, Problem>()
  #droppedCount = 0

  /** `message` may be a function: it is called only for a problem that is kept. */
  add(at: Place, path: Path, message: string | (() => string)): void {
    if (this.#problems.size >= KEPT_MAX) {
      this.#droppedCount++
      return
    }
    const { file, line, column } = at
    const problem = {
      file,
      line,
      column,
      path: pathText(path),
      message: typeof message === 'string' ? message : message(),
    }
    this.#problems.set(JSON.stringify(problem), problem)
  }

  get isEmpty(): boolean {
    return this.#problems.size === 0
  }

  /** By file, line and column. */
  sorted(): Problem[] {
    const list = [...this.#problems.values()].sort(compareProblems)
    if (this.#droppedCount > 0) {
      const message = `${this.#droppedCount} further problems are not listed; mend these first`
      list.push({ ...wholeOf(''), path: '', message })
    }
    return list
  }
}

function compareProblems(a: Problem, b: Problem): number {
  return compareText(a.file, b.file) || a.line - b.line || a.column - b.column || compareText(a.path, b.path)
}

/** The order of code units: the same on every machine. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

export const sortedText = (items: Iterable<string>): string[] => [...items].sort(compareText)

/**
 * One line: `app.yaml:12:7 entries[3].kind: unknown kind "proces.lua" (did you mean "process.lua"?)`.
 * @param baseDir files below it are shown relative to it
 */
export function formatProblem(problem: Problem, baseDir: string = process.cwd()): string {
  const { file, line, column, path, message } = problem
  const name = shortPath(file, baseDir)
  const place = line === 0 ? name : `${name}:${line}:${column}`
  if (path !== '') return `${place} ${path}: ${message}`.trimStart()
  return line === 0 && place !== '' ? `${place}: ${message}` : `${place} ${message}`.trimStart()
}

/** The path relative to `baseDir` when it lies below, else as it is. */
export function shortPath(file: string, baseDir: string): string {
  if (!isAbsolute(file)) return file
  const short = relative(baseDir, file)
  return short === '' || short.startsWith('..') ? file : short
}

/** `entries[3].kind`; a key that is no word stands in quotes: `meta["a b"]`. */
export function pathText(path: Path): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (!/^[\w$-]+$/.test(part)) text += `[${JSON.stringify(part)}]`
    else text += text === '' ? part : `.${part}`
  }
  return text
}

const WORD_LENGTH_MAX = 80
const CANDIDATES_MAX = 10_000
const DISTANCE_MAX = 3

/** ` (did you mean "x"?)` for the candidate nearest to what was written; '' when none is near. */
export function didYouMean(written: string, candidates: Iterable<string>): string {
  const nearest = nearestTo(written, candidates)
  return nearest === undefined ? '' : ` (did you mean "${nearest}"?)`
}

function nearestTo(written: string, candidates: Iterable<string>): string | undefined {
  if (written.length > WORD_LENGTH_MAX) return undefined
  const word = written.toLowerCase()
  let nearest: string | undefined
  let distanceMax = Math.min(DISTANCE_MAX, Math.max(1, Math.floor(word.length / 4)))
  let looked = 0
  for (const candidate of candidates) {
    if (++looked > CANDIDATES_MAX) break
    if (Math.abs(candidate.length - word.length) > distanceMax) continue
    const distance = editDistance(word, candidate.toLowerCase(), distanceMax)
    if (distance > distanceMax) continue
    nearest = candidate
    distanceMax = distance - 1
    if (distanceMax < 0) break
  }
  return nearest
}

/** Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`; stops counting above `max`. */
function editDistance(a: string, b: string, max: number): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + cost)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (isSwap) least = Math.min(least, before[j - 2]! + 1)
      next.push(least)
    }
    if (Math.min(...next) > max) return max + 1
    before = row
    row = next
  }
  return row[b.length]!
}

const SHOWN_LENGTH_MAX = 60

/** A value as a message shows it. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  if (typeof value === 'function') return 'a function'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text
}
