// What an app file may hold: every setting and every field of every entry kind, with defaults and bounds. operations.md §1, lua-core.md §4.

import { z } from 'zod'
import { parseDurationMs, parseSizeBytes } from '../base/duration.ts'
import { DEFAULT_LIFECYCLE, type Lifecycle as ServiceLifecycle } from '../supervisor/lifecycle.ts'

/** A number with a unit, as milliseconds. */
const duration = z.unknown().transform((value, context) => {
  const ms = typeof value === 'string' ? parseDurationMs(value) : undefined
  if (ms !== undefined && ms >= 0) return ms
  const hint =
    typeof value === 'number' ? `; did you mean "${value}s" or "${value}ms"?` : ' such as "250ms", "5s" or "1h30m"'
  context.addIssue({ code: 'custom', message: `expected a duration${hint}`, input: value })
  return z.NEVER
})

/** A number with a unit, as bytes. */
const size = z.unknown().transform((value, context) => {
  const bytes = typeof value === 'string' ? parseSizeBytes(value) : undefined
  if (bytes !== undefined) return bytes
  context.addIssue({ code: 'custom', message: 'expected a size such as "64KiB" or "512MiB"', input: value })
  return z.NEVER
})

const count = (max = Number.MAX_SAFE_INTEGER): z.ZodNumber => z.number().int().min(0).max(max)
const positive = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER)
const text = z.string().min(1)
const anyMap = z.record(z.string(), z.unknown())

// ---- settings

export const NODE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,126}[A-Za-z0-9])?$/
const nodeName = z
  .string()
  .regex(NODE_NAME, 'expected 1 to 128 of A-Z a-z 0-9 . - with a letter or digit first and last')

/** Clustering is not part of this version: its section may say so, and nothing else. */
const cluster = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .refine((enabled) => !enabled, 'clustering is not available in this version; set it to false or remove it'),
})

export const settingsSchema = z.strictObject({
  version: z.literal('1.0').default('1.0'),
  namespace: text.optional(),
  node: z.strictObject({ name: nodeName.optional(), data_dir: text.optional() }).prefault({}),
  logger: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
      format: z.enum(['auto', 'pretty', 'json']).default('auto'),
    })
    .prefault({}),
  admin: z.strictObject({ http: text.optional() }).prefault({}),
  shutdown: z.strictObject({ timeout: duration.prefault('30s') }).prefault({}),
  lua: z.strictObject({ engine: z.literal('fengari').default('fengari') }).prefault({}),
  cluster: cluster.prefault({}),
})

/** Sections that environment variables and `--set` may name. */
export const SETTING_SECTIONS = ['node', 'logger', 'admin', 'shutdown', 'lua', 'cluster'] as const

// ---- lifecycle

export interface Lifecycle extends ServiceLifecycle {
  /** Ids of services that must run first. */
  readonly requires: readonly string[]
  /** Actor, groups and policies of its process; kept for the security module. */
  readonly security: Readonly<Record<string, unknown>> | undefined
}

const D = DEFAULT_LIFECYCLE
const lifecycle = z
  .strictObject({
    auto_start: z.boolean().default(D.autoStart),
    start_timeout: duration.optional(),
    stop_timeout: duration.optional(),
    stable_threshold: duration.optional(),
    requires: z.array(text).default([]),
    depends_on: z.array(text).default([]),
    startup: z.enum(['required', 'optional']).default(D.startup),
    security: anyMap.optional(),
    restart: z
      .strictObject({
        initial_delay: duration.optional(),
        max_delay: duration.optional(),
        backoff_factor: z.number().min(1).max(1000).default(D.restart.backoffFactor),
        jitter: z.number().min(0).max(1).default(D.restart.jitter),
        max_attempts: count().default(D.restart.maxAttempts),
      })
      .prefault({}),
  })
  .prefault({})
  .transform(
    (given): Lifecycle => ({
      autoStart: given.auto_start,
      startTimeoutMs: given.start_timeout ?? D.startTimeoutMs,
      stopTimeoutMs: given.stop_timeout ?? D.stopTimeoutMs,
      stableThresholdMs: given.stable_threshold ?? D.stableThresholdMs,
      startup: given.startup,
      requires: [...new Set([...given.requires, ...given.depends_on])],
      security: given.security,
      restart: {
        initialDelayMs: given.restart.initial_delay ?? D.restart.initialDelayMs,
        maxDelayMs: given.restart.max_delay ?? D.restart.maxDelayMs,
        backoffFactor: given.restart.backoff_factor,
        jitter: given.restart.jitter,
        maxAttempts: given.restart.max_attempts,
      },
    }),
  )

// ---- entries

/** What every entry has. `name` and `kind` are checked before the kind's own schema is chosen. */
const base = { name: text, kind: text, meta: anyMap.default({}) }
const code = {
  ...base,
  source: text,
  modules: z.array(text).default([]),
  imports: z.record(text, text).default({}),
}

const pool = z.strictObject({
  type: z.enum(['inline', 'lazy', 'static', 'adaptive']).optional(),
  workers: count().optional(),
  size: count().default(0),
  buffer: count().optional(),
  max_size: positive.default(16),
  warm_start: z.boolean().default(false),
})

const processHost = z
  .strictObject({
    workers: count(1024).default(1),
    max_processes: positive.default(1_000_000),
    queue_size: positive.default(1024),
    local_queue_size: positive.default(256),
    mailbox_limit: positive.default(1_000_000),
    memory_limit: size.optional(),
  })
  .prefault({})
  .transform((given) => ({
    workers: given.workers,
    maxProcesses: given.max_processes,
    mailboxLimit: given.mailbox_limit,
    memoryLimitBytes: given.memory_limit,
  }))

export const entrySchemas = {
  'process.lua': z.strictObject({ ...code, method: text.default('main') }),
  'function.lua': z.strictObject({ ...code, method: text, pool: pool.optional() }),
  'library.lua': z.strictObject(code),
  'process.host': z.strictObject({ ...base, host: processHost, lifecycle }),
  'process.service': z.strictObject({
    ...base,
    process: text,
    host: text,
    input: z.array(z.unknown()).default([]),
    lifecycle,
  }),
  'terminal.host': z.strictObject({ ...base, hide_logs: z.boolean().default(false), lifecycle }),
  'registry.entry': z.looseObject(base),
} as const

export type EntryKind = keyof typeof entrySchemas
export type ParsedEntry = { [K in EntryKind]: z.output<(typeof entrySchemas)[K]> & { kind: K } }[EntryKind]

export const entryKinds = Object.keys(entrySchemas) as EntryKind[]

export function isEntryKind(kind: string): kind is EntryKind {
  return Object.hasOwn(entrySchemas, kind)
}
