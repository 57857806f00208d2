// The definition files for editors (lua-stdlib/meta) declare what the modules offer, and nothing else.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { libraryModules } from '../../lua-stdlib/index.ts'
import { VmEngine } from '../../runtime/lua/vm/engine.ts'

const META = join(import.meta.dirname, '../../lua-stdlib/meta')
const engine = new VmEngine()

/** `json.encode`, `fs.type.FILE` … of a module's table, and `Store:get` … of its classes. */
function offered(module: (typeof libraryModules)[number]): string[] {
  const members = (table: object, path: string): string[] =>
    Object.entries(table).flatMap(([name, value]) => {
      const isTable = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
      return isTable ? members(value, `${path}.${name}`) : [`${path}.${name}`]
    })
  const methods = (module.classes ?? []).flatMap(({ name, methods: own }) =>
    Object.keys(own).map((method) => `${name.split('.').at(-1)}:${method}`),
  )
  return [...members(module.build(engine), module.name), ...Object.keys(module.globals ?? {}), ...methods]
}

/** The same of a definition file: its functions, and the fields and constants of tables (not those of other classes). */
function declared(text: string, name: string): string[] {
  const found: string[] = []
  let table: string | undefined
  for (const line of text.split('\n')) {
    const fn = /^function ([\w.:]+)\(/.exec(line)?.[1]
    if (fn !== undefined) found.push(fn)
    const constant = /^(\w+(?:\.\w+)+) = (?!\{)/.exec(line)?.[1]
    if (constant !== undefined) found.push(constant)
    const className = /^---@class ([\w.]+)/.exec(line)?.[1]
    // A table of the module is written small, a class of its objects or records with a capital.
    if (className !== undefined)
      table = /^[a-z_]+(\.[a-z_]+)*$/.test(className) && className.split('.')[0] === name ? className : undefined
    const field = /^---@field (\w+) (.*)/.exec(line)
    // A field that is a class of its own is told where that class is.
    if (field !== null && table !== undefined && field[2] !== `${table}.${field[1]}`) found.push(`${table}.${field[1]}`)
  }
  return found
}

/** Always there, and known to every editor. */
const STANDARD = new Set(['coroutine', 'math', 'table', 'string', 'os'])

describe.each(libraryModules.filter(({ name }) => !STANDARD.has(name)).map((module) => [module.name, module] as const))(
  '%s',
  (name, module) => {
    const path = join(META, `${name}.lua`)
    test('has a definition file that declares all of it, and no more', () => {
      expect(existsSync(path)).toBe(true)
      const wanted = [...new Set(offered(module))].sort()
      expect([...new Set(declared(readFileSync(path, 'utf8'), name))].sort()).toEqual(wanted)
    })
  },
)

/** Globals that are no module. */
const LANGUAGE = ['types.lua']

test('there is no file of a module that does not exist', () => {
  const names = new Set([...libraryModules.map((module) => `${module.name}.lua`), ...LANGUAGE])
  expect(readdirSync(META).filter((file) => !names.has(file))).toEqual([])
})
