// Types as scripts hold them: calling one checks a value, its methods check and describe (lua-core.md §3.3).

import { toBytes } from '../../runtime/base/bytes.ts'
import { ErrorValue, record } from '../../runtime/base/value.ts'
import {
  type Call,
  ErrorObject,
  type HostClass,
  type HostFunction,
  type LuaTable,
  type LuaValue,
  Raise,
  type Returns,
} from '../../runtime/lua/engine.ts'
import { objectArg, raise } from '../support/args.ts'
import { Checking, problemText } from './check.ts'
import { fieldsOf } from './record.ts'
import { isSubtype } from './relate.ts'
import { showType } from './show.ts'
import { type Type, TypeFault, TypeObject } from './type.ts'

const self = (call: Call, fn: string): TypeObject => objectArg(call, 1, fn, TypeObject, 'Type')

/** What is wrong with the value, as an error of kind Invalid. */
function problemOf(call: Call, type: Type, value: LuaValue): ErrorObject | undefined {
  const where = call.where()
  const stack = where === '' ? '' : `\t${where}`
  try {
    const problem = new Checking(call.engine).problem(type, value)
    if (problem === undefined) return undefined
    const { path, expected, got, constraint } = problem
    const details = record({ field: path.join('.'), expected, got, constraint })
    return new ErrorObject(new ErrorValue('Invalid', problemText(problem), false, details, stack))
  } catch (error) {
    if (!(error instanceof TypeFault)) throw error
    return new ErrorObject(new ErrorValue('Invalid', error.message, false, undefined, stack))
  }
}

/** Also called as `Name.is(value)`. */
function is(call: Call, object: TypeObject): Returns {
  const value = call.arg(1) === object ? call.arg(2) : call.arg(1)
  const problem = problemOf(call, object.type, value)
  return problem === undefined ? [value, undefined] : [undefined, problem]
}

function cast(call: Call): Returns {
  const value = call.arg(2)
  const problem = problemOf(call, self(call, 'call').type, value)
  if (problem !== undefined) throw new Raise(problem)
  return [value]
}

/** Raises where a type cannot be looked into. */
function describing<T>(describe: () => T): T {
  try {
    return describe()
  } catch (error) {
    if (error instanceof TypeFault) return raise(error.message)
    throw error
  }
}

function headOf(call: Call, fn: string): Type {
  const { type } = self(call, fn)
  return describing(() => type.head)
}

function list(call: Call, values: readonly LuaValue[]): LuaTable {
  const table = call.engine.newTable()
  for (const [i, value] of values.entries()) call.engine.set(table, i + 1, value)
  return table
}

function kind(call: Call): Returns {
  const { scope, node, name } = headOf(call, 'kind')
  if (name !== undefined && scope.declaration.isInterface) return 'interface'
  return node.kind === 'named' ? node.name : node.kind
}

function fields(call: Call): Returns {
  const { type } = self(call, 'fields')
  const shown = describing(() => [...fieldsOf(type).values()])
  return list(
    call,
    shown.map((field) => {
      const table = call.engine.newTable()
      call.engine.set(table, 'name', field.name)
      call.engine.set(table, 'type', field.type.object)
      call.engine.set(table, 'optional', field.isOptional)
      call.engine.set(table, 'readonly', field.isReadonly)
      return table
    }),
  )
}

/** The type that a part of the node is, or nil. */
function part(fn: string, choose: (node: Type['node']) => Type['node'] | undefined): HostFunction {
  return (call) => {
    const head = headOf(call, fn)
    const node = choose(head.node)
    return [node === undefined ? undefined : head.part(node).object]
  }
}

function variants(call: Call): Returns {
  const head = headOf(call, 'variants')
  const { node } = head
  const parts = node.kind === 'union' || node.kind === 'intersection' ? node.of : []
  return list(
    call,
    parts.map((variant) => head.part(variant).object),
  )
}

function params(call: Call): Returns {
  const head = headOf(call, 'params')
  const { node } = head
  return list(call, node.kind === 'function' ? node.params.map(({ type }) => head.part(type).object) : [])
}

/** One type for each result. */
function ret(call: Call): Returns {
  const head = headOf(call, 'ret')
  const { node } = head
  return node.kind === 'function' && node.returns.length > 0
    ? node.returns.map((result) => head.part(result).object)
    : [undefined]
}

const nameOf = ({ name, node }: Type): string => name ?? showType(node)

const METHODS: Readonly<Record<string, HostFunction>> = {
  kind,
  name: (call) => nameOf(self(call, 'name').type),
  fields,
  variants,
  elem: part('elem', (node) => (node.kind === 'array' ? node.of : undefined)),
  key: part('key', (node) => (node.kind === 'map' ? node.key : node.kind === 'record' ? node.rest?.key : undefined)),
  val: part('val', (node) =>
    node.kind === 'map' ? node.value : node.kind === 'record' ? node.rest?.value : undefined,
  ),
  inner: part('inner', (node) => (node.kind === 'optional' || node.kind === 'checked' ? node.of : undefined)),
  params,
  ret,
}

function index(call: Call): Returns {
  const object = self(call, 'index')
  const key = call.arg(2)
  if (key === 'is') {
    object.is ??= call.engine.function('is', (inner) => is(inner, object))
    return object.is
  }
  if (typeof key !== 'string' || !Object.hasOwn(METHODS, key)) return [undefined]
  const { methods } = object.type.scope.set
  let method = methods.get(key)
  if (method === undefined) {
    method = call.engine.function(key, METHODS[key] as HostFunction)
    methods.set(key, method)
  }
  return method
}

function compare(call: Call, holds: (a: Type, b: Type) => boolean): boolean {
  const a = call.arg(1)
  const b = call.arg(2)
  if (!(a instanceof TypeObject) || !(b instanceof TypeObject))
    return raise('attempt to compare a type with something else')
  return describing(() => holds(a.type, b.type))
}

export const typeClass: HostClass = {
  name: 'Type',
  methods: METHODS,
  metamethods: {
    index,
    call: cast,
    tostring: (call) => nameOf(self(call, 'tostring').type),
    eq: (call) => {
      const a = call.arg(1)
      const b = call.arg(2)
      if (!(a instanceof TypeObject) || !(b instanceof TypeObject)) return false
      return describing(() => isSubtype(a.type, b.type) && isSubtype(b.type, a.type))
    },
    lt: (call) => compare(call, (a, b) => isSubtype(a, b) && !isSubtype(b, a)),
    le: (call) => compare(call, isSubtype),
  },
}

/** `string(v)` and the like: the value, if it has the type. @param at which argument it is */
export function basicCast(name: string, at: number, has: (call: Call, value: LuaValue) => boolean): HostFunction {
  return (call) => {
    const value = call.arg(at)
    if (has(call, value)) return [value]
    const got = call.type(at)
    return raise(toBytes(`expected ${name}, got ${got === 'none' ? 'nil' : got}`))
  }
}
