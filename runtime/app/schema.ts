// What an app may say: every setting and every field of every entry kind, with its form, default and bounds. operations.md §1,
// lua-core.md §4. A schema turns the words of the file (`start_timeout: 10s`) into those of the code (`startTimeoutMs: 10000`).

import { z } from 'zod'
import { formatDurationNs, parseDurationMs, parseSizeBytes } from '../base/duration.ts'
import { formatMemoryLimit, MEMORY_LIMIT_BYTES_MIN } from '../base/memory-limit.ts'
import { NODE_NAME, NODE_NAME_FORM } from '../base/node-name.ts'
import { DEFAULT_LUA, LUA_ENGINES } from '../lua/engines.ts'
import type { RetryPolicy } from '../process/core/retry.ts'
import { CONDITION_OPERATORS, isConditionField } from '../security/conditions.ts'
import { DEFAULT_LIFECYCLE, type Lifecycle as ServiceLifecycle } from '../supervisor/lifecycle.ts'
import { didYouMean, show } from './problems.ts'
import { alsoCheckedBy } from './validate.ts'

// ---- forms of single values

/** A failed reading: `why` replaces "expected FORM, found VALUE". */
type Reading<T> = { value: T } | { why: string } | undefined

/** One value of the form that `expected` describes; `read` returns undefined for anything else. */
function form<T>(expected: string, read: (given: unknown) => Reading<T>) {
  return z.unknown().transform((given, context): T => {
    const reading = given === undefined ? { why: `required field is missing (${expected})` } : read(given)
    if (reading !== undefined && 'value' in reading) return reading.value
    const message = reading?.why ?? `expected ${expected}, found ${show(given)}`
    context.issues.push({ code: 'custom', message, input: given })
    return z.NEVER
  })
}

const text = form('text', (given) => (typeof given === 'string' && given !== '' ? { value: given } : undefined))

/** Text of the right form will do in place of true, false and numbers: that is what `${env:NAME}` leaves behind. */
const flag = form('true or false', (given) => {
  if (typeof given === 'boolean') return { value: given }
  return given === 'true' || given === 'false' ? { value: given === 'true' } : undefined
})

function number(expected: string, isValid: (value: number) => boolean) {
  return form(expected, (given) => {
    const value = typeof given === 'string' && NUMBER.test(given) ? Number(given) : given
    return typeof value === 'number' && isValid(value) ? { value } : undefined
  })
}

export const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i

function whole(min: number, max = Number.MAX_SAFE_INTEGER) {
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  return number(`a whole number ${range}`, (value) => Number.isSafeInteger(value) && value >= min && value <= max)
}

/** A whole number where a negative one is a mistake worth a word of its own. */
function count(min: number, max: number) {
  return form(`a whole number from ${min} to ${max}`, (given) => {
    const value = typeof given === 'string' && NUMBER.test(given) ? Number(given) : given
    if (typeof value === 'number' && value < 0) return { why: `must be non-negative, found ${show(given)}` }
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
      ? { value }
      : undefined
  })
}

function decimal(min: number, max: number) {
  return number(`a number from ${min} to ${max}`, (value) => value >= min && value <= max)
}

function choice<const T extends string>(values: readonly T[]) {
  const list = values.map((value) => `"${value}"`).join(', ')
  return form(values.length === 1 ? list : `one of ${list}`, (given) => {
    const value = values.find((each) => each === given)
    if (value !== undefined) return { value }
    const hint = typeof given === 'string' ? didYouMean(given, values) : ''
    return hint === '' ? undefined : { why: `${show(given)} is none of ${list}${hint}` }
  })
}

/** The longest delay of Node's timers; a longer one would fire at once. */
const DURATION_MS_MAX = 2 ** 31 - 1

/** Milliseconds. */
const duration = form('a duration such as "250ms", "5s" or "1h30m"', (given) => {
  if (isNumber(given)) return { why: `a duration needs a unit: write "${given}s" or "${given}ms" instead of ${given}` }
  const value = typeof given === 'string' ? parseDurationMs(given) : undefined
  if (value === undefined) return undefined
  if (value < 0) return { why: `a duration cannot be negative, found ${show(given)}` }
  return value > DURATION_MS_MAX ? { why: `a duration has at most 24 days (576h), found ${show(given)}` } : { value }
})

const formatDuration = (ms: number): string => formatDurationNs(ms * 1e6)

function durationWithin(minMs: number, maxMs: number) {
  const range = `a duration from ${formatDuration(minMs)} to ${formatDuration(maxMs)}`
  return duration.superRefine((value, context) => {
    if (value >= minMs && value <= maxMs) return
    context.issues.push({ code: 'custom', message: `expected ${range}, found ${formatDuration(value)}`, input: value })
  })
}

/** Bytes. */
function size(minBytes: number, minText: string) {
  return form('a size such as "64KiB" or "512MiB"', (given) => {
    if (isNumber(given)) return { why: `a size needs a unit: write "${given}MiB" or "${given}B" instead of ${given}` }
    const value = typeof given === 'string' ? parseSizeBytes(given) : undefined
    if (value === undefined || value > Number.MAX_SAFE_INTEGER) return undefined
    return value < minBytes ? { why: `expected at least ${minText}, found ${show(given)}` } : { value }
  })
}

function isNumber(given: unknown): boolean {
  return typeof given === 'number' || (typeof given === 'string' && /^\d+$/.test(given) && given !== '0')
}

const anyMap = z.record(z.string(), z.unknown())

// ---- settings

const version = form('"1.0"', (given) =>
  given === '1.0' || given === 1 || given === '1' ? { value: '1.0' } : undefined,
)

const nodeName = form(NODE_NAME_FORM, (given) =>
  typeof given === 'string' && NODE_NAME.test(given) ? { value: given } : undefined,
)

function isListenAddress(given: unknown): given is string {
  if (typeof given !== 'string') return false
  const port = /^(?:\[[0-9A-Fa-f:.]+\]|[^\s:[\]/@]+):(\d{1,5})$/.exec(given)?.[1]
  return port !== undefined && Number(port) <= 65_535
}

const listenAddress = form('"host:port"', (given) => (isListenAddress(given) ? { value: given } : undefined))

const adminHttp = form('"host:port" or "off"', (given) =>
  given === 'off' || isListenAddress(given) ? { value: given as string } : undefined,
)

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export const LOG_FORMATS = ['auto', 'pretty', 'json'] as const
const LOG_ENCODINGS = ['console', 'json'] as const

export const settingsSchema = z.strictObject({
  node: z.strictObject({ name: nodeName.optional(), data_dir: text.optional() }).prefault({}),
  logger: z
    .strictObject({
      level: choice(LOG_LEVELS).optional(),
      format: choice(LOG_FORMATS).optional(),
      encoding: choice(LOG_ENCODINGS).optional(),
      recent_lines: whole(0, 100_000).default(1000),
    })
    .prefault({}),
  logmanager: z
    .strictObject({
      propagate_downstream: flag.default(true),
      stream_to_events: flag.default(false),
      min_level: whole(-1, 2).optional(),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      buffer: z.strictObject({ size: whole(1).default(10_000) }).prefault({}),
      interceptor: z.strictObject({ enabled: flag.default(false) }).prefault({}),
    })
    .prefault({}),
  prometheus: z
    .strictObject({ enabled: flag.default(false), address: listenAddress.default('127.0.0.1:9464') })
    .prefault({}),
  /** Tracing is not there yet: what is said about it is taken and does nothing. */
  otel: anyMap.default({}),
  admin: z.strictObject({ http: adminHttp.optional(), token: text.optional() }).prefault({}),
  shutdown: z.strictObject({ timeout: duration.default(30_000) }).prefault({}),
  /** Read by the cluster itself. */
  cluster: z.unknown().optional(),
  security: z.strictObject({ strict_mode: flag.default(false) }).prefault({}),
  lua: z
    .strictObject({ engine: choice(LUA_ENGINES).default(DEFAULT_LUA.engine), jit: flag.default(DEFAULT_LUA.jit) })
    .prefault({}),
})

/** Settings whose value is text whatever it looks like, those of the cluster apart: `--set node.name=1` names a node "1". */
export const TEXT_SETTINGS: ReadonlySet<string> = new Set(['node.name', 'node.data_dir', 'admin.token'])

// ---- what a file says beside settings and entries

export const headerSchema = z.strictObject({
  version: version.default('1.0'),
  namespace: text.optional(),
  include: z.array(text).default([]),
})

// ---- entries

/** How a host or service is started, stopped and started again, and what must run before it. */
export interface Lifecycle extends ServiceLifecycle {
  /** Full ids, each once: `requires` and `depends_on` together. */
  readonly requires: readonly string[]
  /** Under whose name its process acts. */
  readonly security: Security | undefined
}

export interface Security {
  readonly actor: { readonly id: string; readonly meta: Readonly<Record<string, unknown>> } | undefined
  readonly groups: readonly string[]
  readonly policies: readonly string[]
}

const security = z
  .strictObject({
    actor: z.strictObject({ id: text, meta: anyMap.default({}) }).optional(),
    groups: z.array(text).default([]),
    policies: z.array(text).default([]),
  })
  .transform(({ actor, groups, policies }): Security => ({ actor, groups, policies }))

const restart = z
  .strictObject({
    initial_delay: duration.default(DEFAULT_LIFECYCLE.restart.initialDelayMs),
    max_delay: duration.default(DEFAULT_LIFECYCLE.restart.maxDelayMs),
    backoff_factor: decimal(1, 1000).default(DEFAULT_LIFECYCLE.restart.backoffFactor),
    jitter: decimal(0, 1).default(DEFAULT_LIFECYCLE.restart.jitter),
    max_attempts: whole(0).default(DEFAULT_LIFECYCLE.restart.maxAttempts),
  })
  .transform((given) => ({
    initialDelayMs: given.initial_delay,
    maxDelayMs: given.max_delay,
    backoffFactor: given.backoff_factor,
    jitter: given.jitter,
    maxAttempts: given.max_attempts,
  }))

const lifecycle = z
  .strictObject({
    auto_start: flag.default(DEFAULT_LIFECYCLE.autoStart),
    start_timeout: duration.default(DEFAULT_LIFECYCLE.startTimeoutMs),
    stop_timeout: duration.default(DEFAULT_LIFECYCLE.stopTimeoutMs),
    stable_threshold: duration.default(DEFAULT_LIFECYCLE.stableThresholdMs),
    requires: z.array(text).default([]),
    depends_on: z.array(text).default([]),
    startup: choice(['required', 'optional']).default(DEFAULT_LIFECYCLE.startup),
    security: security.optional(),
    restart: restart.prefault({}),
  })
  .transform(
    (given): Lifecycle => ({
      autoStart: given.auto_start,
      startTimeoutMs: given.start_timeout,
      stopTimeoutMs: given.stop_timeout,
      stableThresholdMs: given.stable_threshold,
      requires: [...new Set([...given.requires, ...given.depends_on])],
      startup: given.startup,
      security: given.security,
      restart: given.restart,
    }),
  )

/** How many instances of a function's virtual machine there are, and who waits. */
export interface Pool {
  readonly type: 'inline' | 'lazy' | 'static' | 'adaptive'
  /** Instances of a static pool. */
  readonly workers: number
  /** Calls that wait for an instance of a static pool. */
  readonly buffer: number
  /** Most instances of a lazy or adaptive pool. */
  readonly maxSize: number
  /** Instances are made at start. */
  readonly warmStart: boolean
}

const POOL_WORKERS = 8
const POOL_BUFFER_PER_WORKER = 64
const POOL_COUNT_MAX = 1_000_000

const pool = z
  .strictObject({
    type: choice(['inline', 'lazy', 'static', 'adaptive']).optional(),
    workers: whole(0, POOL_COUNT_MAX).default(0),
    size: whole(0, POOL_COUNT_MAX).default(0),
    buffer: whole(0, POOL_COUNT_MAX).optional(),
    max_size: whole(1, POOL_COUNT_MAX).default(16),
    warm_start: flag.default(false),
  })
  .transform((given): Pool => {
    const asked = given.workers || given.size
    const workers = asked || POOL_WORKERS
    return {
      type: given.type ?? (asked > 0 ? 'static' : 'lazy'),
      workers,
      buffer: given.buffer ?? workers * POOL_BUFFER_PER_WORKER,
      maxSize: given.max_size,
      warmStart: given.warm_start,
    }
  })

/** Limits of a process host. */
export interface HostLimits {
  /** Upper bound on worker threads; 0: the host runs inline. */
  readonly workers: number
  readonly maxProcesses: number
  /** Capacity hints. */
  readonly queueSize: number
  readonly localQueueSize: number
  /** Unread messages of one process. */
  readonly mailboxLimit: number
  /** Heap of one worker; undefined: the engine's own limit. */
  readonly memoryLimitBytes: number | undefined
}

const host = z
  .strictObject({
    workers: whole(0, 1024).default(1),
    max_processes: whole(1).default(1_000_000),
    queue_size: whole(1).default(1024),
    local_queue_size: whole(1).default(256),
    mailbox_limit: whole(1).default(1_000_000),
    // Below this a worker thread dies before it has loaded the engine.
    memory_limit: size(16 * 1024 * 1024, '16MiB').optional(),
  })
  .transform(
    (given): HostLimits => ({
      workers: given.workers,
      maxProcesses: given.max_processes,
      queueSize: given.queue_size,
      localQueueSize: given.local_queue_size,
      mailboxLimit: given.mailbox_limit,
      memoryLimitBytes: given.memory_limit,
    }),
  )

// ---- how code is called: meta.options of functions and processes (lua-core.md §15.2, §15.4)

/** A number is milliseconds. */
const delay = form('milliseconds, or a duration such as "250ms"', (given) => {
  const value = typeof given === 'number' ? given : typeof given === 'string' ? parseDurationMs(given) : undefined
  return value === undefined || !(value >= 0 && value <= DURATION_MS_MAX) ? undefined : { value }
})

const retry = z
  .strictObject({
    max_attempts: whole(0).default(1),
    initial_delay: delay.default(100),
    max_delay: delay.default(10_000),
    backoff_factor: decimal(1, 1000).default(2),
    jitter: decimal(0, 1).default(0.1),
    skip_kinds: z.array(text).default([]),
    retry_kinds: z.array(text).default([]),
  })
  .transform(
    (given): RetryPolicy => ({
      maxAttempts: given.max_attempts,
      backoff: {
        initialMs: given.initial_delay,
        maxMs: given.max_delay,
        factor: given.backoff_factor,
        jitter: given.jitter,
      },
      skipKinds: given.skip_kinds,
      retryKinds: given.retry_kinds,
    }),
  )

const callMeta = z.looseObject({
  default_host: text.optional(),
  options: z.looseObject({ default_host: text.optional(), retry: retry.optional() }).optional(),
})

interface CallRules {
  readonly retry: RetryPolicy | undefined
  /** As it was written: a full id, or a name within the entry's namespace. */
  readonly defaultHost: string | undefined
}

/** What the meta of an entry that was validated says of its calls. */
export function callRulesOf(meta: Readonly<Record<string, unknown>>): CallRules {
  const { default_host, options } = callMeta.parse(meta)
  return { retry: options?.retry, defaultHost: default_host ?? options?.default_host }
}

/** The meta itself stays what it is; what the runtime reads of it is checked. */
const codeMeta = alsoCheckedBy(
  anyMap.superRefine((meta, context) => {
    for (const issue of callMeta.safeParse(meta).error?.issues ?? []) context.addIssue({ ...issue })
  }),
  callMeta,
).default({})

const base = { meta: anyMap.default({}) }
const source = form('Lua text, or file://PATH', (given) => (typeof given === 'string' ? { value: given } : undefined))
const code = {
  ...base,
  source,
  modules: z.array(text).default([]),
  imports: z.record(z.string(), text).default({}),
}

// ---- variables (lua-libraries.md §12)

const variableName = form('letters, digits and "_"', (given) =>
  typeof given === 'string' && /^[A-Za-z0-9_]+$/.test(given)
    ? { value: given }
    : { why: `invalid environment variable name ${show(given)}: letters, digits and "_" only` },
)

/** Of a replicated store: entries that say the same one share their data, on whatever node they are. */
const storeNamespace = form('a namespace: a small letter, then small letters, digits, ".", "_" and "-"', (given) => {
  if (typeof given !== 'string') return undefined
  if (given.startsWith('_')) return { why: `${show(given)}: namespaces that begin with "_" are the system's own` }
  if (given.length > 64) return { why: `a namespace has at most 64 characters, found ${given.length}` }
  return /^[a-z][a-z0-9._-]*$/.test(given) ? { value: given } : undefined
})

/** Text, of numbers and truth values, too. */
const anyText = form('text', (given) =>
  typeof given === 'string' || typeof given === 'number' || typeof given === 'boolean'
    ? { value: String(given) }
    : undefined,
)

/**
 * Permission bits, e.g. "0644". Without quotes YAML reads 0644 as the number 644, and 0o644 as 420: what is above 511 cannot be meant the second
 * way, anything else needs its quotes.
 */
const fileMode = form('an octal mode in quotes such as "0644"', (given) => {
  const digits = typeof given === 'number' && given > 0o777 ? String(given) : given
  return typeof digits === 'string' && /^0?[0-7]{3}$/.test(digits) ? { value: Number.parseInt(digits, 8) } : undefined
})

// ---- policies (lua-libraries.md §25)

const oneOrMore = z.union([text.transform((one) => [one]), z.array(text).min(1)])

const condition = z
  .strictObject({
    field: form('action, resource, actor.id, actor.meta.NAME or meta.NAME', (given) =>
      typeof given === 'string' && isConditionField(given) ? { value: given } : undefined,
    ),
    operator: choice(CONDITION_OPERATORS),
    value: z.unknown().optional(),
    value_from: text.optional(),
  })
  .transform(({ field, operator, value, value_from }) => ({ field, operator, value, valueFrom: value_from }))

const policyRule = {
  actions: oneOrMore,
  resources: oneOrMore,
  effect: choice(['allow', 'deny']),
  conditions: z.array(condition).default([]),
}

const policyFields = { ...base, groups: z.array(text).default([]) }

// ---- queues (lua-libraries.md §19)

const maxLength = z
  .looseObject({ memory: z.strictObject({ max_length: whole(1, 10_000_000).default(1000) }).prefault({}) })
  .prefault({})

const memoryLimit = { memory_limit: size(MEMORY_LIMIT_BYTES_MIN, formatMemoryLimit(MEMORY_LIMIT_BYTES_MIN)).optional() }

const withMemoryLimit = <T extends { memory_limit?: number | undefined }>({ memory_limit, ...fields }: T) => ({
  ...fields,
  memoryLimitBytes: memory_limit,
})

/** The fields of each kind, beside what says which entry it is. References are full ids and sources text by now. */
export const entrySchemas = {
  'process.lua': z
    .strictObject({ ...code, meta: codeMeta, method: text.default('main'), ...memoryLimit })
    .transform(withMemoryLimit),
  'function.lua': z
    .strictObject({ ...code, meta: codeMeta, method: text, pool: pool.prefault({}), ...memoryLimit })
    .transform(withMemoryLimit),
  // Libraries have no use for a method; files that give one to every Lua entry are none the worse for it.
  'library.lua': z.strictObject({ ...code, method: text.optional() }),
  'process.host': z.strictObject({ ...base, host: host.prefault({}), lifecycle: lifecycle.prefault({}) }),
  'process.service': z.strictObject({
    ...base,
    process: text,
    host: text,
    input: z.array(z.unknown()).default([]),
    lifecycle: lifecycle.prefault({}),
  }),
  'terminal.host': z
    .strictObject({ ...base, hide_logs: flag.default(false), lifecycle: lifecycle.prefault({}) })
    .transform(({ hide_logs, ...fields }) => ({ ...fields, hidesLogs: hide_logs })),
  'env.storage.memory': z.strictObject(base),
  'env.storage.os': z.strictObject(base),
  'env.storage.static': z.strictObject({ ...base, values: z.record(z.string(), anyText) }),
  'env.storage.file': z
    .strictObject({
      ...base,
      file_path: text,
      auto_create: flag.default(false),
      file_mode: fileMode.default(0o644),
      dir_mode: fileMode.default(0o755),
    })
    .transform(({ file_path, auto_create, file_mode, dir_mode, ...rest }) => ({
      ...rest,
      filePath: file_path,
      autoCreate: auto_create,
      fileMode: file_mode,
      dirMode: dir_mode,
    })),
  'env.storage.router': z.strictObject({ ...base, storages: z.array(text).min(1) }),
  'env.variable': z.strictObject({
    ...base,
    variable: variableName.optional(),
    storage: text,
    default: anyText.optional(),
    readonly: flag.default(false),
  }),
  'store.memory': z
    .strictObject({
      ...base,
      max_size: whole(0).default(10_000),
      cleanup_interval: duration.default(300_000),
      lifecycle: lifecycle.prefault({}),
    })
    .transform(({ max_size, cleanup_interval, ...rest }) => ({
      ...rest,
      sizeMax: max_size === 0 ? 10_000 : max_size,
      cleanupIntervalMs: cleanup_interval,
    })),
  'store.kv.crdt': z
    .strictObject({
      ...base,
      namespace: storeNamespace,
      durable: flag.default(false),
      lifecycle: lifecycle.prefault({}),
    })
    .transform(({ namespace, ...rest }) => ({ ...rest, storeNamespace: namespace })),
  'pg.scope': z
    .strictObject({
      ...base,
      protocol_timeout: durationWithin(10, 600_000).default(5000),
      broadcast_timeout: durationWithin(10, 600_000).default(5000),
      anti_entropy_interval: duration.default(30_000),
      circuit_breaker_failures: count(0, 1_000_000).default(3),
      circuit_breaker_reset_time: durationWithin(1, 3_600_000).default(10_000),
      max_retries: count(0, 1000).default(3),
      retry_base_delay: durationWithin(1, 600_000).default(100),
      retry_max_delay: durationWithin(1, 3_600_000).default(1000),
      action_queue_size: count(1, 1_000_000).default(256),
      action_queue_max_size: count(1, 1_000_000).default(1024),
      monitor_buffer: count(1, 65_536).default(64),
      max_groups: count(0, 1_000_000_000).default(0),
      max_members_per_group: count(0, 1_000_000_000).default(0),
      lifecycle: lifecycle.prefault({}),
    })
    .superRefine((given, context) => {
      const { action_queue_size: crowded, action_queue_max_size: max, retry_base_delay: base, retry_max_delay } = given
      if (max < crowded) {
        const message = `action queue max size must be >= action queue size (${crowded}), found ${max}`
        context.issues.push({ code: 'custom', path: ['action_queue_max_size'], message, input: max })
      }
      if (retry_max_delay < base) {
        const message = `the longest delay is at least retry_base_delay (${formatDuration(base)}), found ${formatDuration(retry_max_delay)}`
        context.issues.push({ code: 'custom', path: ['retry_max_delay'], message, input: retry_max_delay })
      }
    })
    .transform(({ meta, lifecycle, ...given }) => ({
      meta,
      lifecycle,
      protocolTimeoutMs: given.protocol_timeout,
      broadcastTimeoutMs: given.broadcast_timeout,
      antiEntropyIntervalMs: given.anti_entropy_interval,
      breakerFailures: given.circuit_breaker_failures,
      breakerResetMs: given.circuit_breaker_reset_time,
      retriesMax: given.max_retries,
      retryBaseMs: given.retry_base_delay,
      retryMaxMs: given.retry_max_delay,
      actionsCrowded: given.action_queue_size,
      actionsMax: given.action_queue_max_size,
      monitorBuffer: given.monitor_buffer,
      groupsMax: given.max_groups,
      membersPerGroupMax: given.max_members_per_group,
    })),
  'store.kv.raft': z
    .strictObject({ ...base, namespace: storeNamespace, lifecycle: lifecycle.prefault({}) })
    .transform(({ namespace, ...rest }) => ({ ...rest, storeNamespace: namespace })),
  'queue.driver.memory': z.strictObject({ ...base, lifecycle: lifecycle.prefault({}) }),
  'queue.queue': z
    .strictObject({
      ...base,
      driver: text,
      codec: choice(['json/plain', 'application/msgpack']).default('json/plain'),
      queue_name: text.optional(),
      driver_options: maxLength,
      dead_letter: z.strictObject({ queue: text, max_attempts: whole(1).optional() }).optional(),
    })
    .transform(({ queue_name, driver_options, dead_letter: _notActedOn, ...rest }) => ({
      ...rest,
      queueName: queue_name,
      lengthMax: driver_options.memory.max_length,
    })),
  'queue.consumer': z
    .strictObject({
      ...base,
      queue: text,
      func: text,
      concurrency: whole(1, 1000).default(1),
      prefetch: whole(1, 10_000).default(10),
      auto_ack: flag.default(false),
      driver_options: anyMap.default({}),
      lifecycle: lifecycle.prefault({}),
    })
    .transform(({ auto_ack, driver_options: _forOtherDrivers, ...rest }) => ({ ...rest, autoAck: auto_ack })),
  'security.policy': z.strictObject({ ...policyFields, policy: z.strictObject(policyRule) }),
  'security.policy.expr': z.strictObject({
    ...policyFields,
    policy: z.strictObject({ ...policyRule, expression: text }),
  }),
  'fs.directory': z
    .strictObject({
      ...base,
      /** As it was written. */
      directory: text,
      /** It is made when it is not there. */
      auto_init: flag.default(false),
      mode: fileMode.default(0o755),
      /** What a relative directory is relative to: the working directory, or that of the declaring file. */
      base: choice(['project', 'module']).default('project'),
    })
    .transform(({ auto_init, ...fields }) => ({ ...fields, autoInit: auto_init })),
  'registry.entry': z.looseObject(base).transform(({ meta }) => ({ meta })),
} as const

export type EntryKind = keyof typeof entrySchemas

export const ENTRY_KINDS = Object.keys(entrySchemas) as readonly EntryKind[]
export const LUA_KINDS = ['process.lua', 'function.lua', 'library.lua'] as const satisfies readonly EntryKind[]

export function isEntryKind(kind: string | undefined): kind is EntryKind {
  return kind !== undefined && Object.hasOwn(entrySchemas, kind)
}

export function isLuaKind(kind: string | undefined): boolean {
  return (LUA_KINDS as readonly string[]).includes(kind ?? '')
}
