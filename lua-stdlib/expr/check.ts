// What can be known of an expression before it runs: names that the environment does not have, operators whose sides never fit.

import { builtins } from './builtins.ts'
import { ExprError, place } from './lexer.ts'
import type { Node } from './parser.ts'
import { type ExprMap, type TypeName, typeName } from './values.ts'

/** A type, or nothing that is known. */
type Known = TypeName | 'any'

interface Scope {
  /** Absent: every name may be there. */
  readonly env: ExprMap | undefined
  readonly names: ReadonlyMap<string, Known>
}

/** @param env names and types to check against; undefined: only literals are known. @throws ExprError */
export function checkExpr(node: Node, env: ExprMap | undefined): void {
  typeOf(node, { env, names: new Map() })
}

const isNumeric = (type: Known): boolean => type === 'any' || type === 'int' || type === 'float'
const fits = (type: Known, ...wanted: readonly TypeName[]): boolean =>
  type === 'any' || wanted.includes(type as TypeName)

function typeOf(node: Node, scope: Scope): Known {
  switch (node.kind) {
    case 'integer':
      return 'int'
    case 'float':
      return 'float'
    case 'string':
      return 'string'
    case 'boolean':
      return 'bool'
    case 'nil':
      return 'nil'
    case 'item':
      return 'any'
    case 'name':
      return nameType(node, scope)
    case 'array':
      for (const item of node.items) typeOf(item, scope)
      return 'array'
    case 'map':
      for (const { key, value } of node.pairs) {
        typeOf(key, scope)
        typeOf(value, scope)
      }
      return 'map'
    case 'unary':
      return unaryType(node, typeOf(node.operand, scope))
    case 'binary':
      return binaryType(node, typeOf(node.left, scope), typeOf(node.right, scope))
    case 'condition': {
      const test = typeOf(node.test, scope)
      if (node.test !== node.yes && !fits(test, 'bool')) mismatch('?:', test, 'bool', 0)
      const yes = node.test === node.yes ? test : typeOf(node.yes, scope)
      const no = typeOf(node.no, scope)
      return yes === no ? yes : 'any'
    }
    case 'member':
      typeOf(node.key, scope)
      return memberType(node, typeOf(node.of, scope))
    case 'slice': {
      if (node.from !== undefined) typeOf(node.from, scope)
      if (node.to !== undefined) typeOf(node.to, scope)
      return typeOf(node.of, scope)
    }
    case 'call': {
      const builtin = builtins.get(node.fn)
      if (builtin === undefined) throw new ExprError(`unknown function ${node.fn} at ${place(node.at)}`)
      const { argsMin, argsMax } = builtin
      if (node.args.length < argsMin || node.args.length > argsMax) {
        const wanted = argsMin === argsMax ? `${argsMin}` : `${argsMin} to ${argsMax}`
        throw new ExprError(`${node.fn} takes ${wanted} arguments, not ${node.args.length}, at ${place(node.at)}`)
      }
      for (const arg of node.args) typeOf(arg, scope)
      return 'any'
    }
    case 'closure':
      typeOf(node.body, scope)
      return 'any'
    case 'let': {
      const names = new Map(scope.names).set(node.name, typeOf(node.value, scope))
      return typeOf(node.body, { ...scope, names })
    }
  }
}

function nameType({ name, at }: Node & { kind: 'name' }, { env, names }: Scope): Known {
  const local = names.get(name)
  if (local !== undefined) return local
  if (env === undefined || name === '$env' || name.startsWith('#')) return 'any'
  if (!env.has(name)) throw new ExprError(`unknown name ${name} at ${place(at)}`)
  const type = typeName(env.get(name))
  return type === 'nil' ? 'any' : type
}

function unaryType({ operator, at }: Node & { kind: 'unary' }, operand: Known): Known {
  if (operator === 'not') {
    if (!fits(operand, 'bool')) mismatch('not', operand, 'bool', at)
    return 'bool'
  }
  if (!isNumeric(operand)) mismatch(operator, operand, 'number', at)
  return operand
}

function memberType({ at }: Node & { kind: 'member' }, of: Known): Known {
  if (!fits(of, 'array', 'map', 'string', 'nil')) {
    throw new ExprError(`type ${of} has no members at ${place(at)}`)
  }
  return 'any'
}

const COMPARISONS = new Set(['<', '>', '<=', '>='])
const TEXT_TESTS = new Set(['contains', 'startsWith', 'endsWith', 'matches'])

function binaryType({ operator, at }: Node & { kind: 'binary' }, left: Known, right: Known): Known {
  const refuse = (): never => {
    throw new ExprError(`invalid operation ${operator} (mismatched types ${left} and ${right}) at ${place(at)}`)
  }
  if (operator === '==' || operator === '!=') return 'bool'
  if (operator === 'and' || operator === '&&' || operator === 'or' || operator === '||') {
    return fits(left, 'bool') && fits(right, 'bool') ? 'bool' : refuse()
  }
  if (COMPARISONS.has(operator)) {
    const isOrdered = (isNumeric(left) && isNumeric(right)) || (fits(left, 'string') && fits(right, 'string'))
    return isOrdered ? 'bool' : refuse()
  }
  if (TEXT_TESTS.has(operator)) return fits(left, 'string') && fits(right, 'string') ? 'bool' : refuse()
  if (operator === 'in' || operator === 'not in') return fits(right, 'array', 'map', 'string') ? 'bool' : refuse()
  if (operator === '??') return left === right ? left : 'any'
  if (operator === '..') return fits(left, 'int') && fits(right, 'int') ? 'array' : refuse()
  if (operator === '+' && fits(left, 'string') && fits(right, 'string')) {
    return left === 'string' || right === 'string' ? 'string' : 'any'
  }
  if (operator === '%') return fits(left, 'int') && fits(right, 'int') ? 'int' : refuse()
  if (!isNumeric(left) || !isNumeric(right)) refuse()
  if (operator === '/' || operator === '**' || operator === '^') return 'float'
  return left === 'int' && right === 'int' ? 'int' : 'any'
}

function mismatch(operator: string, found: Known, wanted: string, at: number): never {
  throw new ExprError(`invalid operation ${operator} (expected ${wanted}, found ${found}) at ${place(at)}`)
}
