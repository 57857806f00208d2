// Tokens of the expression language. lua-libraries.md §15.

import { integerValue } from '../../runtime/base/value.ts'

export type Token =
  | { readonly kind: 'integer'; readonly value: number | bigint; readonly at: number }
  | { readonly kind: 'float'; readonly value: number; readonly at: number }
  | { readonly kind: 'string' | 'name' | 'operator'; readonly value: string; readonly at: number }
  | { readonly kind: 'end'; readonly at: number }

/** What is wrong with an expression, or with a value that it meets. `message` is text. */
export class ExprError extends Error {
  override readonly name = 'ExprError'
}

const INT64_MAX = 2n ** 63n - 1n
/** More than any integer has, in whichever base. */
const DIGITS_MAX = 100

const SPACE = /(?:\s|\/\/[^\n]*)+/y
const NUMBER =
  /0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|(?:\d[\d_]*)(?:\.(?!\.)\d[\d_]*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?/y
const NAME = /(?:#(?=[A-Za-z]))?[A-Za-z_$][A-Za-z0-9_$]*/y
const OPERATOR = /\?\.|\?\?|\*\*|\.\.|==|!=|<=|>=|&&|\|\||[-+*/%^<>!?:.,;|()[\]{}#=]/y
const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  b: '\b',
  f: '\f',
  v: '\v',
  a: '\x07',
  '0': '\0',
  '\\': '\\',
  '"': '"',
  "'": "'",
  '`': '`',
}

/** @throws ExprError */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) at += found.length
    return found
  }
  while (true) {
    take(SPACE)
    const start = at
    if (text.startsWith('/*', at)) {
      const end = text.indexOf('*/', at + 2)
      if (end < 0) throw new ExprError(`comment without an end, begun at ${place(start)}`)
      at = end + 2
      continue
    }
    const sign = text[at]
    if (sign === undefined) break
    if (sign === '"' || sign === "'" || sign === '`') {
      const { value, end } = stringAt(text, at)
      tokens.push({ kind: 'string', value, at: start })
      at = end
      continue
    }
    const isNumber = /\d/.test(sign) || (sign === '.' && /\d/.test(text[at + 1] ?? ''))
    const digits = isNumber ? take(NUMBER) : undefined
    if (digits !== undefined) {
      tokens.push(numberToken(digits.replaceAll('_', ''), start))
      continue
    }
    const name = take(NAME)
    if (name !== undefined) {
      tokens.push({ kind: 'name', value: name, at: start })
      continue
    }
    const operator = take(OPERATOR)
    if (operator === undefined) throw new ExprError(`unexpected character ${JSON.stringify(sign)} at ${place(start)}`)
    tokens.push({ kind: 'operator', value: operator, at: start })
  }
  tokens.push({ kind: 'end', at })
  return tokens
}

/** Counted from 1, for people. */
export const place = (at: number): string => `position ${at + 1}`

function numberToken(digits: string, at: number): Token {
  const isFloat = /[.eE]/.test(digits) && !/^0[xX]/.test(digits)
  if (isFloat) return { kind: 'float', value: Number(digits), at }
  const value = digits.length > DIGITS_MAX ? INT64_MAX + 1n : BigInt(digits)
  if (value > INT64_MAX) throw new ExprError(`integer ${digits} is too large at ${place(at)}`)
  return { kind: 'integer', value: integerValue(value), at }
}

function stringAt(text: string, start: number): { value: string; end: number } {
  const quote = text[start] as string
  let value = ''
  let at = start + 1
  while (text[at] !== quote) {
    const sign = text[at]
    if (sign === undefined) throw new ExprError(`string without an end, begun at ${place(start)}`)
    if (sign !== '\\' || quote === '`') {
      value += sign
      at++
      continue
    }
    const next = text[at + 1] ?? ''
    const hex = next === 'x' ? 2 : next === 'u' ? 4 : 0
    if (hex > 0) {
      const digits = text.slice(at + 2, at + 2 + hex)
      if (!/^[0-9a-fA-F]+$/.test(digits) || digits.length < hex) throw new ExprError(`wrong escape at ${place(at)}`)
      value += String.fromCharCode(Number.parseInt(digits, 16))
      at += 2 + hex
    } else {
      const escaped = ESCAPES[next]
      if (escaped === undefined) throw new ExprError(`unknown escape \\${next} at ${place(at)}`)
      value += escaped
      at += 2
    }
  }
  return { value, end: at + 1 }
}
