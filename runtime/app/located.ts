// Plain data that knows where each part of it was written. What YAML, flags, variables and embedding programs bring in all has this
// form until a schema has read it, so that every problem can name its exact place.

import type { Path, Place } from './problems.ts'

export type Located = LocatedScalar | LocatedList | LocatedMap

export interface LocatedScalar {
  readonly kind: 'scalar'
  readonly at: Place
  /** Text, number, bigint, boolean or null; from an embedding program anything that is neither array nor plain object. */
  readonly value: unknown
  /** A literal block of YAML (`|`): its first line stands on the line below `at`. */
  readonly isBlock?: boolean
}

interface LocatedList {
  readonly kind: 'list'
  readonly at: Place
  readonly items: readonly Located[]
}

export interface LocatedMap {
  readonly kind: 'map'
  readonly at: Place
  readonly fields: ReadonlyMap<string, Field>
}

export interface Field {
  readonly keyAt: Place
  readonly value: Located
}

export const scalar = (value: unknown, at: Place): LocatedScalar => ({ kind: 'scalar', at, value })

export const emptyMap = (at: Place): LocatedMap => ({ kind: 'map', at, fields: new Map() })

export function fieldValue(map: LocatedMap, key: string): Located | undefined {
  return map.fields.get(key)?.value
}

/** The text that stands there; undefined when something else does. */
export function textOf(located: Located | undefined): string | undefined {
  return located?.kind === 'scalar' && typeof located.value === 'string' ? located.value : undefined
}

/** An empty value (`requires:` with nothing behind it) counts as not given. */
export function isNothing(located: Located | undefined): boolean {
  return located === undefined || (located.kind === 'scalar' && (located.value === null || located.value === undefined))
}

/** The map without some of its keys, or with these alone. */
export function selectFields(map: LocatedMap, isWanted: (key: string) => boolean): LocatedMap {
  return { ...map, fields: new Map([...map.fields].filter(([key]) => isWanted(key))) }
}

export function withField(map: LocatedMap, key: string, value: Located): LocatedMap {
  const keyAt = map.fields.get(key)?.keyAt ?? value.at
  return { ...map, fields: new Map([...map.fields, [key, { keyAt, value }]]) }
}

/** Plain data. Empty fields of maps are left out; an empty item of a list keeps its place as null. */
export function plainOf(located: Located): unknown {
  switch (located.kind) {
    case 'scalar':
      return located.value
    case 'list':
      return located.items.map((item) => plainOf(item))
    case 'map':
      return plainFields(located)
  }
}

/** Every key is an own property, also `__proto__`, which a file may hold. */
export function plainFields(map: LocatedMap): Record<string, unknown> {
  const given = [...map.fields].filter(([, { value }]) => !isNothing(value))
  return Object.fromEntries(given.map(([key, { value }]) => [key, plainOf(value)]))
}

/** The value at a path; undefined when nothing stands there. */
export function valueAt(located: Located, path: Path): Located | undefined {
  return path.reduce<Located | undefined>((at, part) => (at === undefined ? at : childOf(at, part)), located)
}

/** The value at a path, or the nearest one around it. */
export function nearest(located: Located, path: Path): Located {
  let found = located
  for (const part of path) {
    const next = childOf(found, part)
    if (next === undefined) break
    found = next
  }
  return found
}

/** Where the last part of the path stands as a key. */
export function keyPlace(located: Located, path: Path): Place {
  const around = nearest(located, path.slice(0, -1))
  const field = around.kind === 'map' ? around.fields.get(String(path.at(-1))) : undefined
  return field?.keyAt ?? around.at
}

function childOf(located: Located, part: string | number): Located | undefined {
  if (located.kind === 'map') return located.fields.get(String(part))?.value
  return located.kind === 'list' && typeof part === 'number' ? located.items[part] : undefined
}

/** The map with its values changed; the map itself when none does change. */
export function mapFields(map: LocatedMap, change: (value: Located, key: string) => Located): LocatedMap {
  let isSame = true
  const fields = new Map<string, Field>()
  for (const [key, { keyAt, value }] of map.fields) {
    const changed = change(value, key)
    isSame &&= changed === value
    fields.set(key, { keyAt, value: changed })
  }
  return isSame ? map : { ...map, fields }
}

export function mapItems(list: LocatedList, change: (item: Located, index: number) => Located): LocatedList {
  const items = list.items.map(change)
  return items.every((item, i) => item === list.items[i]) ? list : { ...list, items }
}

/** The same data with every scalar changed. */
export function mapScalars(
  located: Located,
  path: Path,
  change: (scalar: LocatedScalar, path: Path) => LocatedScalar,
): Located {
  switch (located.kind) {
    case 'scalar':
      return change(located, path)
    case 'list':
      return mapItems(located, (item, i) => mapScalars(item, [...path, i], change))
    case 'map':
      return mapFields(located, (value, key) => mapScalars(value, [...path, key], change))
  }
}

/** Maps are joined key by key; anything else in `over` replaces what is below it. */
export function merge(under: Located, over: Located): Located {
  if (under.kind !== 'map' || over.kind !== 'map') return over
  const fields = new Map(under.fields)
  for (const [key, field] of over.fields) {
    const below = fields.get(key)
    fields.set(key, below === undefined ? field : { keyAt: field.keyAt, value: merge(below.value, field.value) })
  }
  return { ...under, fields }
}

/** A value under a path of keys, all at one place. */
export function nested(path: readonly string[], value: Located): Located {
  return path.reduceRight<Located>(
    (inner, key) => ({ kind: 'map', at: value.at, fields: new Map([[key, { keyAt: value.at, value: inner }]]) }),
    value,
  )
}

/** Levels of lists and maps inside each other. */
export const DEPTH_MAX = 100

/** Values that one object of an embedding program may hold, shared parts counted each time. */
const VALUES_MAX = 1_000_000

/**
 * An embedding program's object, all at one place.
 * @returns undefined when it is nested deeper than `DEPTH_MAX` or refers to itself, or holds too many values
 */
export function locatedFrom(value: unknown, at: Place): Located | undefined {
  let count = 0
  const visit = (each: unknown, depth: number): Located | undefined => {
    if (depth > DEPTH_MAX || ++count > VALUES_MAX) return undefined
    if (Array.isArray(each)) {
      const items: Located[] = []
      for (const item of each) {
        const located = visit(item, depth + 1)
        if (located === undefined) return undefined
        items.push(located)
      }
      return { kind: 'list', at, items }
    }
    if (!isPlainObject(each)) return scalar(each, at)
    const fields = new Map<string, Field>()
    for (const [key, item] of Object.entries(each)) {
      const located = visit(item, depth + 1)
      if (located === undefined) return undefined
      fields.set(key, { keyAt: at, value: located })
    }
    return { kind: 'map', at, fields }
  }
  return visit(value, 0)
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
