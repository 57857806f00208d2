// Module `system`: the node, its machine, its hosts and services. lua-libraries.md §3. On a standalone node the cluster's parts answer that
// there is none.

import { availableParallelism, hostname } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import { integerValue, type Value } from '../runtime/base/value.ts'
import type { Call, HostFunction, LuaTable, LuaValue, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { integerArg, processOf, stringArg, toNumber } from './support/args.ts'
import { fail, failWith, TRUE_NIL } from './support/fail.ts'
import { isAllowed } from './support/permit.ts'
import { waitAlone } from './support/wait.ts'
import { lock } from './system/lock.ts'

const UNLIMITED = 9_223_372_036_854_775_807n
/** Bytes that one object takes, roughly. */
const OBJECT_BYTES = 64

/** Refusals of this module are Invalid, by its contract. */
function denied(call: Call, action: string, resource: string): readonly LuaValue[] | undefined {
  if (isAllowed(call, action, resource)) return undefined
  return fail('Invalid', `permission denied: ${action} on ${resource}`)
}

/** A function that reads something, if the caller may. */
function reads(resource: string, run: HostFunction): HostFunction {
  return (call) => denied(call, 'system.read', resource) ?? run(call)
}

/** Asks the node; `then` makes the result of its answer. */
function asks(
  call: Call,
  method: string,
  args: readonly Value[],
  then?: (value: Value) => readonly LuaValue[],
): Returns {
  const process = processOf(call)
  return waitAlone(call, (done) =>
    process.request('system', method, args, (answer) => {
      if (!answer.ok) return done(failWith(answer.error))
      done(then === undefined ? [process.engine.copyIn(answer.value), undefined] : then(answer.value))
    }),
  )
}

/** Figures of this host's heap that only grow. */
class HeapWatch {
  #lastUsed = 0
  #total = 0
  #collections = 0

  /** What was allocated since the first look, and how often the heap was found smaller than before. */
  look(used: number): { total: number; collections: number } {
    if (used >= this.#lastUsed) this.#total += used - this.#lastUsed
    else this.#collections++
    this.#lastUsed = used
    return { total: Math.max(this.#total, used), collections: this.#collections }
  }
}

function memoryStats(call: Call, watch: HeapWatch): LuaTable {
  const { heapUsed, heapTotal, rss } = process.memoryUsage()
  const { total, collections } = watch.look(heapUsed)
  const fields: Record<string, number> = {
    alloc: heapUsed,
    total_alloc: total,
    sys: rss,
    heap_alloc: heapUsed,
    heap_sys: heapTotal,
    heap_idle: heapTotal - heapUsed,
    heap_in_use: heapUsed,
    heap_released: 0,
    heap_objects: Math.ceil(heapUsed / OBJECT_BYTES),
    stack_in_use: 0,
    stack_sys: 0,
    mspan_in_use: 0,
    mspan_sys: 0,
    num_gc: collections,
    next_gc: getHeapStatistics().heap_size_limit,
  }
  const table = call.engine.newTable()
  for (const [name, value] of Object.entries(fields)) call.engine.set(table, name, value)
  return table
}

/** A setting that is kept for whoever asks, and changes nothing. */
class Setting {
  #value: number | bigint
  constructor(value: number | bigint) {
    this.#value = value
  }
  get value(): number | bigint {
    return this.#value
  }
  /** Returns the value before. */
  replace(value: number | bigint): number | bigint {
    const before = this.#value
    this.#value = value
    return before
  }
}

/** A number without its fraction, exact up to 64 bits; undefined for what is none or fits none. */
function wholeOf(value: LuaValue): number | bigint | undefined {
  if (typeof value === 'bigint') return value
  const given = toNumber(value)
  if (given === undefined || !Number.isFinite(given)) return undefined
  const whole = BigInt(Math.trunc(given))
  return whole === BigInt.asIntN(64, whole) ? (integerValue(whole) as number | bigint) : undefined
}

function setLimit(call: Call, limit: Setting): Returns {
  const refused = denied(call, 'system.control', 'memory_limit')
  if (refused !== undefined) return refused
  const given = wholeOf(call.arg(1))
  if (given === undefined) return fail('Invalid', 'memory limit value required')
  if (given < -1) return fail('Invalid', 'memory limit must be non-negative or -1')
  return [limit.replace(given === -1 ? UNLIMITED : given), undefined]
}

function setPercent(call: Call, percent: Setting): Returns {
  const refused = denied(call, 'system.gc', 'gc_percent')
  if (refused !== undefined) return refused
  const given = wholeOf(call.arg(1))
  return given === undefined ? fail('Invalid', 'percent value required') : [percent.replace(given), undefined]
}

function maxProcs(call: Call, procs: Setting): Returns {
  if (call.arg(1) === undefined) return denied(call, 'system.read', 'gomaxprocs') ?? [procs.value, undefined]
  const refused = denied(call, 'system.control', 'gomaxprocs')
  if (refused !== undefined) return refused
  integerArg(call, 1, 'max_procs')
  const given = wholeOf(call.arg(1)) ?? 0
  return given <= 0 ? fail('Invalid', 'max_procs must be positive') : [procs.replace(given), undefined]
}

function collect(call: Call): Returns {
  const refused = denied(call, 'system.gc', 'gc')
  if (refused !== undefined) return refused
  ;(globalThis as { gc?: () => void }).gc?.()
  return TRUE_NIL
}

function exit(call: Call): Returns {
  const code = call.arg(1) === undefined ? 0 : integerArg(call, 1, 'exit')
  const refused = denied(call, 'system.exit', '')
  if (refused !== undefined) return refused
  processOf(call).note('system', 'exit', [code])
  return TRUE_NIL
}

function byId(call: Call, fn: string, resource: string, method: string, missing: string): Returns {
  const id = stringArg(call, 1, fn)
  const refused = denied(call, 'system.read', resource)
  if (refused !== undefined) return refused
  return id === '' ? fail('Invalid', missing) : asks(call, method, [id])
}

export const systemModule: LibraryModule = {
  name: 'system',
  description: 'the node and its machine',
  tags: ['process', 'nondeterministic'],
  build: () => {
    const watch = new HeapWatch()
    const limit = new Setting(UNLIMITED)
    const percent = new Setting(100)
    const procs = new Setting(availableParallelism())
    const heapUsed = (): number => process.memoryUsage().heapUsed
    return {
      memory: {
        stats: reads('memory', (call) => [memoryStats(call, watch), undefined]),
        allocated: reads('memory', () => [heapUsed(), undefined]),
        heap_objects: reads('memory', () => [Math.ceil(heapUsed() / OBJECT_BYTES), undefined]),
        get_limit: reads('memory_limit', () => [limit.value, undefined]),
        set_limit: (call) => setLimit(call, limit),
      },
      gc: {
        collect,
        get_percent: reads('gc_percent', () => [percent.value, undefined]),
        set_percent: (call) => setPercent(call, percent),
      },
      runtime: {
        goroutines: reads('goroutines', (call) => asks(call, 'tasks', [])),
        max_procs: (call) => maxProcs(call, procs),
        cpu_count: reads('cpu', () => [availableParallelism(), undefined]),
      },
      process: {
        pid: reads('pid', () => [process.pid, undefined]),
        hostname: reads('hostname', () => [hostname(), undefined]),
        cwd: reads('cwd', () => [process.cwd(), undefined]),
      },
      node: {
        id: reads('node', (call) => asks(call, 'node_id', [])),
        addr: reads('node', (call) => asks(call, 'address', [])),
        role: reads('node', (call) => asks(call, 'role', [])),
      },
      cluster: {
        members: reads('cluster', (call) => asks(call, 'members', [])),
        leader: reads('cluster', (call) => asks(call, 'leader', [])),
        size: reads('cluster', (call) => asks(call, 'size', [])),
      },
      raft: {
        is_leader: reads('raft', (call) => asks(call, 'raft_is_leader', [])),
        is_member: reads('raft', (call) => asks(call, 'raft_is_member', [])),
        role: reads('raft', (call) => asks(call, 'raft_role', [])),
        term: reads('raft', (call) => asks(call, 'raft_term', [])),
        commit_index: reads('raft', (call) => asks(call, 'raft_commit_index', [])),
        stats: reads('raft_stats', (call) => asks(call, 'raft_stats', [])),
      },
      lock,
      supervisor: {
        state: (call) => byId(call, 'state', 'supervisor', 'service', 'service ID required'),
        states: reads('supervisor', (call) => asks(call, 'services', [])),
      },
      hosts: {
        list: reads('hosts', (call) => asks(call, 'hosts', [])),
        processes: (call) => byId(call, 'processes', 'hosts', 'processes', 'host ID required'),
      },
      exit,
      modules: reads('modules', (call) => asks(call, 'modules', [])),
    }
  },
}
