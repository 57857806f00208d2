// Entry of a host's worker thread: one host, one engine, one port to the node.

import { parentPort, workerData } from 'node:worker_threads'
import { expressionTester } from '../../lua-stdlib/expr/condition.ts'
import { libraryModules } from '../../lua-stdlib/index.ts'
import { assert } from '../base/assert.ts'
import { systemDriver } from '../driver.ts'
import { FengariEngine } from '../lua/fengari.ts'
import { LuaHost, type LuaHostOptions } from './lua-host.ts'
import type { FromHost, ToHost } from './port.ts'
import { ThreadPort } from './thread-port.ts'

assert(parentPort !== null, 'worker.ts runs in a worker thread')
const port = new ThreadPort<FromHost, ToHost>(parentPort)
new LuaHost(workerData as LuaHostOptions, port, systemDriver, new FengariEngine(), libraryModules, expressionTester())
port.post({ kind: 'ready' })
