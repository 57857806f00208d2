// Runs Lua text on the machine, as the other tests here need it.

import type { LuaThread, LuaValue } from '../../../../runtime/lua/engine.ts'
import { VmEngine } from '../../../../runtime/lua/vm/engine.ts'
import { toText } from '../../../../runtime/lua/vm/library.ts'
import type { Val } from '../../../../runtime/lua/vm/value.ts'

/**
 * - `loop`: the loop alone.
 * - `compiled`: everything in JavaScript as early as can be.
 * - `slices`: in between, and paused after a few instructions.
 */
export const MODES = ['loop', 'compiled', 'slices'] as const
export type Mode = (typeof MODES)[number]

const SLICES_MAX = 1_000_000

export function newEngine(mode: Mode): VmEngine {
  const engine = new VmEngine({
    onFault: (error) => {
      throw error
    },
  })
  const { machine } = engine
  if (mode === 'loop') machine.isCompiling = false
  else if (mode === 'compiled') {
    machine.callsUntilHot = 0
    machine.roundsUntilHot = 0
  } else {
    machine.callsUntilHot = 2
    machine.roundsUntilHot = 3
  }
  return engine
}

/** A thread of the program, which has the standard library and `print`. */
export function begin(engine: VmEngine, source: string, print: (line: string) => void, chunkName = 't'): LuaThread {
  const { globals, libraries } = engine.standardLibrary
  const base = engine.newTable()
  for (const [name, value] of Object.entries(globals)) engine.set(base, name, value as LuaValue)
  for (const [name, library] of Object.entries(libraries)) {
    const table = engine.moduleTable(name, library)
    engine.set(base, name, table)
    if (name === 'string') engine.setStringMethods(table)
  }
  const printing = engine.function('print', (call) => {
    const parts: string[] = []
    for (let i = 1; i <= call.count; i++) parts.push(call.tostring(i))
    print(`${parts.join('\t')}\n`)
  })
  engine.set(base, 'print', printing)
  return engine.newThread(engine.load(engine.compile(chunkName, source), engine.newEnvironment(base)), true)
}

/** What the program prints, with the error that ends it as the last line. */
export function run(source: string, mode: Mode, chunkName = 't'): { printed: string; results: readonly LuaValue[] } {
  const engine = newEngine(mode)
  let printed = ''
  const print = (line: string): void => {
    printed += line
  }
  const thread = begin(engine, source, print, chunkName)
  const budget = mode === 'slices' ? 40 : 10_000_000
  let status = engine.run(thread, {}, budget, { values: [] })
  for (let i = 0; (status === 'preempted' || status === 'yielded') && i < SLICES_MAX; i++)
    status = engine.run(thread, {}, budget, { values: [] })
  if (status !== 'done') printed += `${status} ${toText(engine.machine, engine.results[0] as Val)}\n`
  return { printed, results: engine.results }
}
