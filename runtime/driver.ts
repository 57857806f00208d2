// The real world for schedulers and cores: Node's clocks, chance, timers and turns of the event loop.

import { randomInt } from 'node:crypto'
import type { Env } from './base/env.ts'
import type { SchedulerDriver } from './process/scheduler.ts'

const WALL_ORIGIN_MS = performance.timeOrigin

export const systemEnv: Env = {
  nowMs: () => performance.now(),
  // Date.now() follows clock corrections; the fraction comes from the monotonic clock when the two agree.
  wallMs: () => {
    const coarse = Date.now()
    const fine = WALL_ORIGIN_MS + performance.now()
    return Math.abs(fine - coarse) < 2 ? fine : coarse
  },
  randomInt: (bound) => randomInt(bound),
}

export const systemDriver: SchedulerDriver = {
  env: systemEnv,
  defer: (run) => {
    setImmediate(run)
  },
  timeout: (delayMs, run) => {
    const timer = setTimeout(run, Math.ceil(delayMs))
    return () => clearTimeout(timer)
  },
}
