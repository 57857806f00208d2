// Module `eval_runner`: source text, run in a sandbox of its own. lua-libraries.md §16.

import { toText } from '../runtime/base/bytes.ts'
import { MoonmeshError } from '../runtime/base/errors.ts'
import { errorFrom } from '../runtime/base/plain.ts'
import { ErrorValue, TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  ErrorObject,
  HostObject,
  type LuaTable,
  type LuaValue,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { Evaluation, LibraryModule, ModuleTag } from '../runtime/services.ts'
import { objectArg, optionalString, processOf, stringArg, tableArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { fail } from './support/fail.ts'
import { isAllowed } from './support/permit.ts'
import { wait } from './support/wait.ts'

/** Classes that source text may use only if its runner says so. */
const FORBIDDEN: ReadonlySet<ModuleTag> = new Set(['process', 'storage', 'network'])
const ITSELF = 'eval_runner'

class ProgramObject extends HostObject {
  readonly method: string
  readonly modules: readonly string[]
  constructor(method: string, modules: readonly string[]) {
    super()
    this.method = method
    this.modules = modules
  }
  override get className(): string {
    return 'eval.Program'
  }
}

/** What is wrong with a configuration, or not allowed in it. */
class Refusal extends Error {
  readonly kind: 'Invalid' | 'Internal' | 'PermissionDenied'
  constructor(kind: Refusal['kind'], text: string) {
    super(text)
    this.kind = kind
  }
}

function permit(call: Call, action: string, resource: string): void {
  if (isAllowed(call, action, resource)) return
  throw new Refusal('PermissionDenied', `permission denied: ${action} on ${toText(resource)}`)
}

/** The texts of an array; undefined for anything else. */
function texts(call: Call, value: LuaValue): string[] | undefined {
  const { engine } = call
  if (engine.typeOf(value) !== 'table') return undefined
  const list: string[] = []
  for (let i = 1; i <= engine.length(value as LuaTable); i++) {
    const item = engine.get(value as LuaTable, i)
    if (typeof item === 'string') list.push(item)
  }
  return list
}

/** Modules that the text may use: the named ones, or, if none is named, all whose classes are permitted. */
function modulesOf(call: Call, named: readonly string[], lifted: ReadonlySet<string>): readonly string[] {
  const tags = processOf(call).moduleTags
  const forbidden = (name: string): ModuleTag | undefined =>
    (tags.get(name) ?? []).find((tag) => FORBIDDEN.has(tag) && !lifted.has(tag))
  if (named.length === 0) {
    return [...tags.keys()].filter((name) => name !== ITSELF && forbidden(name) === undefined)
  }
  for (const name of named) {
    permit(call, 'eval.module', name)
    if (!tags.has(name)) throw new Refusal('Internal', `module ${toText(name)} is not available`)
    const tag = forbidden(name)
    if (tag !== undefined) throw new Refusal('Internal', `module ${toText(name)} has forbidden class ${tag}`)
  }
  return named
}

function importsOf(call: Call, value: LuaValue): Evaluation['imports'] {
  const { engine } = call
  const imports: Record<string, { id: string; modules: readonly string[] }> = Object.create(null)
  if (engine.typeOf(value) !== 'table') return imports
  engine.each(value as LuaTable, (alias, target) => {
    if (typeof alias !== 'string') return
    const isTable = engine.typeOf(target) === 'table'
    const id = isTable ? engine.get(target as LuaTable, 'id') : target
    if (typeof id !== 'string') throw new Refusal('Invalid', `import ${toText(alias)} must name an entry`)
    permit(call, 'eval.import', id)
    const modules = isTable ? (texts(call, engine.get(target as LuaTable, 'modules')) ?? []) : []
    imports[alias] = { id, modules }
  })
  return imports
}

function liftedOf(call: Call, value: LuaValue): ReadonlySet<string> {
  const classes = texts(call, value) ?? []
  for (const name of classes) permit(call, 'eval.class', name)
  return new Set(classes)
}

/** Each in its place: what cannot be copied is nil there. */
function argsOf(call: Call, value: LuaValue): Value[] {
  const { engine } = call
  if (engine.typeOf(value) !== 'table') return []
  const list = value as LuaTable
  return Array.from({ length: engine.length(list) }, (_, i) => engine.copyOut(engine.get(list, i + 1)))
}

function evaluationOf(call: Call, config: LuaTable): Evaluation {
  const { engine } = call
  const source = engine.get(config, 'source')
  if (typeof source !== 'string' || source === '') throw new Refusal('Invalid', 'source is required')
  permit(call, 'eval.run', '')
  const method = engine.get(config, 'method')
  const context = engine.copyOut(engine.get(config, 'context'))
  const custom = engine.copyOut(engine.get(config, 'custom_modules'))
  const lifted = liftedOf(call, engine.get(config, 'allow_classes'))
  return {
    source,
    method: typeof method === 'string' ? method : '',
    args: argsOf(call, engine.get(config, 'args')),
    modules: modulesOf(call, texts(call, engine.get(config, 'modules')) ?? [], lifted),
    imports: importsOf(call, engine.get(config, 'imports')),
    context: context instanceof TableValue ? new TableValue([], context.keys, context.values) : new TableValue(),
    customModules: custom instanceof TableValue ? tablesOf(custom) : {},
  }
}

function tablesOf(custom: TableValue): Record<string, TableValue> {
  const tables: Record<string, TableValue> = Object.create(null)
  for (const [i, name] of custom.keys.entries()) {
    const table: Value = custom.values[i]
    if (typeof name === 'string' && table instanceof TableValue) tables[name] = table
  }
  return tables
}

/** Whatever goes wrong with the text is Internal; its own words are kept. */
function failure(error: MoonmeshError | ErrorValue): readonly LuaValue[] {
  const { message, details, stack } = errorFrom(error)
  return [undefined, new ErrorObject(new ErrorValue('Internal', message, false, details, stack))]
}

function refused(thrown: unknown): readonly LuaValue[] {
  if (thrown instanceof Refusal) return fail(thrown.kind, thrown.message)
  if (thrown instanceof MoonmeshError) return failure(thrown)
  throw thrown
}

function run(call: Call): Returns {
  const config = tableArg(call, 1, 'run')
  blocking(call, 'eval_runner.run')
  let evaluation: Evaluation
  try {
    evaluation = evaluationOf(call, config)
  } catch (thrown) {
    return refused(thrown)
  }
  const process = processOf(call)
  return wait(call, (done) =>
    process.evaluate(evaluation, (answer) =>
      done(answer.ok ? [process.engine.copyIn(answer.value), undefined] : failure(answer.error)),
    ),
  )
}

function compile(call: Call): Returns {
  const source = stringArg(call, 1, 'compile')
  const method = optionalString(call, 2, 'compile') ?? ''
  const options = call.type(3) === 'table' ? (call.arg(3) as LuaTable) : undefined
  if (source === '') return fail('Invalid', 'source is required')
  try {
    permit(call, 'eval.compile', '')
    const named = options === undefined ? [] : (texts(call, call.engine.get(options, 'modules')) ?? [])
    modulesOf(call, named, new Set())
    if (options !== undefined) importsOf(call, call.engine.get(options, 'imports'))
    const problem = processOf(call).compileProblem(source)
    return problem === undefined ? [new ProgramObject(method, named), undefined] : fail('Internal', problem)
  } catch (thrown) {
    return refused(thrown)
  }
}

const self = (call: Call, fn: string): ProgramObject => objectArg(call, 1, fn, ProgramObject, 'eval.Program')

export const evalRunnerModule: LibraryModule = {
  name: ITSELF,
  description: 'source text, run in a sandbox',
  tags: ['process', 'nondeterministic'],
  build: () => ({ run, compile }),
  classes: [
    {
      name: 'eval.Program',
      methods: {
        method: (call) => self(call, 'method').method,
        modules: (call) => {
          const table = call.engine.newTable()
          for (const [i, name] of self(call, 'modules').modules.entries()) call.engine.set(table, i + 1, name)
          return table
        },
      },
    },
  ],
}
