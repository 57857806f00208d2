// Expressions, ready to be evaluated. Pure: what is given and what comes back are neutral values (base/value.ts).

import { toText } from '../../runtime/base/bytes.ts'
import { TableValue, type Value } from '../../runtime/base/value.ts'
import { checkExpr } from './check.ts'
import { Evaluation } from './evaluate.ts'
import { type Node, parseExpr } from './parser.ts'
import { type ExprMap, fromNeutral, toNeutral } from './values.ts'

export { ExprError } from './lexer.ts'

export class Program {
  readonly #root: Node

  /**
   * @param source a byte string
   * @param env names and types to hold it to; undefined: any name may come
   * @throws ExprError
   */
  constructor(source: string, env?: TableValue) {
    this.#root = parseExpr(toText(source))
    checkExpr(this.#root, env === undefined ? undefined : envOf(env))
  }

  /** @param env undefined: there are no names at all. @throws ExprError */
  run(env: TableValue | undefined): Value {
    return toNeutral(new Evaluation(env === undefined ? undefined : envOf(env)).run(this.#root))
  }
}

function envOf(env: TableValue): ExprMap {
  const value = fromNeutral(new TableValue([], env.keys, env.values))
  return value as ExprMap
}

/** Programs by their source: the least recently used make room. */
export class ProgramCache {
  readonly #countMax: number
  readonly #programs = new Map<string, Program>()

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /** @throws ExprError */
  get(source: string): Program {
    const program = this.#programs.get(source) ?? new Program(source)
    this.#programs.delete(source)
    this.#programs.set(source, program)
    for (const oldest of this.#programs.keys()) {
      if (this.#programs.size <= this.#countMax) break
      this.#programs.delete(oldest)
    }
    return program
  }
}
