// Runs Lua text that is written down while it is suspended, and goes on in a fresh engine.

import { createHash } from 'node:crypto'
import type { LuaTable, LuaThread, LuaValue, RunStatus, SharedThings } from '../../../../runtime/lua/engine.ts'
import { SharedNames } from '../../../../runtime/lua/shared-names.ts'
import type { VmEngine } from '../../../../runtime/lua/vm/engine.ts'
import { type Mode, newEngine } from './support.ts'

const BYTES_MAX = 64 * 1024 * 1024

/** An engine with the standard library and `print`. */
export class Place {
  readonly engine: VmEngine
  readonly shared: SharedThings
  readonly base: LuaTable
  readonly owner = {}
  readonly code

  /** @param print gets each line   @param more functions that scripts see */
  constructor(source: string, mode: Mode, print: (line: string) => void, define?: (place: Place) => void) {
    const engine = newEngine(mode)
    this.engine = engine
    const names = new SharedNames(engine)
    const { globals, libraries } = engine.standardLibrary
    this.base = engine.newTable()
    for (const [name, value] of Object.entries(globals)) engine.set(this.base, name, value as LuaValue)
    for (const [name, library] of Object.entries(libraries)) {
      const table = engine.moduleTable(name, library)
      engine.set(this.base, name, table)
      if (name === 'string') engine.setStringMethods(table)
    }
    const printing = engine.function('print', (call) => {
      const parts: string[] = []
      for (let i = 1; i <= call.count; i++) parts.push(call.tostring(i))
      print(parts.join('\t'))
    })
    engine.set(this.base, 'print', printing)
    this.code = engine.compile('t', source)
    const hash = createHash('sha256').update(source, 'latin1').digest('hex')
    this.shared = {
      codes: [{ name: 't', hash, code: this.code }],
      nameOf: (value) => names.nameOf(value),
      find: (name) => names.find(name),
    }
    define?.(this)
    names.addGlobals('t', this.base)
  }

  begin(): LuaThread {
    return this.engine.newThread(this.engine.load(this.code, this.engine.newEnvironment(this.base)), true)
  }

  run(thread: LuaThread, budget: number, values: readonly LuaValue[] = []): RunStatus {
    return this.engine.run(thread, this.owner, budget, { values })
  }

  capture(thread: LuaThread): Uint8Array {
    const root = { data: [], values: [thread as LuaValue], names: ['the thread'] }
    return this.engine.saving.capture(root, this.shared, this.owner, BYTES_MAX)
  }

  restore(bytes: Uint8Array): LuaThread {
    const restored = this.engine.saving.restore(bytes, this.shared, this.owner)
    restored.fill()
    return restored.values[0] as LuaThread
  }
}

interface Moved {
  readonly printed: string
  readonly hops: number
}

/**
 * What the program prints when it is moved on the way.
 * @param budgetOf of the slice with this number   @param moves whether it is moved after that slice
 */
export function runMoving(
  source: string,
  modeOf: (hop: number) => Mode,
  budgetOf: (slice: number) => number,
  moves: (slice: number) => boolean,
): Moved {
  let printed = ''
  const print = (line: string): void => {
    printed += `${line}\n`
  }
  let hops = 0
  let place = new Place(source, modeOf(0), print)
  let thread = place.begin()
  let status = place.run(thread, budgetOf(0))
  for (let slice = 1; status === 'preempted' || status === 'yielded'; slice++) {
    if (moves(slice)) {
      const bytes = place.capture(thread)
      place = new Place(source, modeOf(++hops), print)
      thread = place.restore(bytes)
    }
    status = place.run(thread, budgetOf(slice))
  }
  if (status !== 'done') printed += `${status} ${String(place.engine.results[0])}\n`
  return { printed, hops }
}
