// The node's collector of metrics, in the form that Prometheus reads. lua-libraries.md §11.

import { createRequire } from 'node:module'
import type { Counter, Gauge, Histogram, Metric as LibraryMetric, Registry } from 'prom-client'
import { toText } from './base/bytes.ts'
import type { ReadMetric } from './base/metric.ts'
import { Float, type TableValue, type Value } from './base/value.ts'
import type { NodeService } from './node-services.ts'

const require = createRequire(import.meta.url)

type Library = { readonly prom: typeof import('prom-client'); readonly registry: Registry }

type Metric = Counter | Gauge | Histogram
type Kind = 'counter' | 'gauge' | 'histogram'

interface Known {
  readonly kind: Kind
  readonly metric: Metric
  /** Those used so far. */
  readonly labelNames: Set<string>
  readonly series: Set<string>
}

/** Series of one name: label values that never repeat would fill the memory. */
const SERIES_MAX = 10_000
const NAMES_MAX = 10_000

export class Metrics implements NodeService {
  /** With the first record: most nodes have none, and the library takes a while to load. */
  #library: Library | undefined
  readonly #known = new Map<string, Known>()
  readonly #warn: (text: string) => void
  readonly #warned = new Set<string>()
  /** Those of the runtime that the library does not know yet. */
  #own: ReadMetric[] = []

  constructor(warn: (text: string) => void) {
    this.#warn = warn
  }

  /** Adds metrics of the runtime's own; their names are taken from then on. */
  add(metrics: readonly ReadMetric[]): void {
    this.#own.push(...metrics)
    if (this.#library !== undefined) this.#register(this.#library.registry)
  }

  #register(registry: Registry): void {
    // It reads no more of a metric than these have.
    for (const metric of this.#own) registry.registerMetric(metric as unknown as LibraryMetric)
    this.#own = []
  }

  readonly methods: NodeService['methods'] = {
    count: ([name, value, labels]) => {
      const amount = numberOf(value)
      if (amount >= 0 && Number.isFinite(amount))
        this.#with('counter', name, labels, (metric, given) => (metric as Counter).inc(given, amount))
      return undefined
    },
    set: ([name, value, labels]) => {
      this.#with('gauge', name, labels, (metric, given) => (metric as Gauge).set(given, numberOf(value)))
      return undefined
    },
    change: ([name, value, labels]) => {
      this.#with('gauge', name, labels, (metric, given) => (metric as Gauge).inc(given, numberOf(value)))
      return undefined
    },
    observe: ([name, value, labels]) => {
      const amount = numberOf(value)
      if (!Number.isFinite(amount)) return undefined
      this.#with('histogram', name, labels, (metric, given) => (metric as Histogram).observe(given, amount))
      return undefined
    },
  }

  /** Everything that was recorded, as Prometheus' text format. */
  text(): Promise<string> {
    return this.#loaded().registry.metrics()
  }

  get contentType(): string {
    return this.#loaded().registry.contentType
  }

  #loaded(): Library {
    if (this.#library === undefined) {
      const prom = require('prom-client') as typeof import('prom-client')
      const registry = new prom.Registry()
      this.#library = { prom, registry }
      this.#register(registry)
    }
    return this.#library
  }

  #with(
    kind: Kind,
    name: Value,
    labels: Value,
    record: (metric: Metric, labels: Record<string, string>) => void,
  ): void {
    const metricName = legalName(toText(name as string), METRIC_NAME)
    const known = this.#metric(kind, metricName)
    if (known === undefined) return
    const given: Record<string, string> = {}
    const table = labels as TableValue
    for (const [i, key] of table.keys.entries()) {
      const name = legalName(toText(key as string), LABEL_NAME)
      const label = RESERVED_LABELS.includes(name) ? `${name}_` : name
      if (!known.labelNames.has(label)) addLabel(known, label)
      given[label] = toText(table.values[i] as string)
    }
    const series = JSON.stringify(Object.entries(given).sort())
    if (!known.series.has(series)) {
      if (known.series.size >= SERIES_MAX) {
        return this.#warnOnce(metricName, `metric ${metricName} has ${SERIES_MAX} series; more are dropped`)
      }
      known.series.add(series)
    }
    record(known.metric, given)
  }

  #metric(kind: Kind, name: string): Known | undefined {
    const known = this.#known.get(name)
    if (known?.kind === kind) return known
    if (known !== undefined) {
      this.#warnOnce(name, `metric ${name} is a ${known.kind}; what is recorded as a ${kind} is dropped`)
      return undefined
    }
    if (this.#known.size >= NAMES_MAX) {
      this.#warnOnce('', `there are ${NAMES_MAX} metrics; further names are dropped`)
      return undefined
    }
    const { prom, registry } = this.#loaded()
    if (registry.getSingleMetric(name) !== undefined) {
      this.#warnOnce(name, `metric ${name} is one of the runtime's own; what scripts record under that name is dropped`)
      return undefined
    }
    const options = { name, help: `${name}, recorded by scripts`, labelNames: [], registers: [registry] }
    const metric =
      kind === 'counter'
        ? new prom.Counter(options)
        : kind === 'gauge'
          ? new prom.Gauge(options)
          : new prom.Histogram(options)
    // The library begins with a series of no labels at zero, which nobody recorded.
    metric.remove()
    const made = { kind, metric, labelNames: new Set<string>(), series: new Set<string>() }
    this.#known.set(name, made)
    return made
  }

  #warnOnce(key: string, text: string): void {
    if (this.#warned.has(key)) return
    this.#warned.add(key)
    this.#warn(text)
  }
}

/** The format gives them a meaning of its own. */
const RESERVED_LABELS: readonly string[] = ['le', 'quantile']

/**
 * The library wants to know all labels of a metric when it is made; scripts use what they like. It checks every label against one list,
 * and tells series apart by another, in order. A series of before has none of a new label, so it stays what it is.
 */
function addLabel({ labelNames, metric }: Known, label: string): void {
  labelNames.add(label)
  const lists = metric as unknown as { labelNames: string[]; sortedLabelNames: string[] }
  lists.labelNames = [...labelNames]
  lists.sortedLabelNames = [...labelNames].sort()
}

const METRIC_NAME = /[^A-Za-z0-9_:]/g
const LABEL_NAME = /[^A-Za-z0-9_]/g

function legalName(name: string, illegal: RegExp): string {
  const mapped = name.replace(illegal, '_')
  return /^[A-Za-z_:]/.test(mapped) ? mapped : `_${mapped}`
}

const numberOf = (value: Value): number => (value instanceof Float ? value.value : Number(value))
