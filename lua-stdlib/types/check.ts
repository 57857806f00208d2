// Whether a value has a type (lua-core.md §3.3, layer 2). Structural, and bounded for any value: what is being checked already counts as
// right, so cycles end; what was found out about a table is not asked again; depth and work have limits.

import { toText } from '../../runtime/base/bytes.ts'
import { numberText } from '../../runtime/base/number-text.ts'
import type { Check, RecordType, TypeNode } from '../../runtime/base/type-node.ts'
import { Float } from '../../runtime/base/value.ts'
import { type Engine, HostObject, type LuaTable, type LuaValue } from '../../runtime/lua/engine.ts'
import { isNumber, toNumber } from '../support/args.ts'
import { hasBasicType } from './basic.ts'
import { fieldsOf } from './record.ts'
import { showString, showType } from './show.ts'
import { type Type, TypeFault, type TypeSet } from './type.ts'

/** Levels of tables in tables. */
const DEPTH_MAX = 200
/** Levels of types in types on the way down through them. */
const LEVELS_MAX = 800
/** Comparisons of a value with a type: about a second of work. */
const STEPS_MAX = 5_000_000

/** Why a value does not have a type. Texts are byte strings. */
interface Problem {
  /** The keys on the way to what is wrong. */
  readonly path: readonly string[]
  readonly expected: string
  readonly got: string
  /** `type`, `required`, `key`, or the name of a validator. */
  readonly constraint: string
  /** Without the path. */
  readonly text: string
}

export const problemText = ({ path, text }: Problem): string =>
  path.length === 0 ? text : `${path.join('.')}: ${text}`

const HOLDS = Symbol('holds')

/** One check of one value. */
export class Checking {
  readonly #engine: Engine
  readonly #known = new Map<Type, Map<LuaTable, Problem | typeof HOLDS>>()
  /** What was taken for right, in order; it stays so only if what it rests on does. */
  readonly #trail: { known: Map<LuaTable, Problem | typeof HOLDS>; table: LuaTable }[] = []
  #steps = 0
  #level = 0
  #depth = 0

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** What is wrong with the value, or undefined. @throws TypeFault for a type or a value that cannot be checked */
  problem(type: Type, value: LuaValue): Problem | undefined {
    if (++this.#steps > STEPS_MAX)
      throw new TypeFault('the value is too large, or its type too intricate, to be checked')
    if (++this.#level > LEVELS_MAX) throw new TypeFault('the value is nested too deeply to be checked')
    const problem = this.#ofHead(type.head, value)
    this.#level--
    return problem
  }

  #ofHead(head: Type, value: LuaValue): Problem | undefined {
    const { node } = head
    switch (node.kind) {
      case 'named':
        return hasBasicType(node.name, this.#engine, value) ? undefined : this.#mismatch(node.name, value)
      case 'literal':
        return isEqual(node.value, value) ? undefined : this.#mismatch(showType(node), value, [node])
      case 'optional':
        return value === undefined ? undefined : this.problem(head.part(node.of), value)
      case 'union':
        return this.#union(head, node.of, value)
      case 'intersection':
        return first(node.of, (part) => this.problem(head.part(part), value))
      case 'array':
        return this.#table(head, value, (table) => this.#array(head.part(node.of), table, head))
      case 'map':
        return this.#table(head, value, (table) => this.#pairs(head, node, table, undefined))
      case 'record':
        return this.#record(head, node, value)
      case 'function':
        return this.#engine.typeOf(value) === 'function' ? undefined : this.#mismatch('function', value)
      case 'keyof':
        return this.#key(head.part(node.of), value)
      case 'indexed': {
        const field = node.key.kind === 'literal' ? fieldsOf(head.part(node.of)).get(String(node.key.value)) : undefined
        if (field === undefined || (field.isOptional && value === undefined)) return undefined
        return this.problem(field.type, value)
      }
      case 'checked':
        return this.problem(head.part(node.of), value) ?? this.#validate(head.scope.set, node.check, value)
      case 'opaque':
        return undefined
    }
  }

  #mismatch(expected: string, value: LuaValue, variants: readonly TypeNode[] = []): Problem {
    const got = this.#got(value, variants)
    return { path: [], expected, got, constraint: 'type', text: `expected ${expected}, got ${got}` }
  }

  /** The type of the value; the value itself where others of its type would do. */
  #got(value: LuaValue, variants: readonly TypeNode[]): string {
    const isOneOfSome = variants.some((variant) => variant.kind === 'literal' && typeof variant.value === typeof value)
    if (isOneOfSome && typeof value === 'string') return showString(value)
    if (isOneOfSome && isNumber(value)) return digitsOf(value)
    return isOneOfSome ? String(value) : this.#engine.typeOf(value)
  }

  #union(head: Type, variants: readonly TypeNode[], value: LuaValue): Problem | undefined {
    const problems: Problem[] = []
    for (const variant of variants) {
      const problem = this.problem(head.part(variant), value)
      if (problem === undefined) return undefined
      if (variant.kind !== 'named' || variant.name !== 'nil') problems.push(problem)
    }
    // With nil aside there may be one variant only, and its problem says more.
    if (problems.length === 1 && value !== undefined) return problems[0]
    return this.#mismatch(showType(head.node), value, variants)
  }

  /** The value must be a table; what is known about it is not checked again. */
  #table(head: Type, value: LuaValue, check: (table: LuaTable) => Problem | undefined): Problem | undefined {
    if (this.#engine.typeOf(value) !== 'table') return this.#mismatch(head.name ?? showType(head.node), value)
    const table = value as LuaTable
    let known = this.#known.get(head)
    if (known === undefined) {
      known = new Map()
      this.#known.set(head, known)
    }
    const before = known.get(table)
    if (before !== undefined) return before === HOLDS ? undefined : before
    if (++this.#depth > DEPTH_MAX) throw new TypeFault('the value is nested too deeply to be checked')
    const trailLength = this.#trail.length
    this.#trail.push({ known, table })
    known.set(table, HOLDS)
    const problem = check(table)
    this.#depth--
    if (problem === undefined) return undefined
    while (this.#trail.length > trailLength) {
      const assumed = this.#trail.pop()
      assumed?.known.delete(assumed.table)
    }
    // That it is wrong rests on nothing that may yet turn out wrong.
    known.set(table, problem)
    return problem
  }

  #array(element: Type, table: LuaTable, head: Type): Problem | undefined {
    const length = this.#engine.length(table)
    for (let i = 1; i <= length; i++) {
      const problem = this.problem(element, this.#engine.get(table, i))
      if (problem !== undefined) return inside(String(i), problem)
    }
    if (length > 0) return undefined
    let isEmpty = true
    this.#engine.each(table, () => {
      isEmpty = false
    })
    return isEmpty ? undefined : this.#mismatch(head.name ?? showType(head.node), table)
  }

  #record(head: Type, node: RecordType, value: LuaValue): Problem | undefined {
    // Objects of the runtime have methods too.
    if (value instanceof HostObject && node.fields.length > 0) return this.#fields(head, node, value)
    return this.#table(head, value, (table) => {
      const problem = this.#fields(head, node, table)
      if (problem !== undefined || node.rest === undefined) return problem
      return this.#pairs(head, node.rest, table, new Set(node.fields.map(({ name }) => name)))
    })
  }

  #fields(head: Type, node: RecordType, holder: LuaTable | HostObject): Problem | undefined {
    for (const field of node.fields) {
      const value = this.#engine.lookup(holder, field.name)
      if (value === undefined && field.isOptional) continue
      const type = head.part(field.type)
      const problem = this.problem(type, value)
      if (problem === undefined) continue
      if (value !== undefined) return inside(field.name, problem)
      const expected = showType(type.node)
      return { path: [field.name], expected, got: 'nil', constraint: 'required', text: 'required field missing' }
    }
    return undefined
  }

  #pairs(
    head: Type,
    rest: { key: TypeNode; value: TypeNode },
    table: LuaTable,
    fields: ReadonlySet<string> | undefined,
  ): Problem | undefined {
    const pairs: [LuaValue, LuaValue][] = []
    this.#engine.each(table, (key, value) => {
      if (value !== undefined && !(typeof key === 'string' && fields?.has(key))) pairs.push([key, value])
    })
    const keyType = head.part(rest.key)
    const valueType = head.part(rest.value)
    return first(pairs, ([key, value]) => {
      const ofKey = this.problem(keyType, key)
      if (ofKey !== undefined)
        return { ...ofKey, path: [], constraint: 'key', text: `key ${this.#keyText(key)}: ${ofKey.text}` }
      const ofValue = this.problem(valueType, value)
      return ofValue === undefined ? undefined : inside(this.#keyText(key), ofValue)
    })
  }

  #keyText(key: LuaValue): string {
    if (typeof key === 'string') return key.length > 100 ? `${key.slice(0, 97)}...` : key
    if (isNumber(key)) return digitsOf(key)
    return typeof key === 'boolean' ? String(key) : this.#engine.typeOf(key)
  }

  #key(of: Type, value: LuaValue): Problem | undefined {
    const fields = fieldsOf(of)
    if (fields.size === 0 || (typeof value === 'string' && fields.has(value))) return undefined
    return this.#mismatch(`keyof(${showType(of.node)})`, value)
  }

  #validate(set: TypeSet, check: Check, value: LuaValue): Problem | undefined {
    const [limit] = check.args
    switch (check.name) {
      case 'min':
      case 'max': {
        const number = isNumber(value) ? toNumber(value) : undefined
        if (number === undefined || typeof limit !== 'number') return undefined
        if (check.name === 'min' ? number >= limit : number <= limit) return undefined
        const rule = Number.isNaN(number)
          ? `outside the ${check.name}`
          : check.name === 'min'
            ? 'below the min'
            : 'above the max'
        return violation(check, numberText(number), `${numberText(number)} is ${rule} of ${numberText(limit)}`)
      }
      case 'min_len':
      case 'max_len': {
        const length = this.#lengthOf(value)
        if (length === undefined || typeof limit !== 'number') return undefined
        if (check.name === 'min_len' ? length >= limit : length <= limit) return undefined
        return violation(
          check,
          String(length),
          `length ${length} is ${check.name === 'min_len' ? `below ${limit}` : `above ${limit}`}`,
        )
      }
      case 'pattern':
        if (
          typeof value !== 'string' ||
          typeof limit !== 'string' ||
          set.pattern(check, limit).matcher(toText(value)).find()
        )
          return undefined
        return violation(
          check,
          showString(value),
          `${showString(value)} does not match the pattern ${showString(limit)}`,
        )
      default:
        return undefined
    }
  }

  #lengthOf(value: LuaValue): number | undefined {
    if (typeof value === 'string') return value.length
    return this.#engine.typeOf(value) === 'table' ? this.#engine.length(value as LuaTable) : undefined
  }
}

function violation({ name, args }: Check, got: string, text: string): Problem {
  const shown = args.map((arg) => (typeof arg === 'string' ? showString(arg) : String(arg))).join(', ')
  return { path: [], expected: `@${name}(${shown})`, got, constraint: name, text }
}

function inside(key: string, problem: Problem): Problem {
  return { ...problem, path: [key, ...problem.path] }
}

function first<T>(items: readonly T[], problemOf: (item: T) => Problem | undefined): Problem | undefined {
  for (const item of items) {
    const problem = problemOf(item)
    if (problem !== undefined) return problem
  }
  return undefined
}

function isEqual(literal: string | number | boolean, value: LuaValue): boolean {
  if (value instanceof Float) return value.value === literal
  return value === literal
}

/** As Lua writes it. */
function digitsOf(value: number | bigint | Float): string {
  if (typeof value === 'bigint') return String(value)
  return numberText(value instanceof Float ? value.value : value)
}
