// What the parser makes of a chunk, names resolved.

import type { Num } from './number.ts'

export interface LocalVariable {
  readonly name: string
  /** Whether an inner function holds it too. Known once its function has been read. */
  isCaptured: boolean
  /** Given by the compiler. */
  register: number
}

interface UpvalueNode {
  readonly name: string
  /** A variable of the function around; undefined: an upvalue of it. */
  readonly local: LocalVariable | undefined
  readonly index: number
}

export interface FunctionNode {
  readonly parameters: LocalVariable[]
  isVararg: boolean
  readonly upvalues: UpvalueNode[]
  body: Statement[]
  readonly line: number
  endLine: number
}

export type Binary =
  | '+'
  | '-'
  | '*'
  | '%'
  | '^'
  | '/'
  | '//'
  | '&'
  | '|'
  | '~'
  | '<<'
  | '>>'
  | '..'
  | '=='
  | '~='
  | '<'
  | '<='
  | '>'
  | '>='

export interface ConstantNode {
  readonly kind: 'constant'
  /** Of a declared type that is a value: known when the chunk has been read. */
  value: string | Num
  readonly line: number
}

export type Expression =
  | { readonly kind: 'nil' | 'true' | 'false' | 'vararg'; readonly line: number }
  | ConstantNode
  | { readonly kind: 'function'; readonly fn: FunctionNode; readonly line: number }
  | { readonly kind: 'local'; readonly variable: LocalVariable; readonly line: number }
  | { readonly kind: 'upvalue'; readonly index: number; readonly name: string; readonly line: number }
  | IndexNode
  | CallNode
  | { readonly kind: 'and' | 'or'; readonly a: Expression; readonly b: Expression; readonly line: number }
  | {
      readonly kind: 'binary'
      readonly operator: Binary
      readonly a: Expression
      readonly b: Expression
      readonly line: number
    }
  | {
      readonly kind: 'unary'
      readonly operator: 'not' | '-' | '#' | '~'
      readonly a: Expression
      readonly line: number
    }
  | TableNode
  | { readonly kind: 'paren'; readonly a: Expression; readonly line: number }

export interface IndexNode {
  readonly kind: 'index'
  readonly object: Expression
  readonly key: Expression
  readonly line: number
}

export interface CallNode {
  readonly kind: 'call'
  readonly fn: Expression
  /** Set for `fn:method(…)`. */
  readonly method: string | undefined
  readonly args: Expression[]
  readonly line: number
}

export interface TableNode {
  readonly kind: 'table'
  /** Without a key: of the list. */
  readonly items: { readonly key: Expression | undefined; readonly value: Expression }[]
  readonly line: number
}

export type Statement =
  | {
      readonly kind: 'local'
      readonly variables: LocalVariable[]
      readonly values: Expression[]
      readonly line: number
    }
  | {
      readonly kind: 'localFunction'
      readonly variable: LocalVariable
      readonly fn: FunctionNode
      readonly line: number
    }
  | { readonly kind: 'assign'; readonly targets: Expression[]; readonly values: Expression[]; readonly line: number }
  | { readonly kind: 'call'; readonly call: CallNode; readonly line: number }
  | { readonly kind: 'do'; readonly body: Statement[]; readonly line: number }
  | { readonly kind: 'while'; readonly condition: Expression; readonly body: Statement[]; readonly line: number }
  | { readonly kind: 'repeat'; readonly body: Statement[]; readonly condition: Expression; readonly line: number }
  | {
      readonly kind: 'if'
      readonly branches: { readonly condition: Expression; readonly body: Statement[] }[]
      readonly otherwise: Statement[] | undefined
      readonly line: number
    }
  | {
      readonly kind: 'numericFor'
      readonly variable: LocalVariable
      readonly from: Expression
      readonly to: Expression
      readonly step: Expression | undefined
      readonly body: Statement[]
      /** Of the values: of `do`. */
      readonly doLine: number
      readonly line: number
    }
  | {
      readonly kind: 'genericFor'
      readonly variables: LocalVariable[]
      readonly values: Expression[]
      readonly body: Statement[]
      readonly line: number
    }
  | { readonly kind: 'return'; readonly values: Expression[]; readonly line: number }
  | { readonly kind: 'break'; readonly line: number }
  | { readonly kind: 'goto'; readonly label: string; readonly line: number }
  | { readonly kind: 'label'; readonly label: string; readonly line: number }
