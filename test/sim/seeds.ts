// Many seeds on all cores: each worker thread runs one seed at a time and asks for the next. One seed is one world, so
// nothing is shared.

import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { plainEnvelope } from './envelopes.ts'
import { type ChaosReport, runChaos } from './gossip.ts'

export interface SeedOptions {
  readonly seed: number
  readonly nodes: number
  /** Faults. */
  readonly steps: number
  /** Through the real wire. */
  readonly wire: boolean
}

export interface SeedFailure {
  readonly options: SeedOptions
  readonly problem: string
  readonly trace: readonly string[]
}

type Answer = { report: ChaosReport } | { failure: SeedFailure }

/** The size of a seed's cluster where none is asked for. */
export function nodesOf(seed: number): number {
  return 3 + (seed % 10)
}

/** Runs one seed, and once more for the trace when it fails. */
export function runSeed(options: SeedOptions): Answer {
  const { seed, nodes, steps, wire } = options
  const chaos = { seed, nodes, steps, clockDrift: 0.01, ...(wire ? { envelope: plainEnvelope } : {}) }
  const outcome = runChaos(chaos)
  if (outcome.ok) return { report: outcome.report }
  const again = runChaos({ ...chaos, trace: true })
  const trace = again.ok ? ['it passes when it is run again: something does not come from the seed'] : again.trace
  return { failure: { options, problem: outcome.problem, trace } }
}

interface SeedsSummary {
  readonly failed: number
  readonly steps: number
  readonly virtualMs: number
  readonly slowestMs: number
  readonly falseDeaths: number
  readonly completeness: number
  readonly accuracyMs: number
}

/** Runs them all; `failed` hears of each that does not keep the promises. */
export async function runSeeds(
  all: readonly SeedOptions[],
  failed: (failure: SeedFailure) => void,
): Promise<SeedsSummary> {
  const summary = { failed: 0, steps: 0, virtualMs: 0, slowestMs: 0, falseDeaths: 0, completeness: 0, accuracyMs: 0 }
  const waiting = [...all].reverse()
  const took = (answer: Answer): void => {
    if ('failure' in answer) {
      summary.failed++
      return failed(answer.failure)
    }
    const { report } = answer
    summary.steps += report.steps
    summary.virtualMs += report.virtualMs
    summary.slowestMs = Math.max(summary.slowestMs, report.convergenceMs)
    summary.falseDeaths += report.falseDeaths
    summary.completeness += report.completeness
    summary.accuracyMs += report.accuracyMs
  }
  const worker = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const thread = new Worker(new URL(import.meta.url))
      const next = (): void => {
        const options = waiting.pop()
        if (options === undefined) void thread.terminate().then(() => resolve(), reject)
        else thread.postMessage(options)
      }
      thread.on('error', reject)
      thread.on('message', (answer: Answer) => {
        took(answer)
        next()
      })
      next()
    })
  const count = Math.min(availableParallelism(), all.length)
  await Promise.all(Array.from({ length: count }, worker))
  return summary
}

if (!isMainThread) parentPort?.on('message', (options: SeedOptions) => parentPort?.postMessage(runSeed(options)))
