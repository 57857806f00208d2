// Which engine runs the scripts of a node. Engines are made here and nowhere else, and only the chosen one is loaded.

import type { Engine } from './engine.ts'

export const LUA_ENGINES = ['moonmesh', 'fengari'] as const

/** The `lua` section of the settings. */
export interface LuaSettings {
  readonly engine: (typeof LUA_ENGINES)[number]
  /** Whether hot code is translated to JavaScript; of `moonmesh` alone. */
  readonly jit: boolean
}

export const DEFAULT_LUA: LuaSettings = { engine: 'moonmesh', jit: true }

/** @param memoryBytesMax what a process may hold, where the engine can tell; default: half of what the thread has */
export async function createEngine({ engine, jit }: LuaSettings, memoryBytesMax?: number): Promise<Engine> {
  if (engine === 'fengari') {
    const { FengariEngine } = await import('./fengari.ts')
    return new FengariEngine()
  }
  const { VmEngine } = await import('./vm/engine.ts')
  return new VmEngine({ jit, ...(memoryBytesMax === undefined ? {} : { memoryBytesMax }) })
}
