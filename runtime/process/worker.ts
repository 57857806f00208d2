// Entry of a host's worker thread: one host, one engine, one port to the node.

import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import type { LuaSettings } from '../lua/engines.ts'
import type { LuaHostOptions } from './lua-host.ts'
import { openHost } from './open-host.ts'
import type { FromHost, ToHost } from './port.ts'
import { ThreadPort } from './thread-port.ts'

/** What the node gives the thread to begin with. */
export interface WorkerData extends LuaHostOptions {
  readonly lua: LuaSettings
  /** Its processes load and end, so that one learns whether they can. Default: no. */
  readonly onlyLoads?: boolean
  /** What one process may hold. Default: half of the thread's heap. */
  readonly memoryBytesMax?: number
}

assert(parentPort !== null, 'worker.ts runs in a worker thread')
const { lua, onlyLoads = false, memoryBytesMax, ...options } = workerData as WorkerData
// Before the port: what comes in is kept for the first who listens.
const open = await openHost(lua, memoryBytesMax)
const port = new ThreadPort<FromHost, ToHost>(parentPort)
open({ options, port, onlyLoads })
port.post({ kind: 'ready' })
