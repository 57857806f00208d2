// The metrics of names, read off the service when somebody asks. cluster.md §11.

import { counter, gauge, histogram, type ReadMetric } from '../../runtime/base/metric.ts'
import type { Names } from './names.ts'

export function nameMetrics(names: Names): ReadMetric[] {
  return [
    gauge('names', 'names that resolve here', ['scope'], () =>
      names.statistics().names.map(({ scope, count }) => [{ scope }, count]),
    ),
    counter('names_registrations_total', 'registrations', ['scope', 'result'], () =>
      names.statistics().registrations.map(({ scope, result, count }) => [{ scope, result }, count]),
    ),
    counter('names_revoked_total', 'names lost', ['cause'], () =>
      names.statistics().revoked.map(({ cause, count }) => [{ cause }, count]),
    ),
    gauge('names_strong_pending', 'strong names that this node agreed to', [], () => names.statistics().pending),
    gauge('names_cache_age_seconds', 'age of what is known of the log', [], () => names.statistics().cacheAgeMs / 1000),
    counter('names_cache_misses_total', 'names whose process was elsewhere', [], () => names.statistics().cacheMisses),
    histogram('names_strong_seconds', 'how long strong registrations took', ['result'], () =>
      [...names.strongSeconds()].map(([result, seconds]) => [{ result }, seconds]),
    ),
  ]
}
