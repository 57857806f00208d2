// The well-known names of types: what has them.

import type { Engine, LuaValue } from '../../runtime/lua/engine.ts'
import { ErrorObject } from '../../runtime/lua/engine.ts'
import { isNumber, toNumber } from '../support/args.ts'

const CHECKS: ReadonlyMap<string, (engine: Engine, value: LuaValue) => boolean> = new Map([
  ['never', () => false],
  ['nil', (_engine, value) => value === undefined],
  ['boolean', (_engine, value) => typeof value === 'boolean'],
  ['string', (_engine, value) => typeof value === 'string'],
  ['number', (_engine, value) => isNumber(value)],
  // A float with a whole value serves as an integer: other runtimes make no difference between the two.
  ['integer', (_engine, value) => isNumber(value) && Number.isInteger(toNumber(value))],
  ['error', (_engine, value) => value instanceof ErrorObject],
  ...['table', 'function', 'thread', 'userdata'].map((name): [string, (engine: Engine, value: LuaValue) => boolean] => [
    name,
    (engine, value) => engine.typeOf(value) === name,
  ]),
])

/** Whether only some values have the type of that name; `any`, `unknown` and names that nobody declared accept all. */
export const isSelective = (name: string): boolean => CHECKS.has(name)

export const hasBasicType = (name: string, engine: Engine, value: LuaValue): boolean =>
  CHECKS.get(name)?.(engine, value) ?? true
