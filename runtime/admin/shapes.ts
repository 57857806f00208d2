// What the admin interface needs of a node, and what it answers: the JSON of operations.md §2 and §3. Fields may be added, none removed
// or renamed.

import { MoonmeshError } from '../base/errors.ts'
import type { HostFigures, ProcessInfo } from '../process/port.ts'
import type { ServiceState, ServiceStatus } from '../supervisor/supervisor.ts'

/** The part of a node that the admin interface looks at. */
export interface AdminNode {
  readonly name: string
  entries(): readonly { readonly id: string; readonly kind: string }[]
  services(): readonly ServiceStatus[]
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>
  processes(): Promise<readonly (ProcessInfo & { readonly names: readonly string[] })[]>
  figures(): Promise<readonly (HostFigures & { readonly host: string })[]>
}

export interface ErrorBody {
  error: { kind: string; message: string; details?: Record<string, unknown> }
}

export interface ProcessRow {
  pid: string
  entry: string
  host: string
  state: string
  mailbox: number
  reductions: number
  /** Estimated bytes; null where the engine cannot tell. */
  memory: number | null
  age_ms: number
  names: readonly string[]
}

export interface ServiceRow {
  id: string
  kind: string
  state: ServiceState
  attempts: number
  /** Wall-clock milliseconds since 1970 at which it entered its state. */
  since_ms: number
  error?: { kind: string; message: string }
  next_restart_ms?: number
  waits_for?: readonly string[]
}

export interface EntryRow {
  id: string
  kind: string
}

export interface HostRow {
  host: string
  processes: number
  spawns: number
  exits: { ok: number; failed: number }
  messages: number
  run_queue: number
  slices: number
  busy_ms: number
}

export interface Check {
  name: string
  ok: boolean
  detail: string
}

export interface StatusBody {
  node: string
  /** The operating system's id of the node's program. */
  os_pid: number
  version: string
  node_js: string
  started_at_ms: number
  uptime_ms: number
  healthy: boolean
  checks: Check[]
  services: Partial<Record<ServiceState, number>>
  hosts: HostRow[]
  entries: number
}

export function processRow(info: ProcessInfo & { readonly names: readonly string[] }): ProcessRow {
  const { pid, entry, host, state, mailbox, reductions, ageMs, names } = info
  return { pid, entry, host, state, mailbox, reductions, memory: null, age_ms: Math.round(ageMs), names }
}

export function serviceRow(status: ServiceStatus): ServiceRow {
  const { id, kind, state, attempts, sinceMs, error, nextRestartMs, waitsFor } = status
  return {
    id,
    kind,
    state,
    attempts,
    since_ms: Math.round(sinceMs),
    ...(error === undefined ? {} : { error: { kind: error.kind, message: error.message } }),
    ...(nextRestartMs === undefined ? {} : { next_restart_ms: Math.round(nextRestartMs) }),
    ...(waitsFor === undefined ? {} : { waits_for: waitsFor }),
  }
}

export function hostRow(figures: HostFigures & { readonly host: string }): HostRow {
  const { host, processes, spawns, exits, messages, runQueue, slices, busyMs } = figures
  return { host, processes, spawns, exits, messages, run_queue: runQueue, slices, busy_ms: Math.round(busyMs) }
}

const STATUSES: Record<string, number> = {
  Invalid: 400,
  NotFound: 404,
  AlreadyExists: 409,
  Conflict: 409,
  InvalidState: 409,
  PermissionDenied: 403,
  RateLimited: 429,
  LimitExceeded: 429,
  Unavailable: 503,
  Canceled: 503,
  Timeout: 504,
}

/** The HTTP status of an error kind; 500 for `Internal` and for kinds of the scripts' own. */
export const httpStatus = (kind: string): number => STATUSES[kind] ?? 500

export function errorBody(error: MoonmeshError): ErrorBody {
  const { kind, message, details } = error
  return { error: { kind, message, ...(details === undefined ? {} : { details }) } }
}

/** Hosts answer within a turn; one that does not is stuck, and so would be whoever waits for it. */
const ANSWER_MS_MAX = 5_000

/** @throws MoonmeshError `Timeout` when the node's hosts do not answer in time */
export async function answerOf<T>(asked: Promise<T>, timeoutMs = ANSWER_MS_MAX): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new MoonmeshError('Timeout', `a host did not answer within ${timeoutMs} ms`, { retryable: true })),
      timeoutMs,
    )
  })
  try {
    return await Promise.race([asked, late])
  } finally {
    clearTimeout(timer)
  }
}
