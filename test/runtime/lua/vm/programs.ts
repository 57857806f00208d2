// Random Lua programs, the same for the same seed. They end, and what they print depends on nothing but the language: numbers with their
// subtype, tables by key, errors with their texts. They are made from templates, in which `$` and a letter stand for something random.

import {
  ARITHMETIC,
  BITS,
  COMPARE,
  DIVISORS,
  ESCAPED,
  EVENTS,
  EXPRESSIONS,
  KEYS,
  LARGE,
  NUMBERS,
  NUMERALS,
  ODD,
  ODD_FORMATS,
  ODD_PACKS,
  ODD_PATTERNS,
  OTHERS,
  PACKS,
  PATTERN_ITEMS,
  STATEMENTS,
  STEPS,
  STRINGS,
  SUBJECTS,
  WHOLE,
  WHOLE_FORMATS,
  WHOLE_TEXTS,
} from './templates.ts'

/** A small generator of random numbers (mulberry32). */
export function chance(seed: number): (bound: number) => number {
  let state = seed >>> 0
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * bound)
  }
}

const OTHER_OPERATORS = ['..', '^', 'and', 'or']

export class ProgramMaker {
  readonly #next: (bound: number) => number
  #variables: string[] = []
  #functions: string[] = []
  #names = 0
  #depth = 0
  readonly #varargs: boolean[] = [true]

  constructor(seed: number) {
    this.#next = chance(seed)
  }

  /** To be run where the functions of the prelude are global. */
  program(): string {
    const parts = ['local v1, v2 = $n, $e'.replace(/\$./g, (code) => this.#random(code[1] as string, 0))]
    this.#variables = ['v1', 'v2']
    const functionCount = this.#next(3)
    for (let i = 0; i < functionCount; i++) parts.push(this.#function())
    const count = 1 + this.#next(4)
    for (let i = 0; i < count; i++) {
      const head = this.#next(2) === 0 ? '...' : 'p, q'
      parts.push(
        `out(pcall(function(${head})\n${this.#within(head, 4)}\nend, ${this.#constant()}, ${this.#constant()}))`,
      )
    }
    // Often enough for whatever learns from what it has run.
    for (const name of this.#functions) {
      parts.push(
        `for i = 1, 6 do local a, b = pcall(${name}, i, ${this.#constant()}) if i % 3 == 1 then out(i, a, b) end end`,
      )
    }
    return parts.join('\n')
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#next(items.length)] as T
  }

  #constant(): string {
    const kind = this.#next(10)
    if (kind < 4) return this.#pick(NUMBERS)
    if (kind < 6) return this.#pick(LARGE)
    if (kind < 8) return this.#pick(STRINGS)
    return this.#pick(OTHERS)
  }

  #function(): string {
    const name = `f${++this.#names}`
    const isVararg = this.#next(3) === 0
    const head = isVararg ? 'a, b, ...' : 'a, b'
    const text = `local function ${name}(${head})\ntick()\n${this.#within(head, 4)}\nend`
    this.#functions.push(name)
    return text
  }

  /** The body of a function. */
  #within(parameters: string, size: number): string {
    const outer = this.#variables
    this.#variables = [...outer, ...parameters.split(', ').filter((name) => name !== '...')]
    this.#varargs.push(parameters.endsWith('...'))
    const text = `${this.#body(size)}\nreturn ${this.#expression(2)}${this.#next(2) === 0 ? `, ${this.#expression(1)}` : ''}`
    this.#varargs.pop()
    this.#variables = outer
    return text
  }

  #body(size: number): string {
    const before = this.#variables
    this.#variables = [...before]
    this.#depth++
    const lines: string[] = []
    const count = 1 + this.#next(size)
    for (let i = 0; i < count; i++) lines.push(this.#statement())
    this.#depth--
    this.#variables = before
    return lines.join('\n')
  }

  #statement(): string {
    let template = this.#pick(STATEMENTS)
    while (this.#depth > 3 && template.includes('$b')) template = this.#pick(STATEMENTS)
    if (template.includes('$M')) {
      const [event, operator] = this.#pick(EVENTS)
      template = template.replace('$M', event).replaceAll('$O', operator)
    }
    return this.#fill(template, 2)
  }

  #expression(depth: number): string {
    if (depth <= 0 || this.#next(4) === 0) {
      return this.#variables.length > 0 && this.#next(2) === 0 ? this.#pick(this.#variables) : this.#constant()
    }
    let template = this.#pick(EXPRESSIONS)
    while (template.includes('...') && this.#varargs.at(-1) !== true) template = this.#pick(EXPRESSIONS)
    return this.#fill(template, depth - 1)
  }

  /** Names that a statement makes may be used where they are not seen: there they are global variables. */
  #fill(template: string, depth: number): string {
    const names = new Map<string, string>()
    return template.replace(/\$(.)/gs, (whole, code: string) => {
      if (code < '1' || code > '9') return this.#random(code, depth)
      let name = names.get(whole)
      if (name === undefined) {
        name = `n${++this.#names}`
        names.set(whole, name)
        if (!template.includes(`::${whole}::`)) this.#variables.push(name)
      }
      return name
    })
  }

  #random(code: string, depth: number): string {
    switch (code) {
      case 'e':
        return this.#expression(depth)
      case 'n':
        return this.#pick(this.#next(3) === 0 ? LARGE : NUMBERS)
      case 's':
        return this.#pick(STRINGS)
      case 'S':
        return this.#pick(SUBJECTS)
      case 'F':
        return this.#finite()
      case 'N':
        return this.#pick(NUMBERS)
      case 'T':
        return this.#pick(STEPS)
      case 'o':
        return this.#pick(this.#pick([NUMBERS, LARGE, STRINGS, ['true', 'nil']]))
      case 'i':
        return String(this.#next(6))
      case 'j':
        return String(this.#next(9) - 4)
      case 'k':
        return this.#pick(KEYS)
      case 'v':
        return this.#variables.length > 0 ? this.#pick(this.#variables) : 'G'
      case 'f':
        return this.#functions.length > 0 ? this.#pick(this.#functions) : 'tostring'
      case 'A':
        return this.#pick(ARITHMETIC)
      case 'B':
        return this.#pick(BITS)
      case 'C':
        return this.#pick(COMPARE)
      case 'P':
        return this.#pattern()
      case 'q':
        return this.#format()
      case 'K':
        return this.#packing()
      case 'Z':
        return this.#pick(PACKS)
      case 'm':
        return this.#pick(this.#pick([ODD, ODD, LARGE, NUMBERS]))
      case 'y':
        return this.#pick(DIVISORS)
      case 't':
        return this.#pick(NUMERALS)
      case 'x':
        return this.#pick(ESCAPED)
      case 'X':
        return this.#pick(ODD_PATTERNS)
      case 'G':
        return this.#pick(ODD_FORMATS)
      case 'h':
        return this.#pick(WHOLE_FORMATS)
      case 'W':
        return this.#pick(WHOLE)
      case 'z':
        return this.#pick(ODD_PACKS)
      case 'r':
        return String(this.#next(38))
      case 'U':
        return this.#packed()
      case 'O':
        return this.#pick(this.#pick([ARITHMETIC, ARITHMETIC, BITS, COMPARE, OTHER_OPERATORS]))
      case 'b':
        return this.#body(2)
      case 'l':
        this.#varargs.push(false)
        return ''
      case '>':
        this.#varargs.pop()
        return ' '
      default:
        throw new Error(`no $${code}`)
    }
  }

  /** A number: what is none has a sign in C, and infinite ones have no literal form there. */
  #finite(): string {
    return this.#pick(this.#next(3) === 0 ? LARGE.filter((number) => !number.includes('/0')) : NUMBERS)
  }

  #pattern(): string {
    let pattern = this.#next(6) === 0 ? '^' : ''
    let open = 0
    const count = 1 + this.#next(4)
    for (let i = 0; i < count; i++) {
      if (this.#next(5) === 0) {
        pattern += '('
        open++
      }
      pattern += this.#pick(PATTERN_ITEMS) + this.#pick(['', '', '', '*', '+', '-', '?'])
      if (open > 0 && this.#next(2) === 0) {
        pattern += ')'
        open--
      }
    }
    if (this.#next(20) !== 0) pattern += ')'.repeat(open)
    return `"${pattern}${this.#next(6) === 0 ? '$' : ''}"`
  }

  /** A format and what it shows. */
  #format(): string {
    let format = ''
    const values: string[] = []
    const count = 1 + this.#next(3)
    for (let i = 0; i < count; i++) {
      const kind = this.#pick([...'diouxXcaAeEfgGsq'])
      const flags = kind === 'q' ? '' : this.#pick(['', '', '', '-', '+', ' ', '#', '0', '-+', '0+'])
      const width = kind === 'q' ? '' : this.#pick(['', '', '', '1', '5', '12', '20'])
      const precision = kind === 'q' || kind === 'c' ? '' : this.#pick(['', '', '', '.', '.0', '.3', '.10', '.20'])
      // What C does not define is no test.
      const isDefined =
        !(flags.includes('#') && 'diucs'.includes(kind)) &&
        !(/[0+ ]/.test(flags) && 'ouxXcs'.includes(kind) && flags !== '0')
      const zero = flags.includes('0') && (kind === 's' || kind === 'c')
      format += `%${isDefined && !zero ? flags : ''}${width}${precision}${kind}${this.#pick(['', '|', ' '])}`
      values.push(
        'aAeEfgG'.includes(kind)
          ? this.#finite()
          : 'sq'.includes(kind)
            ? this.#pick([this.#finite(), this.#random('s', 0), 'true', 'nil'])
            : kind === 'c'
              ? String(33 + this.#next(90))
              : this.#pick([...WHOLE, this.#pick(WHOLE_TEXTS)]),
      )
    }
    return `"${format}"${values.map((value) => `, ${value}`).join('')}`
  }

  /** Packed, and taken apart by the same format. */
  #packed(): string {
    const [format, ...values] = this.#packing().split(', ')
    return `string.unpack(${format}, string.pack(${[format, ...values].join(', ')}))`
  }

  #packing(): string {
    const count = 1 + this.#next(3)
    let format = ''
    const values: string[] = []
    for (let i = 0; i < count; i++) {
      const item = this.#pick(PACKS)
      format += item
      if ('fdn'.includes(item[0] as string)) values.push(this.#random('n', 0))
      else if ('zsc'.includes(item[0] as string)) values.push(this.#random('s', 0))
      else if (/[bBhHiIjJl]/.test(item[0] as string)) values.push(this.#pick(WHOLE))
    }
    return `"${format}"${values.map((value) => `, ${value}`).join('')}`
  }
}
