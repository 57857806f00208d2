// Which names mean a declared type. A name in a type finds a declaration anywhere in the blocks around it, later ones too; a name in an
// expression finds what was declared before it, as any local variable (lua-core.md §3.3).

import type { ChunkTypes, NamedType, TypeDeclaration, TypeNode } from '../../base/type-node.ts'

const WELL_KNOWN = new Set(
  'number integer string boolean table function thread userdata any unknown never nil error'.split(' '),
)

interface Block {
  readonly parent: Block | undefined
  /** How long the log of bindings was when the block began. */
  readonly logged: number
  readonly types: Map<string, Declared>
}

/** A declaration while the chunk is read. */
export interface Declared {
  readonly name: string
  readonly params: TypeDeclaration['params']
  readonly type: TypeNode
  readonly isInterface: boolean
  readonly named: readonly NamedType[]
  readonly block: Block
  /** The names in `named` that were local variables there. */
  readonly variables: ReadonlySet<string>
  /** The variables whose values it needs, by slot. */
  readonly slots: string[]
  isUsed: boolean
  /** Set for those that are used, directly or not. */
  key: string | undefined
}

export class Scopes {
  #block: Block = { parent: undefined, logged: 0, types: new Map() }
  readonly #bindings = new Map<string, Declared | 'variable' | undefined>()
  readonly #log: { name: string; before: Declared | 'variable' | undefined }[] = []
  readonly #declared: Declared[] = []

  open(): void {
    this.#block = { parent: this.#block, logged: this.#log.length, types: new Map() }
  }

  close(): void {
    while (this.#log.length > this.#block.logged) {
      const { name, before } = this.#log.pop() as { name: string; before: Declared | 'variable' | undefined }
      this.#bindings.set(name, before)
    }
    this.#block = this.#block.parent as Block
  }

  variable(name: string): void {
    this.#bind(name, 'variable')
  }

  /** A variable that the script made itself keeps its name: types must not change what a program does. */
  declare(declaration: Pick<Declared, 'name' | 'params' | 'type' | 'isInterface' | 'named'>): Declared {
    const { name, named } = declaration
    const variables = new Set<string>()
    for (const node of named) {
      const root = rootOf(node.name)
      if (this.#bindings.get(root) === 'variable') variables.add(root)
    }
    const declared = { ...declaration, block: this.#block, variables, slots: [], isUsed: false, key: undefined }
    this.#declared.push(declared)
    this.#block.types.set(name, declared)
    if (this.#bindings.get(name) !== 'variable') this.#bind(name, declared)
    return declared
  }

  #bind(name: string, binding: Declared | 'variable'): void {
    this.#log.push({ name, before: this.#bindings.get(name) })
    this.#bindings.set(name, binding)
  }

  /** The declaration that an expression means by the name. */
  used(name: string): Declared | undefined {
    const binding = this.#bindings.get(name)
    if (typeof binding !== 'object') return undefined
    binding.isUsed = true
    return binding
  }

  /** The declarations whose values are needed, their names resolved; undefined when there are none. */
  finish(global: string): ChunkTypes | undefined {
    const needed = this.#declared.filter(({ isUsed }) => isUsed)
    const indexes = new Map(needed.map((declared, index) => [declared, index]))
    const add = (declared: Declared): number => {
      const known = indexes.get(declared)
      if (known !== undefined) return known
      indexes.set(declared, needed.length)
      return needed.push(declared) - 1
    }
    // The list grows while it is walked.
    for (const declared of needed) for (const node of declared.named) resolve(node, declared, add)
    if (needed.length === 0) return undefined
    const declarations = needed.map((declared, index): TypeDeclaration => {
      const { name, params, type, isInterface, slots } = declared
      declared.key = `${name}_${index + 1}`
      return { name, key: declared.key, params, type, isInterface, slotCount: slots.length }
    })
    return { global, declarations }
  }
}

const rootOf = (name: string): string => name.split('.', 1)[0] as string

function resolve(node: NamedType, declared: Declared, add: (declared: Declared) => number): void {
  const { name } = node
  const dot = name.indexOf('.')
  const root = rootOf(name)
  if (dot < 0) {
    const parameter = declared.params.findIndex((param) => param.name === name)
    if (parameter >= 0) {
      node.target = { kind: 'parameter', index: parameter }
      return
    }
    const found = declarationOf(name, declared.block)
    if (found !== undefined) {
      node.target = { kind: 'declaration', index: add(found) }
      return
    }
    if (WELL_KNOWN.has(name) || !declared.variables.has(name)) return
  }
  let slot = declared.slots.indexOf(root)
  if (slot < 0) slot = declared.slots.push(root) - 1
  node.target = { kind: 'variable', slot, field: dot < 0 ? undefined : name.slice(dot + 1) }
}

function declarationOf(name: string, from: Block): Declared | undefined {
  for (let block: Block | undefined = from; block !== undefined; block = block.parent) {
    const found = block.types.get(name)
    if (found !== undefined) return found
  }
  return undefined
}

/** A global name for the table of types that the chunk does not use for something else. */
export function freeName(source: string): string {
  const longest = (source.match(/_TYPES_*/g) ?? []).reduce((length, name) => Math.max(length, name.length), 5)
  return '_TYPES'.padEnd(longest + 1, '_')
}
