// Module `yaml`: YAML 1.2 and back. lua-libraries.md §5.

import { toText } from '../runtime/base/bytes.ts'
import { messageOf } from '../runtime/base/errors.ts'
import type { Call, Engine, LuaTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { toStored } from './support/convert.ts'
import { fail } from './support/fail.ts'
import { illFormedAt } from './support/json-utf8.ts'
import { lazily } from './support/lazy.ts'
import { readYaml } from './yaml/read.ts'
import { writeYaml, type YamlStyle } from './yaml/write.ts'

const library = lazily<typeof import('yaml')>('yaml')

function styleOf(engine: Engine, options: LuaTable | undefined): YamlStyle {
  const first = new Map<string, number>()
  if (options === undefined) return { indent: 4, first, isBytewise: false }
  const fields = engine.get(options, 'field_order')
  if (engine.typeOf(fields) === 'table') {
    const list = fields as LuaTable
    for (let i = 1; i <= engine.length(list); i++) {
      const name = engine.get(list, i)
      if (typeof name === 'string' && !first.has(name)) first.set(name, first.size)
    }
  }
  return { indent: 2, first, isBytewise: engine.get(options, 'sort_unordered') === true }
}

function encode(call: Call): Returns {
  const { engine } = call
  if (call.type(1) !== 'table') return fail('Invalid', 'table expected')
  const options = call.type(2) === 'table' ? (call.arg(2) as LuaTable) : undefined
  try {
    return [writeYaml(library(), toStored(engine, call.arg(1)), styleOf(engine, options)), undefined]
  } catch (thrown) {
    return fail('Internal', messageOf(thrown))
  }
}

function decode(call: Call): Returns {
  const given = call.arg(1)
  if (typeof given !== 'string') return fail('Invalid', 'string expected')
  if (given === '') return fail('Invalid', 'input cannot be empty')
  const wrong = illFormedAt(given)
  if (wrong >= 0) return fail('Internal', `invalid UTF-8 at byte ${wrong + 1}`)
  try {
    return [call.engine.copyIn(readYaml(library(), toText(given))), undefined]
  } catch (thrown) {
    return fail('Internal', messageOf(thrown))
  }
}

export const yamlModule: LibraryModule = {
  name: 'yaml',
  description: 'YAML and back',
  tags: ['encoding', 'deterministic'],
  build: () => ({ encode, decode }),
}
