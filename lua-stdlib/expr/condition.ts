// Expressions as conditions of policies. lua-libraries.md §25.

import type { TableValue } from '../../runtime/base/value.ts'
import { ExprError, ProgramCache } from './program.ts'

const CACHED_MAX = 1000

/** Tells whether an expression is true of an environment; undefined when it is wrong, or fails. */
export function expressionTester(): (source: string, env: TableValue) => boolean | undefined {
  const cache = new ProgramCache(CACHED_MAX)
  return (source, env) => {
    try {
      return cache.get(source).run(env) === true
    } catch (thrown) {
      if (thrown instanceof ExprError) return undefined
      throw thrown
    }
  }
}
