// What the schema found wrong, in words that name the value, what is expected and what may have been meant.

import type { z } from 'zod'
import { didYouMean } from './problems.ts'

export interface Finding {
  path: readonly PropertyKey[]
  /** The path names a key rather than a value. */
  isKey: boolean
  message: string
}

type Issue = z.core.$ZodIssue

/**
 * @param knownKeys the keys that the schema has at a path, for suggestions
 * @param valueAt the value that stands at a path
 */
export function findingsOf(
  issues: readonly Issue[],
  knownKeys: (path: readonly PropertyKey[]) => readonly string[],
  valueAt: (path: readonly PropertyKey[]) => unknown,
): Finding[] {
  return issues.flatMap((issue): Finding[] => {
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys(issue.path)
      return issue.keys.map((key) => ({
        path: [...issue.path, key],
        isKey: true,
        message: `unknown key "${key}"${didYouMean(key, known) || expectedKeys(known)}`,
      }))
    }
    return [{ path: issue.path, isKey: false, message: messageOf(issue, valueAt(issue.path)) }]
  })
}

function expectedKeys(known: readonly string[]): string {
  return known.length === 0 || known.length > 12 ? '' : `; known here: ${[...known].sort().join(', ')}`
}

function messageOf(issue: Issue, value: unknown): string {
  const got = value === undefined ? '' : `, got ${show(value)}`
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined ? `required (${article(issue.expected)})` : `expected ${article(issue.expected)}${got}`
    case 'invalid_value': {
      const allowed = issue.values.map(String)
      const hint = typeof value === 'string' ? didYouMean(value, allowed) : ''
      return `expected ${oneOf(allowed)}${got}${hint}`
    }
    case 'too_small':
      return value === '' ? 'must not be empty' : `must be at least ${issue.minimum}${got}`
    case 'too_big':
      return `must be at most ${issue.maximum}${got}`
    case 'custom':
      return `${issue.message}${value === undefined ? '' : ` (got ${show(value)})`}`
    default:
      return `${issue.message}${got}`
  }
}

const oneOf = (allowed: readonly string[]): string =>
  allowed.length === 1 ? `"${allowed[0]}"` : `one of ${allowed.map((item) => `"${item}"`).join(', ')}`

function article(type: string): string {
  if (type === 'int') return 'a whole number'
  if (type === 'record' || type === 'object') return 'a map'
  if (type === 'array') return 'a list'
  if (type === 'boolean') return 'true or false'
  return `a ${type}`
}

const SHOWN_MAX = 60

/** A value as people wrote it, cut when long. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'a map'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text
}
