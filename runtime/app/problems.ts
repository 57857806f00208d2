// What is wrong with an app file, and where: one line a problem, with place and remedy.

import { relative } from 'node:path'

export interface Problem {
  /** Absolute path of the file, or the flag or variable that brought the value. */
  file: string
  /** 1-based; 0 when the place has no lines. */
  line: number
  column: number
  /** `entries[3].kind`; '' for the file as a whole. */
  path: string
  message: string
}

/** `app.yaml:12:7 entries[3].kind: unknown kind …`; files below `baseDir` are shown relative to it. */
export function formatProblem(problem: Problem, baseDir = process.cwd()): string {
  const { line, column, path, message } = problem
  const place = line === 0 ? problem.file : `${shortPath(problem.file, baseDir)}:${line}:${column}`
  return path === '' ? `${place} ${message}` : `${place} ${path}: ${message}`
}

function shortPath(file: string, baseDir: string): string {
  const short = relative(baseDir, file)
  return short === '' || short.startsWith('..') ? file : short
}

export function compareProblems(a: Problem, b: Problem): number {
  return a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column || a.path.localeCompare(b.path)
}

/** ` (did you mean "x"?)` for the candidate nearest to what was written, '' when none is near. */
export function didYouMean(written: string, candidates: Iterable<string>): string {
  const text = written.slice(0, WORD_MAX)
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(text.length / 3)) + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - text.length) >= bestDistance) continue
    const distance = editDistance(text, candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best === undefined ? '' : ` (did you mean "${best}"?)`
}

const WORD_MAX = 100

/** Insertions, deletions, replacements and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let previous: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (previous[j - 2] as number) + 1)
      next.push(best)
    }
    previous = row
    row = next
  }
  return row[b.length] as number
}

/** `entries[3].kind` */
export function pathText(path: readonly PropertyKey[]): string {
  let text = ''
  for (const part of path)
    text += typeof part === 'number' ? `[${part}]` : text === '' ? String(part) : `.${String(part)}`
  return text
}
