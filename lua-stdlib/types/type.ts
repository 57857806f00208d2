// Types as they are when a program runs: what was written, and where, so that names and parameters mean something. Types are never changed
// once they are made, and equal ones (same text, same arguments) are one object: recursive types can be compared and remembered.

import { RE2JS } from 're2js'
import { toText } from '../../runtime/base/bytes.ts'
import type { Check, TypeDeclaration, TypeNode } from '../../runtime/base/type-node.ts'
import { type Engine, HostObject, type LuaFunction, type LuaTable, type LuaValue } from '../../runtime/lua/engine.ts'
import { showString } from './show.ts'

/** How many names may stand for one another. */
const NAMES_MAX = 100
/** How many instances of its generic types a chunk may need: types can grow with each level of the data. */
const INSTANCES_MAX = 10_000

const ANY: TypeNode = { kind: 'named', name: 'any', args: [], target: undefined }

/** A type that cannot be used. The message is for the script. */
export class TypeFault extends Error {}

/** The declared types of a chunk. */
export class TypeSet {
  readonly engine: Engine
  readonly declarations: readonly TypeDeclaration[]
  /** The values of the variables that each declaration refers to, once it was reached. */
  readonly variables: (readonly LuaValue[] | undefined)[] = []
  /** What scripts call as methods of a type, by name; made at the first use. */
  readonly methods = new Map<string, LuaFunction>()
  readonly #patterns = new Map<Check, RE2JS>()
  readonly #instances: Instances[] = []
  #instanceCount = 0

  constructor(engine: Engine, declarations: readonly TypeDeclaration[]) {
    this.engine = engine
    this.declarations = declarations
  }

  /** A validator's regular expression, compiled once. @throws TypeFault */
  pattern(check: Check, text: string): RE2JS {
    let compiled = this.#patterns.get(check)
    if (compiled === undefined) {
      try {
        compiled = RE2JS.compile(toText(text))
      } catch {
        throw new TypeFault(`the pattern ${showString(text)} is no regular expression`)
      }
      this.#patterns.set(check, compiled)
    }
    return compiled
  }

  /** The declared type with these arguments. @throws TypeFault */
  type(index: number, args: readonly Type[]): Type {
    const declaration = this.declarations[index] as TypeDeclaration
    this.#instances[index] ??= new Instances()
    let at = this.#instances[index] as Instances
    for (let i = 0; i < Math.min(declaration.params.length, args.length); i++) {
      const arg = args[i] as Type
      let next = at.by.get(arg)
      if (next === undefined) {
        next = new Instances()
        at.by.set(arg, next)
      }
      at = next
    }
    if (at.type === undefined) {
      if (++this.#instanceCount > INSTANCES_MAX) throw new TypeFault(`type ${declaration.name} grows without end`)
      at.type = new Scope(this, index, args).part(declaration.type, declaration.name)
    }
    return at.type
  }
}

/** The instances of a generic type, by their arguments one after the other. */
class Instances {
  readonly by = new Map<Type, Instances>()
  type: Type | undefined
}

/** A declaration with its arguments: what the names in it mean. */
class Scope {
  readonly set: TypeSet
  readonly index: number
  readonly args: readonly Type[]
  readonly #parts = new Map<TypeNode, Type>()

  constructor(set: TypeSet, index: number, args: readonly Type[]) {
    this.set = set
    this.index = index
    this.args = args
  }

  get declaration(): TypeDeclaration {
    return this.set.declarations[this.index] as TypeDeclaration
  }

  /** @param name what a whole declaration is called */
  part(node: TypeNode, name?: string): Type {
    let type = this.#parts.get(node)
    if (type === undefined) {
      type = new Type(this, node, name)
      this.#parts.set(node, type)
    }
    return type
  }
}

export class Type {
  readonly scope: Scope
  readonly node: TypeNode
  /** Of a declaration as a whole. */
  readonly name: string | undefined
  #object: TypeObject | undefined

  constructor(scope: Scope, node: TypeNode, name: string | undefined) {
    this.scope = scope
    this.node = node
    this.name = name
  }

  part(node: TypeNode): Type {
    return this.scope.part(node)
  }

  /** The value that scripts hold for it. */
  get object(): TypeObject {
    this.#object ??= new TypeObject(this)
    return this.#object
  }

  /** What the type is in the end: not a name, unless a well-known or an unknown one. @throws TypeFault */
  get head(): Type {
    let type: Type = this
    for (let names = 0; names < NAMES_MAX; names++) {
      const next = type.#next()
      if (next === undefined) return type
      type = next
    }
    throw new TypeFault(`type ${this.name ?? (this.node.kind === 'named' ? this.node.name : '')} refers to itself only`)
  }

  #next(): Type | undefined {
    const { node, scope } = this
    if (node.kind !== 'named' || node.target === undefined) return undefined
    const { target } = node
    switch (target.kind) {
      case 'declaration':
        return scope.set.type(target.index, this.#args())
      case 'parameter': {
        const bound = scope.declaration.params[target.index]?.bound
        return scope.args[target.index] ?? scope.part(bound ?? ANY)
      }
      case 'variable': {
        const value = this.#variable(target.slot, target.field)
        if (!(value instanceof TypeObject)) return scope.part(ANY)
        const { type } = value
        const isGeneric = node.args.length > 0 && type.name !== undefined
        return isGeneric ? type.scope.set.type(type.scope.index, this.#args()) : type
      }
    }
  }

  #args(): Type[] {
    return this.node.kind === 'named' ? this.node.args.map((arg) => this.#arg(arg)) : []
  }

  /** A parameter is passed on as what it stands for: the same arguments must be the same objects at every level. */
  #arg(node: TypeNode): Type {
    const isParameter = node.kind === 'named' && node.target?.kind === 'parameter'
    return (isParameter ? this.part(node).#next() : undefined) ?? this.part(node)
  }

  #variable(slot: number, field: string | undefined): LuaValue {
    const { set, index } = this.scope
    const value = set.variables[index]?.[slot]
    if (field === undefined || set.engine.typeOf(value) !== 'table') return value
    return set.engine.lookup(value as LuaTable, field)
  }
}

/** A type as a value of a script. */
export class TypeObject extends HostObject {
  readonly type: Type
  /** `Name.is`, which knows its type also when it is called without it. */
  is: LuaFunction | undefined
  constructor(type: Type) {
    super()
    this.type = type
  }
  override get className(): string {
    return 'Type'
  }
}
