// Whether the conditions of a policy hold: its list of comparisons. lua-libraries.md §25.

import { RE2JS } from 're2js'
import { toText } from '../base/bytes.ts'
import { Float, record, TableValue, type Value } from '../base/value.ts'
import type { Conditions, PolicyCondition, PolicyRequest } from './core/policies.ts'

/** Tells whether an expression (lua-libraries.md §15) is true; undefined when it cannot be evaluated. */
export type EvaluateExpression = (source: string, env: TableValue) => boolean | undefined

export function policyConditions(evaluate: EvaluateExpression): Conditions {
  return (policy, request) =>
    policy.conditions.every((condition) => holds(condition, request)) &&
    // Nobody is let in by what cannot be evaluated: it allows nothing, and denies.
    (policy.expression === undefined ||
      (evaluate(policy.expression, environmentOf(request)) ?? policy.effect === 'deny'))
}

function environmentOf({ actor, action, resource, meta }: PolicyRequest): TableValue {
  const who = record({ id: actor.id, meta: actor.meta })
  return record({ actor: who, action, resource, meta: meta ?? new TableValue() })
}

/** The value that a field path names: `actor.id`, `actor.meta.*`, `action`, `resource`, `meta.*`. */
function fieldOf(path: string, { actor, action, resource, meta }: PolicyRequest): Value {
  const [first, second, ...rest] = path.split('.')
  if (first === 'action' && second === undefined) return action
  if (first === 'resource' && second === undefined) return resource
  if (first === 'actor' && second === 'id' && rest.length === 0) return actor.id
  if (first === 'actor' && second === 'meta') return descend(actor.meta, rest)
  return first === 'meta' && second !== undefined ? descend(meta, [second, ...rest]) : undefined
}

function descend(from: Value, keys: readonly string[]): Value {
  return keys.reduce<Value>((at, key) => (at instanceof TableValue ? at.get(key) : undefined), from)
}

function holds({ field, operator, value, valueFrom }: PolicyCondition, request: PolicyRequest): boolean {
  const given = fieldOf(field, request)
  const wanted = valueFrom === undefined ? value : fieldOf(valueFrom, request)
  const test = OPERATORS[operator]
  return test?.(given, wanted) ?? false
}

type Test = (given: Value, wanted: Value) => boolean

const negated =
  (test: Test): Test =>
  (given, wanted) =>
    !test(given, wanted)

const equal: Test = (given, wanted) => scalar(given) === scalar(wanted)
const contains: Test = (given, wanted) => {
  if (typeof given === 'string') return typeof wanted === 'string' && given.includes(wanted)
  return given instanceof TableValue && given.array.some((item) => equal(item, wanted))
}
const within: Test = (given, wanted) =>
  wanted instanceof TableValue ? wanted.array.some((item) => equal(given, item)) : equal(given, wanted)
const exists: Test = (given) => given !== undefined

const matchesPattern: Test = (given, wanted) => {
  if (typeof given !== 'string' || typeof wanted !== 'string') return false
  try {
    return RE2JS.compile(toText(wanted)).matcher(toText(given)).find()
  } catch {
    return false
  }
}

/** Numbers with numbers, texts with texts; anything else is in no order. */
function ordered(isRight: (order: number) => boolean): Test {
  return (given, wanted) => {
    const a = scalar(given)
    const b = scalar(wanted)
    if (typeof a === 'number' && typeof b === 'number') return isRight(a - b)
    return typeof a === 'string' && typeof b === 'string' && isRight(a < b ? -1 : a > b ? 1 : 0)
  }
}

function scalar(value: Value): Value {
  if (value instanceof Float) return value.value
  return typeof value === 'bigint' ? Number(value) : value
}

const OPERATORS: Readonly<Record<string, Test>> = {
  eq: equal,
  ne: negated(equal),
  lt: ordered((order) => order < 0),
  gt: ordered((order) => order > 0),
  lte: ordered((order) => order <= 0),
  gte: ordered((order) => order >= 0),
  in: within,
  nin: negated(within),
  exists,
  nexists: negated(exists),
  contains,
  ncontains: negated(contains),
  matches: matchesPattern,
  nmatches: negated(matchesPattern),
}

export const CONDITION_OPERATORS: readonly string[] = Object.keys(OPERATORS)

/** Whether it can be asked of a request at all. */
export const isConditionField = (path: string): boolean =>
  /^(action|resource|actor\.id|actor\.meta\..+|meta\..+)$/.test(path)
