// Filters of registry.find. lua-core.md §19.1.

import { RE2JS } from 're2js'
import { toText } from '../../runtime/base/bytes.ts'
import { Float, TableValue, type Value } from '../../runtime/base/value.ts'

/** An entry as the node sends it: id, kind, meta and data. */
export type EntryValue = TableValue

type Test = (entry: EntryValue) => boolean

interface Filter {
  readonly matches: Test
  /** Keys that mean nothing, as text: entries are chosen as if they were not there. */
  readonly ignored: readonly string[]
}

/** @param conditions the filter table, in neutral form */
export function filterOf(conditions: TableValue): Filter {
  const tests: Test[] = []
  const ignored: string[] = []
  for (let i = 0; i < conditions.array.length; i++) ignored.push(String(i + 1))
  for (const [i, key] of conditions.keys.entries()) {
    const test = typeof key === 'string' ? testOf(key, conditions.values[i]) : undefined
    if (test === undefined) ignored.push(typeof key === 'string' ? toText(key) : String(key))
    else tests.push(test)
  }
  return { matches: (entry) => tests.every((test) => test(entry)), ignored }
}

const PARTS: Readonly<Record<string, (entry: EntryValue) => string>> = {
  '.id': idOf,
  '.kind': (entry) => entry.get('kind') as string,
  '.ns': (entry) => splitId(idOf(entry)).ns,
  '.name': (entry) => splitId(idOf(entry)).name,
}

export function idOf(entry: EntryValue): string {
  return entry.get('id') as string
}

/** At the first colon; without one everything is the name. */
export function splitId(id: string): { ns: string; name: string } {
  const colon = id.indexOf(':')
  return colon < 0 ? { ns: '', name: id } : { ns: id.slice(0, colon), name: id.slice(colon + 1) }
}

function testOf(key: string, wanted: Value): Test | undefined {
  const part = PARTS[key]
  if (part !== undefined) {
    const matches = wildcard(textOf(wanted))
    return (entry) => matches(part(entry))
  }
  const operator = key.startsWith('meta.') ? '' : (key[0] as string)
  const path = key.slice(operator.length)
  const compare = OPERATORS[operator]
  if (compare === undefined || !path.startsWith('meta.') || path === 'meta.') return undefined
  const keys = path.split('.')
  const matches = compare(wanted)
  return (entry) =>
    matches(keys.reduce<Value>((at, name) => (at instanceof TableValue ? at.get(name) : undefined), entry))
}

/** What a comparison with `wanted` says of a value; made once for a filter. */
const OPERATORS: Readonly<Record<string, (wanted: Value) => (given: Value) => boolean>> = {
  '': (wanted) => (given) => scalar(given) === scalar(wanted),
  '~': (wanted) => {
    const pattern = compiled(textOf(wanted))
    return (given) => typeof given === 'string' && (pattern?.matcher(toText(given)).find() ?? false)
  },
  '*': (wanted) => (given) =>
    typeof given === 'string'
      ? given.includes(textOf(wanted))
      : given instanceof TableValue && given.array.some((item) => scalar(item) === scalar(wanted)),
  '^': (wanted) => (given) => typeof given === 'string' && given.startsWith(textOf(wanted)),
  $: (wanted) => (given) => typeof given === 'string' && given.endsWith(textOf(wanted)),
}

/** Undefined for a pattern that is none: it matches nothing. */
function compiled(pattern: string): ReturnType<typeof RE2JS.compile> | undefined {
  try {
    return RE2JS.compile(toText(pattern))
  } catch {
    return undefined
  }
}

function scalar(value: Value): Value {
  if (value instanceof Float) return value.value
  return value
}

function textOf(value: Value): string {
  if (value instanceof Float) return String(value.value)
  return typeof value === 'object' || value === undefined ? '' : String(value)
}

/** `*` in the pattern stands for any text. */
function wildcard(pattern: string): (text: string) => boolean {
  const pieces = pattern.split('*')
  if (pieces.length === 1) return (text) => text === pattern
  const first = pieces[0] as string
  const last = pieces[pieces.length - 1] as string
  const between = pieces.slice(1, -1)
  return (text) => {
    if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false
    let at = first.length
    for (const piece of between) {
      const found = text.indexOf(piece, at)
      if (found < 0) return false
      at = found + piece.length
    }
    return at <= text.length - last.length
  }
}
