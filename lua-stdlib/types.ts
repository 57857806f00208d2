// Types at run time (lua-core.md §3.3): `string`, `integer`, `number` and `boolean` as checked casts, and the values of declared types.

import type { ChunkTypes } from '../runtime/base/type-node.ts'
import type { Call, Engine, HostFunction, LuaTable, ModuleTable } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { raise, stringArg } from './support/args.ts'
import { hasBasicType } from './types/basic.ts'
import { basicCast, typeClass } from './types/objects.ts'
import { TypeSet } from './types/type.ts'

const cast = (name: string, at = 1): HostFunction =>
  basicCast(name, at, (call, value) => hasBasicType(name, call.engine, value))

/** Chunks call this with their own declarations only, and the values of the variables that these name. */
function bind(call: Call, types: ChunkTypes, set: TypeSet): void {
  const key = stringArg(call, 1, 'bind')
  const index = types.declarations.findIndex((declaration) => declaration.key === key)
  if (types.declarations[index]?.slotCount !== call.count - 1) raise(`no type ${key} with these variables is declared`)
  set.variables[index] = call.args(2)
}

function declaredTypes(engine: Engine, types: ChunkTypes): LuaTable {
  const set = new TypeSet(engine, types.declarations)
  const table: Record<string, ModuleTable[string]> = { bind: (call) => bind(call, types, set) }
  for (const [index, { key }] of types.declarations.entries()) table[key] = set.type(index, []).object
  return engine.moduleTable(types.global, table)
}

/** The string library stays what it is; called, it checks. */
export const stringModule: LibraryModule = {
  name: 'string',
  description: 'strings, and the check that a value is one',
  tags: ['deterministic'],
  isAlwaysPresent: true,
  build: () => ({}),
  call: cast('string', 2),
  globals: { integer: cast('integer'), number: cast('number'), boolean: cast('boolean') },
  classes: [typeClass],
  declaredTypes,
}
