// The `lifecycle` of hosts and services, and what holds where an entry is silent. lua-core.md §4.3.

import type { Lifecycle } from './core/supervisor.ts'

export const DEFAULT_LIFECYCLE: Lifecycle = Object.freeze({
  autoStart: false,
  startTimeoutMs: 10_000,
  stopTimeoutMs: 10_000,
  stableThresholdMs: 5_000,
  startup: 'required',
  restart: Object.freeze({
    initialDelayMs: 1_000,
    maxDelayMs: 90_000,
    backoffFactor: 2,
    jitter: 0.1,
    maxAttempts: 0,
  }),
})

export type { Lifecycle }
