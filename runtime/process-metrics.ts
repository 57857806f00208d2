// Processes, their messages and the scheduler, as Prometheus reads them: the hosts are asked when somebody asks for the metrics, once for all
// of them. operations.md §5.

import type { Metric, Registry } from 'prom-client'
import { Histogram, histogramMetric } from './base/histogram.ts'
import type { HostFigures, ProcessInfo } from './process/port.ts'
import { SLICE_BOUNDS } from './process/scheduler.ts'

/** What one host says, or one worker of it. */
interface HostReport {
  /** The same object for the same run of the host or worker. */
  readonly line: object
  readonly host: string
  readonly processes: readonly ProcessInfo[]
  readonly figures: HostFigures
}

export interface ProcessFigures {
  hosts(): Promise<readonly HostReport[]>
  /** Messages with processes of other nodes. */
  peers(): { readonly sent: number; readonly received: number }
}

const STATES = ['loading', 'ready', 'running', 'waiting'] as const
const REASONS = ['ok', 'failed', 'linked', 'terminated'] as const
/** A host that does not answer within this time is stuck; its last figures stand. */
const ANSWER_MS_MAX = 2_000

/** Sums over all hosts that only grow, although hosts come and go. */
class Totals {
  spawns = 0
  messages = 0
  readonly exits = { ok: 0, failed: 0, linked: 0, terminated: 0 }
  readonly sliceTimes = new Histogram(SLICE_BOUNDS)
  readonly #last = new WeakMap<object, HostFigures>()

  take({ line, figures }: HostReport): void {
    const before = this.#last.get(line)
    // Answers may overtake each other.
    if (before !== undefined && (figures.slices < before.slices || figures.spawns < before.spawns)) return
    this.#last.set(line, figures)
    this.spawns += figures.spawns - (before?.spawns ?? 0)
    this.messages += figures.messages - (before?.messages ?? 0)
    for (const reason of REASONS) this.exits[reason] += figures.exits[reason] - (before?.exits[reason] ?? 0)
    this.sliceTimes.add(figures.sliceTimes, before?.sliceTimes)
  }
}

/** The hosts are asked once for all metrics of a reading. */
class Reader {
  readonly totals = new Totals()
  readonly #figures: ProcessFigures
  #reports: readonly HostReport[] = []
  #asking: Promise<readonly HostReport[]> | undefined

  constructor(figures: ProcessFigures) {
    this.#figures = figures
  }

  read(): Promise<readonly HostReport[]> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  async #ask(): Promise<readonly HostReport[]> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), ANSWER_MS_MAX)
    })
    try {
      const reports = await Promise.race([this.#figures.hosts(), late])
      if (reports === undefined) return this.#reports
      for (const report of reports) this.totals.take(report)
      this.#reports = reports
      return reports
    } finally {
      clearTimeout(timer)
    }
  }
}

export function registerProcessMetrics(
  prom: typeof import('prom-client'),
  registry: Registry,
  figures: ProcessFigures,
): void {
  const reader = new Reader(figures)
  const registers = [registry]
  const { totals } = reader
  const gauge = (name: string, help: string, read: (reports: readonly HostReport[]) => number): void => {
    new prom.Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(read(await reader.read()))
      },
    })
  }
  const counter = (
    name: string,
    help: string,
    labelNames: string[],
    read: () => readonly (readonly [labels: Record<string, string>, value: number])[],
  ): void => {
    new prom.Counter({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        await reader.read()
        this.reset()
        for (const [labels, value] of read()) this.inc(labels, value)
      },
    })
  }
  new prom.Gauge({
    name: 'processes',
    help: 'processes by host and state',
    labelNames: ['host', 'state'],
    registers,
    async collect() {
      const reports = await reader.read()
      this.reset()
      for (const { host, processes } of reports) {
        for (const state of STATES) this.inc({ host, state }, processes.filter((each) => each.state === state).length)
      }
    },
  })
  counter('process_spawns_total', 'processes that were started', [], () => [[{}, totals.spawns]])
  counter('process_exits_total', 'processes that ended, by why', ['reason'], () =>
    REASONS.map((reason) => [{ reason }, totals.exits[reason]]),
  )
  gauge('mailbox_messages', 'unread messages of all processes', (reports) =>
    sum(reports.map(({ processes }) => sum(processes.map(({ mailbox }) => mailbox)))),
  )
  counter('messages_total', 'messages of processes', ['kind'], () => {
    const { sent, received } = figures.peers()
    return [
      [{ kind: 'delivered' }, totals.messages],
      [{ kind: 'sent' }, sent],
      [{ kind: 'received' }, received],
    ]
  })
  const slices = histogramMetric('scheduler_slice_seconds', 'slices of processes', [], async () => {
    await reader.read()
    return [[{}, totals.sliceTimes]]
  })
  registry.registerMetric(slices as unknown as Metric)
  gauge('scheduler_run_queue', 'processes that wait for their turn', (reports) =>
    sum(reports.map((report) => report.figures.runQueue)),
  )
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)
