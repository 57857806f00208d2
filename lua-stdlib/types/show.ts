// Types as text, the way they are written, cut where they get long.

import type { TypeNode } from '../../runtime/base/type-node.ts'

const LENGTH_MAX = 120

export function showType(node: TypeNode): string {
  const writer = new Writer()
  writer.type(node, false)
  return writer.text.length > LENGTH_MAX ? `${writer.text.slice(0, LENGTH_MAX - 3)}...` : writer.text
}

/** A string in quotes, with what would not be seen escaped. */
export function showString(bytes: string): string {
  const shown = bytes.length > 40 ? `${bytes.slice(0, 37)}...` : bytes
  let escaped = ''
  for (const char of shown) {
    const code = char.charCodeAt(0)
    if (char === '"' || char === '\\') escaped += `\\${char}`
    else escaped += code < 32 || code === 127 ? `\\${code}` : char
  }
  return `"${escaped}"`
}

class Writer {
  text = ''

  /** @param isPart whether a type of several parts needs parentheses */
  type(node: TypeNode, isPart: boolean): void {
    // Types may be large, and nobody reads more of them.
    if (this.text.length > LENGTH_MAX) return
    switch (node.kind) {
      case 'named':
        this.text += node.name
        if (node.args.length > 0) this.#list('<', node.args, ', ', '>')
        return
      case 'literal':
        this.text += typeof node.value === 'string' ? showString(node.value) : String(node.value)
        return
      case 'optional':
        this.type(node.of, true)
        this.text += '?'
        return
      case 'union':
      case 'intersection':
        return this.#list(isPart ? '(' : '', node.of, node.kind === 'union' ? ' | ' : ' & ', isPart ? ')' : '')
      case 'array':
        return this.#list('{', [node.of], '', '}')
      case 'map':
        return this.#list('{[', [node.key, node.value], ']: ', '}')
      case 'record':
        this.text += node.isReadonly ? 'readonly {' : '{'
        for (const [i, { name, isOptional, isReadonly, type }] of node.fields.entries()) {
          if (this.text.length > LENGTH_MAX) return
          this.text += `${i > 0 ? ', ' : ''}${isReadonly ? 'readonly ' : ''}${name}${isOptional ? '?' : ''}: `
          this.type(type, false)
        }
        if (node.rest !== undefined) {
          this.#list(node.fields.length > 0 ? ', [' : '[', [node.rest.key, node.rest.value], ']: ', '')
        }
        this.text += '}'
        return
      case 'function':
        this.#list(
          isPart ? '((' : '(',
          node.params.map(({ type }) => type),
          ', ',
          ') -> ',
        )
        if (node.returns.length === 1) this.type(node.returns[0] as TypeNode, false)
        else this.#list('(', node.returns, ', ', ')')
        if (isPart) this.text += ')'
        return
      case 'keyof':
        return this.#list('keyof(', [node.of], '', ')')
      case 'indexed':
        this.type(node.of, true)
        return this.#list('[', [node.key], '', ']')
      case 'checked': {
        this.type(node.of, true)
        const { name, args } = node.check
        const shown = args.map((arg) => (typeof arg === 'string' ? showString(arg) : String(arg))).join(', ')
        this.text += ` @${name}${args.length > 0 ? `(${shown})` : ''}`
        return
      }
      case 'opaque':
        this.text += node.text
    }
  }

  #list(open: string, nodes: readonly TypeNode[], separator: string, close: string): void {
    this.text += open
    for (const [i, node] of nodes.entries()) {
      if (this.text.length > LENGTH_MAX) return
      if (i > 0) this.text += separator
      this.type(node, separator === ' | ' || separator === ' & ')
    }
    this.text += close
  }
}
