// Module `expr`: a small language of expressions. lua-libraries.md §15.

import { MoonmeshError } from '../runtime/base/errors.ts'
import { TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  type Engine,
  HostObject,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { ExprError, Program, ProgramCache } from './expr/program.ts'
import { objectArg, stringArg, tableArg } from './support/args.ts'
import { toStored } from './support/convert.ts'
import { fail } from './support/fail.ts'
import { damaged } from './support/saving.ts'

const CACHED_MAX = 1000

class ProgramObject extends HostObject {
  readonly program: Program
  readonly source: string
  /** What it was held to. */
  readonly env: TableValue | undefined
  /** @throws ExprError */
  constructor(source: string, env: TableValue | undefined) {
    super()
    this.program = new Program(source, env)
    this.source = source
    this.env = env
  }
  override get className(): string {
    return 'expr.Program'
  }
}

const saving: ObjectSaving<ProgramObject> = {
  save: ({ source, env }) => ({ data: [source, env], values: [] }),
  restore([source, env]) {
    if (typeof source !== 'string' || !(env === undefined || env instanceof TableValue)) throw damaged('an expression')
    try {
      return new ProgramObject(source, env)
    } catch (thrown) {
      if (thrown instanceof ExprError || thrown instanceof MoonmeshError) throw damaged('an expression')
      throw thrown
    }
  },
}

function envArg(call: Call, index: number, fn: string): TableValue | undefined {
  if (call.arg(index) === undefined) return undefined
  return toStored(call.engine, tableArg(call, index, fn)) as TableValue
}

/** `value, nil`, or what is wrong. */
function attempt(engine: Engine, work: () => LuaValue | { value: Value }): Returns {
  try {
    const result = work()
    return [isNeutral(result) ? engine.copyIn(result.value) : result, undefined]
  } catch (thrown) {
    if (thrown instanceof ExprError || thrown instanceof MoonmeshError) return fail('Internal', thrown.message)
    throw thrown
  }
}

function isNeutral(result: LuaValue | { value: Value }): result is { value: Value } {
  return typeof result === 'object' && Object.getPrototypeOf(result) === Object.prototype
}

function evaluate(call: Call, cache: ProgramCache): Returns {
  const source = stringArg(call, 1, 'eval')
  if (source === '') return fail('Invalid', 'expression cannot be empty')
  return attempt(call.engine, () => ({ value: cache.get(source).run(envArg(call, 2, 'eval')) }))
}

function compile(call: Call): Returns {
  const source = stringArg(call, 1, 'compile')
  if (source === '') return fail('Invalid', 'expression cannot be empty')
  return attempt(call.engine, () => new ProgramObject(source, envArg(call, 2, 'compile')))
}

function run(call: Call): Returns {
  const { program } = objectArg(call, 1, 'run', ProgramObject, 'expr.Program')
  return attempt(call.engine, () => ({ value: program.run(envArg(call, 2, 'run')) }))
}

export const exprModule: LibraryModule = {
  name: 'expr',
  description: 'a small language of expressions',
  tags: ['deterministic'],
  build: () => {
    const cache = new ProgramCache(CACHED_MAX)
    return { eval: (call) => evaluate(call, cache), compile }
  },
  classes: [{ name: 'expr.Program', saving, methods: { run } }],
}
