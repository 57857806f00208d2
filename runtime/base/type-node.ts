// What a script says about a type, as data: made from the text of a chunk, read by the library that checks values (lua-core.md §3).

/** Strings are byte strings. `text` is how the type was written, on one line. */
export type TypeNode =
  | NamedType
  | { readonly kind: 'literal'; readonly value: string | number | boolean }
  | { readonly kind: 'optional'; readonly of: TypeNode }
  | { readonly kind: 'union' | 'intersection'; readonly of: readonly TypeNode[] }
  | { readonly kind: 'array'; readonly of: TypeNode }
  | { readonly kind: 'map'; readonly key: TypeNode; readonly value: TypeNode }
  | RecordType
  | FunctionType
  | { readonly kind: 'keyof'; readonly of: TypeNode }
  | { readonly kind: 'indexed'; readonly of: TypeNode; readonly key: TypeNode }
  | { readonly kind: 'checked'; readonly of: TypeNode; readonly check: Check }
  /** typeof, conditional types, assertions: nothing is known of them when a program runs. */
  | { readonly kind: 'opaque'; readonly text: string }

/** A name, in the last instance a well-known or an unknown one. */
export interface NamedType {
  readonly kind: 'named'
  /** `Job` or `lib.Job`. */
  readonly name: string
  readonly args: readonly TypeNode[]
  /** Set once the whole chunk is known. */
  target: TypeTarget | undefined
}

type TypeTarget =
  /** The declaration with this index among those of the chunk. */
  | { readonly kind: 'declaration'; readonly index: number }
  /** A parameter of the declaration in which the name stands. */
  | { readonly kind: 'parameter'; readonly index: number }
  /** What a variable of the script held where the declaration stands, or one of its fields. */
  | { readonly kind: 'variable'; readonly slot: number; readonly field: string | undefined }

export interface RecordType {
  readonly kind: 'record'
  readonly fields: readonly RecordField[]
  /** `[K]: V` beside the fields. */
  readonly rest: { readonly key: TypeNode; readonly value: TypeNode } | undefined
  readonly isReadonly: boolean
}

export interface RecordField {
  readonly name: string
  readonly isOptional: boolean
  readonly isReadonly: boolean
  readonly type: TypeNode
}

export interface FunctionType {
  readonly kind: 'function'
  readonly params: readonly { readonly name: string | undefined; readonly isRest: boolean; readonly type: TypeNode }[]
  readonly returns: readonly TypeNode[]
}

/** A validator: `@min(3)` has the name `min` and the arguments `[3]`. */
export interface Check {
  readonly name: string
  readonly args: readonly (string | number | boolean)[]
}

/** `type Name<params> = type`, or an interface. */
export interface TypeDeclaration {
  readonly name: string
  /** Under which a chunk finds its value: unique among its declarations. */
  readonly key: string
  readonly params: readonly { readonly name: string; readonly bound: TypeNode | undefined }[]
  readonly type: TypeNode
  readonly isInterface: boolean
  /** How many variables of the script it refers to. */
  readonly slotCount: number
}

/** The declarations of a chunk whose values the chunk uses, and what these refer to. */
export interface ChunkTypes {
  /** The global under which the chunk expects the table of their values. */
  readonly global: string
  readonly declarations: readonly TypeDeclaration[]
}
