// The metrics of processes, their messages and the scheduler: the hosts are asked when somebody asks for them, once for all. operations.md §5.

import { Histogram } from './base/histogram.ts'
import { counter, gauge, histogram, type ReadMetric, type Sample } from './base/metric.ts'
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

export function processMetrics(figures: ProcessFigures): ReadMetric[] {
  const reader = new Reader(figures)
  const { totals } = reader
  /** Of all hosts, once they have been asked. */
  const asked =
    <T>(read: (reports: readonly HostReport[]) => T) =>
    async (): Promise<T> =>
      read(await reader.read())
  return [
    gauge(
      'processes',
      'processes by host and state',
      ['host', 'state'],
      asked((reports) =>
        reports.flatMap(({ host, processes }) =>
          STATES.map((state): Sample => [{ host, state }, processes.filter((each) => each.state === state).length]),
        ),
      ),
    ),
    counter(
      'process_spawns_total',
      'processes that were started',
      [],
      asked(() => totals.spawns),
    ),
    counter(
      'process_exits_total',
      'processes that ended, by why',
      ['reason'],
      asked(() => REASONS.map((reason): Sample => [{ reason }, totals.exits[reason]])),
    ),
    gauge(
      'mailbox_messages',
      'unread messages of all processes',
      [],
      asked((reports) => sum(reports.map(({ processes }) => sum(processes.map(({ mailbox }) => mailbox))))),
    ),
    counter(
      'messages_total',
      'messages of processes',
      ['kind'],
      asked((): Sample[] => {
        const { sent, received } = figures.peers()
        return [
          [{ kind: 'delivered' }, totals.messages],
          [{ kind: 'sent' }, sent],
          [{ kind: 'received' }, received],
        ]
      }),
    ),
    histogram(
      'scheduler_slice_seconds',
      'slices of processes',
      [],
      asked(() => totals.sliceTimes),
    ),
    gauge(
      'scheduler_run_queue',
      'processes that wait for their turn',
      [],
      asked((reports) => sum(reports.map((report) => report.figures.runQueue))),
    ),
  ]
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)
