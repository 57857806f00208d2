// Whether every value of one type has another (lua-core.md §3.3, layer 3). Recursive types are related if nothing speaks against it.

import type { TypeNode } from '../../runtime/base/type-node.ts'
import { isSelective } from './basic.ts'
import { fieldsOf } from './record.ts'
import { type Type, TypeFault } from './type.ts'

const LEVELS_MAX = 200
const STEPS_MAX = 100_000

type Node<K extends TypeNode['kind']> = Extract<TypeNode, { kind: K }>

/** @throws TypeFault for types that cannot be compared */
export function isSubtype(type: Type, of: Type): boolean {
  return new Relating().isSubtype(type, of)
}

class Relating {
  readonly #assumed = new Map<Type, Set<Type>>()
  /** What was assumed, in order: it rests on what stands before it. */
  readonly #trail: { assumed: Set<Type>; of: Type }[] = []
  #steps = 0
  #level = 0

  isSubtype(type: Type, of: Type): boolean {
    const a = type.head
    const b = of.head
    if (a === b) return true
    const assumed = this.#assumed.get(a) ?? new Set()
    if (assumed.has(b)) return true
    if (++this.#steps > STEPS_MAX || this.#level > LEVELS_MAX)
      throw new TypeFault('the types are too intricate to be compared')
    this.#assumed.set(a, assumed.add(b))
    const trailLength = this.#trail.push({ assumed, of: b }) - 1
    this.#level++
    const answer = this.#compare(a, b)
    this.#level--
    if (!answer) for (const { assumed, of } of this.#trail.splice(trailLength)) assumed.delete(of)
    return answer
  }

  #compare(a: Type, b: Type): boolean {
    const { node } = a
    const { node: wanted } = b
    if (acceptsAll(wanted) || (node.kind === 'named' && node.name === 'never')) return true
    if (node.kind === 'union') return node.of.every((part) => this.isSubtype(a.part(part), b))
    if (node.kind === 'optional') return this.isSubtype(a.part(NIL), b) && this.isSubtype(a.part(node.of), b)
    if (wanted.kind === 'intersection') return wanted.of.every((part) => this.isSubtype(a, b.part(part)))
    if (wanted.kind === 'union') return wanted.of.some((part) => this.isSubtype(a, b.part(part)))
    if (wanted.kind === 'optional') return this.isSubtype(a, b.part(NIL)) || this.isSubtype(a, b.part(wanted.of))
    if (node.kind === 'checked') {
      if (wanted.kind !== 'checked') return this.isSubtype(a.part(node.of), b)
      const isSame = JSON.stringify(node.check) === JSON.stringify(wanted.check)
      return isSame && this.isSubtype(a.part(node.of), b.part(wanted.of))
    }
    if (wanted.kind === 'record') return this.#hasFields(a, b, wanted)
    if (node.kind === 'intersection') return node.of.some((part) => this.isSubtype(a.part(part), b))
    return this.#shapes(a, b)
  }

  #shapes(a: Type, b: Type): boolean {
    const { node } = a
    const { node: wanted } = b
    if (wanted.kind === 'named') return isKindOf(node, wanted.name)
    if (node.kind === 'literal' && wanted.kind === 'literal') return node.value === wanted.value
    if (node.kind === 'array' && wanted.kind === 'array') return this.isSubtype(a.part(node.of), b.part(wanted.of))
    if (node.kind === 'map' && wanted.kind === 'map') {
      return (
        this.isSubtype(a.part(node.key), b.part(wanted.key)) && this.isSubtype(a.part(node.value), b.part(wanted.value))
      )
    }
    if (node.kind === 'function' && wanted.kind === 'function') return this.#functions(a, node, b, wanted)
    return false
  }

  #hasFields(a: Type, b: Type, wanted: Node<'record'>): boolean {
    if (a.node.kind !== 'record' && a.node.kind !== 'intersection') return false
    const fields = fieldsOf(a)
    return wanted.fields.every(({ name, isOptional, type }) => {
      const field = fields.get(name)
      if (field === undefined) return isOptional
      return (isOptional || !field.isOptional) && this.isSubtype(field.type, b.part(type))
    })
  }

  /** What takes more and gives less serves. */
  #functions(a: Type, node: Node<'function'>, b: Type, wanted: Node<'function'>): boolean {
    const takes = node.params.every(({ type }, i) => {
      const given = wanted.params[i]
      return given === undefined || this.isSubtype(b.part(given.type), a.part(type))
    })
    return (
      takes &&
      wanted.returns.every((result, i) => {
        const own = node.returns[i]
        return own !== undefined && this.isSubtype(a.part(own), b.part(result))
      })
    )
  }
}

const NIL: TypeNode = { kind: 'named', name: 'nil', args: [], target: undefined }

const acceptsAll = (node: TypeNode): boolean =>
  node.kind === 'opaque' || (node.kind === 'named' && !isSelective(node.name))

/** Whether what the node describes has the well-known type. */
function isKindOf(node: TypeNode, name: string): boolean {
  switch (node.kind) {
    case 'named':
      return (
        node.name === name ||
        (node.name === 'integer' && name === 'number') ||
        (node.name === 'error' && name === 'userdata')
      )
    case 'literal':
      return typeof node.value === name || (name === 'integer' && Number.isInteger(node.value))
    case 'array':
    case 'map':
    case 'record':
      return name === 'table'
    case 'function':
      return name === 'function'
    case 'keyof':
      return name === 'string'
    default:
      return false
  }
}
