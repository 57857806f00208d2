// Reads located data with a schema: what is wrong becomes problems at the exact places, the rest is typed data.

import { z } from 'zod'
import { keyPlace, type LocatedMap, nearest, plainFields, plainOf } from './located.ts'
import { didYouMean, type Path, type Place, type ProblemList, pathText, show } from './problems.ts'

const KEYS_LISTED_MAX = 12

/**
 * @param path where the data stands in its file, for the problems
 * @param otherKeys keys that stand beside the schema's own, to be suggested for a misspelt one
 * @returns undefined when there are problems
 */
export function validate<S extends z.ZodType>(
  schema: S,
  located: LocatedMap,
  path: Path,
  problems: ProblemList,
  otherKeys: readonly string[] = [],
): z.output<S> | undefined {
  const result = schema.safeParse(plainFields(located))
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    const inside = issue.path.map((part) => (typeof part === 'number' ? part : String(part)))
    if (issue.code === 'unrecognized_keys') {
      const known = [...keysAt(schema, inside), ...(inside.length === 0 ? otherKeys : [])]
      for (const key of issue.keys) {
        const at = keyPlace(located, [...inside, key])
        addUnknownKey({ at, path: [...path, ...inside, key], known }, problems)
      }
    } else {
      const found = nearest(located, inside)
      const message = issue.code === 'invalid_type' ? wrongShape(issue.expected, plainOf(found)) : issue.message
      problems.add(found.at, [...path, ...inside], message)
    }
  }
  return undefined
}

function wrongShape(expected: string, found: unknown): string {
  return `expected ${expected === 'array' ? 'a list' : 'a map'}, found ${show(found)}`
}

export function addUnknownKey(
  { at, path, known }: { at: Place; path: Path; known: readonly string[] },
  problems: ProblemList,
): void {
  const key = String(path.at(-1))
  problems.add(at, path, () => {
    const list = known.length > KEYS_LISTED_MAX ? '' : `; known here: ${known.join(', ')}`
    return `unknown key "${pathText([key])}"${didYouMean(key, known) || list}`
  })
}

/** The keys that the schema knows at a path. */
function keysAt(schema: z.core.$ZodType, path: Path): readonly string[] {
  let at = unwrapped(schema)
  for (const part of path) {
    if (at instanceof z.ZodObject) at = unwrapped(at.shape[String(part)])
    else if (at instanceof z.ZodRecord) at = unwrapped(at.valueType)
    else if (at instanceof z.ZodArray) at = unwrapped(at.element)
    else return []
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : []
}

const checkedBy = new WeakMap<z.core.$ZodType, z.core.$ZodType>()

/** Data of `schema` is checked by `other`, too: misspelt keys are compared with those of that one. */
export function alsoCheckedBy<S extends z.core.$ZodType>(schema: S, other: z.core.$ZodType): S {
  checkedBy.set(schema, other)
  return schema
}

/** The schema below defaults and transformations. */
function unwrapped(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  let at = schema
  for (;;) {
    const other = at === undefined ? undefined : checkedBy.get(at)
    if (other !== undefined) at = other
    else if (at instanceof z.ZodPipe) at = at.in
    else if (at instanceof z.ZodOptional || at instanceof z.ZodDefault || at instanceof z.ZodPrefault) at = at.unwrap()
    else return at
  }
}
