// Metrics that are read off what they tell of when somebody asks for them: nothing is counted twice. What is made here has the form that the
// registry of Prometheus' library takes.

import type { Histogram } from './histogram.ts'

type Labels = Readonly<Record<string, string>>
export type Sample = readonly [labels: Labels, value: number]
export type HistogramSample = readonly [labels: Labels, histogram: HistogramReading]

/** What can be read of a histogram. */
type HistogramReading = Pick<Histogram, 'bounds' | 'count' | 'sum' | 'cumulative'>

/** A number for a metric without labels. Samples with the same labels are added up. */
type Reading = number | readonly Sample[]

/** A line of Prometheus' text. */
interface Line {
  /** Default: that of the metric. */
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

export interface ReadMetric {
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter' | 'histogram'
  readonly labelNames: readonly string[]
  get(): Promise<{ name: string; help: string; type: ReadMetric['type']; aggregator: 'sum'; values: Line[] }>
  /** It has nothing of its own. */
  reset(): void
}

type Make = (
  name: string,
  help: string,
  labelNames: readonly string[],
  read: () => Reading | Promise<Reading>,
) => ReadMetric

const ofNumbers =
  (type: 'gauge' | 'counter'): Make =>
  (name, help, labelNames, read) =>
    readMetric(type, name, help, labelNames, async () => linesOf(await read(), labelNames))

/** What goes up and down. */
export const gauge = ofNumbers('gauge')

/** What only grows while the node runs. */
export const counter = ofNumbers('counter')

/** How often a duration fell where: a histogram for every combination of labels, or one. */
export function histogram(
  name: string,
  help: string,
  labelNames: readonly string[],
  read: () => HistogramReading | readonly HistogramSample[] | Promise<HistogramReading | readonly HistogramSample[]>,
): ReadMetric {
  return readMetric('histogram', name, help, labelNames, async () => {
    const reading = await read()
    const samples: readonly HistogramSample[] = 'cumulative' in reading ? [[{}, reading]] : reading
    return samples.flatMap((sample) => bucketLines(name, sample))
  })
}

function readMetric(
  type: ReadMetric['type'],
  name: string,
  help: string,
  labelNames: readonly string[],
  lines: () => Promise<Line[]>,
): ReadMetric {
  return {
    name,
    help,
    type,
    labelNames,
    get: async () => ({ name, help, type, aggregator: 'sum', values: await lines() }),
    reset() {},
  }
}

/** A metric without labels has a line also when nothing is to be read, as the library's own has. */
function linesOf(reading: Reading, labelNames: readonly string[]): Line[] {
  if (typeof reading === 'number') return [{ labels: {}, value: reading }]
  if (reading.length === 0 && labelNames.length === 0) return [{ labels: {}, value: 0 }]
  const lines = new Map<string, { labels: Labels; value: number }>()
  for (const [labels, value] of reading) {
    const key = JSON.stringify(Object.values(labels))
    const line = lines.get(key)
    if (line === undefined) lines.set(key, { labels, value })
    else line.value += value
  }
  return [...lines.values()]
}

function bucketLines(name: string, [labels, read]: HistogramSample): Line[] {
  const within = read.cumulative()
  return [
    ...read.bounds.map((le, i) => ({
      metricName: `${name}_bucket`,
      labels: { le, ...labels },
      value: within[i] as number,
    })),
    { metricName: `${name}_bucket`, labels: { le: '+Inf', ...labels }, value: read.count },
    { metricName: `${name}_sum`, labels, value: read.sum },
    { metricName: `${name}_count`, labels, value: read.count },
  ]
}
