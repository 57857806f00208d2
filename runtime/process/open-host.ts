// Where hosts get all that executes Lua: the engine, and the modules that scripts see. Both are hundreds of files, so only threads that execute Lua
// import this.

import { consoleModule } from '../../lua-stdlib/console.ts'
import { expressionTester } from '../../lua-stdlib/expr/condition.ts'
import { libraryModules } from '../../lua-stdlib/index.ts'
import { systemDriver } from '../driver.ts'
import { createEngine, type LuaSettings } from '../lua/engines.ts'
import { LoadingHost } from './loading-host.ts'
import { LuaHost, type LuaHostOptions } from './lua-host.ts'
import type { FromHost, Port, ToHost } from './port.ts'

/** What a host is made of, beside what the engine is set to. */
interface Opening {
  readonly options: LuaHostOptions
  readonly port: Port<FromHost, ToHost>
  /** Its processes load and end, so that one learns whether they can. Default: no. */
  readonly onlyLoads?: boolean
}

/**
 * @param memoryBytesMax what one process may hold. Default: half of the thread's heap
 * @returns makes a host of a fresh engine; synchronous, so that nothing that the port brings is missed. Once
 */
export async function openHost(lua: LuaSettings, memoryBytesMax?: number): Promise<(opening: Opening) => LuaHost> {
  const engine = await createEngine(lua, memoryBytesMax)
  return ({ options, port, onlyLoads = false }) => {
    const modules = options.isConsole ? [...libraryModules, consoleModule] : libraryModules
    const HostClass = onlyLoads ? LoadingHost : LuaHost
    return new HostClass(options, port, systemDriver, engine, modules, expressionTester())
  }
}
